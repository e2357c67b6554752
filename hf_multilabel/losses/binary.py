"""Binary cross-entropy over independent labels, plain and weighted, and the way from a name to a ready loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_multilabel.losses.weights import class_weights as solve_weights


def bce(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy, the mean over labels: -[y log s(z) + (1 - y) log(1 - s(z))], s the sigmoid.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: 1.0 where the label holds, else 0.0, shape (N, L).
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows". Never infinite for finite logits.

    Raises:
        ValueError: If shapes differ or the reduction is unknown.

    Example:
        >>> bce(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
        tensor(0.6931)
    """
    return weighted_bce(logits, targets, reduction=reduction)


def weighted_bce(
    logits: Tensor,
    targets: Tensor,
    pos_weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy with weights on a label's positives, on its whole term, or both.

    A row's loss is mean over l of c_l * -[p_l y_l log s(z_l) + (1 - y_l) log(1 - s(z_l))], with p `pos_weight`
    and c `class_weight`. The mean divides by L, not by the sum of weights: weights that sum to L keep the loss's scale.

    Args:
        logits: Any float dtype, shape (N, L); computed in float32 at least.
        targets: 1.0 where the label holds, else 0.0, shape (N, L).
        pos_weight: Weight of the positive term, shape (L,); above 1 raises recall.
        class_weight: Weight of a label's whole term, shape (L,).
        reduction: "mean" over rows, or "rows" for one loss a row.

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If shapes differ or the reduction is unknown.
    """
    if logits.shape != targets.shape or logits.ndim != 2:
        raise ValueError(
            f"loss: expected logits and targets of one shape (N, L), found {tuple(logits.shape)} and "
            f"{tuple(targets.shape)}. Give every label a column in both."
        )
    if reduction not in ("mean", "rows"):
        raise ValueError(f"reduction: expected mean or rows, found {reduction!r}. Choose one of them.")
    for name, weight in (("pos_weight", pos_weight), ("class_weight", class_weight)):
        if weight is not None and weight.shape != logits.shape[1:]:
            raise ValueError(
                f"{name}: expected shape ({logits.shape[1]},), found {tuple(weight.shape)}. Give one weight a label."
            )
    # half precision rounds the log-sigmoid of a confident logit to zero
    dtype = torch.promote_types(logits.dtype, torch.float32)
    terms = F.binary_cross_entropy_with_logits(  # (N, L)
        logits.to(dtype),
        targets.to(dtype),
        weight=None if class_weight is None else class_weight.to(dtype),
        pos_weight=None if pos_weight is None else pos_weight.to(dtype),
        reduction="none",
    )
    return terms.mean() if reduction == "mean" else terms.mean(dim=1)


class WeightedLoss:
    """A loss of `LOSSES` together with its weights, called as `loss(logits, targets) -> (N,)`, one loss a row.

    The weights follow the logits to their device. They are no model buffers: saving or casting the model leaves them
    alone.
    """

    def __init__(self, function: Callable[..., Tensor], weights: Mapping[str, Tensor]) -> None:
        self.function = function
        self.weights = dict(weights)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """One loss a row: (N, L), (N, L) -> (N,)."""
        self.weights = {name: weight.to(logits.device) for name, weight in self.weights.items()}
        return self.function(logits, targets, reduction="rows", **self.weights)


def build_loss(
    name: str,
    counts: Sequence[int],
    rows: int,
    pos_weight: Mapping[str, Any] | None = None,
    class_weights: Mapping[str, Any] | None = None,
) -> WeightedLoss:
    """The loss a recipe names, its weights computed from the training labels.

    Args:
        name: Key of `LOSSES`.
        counts: Training rows on which each label holds, shape (L,).
        rows: Training rows N.
        pos_weight: `rule` and what else `class_weights` takes (`cap`, `normalize`, `beta`), for the positive term.
        class_weights: The same for a label's whole term.

    Returns:
        A callable (logits (N, L), targets (N, L)) -> (N,).

    Raises:
        ValueError: If the loss is unknown, takes no weights but is given some, or a weight rule is wrong.

    Example:
        >>> loss = build_loss("weighted_bce", [2, 1], rows=4, pos_weight={"rule": "neg_pos_ratio", "cap": 10.0})
        >>> loss(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
        tensor([1.3863])
    """
    if name not in LOSSES:
        raise ValueError(f"loss.name: expected one of {', '.join(LOSSES)}, found {name!r}. Choose one of them.")
    given = {"pos_weight": pos_weight, "class_weight": class_weights}
    weights = {
        key: solve_weights(counts=counts, rows=rows, **_rule(key, rule)).float()
        for key, rule in given.items()
        if rule is not None
    }
    if weights and name == "bce":
        raise ValueError(f"loss.name: expected weighted_bce for {', '.join(weights)}, found 'bce'. Name weighted_bce.")
    return WeightedLoss(LOSSES[name], weights)


def _rule(key: str, rule: Mapping[str, Any]) -> Mapping[str, Any]:
    if "rule" not in rule or set(rule) - {"rule", "normalize", "cap", "beta"}:
        raise ValueError(
            f"loss.{key}: expected rule and at most normalize, cap and beta, found {', '.join(rule) or 'nothing'}. "
            f"Write for instance {{rule: inverse_sqrt}}."
        )
    return rule


LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": bce,
    "weighted_bce": weighted_bce,
}
