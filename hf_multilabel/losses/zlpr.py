"""ZLPR: every label that holds is to score above zero, every other one below, in one log-sum-exp each."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_multilabel.losses.targets import read_cells, reduce_rows


def zlpr(logits: Tensor, targets: Tensor, smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Log-sum-exp loss over the labels of a row, with zero as the border.

    A row's loss is log(1 + sum over l of y_l exp(-z_l)) + log(1 + sum over l of (1 - y_l) exp(z_l)): for targets of 0
    and 1 the first sum runs over the labels that hold, the second over the others; targets between are the paper's
    soft version. Unknown labels are in neither sum. It is a loss of the row and not divided by L. The border of
    0.5 between the sigmoids of its logits means what it does elsewhere, but they are no frequencies: calibrate them.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: In [0, 1], or -1 where unknown, shape (N, L).
        smoothing: Targets become y (1 - smoothing) + smoothing / 2.
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If shapes differ, or smoothing or reduction are out of range.

    Example:
        >>> zlpr(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(1.3863)

    Reference: Su et al. 2022, ZLPR: A Novel Loss for Multi-label Classification.
    """
    cells = read_cells(logits, targets, smoothing)
    holds = _log_one_plus_sum(-cells.logits, cells.smoothed, cells.known)  # (N,)
    others = _log_one_plus_sum(cells.logits, 1 - cells.smoothed, cells.known)  # (N,)
    return reduce_rows(holds + others, reduction)


def _log_one_plus_sum(scores: Tensor, weights: Tensor, known: Tensor) -> Tensor:
    """log(1 + sum of w exp(s)) of each row over its known labels: (N, L) to (N,)."""
    terms = (scores + weights.log()).masked_fill(~known, -torch.inf)
    return torch.cat([torch.zeros_like(terms[:, :1]), terms], dim=1).logsumexp(dim=1)
