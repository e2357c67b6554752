"""What targets may say, and what every loss makes of it: 0 to 1, unknown, smoothed; the mean over the known labels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

UNKNOWN = -1.0


class Cells(NamedTuple):
    """Logits and targets of a batch as the losses compute with them.

    Args:
        logits: float32 at least, shape (N, L).
        targets: In [0, 1], not smoothed, 0 where unknown; shape (N, L).
        smoothed: `targets` after smoothing.
        known: Where a target says anything, bool, shape (N, L).
    """

    logits: Tensor
    targets: Tensor
    smoothed: Tensor
    known: Tensor


def read_cells(logits: Tensor, targets: Tensor, smoothing: float, **label_vectors: Tensor | None) -> Cells:
    """Check a batch and make it ready for a loss.

    Half precision is left behind: it rounds the log-sigmoid of a confident logit to zero.
    Smoothing by e moves targets to y (1 - e) + e / 2: each label is its own question with two answers.

    Args:
        logits: Any float dtype, shape (N, L).
        targets: 1 where the label holds, 0 where not, between them where that is a probability, -1 where it is
            unknown; shape (N, L). Values are not checked, for that would make every step wait for the device.
        smoothing: e in [0, 1).
        **label_vectors: What the loss takes of shape (L,), by the name to say it with; None is not checked.

    Raises:
        ValueError: If shapes or smoothing are not as above.
    """
    if logits.shape != targets.shape or logits.ndim != 2:
        raise ValueError(
            f"loss: expected logits and targets of one shape (N, L), found {tuple(logits.shape)} and "
            f"{tuple(targets.shape)}. Give every label a column in both."
        )
    check_option("smoothing", smoothing, 0, below=1)
    for name, vector in label_vectors.items():
        if vector is not None and vector.shape != logits.shape[1:]:
            raise ValueError(
                f"{name}: expected shape ({logits.shape[1]},), found {tuple(vector.shape)}. Give one number a label."
            )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    known = targets >= 0
    plain = targets.to(dtype).clamp(min=0)
    smoothed = plain * (1 - smoothing) + smoothing / 2 if smoothing else plain
    return Cells(logits.to(dtype), plain, smoothed, known)


def reduce_cells(cells: Tensor, known: Tensor, reduction: str) -> Tensor:
    """Mean over the known labels of each row, and over the rows for "mean".

    A row without a known label has loss 0 and still counts as a row: the trainer divides by rows.

    Args:
        cells: Loss of each label, shape (N, L).
        known: Where it counts, shape (N, L).
        reduction: "mean" or "rows".

    Returns:
        Scalar, or shape (N,) for "rows".

    Raises:
        ValueError: If the reduction is unknown.

    Example:
        >>> reduce_cells(torch.tensor([[1.0, 3.0]]), torch.tensor([[True, False]]), "rows")
        tensor([1.])
    """
    rows = torch.where(known, cells, 0).sum(dim=1) / known.sum(dim=1).clamp(min=1)  # (N,)
    return reduce_rows(rows, reduction)


def reduce_rows(rows: Tensor, reduction: str) -> Tensor:
    """The rows' losses, or their mean.

    Raises:
        ValueError: If the reduction is unknown.
    """
    if reduction not in ("mean", "rows"):
        raise ValueError(f"reduction: expected mean or rows, found {reduction!r}. Choose one of them.")
    return rows.mean() if reduction == "mean" else rows


def check_option(name: str, value: float, at_least: float, *, below: float | None = None, above: bool = False) -> None:
    """Refuse an option of a loss outside its range.

    Args:
        name: As the recipe spells it.
        value: What was given.
        at_least: Smallest value.
        below: Bound that is not reached itself; None: none.
        above: The smallest value is not allowed itself.

    Raises:
        ValueError: If it is outside, or NaN.
    """
    low = value > at_least if above else value >= at_least
    if low and (below is None or value < below):
        return
    word = "above" if above else "at least"
    bound = "" if below is None else f" and below {below}"
    raise ValueError(f"{name}: expected a number {word} {at_least}{bound}, found {value!r}. Correct the value.")
