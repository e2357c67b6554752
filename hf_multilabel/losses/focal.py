"""Focal loss: cells that are decided already weigh less."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hf_multilabel.losses.targets import check_option, read_cells, reduce_cells


def focal(
    logits: Tensor,
    targets: Tensor,
    class_weight: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float | None = None,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy times (1 - p_t)^gamma, p_t the probability given to the truth.

    A cell's loss is -a (1 - p)^gamma log p where the label holds and -(1 - a) p^gamma log(1 - p) where not, with p =
    s(z) and a `alpha`; without alpha both factors are 1. A target y between 0 and 1 mixes the two, y to 1 - y.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: In [0, 1], or -1 where unknown, shape (N, L).
        class_weight: Weight of a label's whole term, shape (L,).
        gamma: At least 0; 0 is binary cross-entropy.
        alpha: Weight of positives in (0, 1), 1 - alpha that of negatives; None weighs neither.
        smoothing: Targets become y (1 - smoothing) + smoothing / 2.
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If shapes differ or an option is out of range.

    Example:
        >>> import torch
        >>> focal(torch.tensor([[0.0]]), torch.tensor([[1.0]]), gamma=1.0)
        tensor(0.3466)

    Reference: Lin et al. 2017, equations 4 and 5.
    """
    check_option("gamma", gamma, 0)
    if alpha is not None:
        check_option("alpha", alpha, 0, below=1, above=True)
    cells = read_cells(logits, targets, smoothing, class_weight=class_weight)
    positive, negative = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    terms = positive * cells.smoothed * focal_term(cells.logits, gamma)  # (N, L)
    terms = terms + negative * (1 - cells.smoothed) * focal_term(-cells.logits, gamma)
    if class_weight is not None:
        terms = terms * class_weight.to(terms.dtype)
    return reduce_cells(terms, cells.known, reduction)


def focal_term(logits: Tensor, gamma: float) -> Tensor:
    """-(1 - s(z))^gamma log s(z), elementwise; of -z it is the term of a negative.

    The power is taken in logarithms: at 1 - s(z) = 0 the gradient of a power below 1 would be infinite.
    """
    return -(gamma * F.logsigmoid(-logits)).exp() * F.logsigmoid(logits)
