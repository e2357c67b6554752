"""Label weights from label frequencies, against imbalance between labels and within one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def neg_pos_ratio(counts: Tensor, rows: int) -> Tensor:
    """Negatives over positives, at least one negative: (L,) -> (L,). As `pos_weight`, both sides weigh alike.

    A label that holds on every row keeps a small weight instead of zero, or it would never be learned.
    """
    return (rows - counts).clamp(min=1) / counts


def neg_pos_sqrt(counts: Tensor, rows: int) -> Tensor:
    """Root of `neg_pos_ratio`: (L,) -> (L,). As `pos_weight`, it lifts rare labels without flooding them."""
    return neg_pos_ratio(counts, rows).sqrt()


def inverse(counts: Tensor, rows: int) -> Tensor:
    """Rows over positives: (L,) -> (L,). Every label's positives weigh alike in sum."""
    return rows / counts


def inverse_sqrt(counts: Tensor, rows: int) -> Tensor:
    """Root of rows over positives: (L,) -> (L,). Halfway, on the log scale, between equal weights and `inverse`."""
    return (rows / counts).sqrt()


def effective_number(counts: Tensor, rows: int, beta: float = 0.999) -> Tensor:
    """(1 - beta) / (1 - beta ** n) for n positives: (L,) -> (L,). Near `inverse` for n << 1 / (1 - beta), flat beyond.

    Reference: Cui et al. 2019, equation 2.
    """
    return (1.0 - beta) / -torch.expm1(counts * torch.tensor(beta, dtype=torch.float64).log())


def class_weights(
    rule: str,
    counts: Sequence[int] | Tensor,
    rows: int,
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
        rows: Training rows N.
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
    positives = torch.as_tensor(counts, dtype=torch.float64)
    _check(rule, positives, rows, cap, beta)
    options = {} if beta is None else {"beta": beta}
    present = positives > 0
    weights = torch.ones_like(positives)
    if present.any():
        seen = CLASS_WEIGHTS[rule](positives[present], rows, **options)
        seen = seen if cap is None else seen.clamp(max=cap)
        weights[present] = seen
        weights[~present] = seen.min()
    return weights * (len(weights) / weights.sum()) if normalize else weights


def _check(rule: str, positives: Tensor, rows: int, cap: float | None, beta: float | None) -> None:
    if rule not in CLASS_WEIGHTS:
        raise ValueError(f"rule: expected one of {', '.join(CLASS_WEIGHTS)}, found {rule!r}. Choose one of them.")
    if positives.ndim != 1 or not len(positives) or not bool(((positives >= 0) & (positives <= rows)).all()):
        found = positives.tolist() if len(positives.shape) == 0 or len(positives) <= 8 else f"{len(positives)} values"
        raise ValueError(
            f"counts: expected shape (L,) with values in [0, {rows}], found {found!r}. Count rows a label holds on."
        )
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
