"""Label weights from label frequencies, against imbalance between labels and within one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def neg_pos_ratio(counts: Tensor, rows: Tensor) -> Tensor:
    """Negatives over positives, at least one negative: (L,) -> (L,). As `pos_weight`, both sides weigh alike.

    A label that holds on every row keeps a small weight instead of zero, or it would never be learned.
    """
    return (rows - counts).clamp(min=1) / counts


def neg_pos_sqrt(counts: Tensor, rows: Tensor) -> Tensor:
    """Root of `neg_pos_ratio`: (L,) -> (L,). As `pos_weight`, it lifts rare labels without flooding them."""
    return neg_pos_ratio(counts, rows).sqrt()


def inverse(counts: Tensor, rows: Tensor) -> Tensor:
    """Rows over positives: (L,) -> (L,). Every label's positives weigh alike in sum."""
    return rows / counts


def inverse_sqrt(counts: Tensor, rows: Tensor) -> Tensor:
    """Root of rows over positives: (L,) -> (L,). Halfway, on the log scale, between equal weights and `inverse`."""
    return (rows / counts).sqrt()


def effective_number(counts: Tensor, rows: Tensor, beta: float = 0.999) -> Tensor:
    """(1 - beta) / (1 - beta ** n) for n positives: (L,) -> (L,). Near `inverse` for n << 1 / (1 - beta), flat beyond.

    Reference: Cui et al. 2019, equation 2.
    """
    return (1.0 - beta) / -torch.expm1(counts * (math.log(beta) if beta else -math.inf))


def class_weights(
    rule: str,
    counts: Sequence[int] | Tensor,
    rows: int | Sequence[int] | Tensor,
    normalize: bool = False,
    cap: float | None = None,
    beta: float | None = None,
) -> Tensor:
    """One weight a label from its number of positives among the training rows.

    A label without a positive gets the smallest weight of the others (1 if there are none): it has only "no" to teach,
    and under `normalize` it must not draw weight away from labels that have positives.

    Args:
        rule: Key of `CLASS_WEIGHTS`.
        counts: Rows on which each label holds, shape (L,).
        rows: Training rows N; or for each label those on which it is known, shape (L,).
        normalize: Scale the weights to a sum of L, after `cap`.
        cap: Largest weight the rule may give.
        beta: Of `effective_number` only, in [0, 1); its default is 0.999.

    Returns:
        Weights above zero, shape (L,), float64.

    Raises:
        ValueError: If the rule is unknown, counts leave [0, rows], or `cap` or `beta` leave their range.

    Example:
        >>> class_weights("inverse", [1, 4, 0], rows=4, normalize=True)
        tensor([2.0000, 0.5000, 0.5000], dtype=torch.float64)
    """
    positives, total = _read_counts(counts, rows)
    _check(rule, cap, beta)
    options = {} if beta is None else {"beta": beta}
    present = positives > 0
    weights = torch.ones_like(positives)
    if present.any():
        seen = CLASS_WEIGHTS[rule](positives[present], total[present], **options)
        seen = seen if cap is None else seen.clamp(max=cap)
        weights[present] = seen
        weights[~present] = seen.min()
    return weights * (len(weights) / weights.sum()) if normalize else weights


def label_frequency(counts: Sequence[int] | Tensor, rows: int | Sequence[int] | Tensor) -> Tensor:
    """Share of the rows that each label holds on, half a row away from 0 and 1: its logit is finite.

    Args:
        counts: Rows on which each label holds, shape (L,).
        rows: Training rows N; or for each label those on which it is known, shape (L,).

    Returns:
        Above 0 and below 1, shape (L,), float64.

    Raises:
        ValueError: If counts leave [0, rows].

    Example:
        >>> label_frequency([0, 1, 4], rows=4)
        tensor([0.1250, 0.2500, 0.8750], dtype=torch.float64)
    """
    positives, total = _read_counts(counts, rows)
    total = total.clamp(min=1)  # a label that is known nowhere
    return positives.clamp(min=0.5).minimum(total - 0.5) / total


def weights_table(
    names: Sequence[str], counts: Sequence[int], rows: int | Sequence[int], weights: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """What each label weighs, in the labels' order, as plain values to print and to store.

    Args:
        names: Of the labels, shape (L,).
        counts: Rows on which each label holds, shape (L,).
        rows: Training rows N; or for each label those on which it is known, shape (L,).
        weights: Vectors of shape (L,) by name.

    Returns:
        For each label `label`, `positives`, `share` (of the rows) and its value in each of the weights.

    Example:
        >>> weights_table(["a", "b"], [1, 3], 4, {"pos_weight": torch.tensor([3.0, 0.5])})[1]
        {'label': 'b', 'positives': 3, 'share': 0.75, 'pos_weight': 0.5}
    """
    positives, total = _read_counts(counts, rows)
    shares = (positives / total.clamp(min=1)).tolist()
    columns = {name: weight.tolist() for name, weight in weights.items()}
    return [
        {
            "label": name,
            "positives": int(counts[label]),
            "share": round(shares[label], 6),
            **{key: round(column[label], 6) for key, column in columns.items()},
        }
        for label, name in enumerate(names)
    ]


def _read_counts(counts: Sequence[int] | Tensor, rows: int | Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
    """Positives and rows of each label, float64, both (L,)."""
    positives = torch.as_tensor(counts, dtype=torch.float64)
    total = torch.as_tensor(rows, dtype=torch.float64)
    fits = positives.ndim == 1 and len(positives) > 0 and total.shape in (torch.Size(), positives.shape)
    if not fits or not bool(((positives >= 0) & (positives <= total)).all()):
        found = positives.tolist() if len(positives.shape) == 0 or len(positives) <= 8 else f"{len(positives)} values"
        most = f"{rows}" if total.ndim == 0 else "the rows of the label"
        raise ValueError(
            f"counts: expected shape (L,) with values in [0, {most}], found {found!r}. Count rows a label holds on."
        )
    return positives, total.expand_as(positives)


def _check(rule: str, cap: float | None, beta: float | None) -> None:
    if rule not in CLASS_WEIGHTS:
        raise ValueError(f"rule: expected one of {', '.join(CLASS_WEIGHTS)}, found {rule!r}. Choose one of them.")
    if cap is not None and not cap > 0:
        raise ValueError(f"cap: expected a number above 0 or None, found {cap!r}. Leave it out for no bound.")
    if beta is not None and rule != "effective_number":
        raise ValueError(f"beta: expected the rule effective_number, found {rule!r}. Leave beta out.")
    if beta is not None and not 0 <= beta < 1:
        raise ValueError(f"beta: expected a number in [0, 1), found {beta!r}. Try 0.999.")


CLASS_WEIGHTS: dict[str, Callable[..., Tensor]] = {
    "neg_pos_ratio": neg_pos_ratio,
    "neg_pos_sqrt": neg_pos_sqrt,
    "inverse": inverse,
    "inverse_sqrt": inverse_sqrt,
    "effective_number": effective_number,
}
