"""Asymmetric loss: easy negatives weigh less than easy positives, and very easy ones nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_multilabel.losses.focal import focal_term
from hf_multilabel.losses.targets import check_option, read_cells, reduce_cells


def asymmetric(
    logits: Tensor,
    targets: Tensor,
    class_weight: Tensor | None = None,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Focal loss with an exponent of its own for negatives, whose probabilities are shifted down first.

    A cell's loss is -(1 - p)^gamma_pos log p where the label holds and -q^gamma_neg log(1 - q) where not, with p =
    s(z) and q = max(p - clip, 0). A target y between 0 and 1 mixes the two, y to 1 - y.
    The loss's scale falls with gamma_neg; optimizers that normalise gradients do not mind, plain SGD does.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: In [0, 1], or -1 where unknown, shape (N, L).
        class_weight: Weight of a label's whole term, shape (L,).
        gamma_pos: Exponent of positives, at least 0.
        gamma_neg: Exponent of negatives, at least 0.
        clip: Probability in [0, 1) up to which a negative costs nothing ("m" in the paper).
        smoothing: Targets become y (1 - smoothing) + smoothing / 2.
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If shapes differ or an option is out of range.

    Example:
        >>> asymmetric(torch.tensor([[0.0, -3.0]]), torch.tensor([[1.0, 0.0]]), reduction="rows")
        tensor([0.3466])

    Reference: Ridnik et al. 2021, section 2; the defaults are those of the authors' training script.
    """
    check_option("gamma_pos", gamma_pos, 0)
    check_option("gamma_neg", gamma_neg, 0)
    check_option("clip", clip, 0, below=1)
    cells = read_cells(logits, targets, smoothing, class_weight=class_weight)
    terms = cells.smoothed * focal_term(cells.logits, gamma_pos)  # (N, L)
    terms = terms + (1 - cells.smoothed) * _negative_term(cells.logits, gamma_neg, clip)
    if class_weight is not None:
        terms = terms * class_weight.to(terms.dtype)
    return reduce_cells(terms, cells.known, reduction)


def _negative_term(logits: Tensor, gamma: float, clip: float) -> Tensor:
    """-q^gamma log(1 - q), elementwise."""
    if not clip:
        return focal_term(-logits, gamma)  # exact where 1 - p rounds to 0
    probs = logits.sigmoid()
    # kept off 0, where the gradient of a power below 1 is infinite; those cells are set to 0 anyway
    shifted = (probs - clip).clamp(min=torch.finfo(probs.dtype).tiny)
    return torch.where(probs > clip, shifted.pow(gamma) * -torch.log1p(-shifted), 0)
