"""Binary cross-entropy over independent labels, plain and weighted."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hf_multilabel.losses.targets import read_cells, reduce_cells


def bce(logits: Tensor, targets: Tensor, smoothing: float = 0.0, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy, the mean over labels: -[y log s(z) + (1 - y) log(1 - s(z))], s the sigmoid.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: In [0, 1], or -1 where unknown, shape (N, L).
        smoothing: Targets become y (1 - smoothing) + smoothing / 2.
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows". Never infinite for finite logits.

    Raises:
        ValueError: If shapes differ, or smoothing or reduction are out of range.

    Example:
        >>> import torch
        >>> bce(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.6931)
    """
    return weighted_bce(logits, targets, smoothing=smoothing, reduction=reduction)


def weighted_bce(
    logits: Tensor,
    targets: Tensor,
    pos_weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy with weights on a label's positives, on its whole term, or both.

    A row's loss is mean over known l of c_l * -[p_l y_l log s(z_l) + (1 - y_l) log(1 - s(z_l))], with p `pos_weight`
    and c `class_weight`. The mean divides by the number of labels, not by the sum of weights: weights that sum to L
    keep the loss's scale.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: In [0, 1], or -1 where unknown, shape (N, L).
        pos_weight: Weight of the positive term, shape (L,); above 1 raises recall.
        class_weight: Weight of a label's whole term, shape (L,).
        smoothing: Targets become y (1 - smoothing) + smoothing / 2.
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If shapes differ, or smoothing or reduction are out of range.
    """
    cells = read_cells(logits, targets, smoothing, pos_weight=pos_weight, class_weight=class_weight)
    dtype = cells.logits.dtype
    terms = F.binary_cross_entropy_with_logits(  # (N, L)
        cells.logits,
        cells.smoothed,
        weight=None if class_weight is None else class_weight.to(dtype),
        pos_weight=None if pos_weight is None else pos_weight.to(dtype),
        reduction="none",
    )
    return reduce_cells(terms, cells.known, reduction)
