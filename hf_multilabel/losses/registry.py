"""From a loss's name to a ready loss: its options checked, its weights computed from the training labels."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_multilabel.losses.asymmetric import asymmetric
from hf_multilabel.losses.balanced import class_balanced, distribution_balanced
from hf_multilabel.losses.binary import bce, weighted_bce
from hf_multilabel.losses.focal import focal
from hf_multilabel.losses.weights import class_weights as solve_weights
from hf_multilabel.losses.weights import label_frequency
from hf_multilabel.losses.zlpr import zlpr

# Parameters of a loss that are no options: the batch, and vectors that come from the training labels.
BATCH = ("logits", "targets", "reduction")
VECTORS = ("pos_weight", "class_weight", "frequency")


class WeightedLoss:
    """A loss of `LOSSES` with its weights and options, called as `loss(logits, targets) -> (N,)`, one loss a row.

    The weights follow the logits to their device. They are no model buffers: saving or casting the model leaves them
    alone.

    Args:
        function: (logits, targets, weights and options by name) to one loss a row.
        weights: Vectors of shape (L,) by parameter: `pos_weight`, `class_weight`, `frequency`.
        options: The other parameters that differ from their defaults.
    """

    def __init__(
        self, function: Callable[..., Tensor], weights: Mapping[str, Tensor], options: Mapping[str, Any] | None = None
    ) -> None:
        self.function = function
        self.weights = dict(weights)
        self.options = dict(options or {})

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """One loss a row: (N, L), (N, L) -> (N,)."""
        self.weights = {name: weight.to(logits.device) for name, weight in self.weights.items()}
        return self.function(logits, targets, reduction="rows", **self.weights, **self.options)


def build_loss(
    name: str,
    counts: Sequence[int] | Tensor,
    rows: int | Sequence[int] | Tensor,
    pos_weight: Mapping[str, Any] | None = None,
    class_weights: Mapping[str, Any] | None = None,
    **options: Any,
) -> WeightedLoss:
    """The loss a recipe names, its weights computed from the training labels.

    Args:
        name: Key of `LOSSES`.
        counts: Training rows on which each label holds, shape (L,).
        rows: Training rows N; or for each label those on which it is known, shape (L,).
        pos_weight: `rule` and what else `class_weights` takes (`cap`, `normalize`, `beta`), for the positive term.
        class_weights: The same for a label's whole term.
        **options: What the loss takes besides, see `loss_options`.

    Returns:
        A callable (logits (N, L), targets (N, L)) -> (N,).

    Raises:
        ValueError: If the loss is unknown, does not take a weight or option it is given, or one is out of range.

    Example:
        >>> loss = build_loss("weighted_bce", [2, 1], rows=4, pos_weight={"rule": "neg_pos_ratio", "cap": 10.0})
        >>> loss(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
        tensor([1.3863])
        >>> build_loss("asymmetric", [2, 1], rows=4, gamma_neg=2.0).options
        {'gamma_neg': 2.0}
    """
    if name not in LOSSES:
        raise ValueError(f"loss.name: expected one of {', '.join(LOSSES)}, found {name!r}. Choose one of them.")
    _check_options(name, options)
    given = {"pos_weight": pos_weight, "class_weights": class_weights}
    rules = {key: _rule(key, rule) for key, rule in given.items() if rule is not None}
    refused = [key for key in rules if key not in loss_weights(name)]
    if refused:
        taking = [other for other in LOSSES if set(refused) <= set(loss_weights(other))]
        raise ValueError(
            f"loss.name: expected a loss that takes {' and '.join(refused)}, found {name!r}. "
            f"Write {' or '.join(taking)}, or remove the weights."
        )
    if name == "class_balanced":  # Cui's rule is the loss; only its beta is free
        rules["class_weights"] = {"rule": "effective_number", "normalize": True, "beta": options.pop("beta", None)}
    weights = {
        key.removesuffix("s"): solve_weights(counts=counts, rows=rows, **rule).float() for key, rule in rules.items()
    }
    if "frequency" in inspect.signature(LOSSES[name]).parameters:
        weights["frequency"] = label_frequency(counts, rows).float()
    loss = WeightedLoss(LOSSES[name], weights, options)
    empty = torch.zeros(1, len(counts))
    loss(empty, empty)  # options out of range are found here, not in the first step
    return loss


def loss_options(name: str) -> list[str]:
    """Options that a loss takes, in its order; `beta` of class_balanced is that of its weights.

    Example:
        >>> loss_options("class_balanced")
        ['gamma', 'smoothing', 'beta']
    """
    found = [key for key in inspect.signature(LOSSES[name]).parameters if key not in BATCH + VECTORS]
    return [*found, "beta"] if name == "class_balanced" else found


def loss_weights(name: str) -> list[str]:
    """Weights that a recipe can give a loss a rule for: `pos_weight`, `class_weights`, both or none.

    Example:
        >>> loss_weights("focal")
        ['class_weights']
    """
    if name == "class_balanced":
        return []
    parameters = inspect.signature(LOSSES[name]).parameters
    return [key for key in ("pos_weight", "class_weights") if key.removesuffix("s") in parameters]


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    known = loss_options(name)
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            fix = f"Write {near[0]}" if near else "Remove it"
            raise ValueError(f"loss.{key}: expected an option of {name} ({', '.join(known)}), found {key!r}. {fix}.")


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
    "focal": focal,
    "asymmetric": asymmetric,
    "class_balanced": class_balanced,
    "distribution_balanced": distribution_balanced,
    "zlpr": zlpr,
}
