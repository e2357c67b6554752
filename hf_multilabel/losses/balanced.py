"""Losses for long-tailed labels: weights of the effective number of samples, and the distribution-balanced loss."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_multilabel.losses.focal import focal, focal_term
from hf_multilabel.losses.targets import check_option, read_cells, reduce_cells


def class_balanced(
    logits: Tensor,
    targets: Tensor,
    class_weight: Tensor,
    gamma: float = 0.0,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy, or focal loss, whose labels weigh by the inverse of their effective number of samples.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: In [0, 1], or -1 where unknown, shape (N, L).
        class_weight: (1 - beta) / (1 - beta ** n) for n positives, scaled to a sum of L, shape (L,): the weights
            `class_weights("effective_number", counts, rows, normalize=True, beta=beta)`.
        gamma: Exponent of the focal factor, at least 0; 0 is cross-entropy.
        smoothing: Targets become y (1 - smoothing) + smoothing / 2.
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If shapes differ or an option is out of range.

    Reference: Cui et al. 2019, section 4; for several labels a text Huang et al. 2021, section 2.
    """
    return focal(logits, targets, class_weight, gamma=gamma, smoothing=smoothing, reduction=reduction)


def distribution_balanced(
    logits: Tensor,
    targets: Tensor,
    frequency: Tensor,
    map_alpha: float = 0.1,
    map_beta: float = 10.0,
    map_mu: float = 0.2,
    neg_scale: float = 2.0,
    kappa: float = 0.05,
    gamma: float = 2.0,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Focal loss, rebalanced for labels that come together, and tolerant of negatives.

    Rebalanced: a row drawn for one of its labels brings the others along. Label l of a row weighs
    map_alpha + s(map_beta (r_l - map_mu)), where r_l = (1 / f_l) / sum over the row's labels j of (1 / f_j) is how
    often the row would be drawn for l alone, to how often it is drawn. A row without labels is drawn for none: r_l = 1.
    Negative-tolerant: logits are moved to u = z + kappa log(f / (1 - f)), so that a rare label's has to exceed those of
    frequent ones, and -log s(u) stands for a positive, -log(1 - s(neg_scale u)) / neg_scale for a negative, each with
    its focal factor: a negative's gradient fades sooner.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: In [0, 1], or -1 where unknown, shape (N, L).
        frequency: Share f of the training rows that each label holds on, above 0 and below 1, shape (L,).
        map_alpha: Smallest weight, at least 0.
        map_beta: How steeply weights rise with r.
        map_mu: r in the middle of the rise. The authors fit it to the data: 0.9 for Reuters, 0.05 for PubMed with a
            dozen labels a row, 0.2 for COCO.
        neg_scale: Lambda, above 0; 1 treats negatives as positives.
        kappa: How far logits move, at least 0; 0 moves none.
        gamma: Exponent of the focal factor, at least 0; 0 leaves it out.
        smoothing: Targets become y (1 - smoothing) + smoothing / 2, except in r.
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If shapes differ or an option is out of range.

    Reference: Wu et al. 2020, section 3; Huang et al. 2021, section 2.
    """
    for name, value in (("map_alpha", map_alpha), ("map_beta", map_beta), ("kappa", kappa), ("gamma", gamma)):
        check_option(name, value, 0)
    check_option("neg_scale", neg_scale, 0, above=True)
    cells = read_cells(logits, targets, smoothing, frequency=frequency)
    share = frequency.to(cells.logits.dtype)
    moved = cells.logits + kappa * torch.logit(share)  # (N, L)
    positive = focal_term(moved, gamma)
    negative = focal_term(-neg_scale * moved, gamma) / neg_scale
    weight = map_alpha + (map_beta * (_drawn_for_itself(cells.targets, share) - map_mu)).sigmoid()
    terms = weight * (cells.smoothed * positive + (1 - cells.smoothed) * negative)
    return reduce_cells(terms, cells.known, reduction)


def _drawn_for_itself(targets: Tensor, frequency: Tensor) -> Tensor:
    """How often a row is drawn for a label alone, to how often it is drawn: (N, L), (L,) -> (N, L)."""
    drawn = (targets / frequency).sum(dim=1, keepdim=True)  # (N, 1); as a product of matrices autocast would round it
    return torch.where(drawn > 0, frequency.reciprocal() / drawn, 1)
