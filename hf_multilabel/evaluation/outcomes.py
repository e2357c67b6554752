"""One set of scores, decisions and truths, checked once, with the counts that the metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.evaluation.ranks import Ranks, rank_positives


def as_probabilities(probs: ArrayLike | torch.Tensor) -> NDArray[np.floating]:
    """Probabilities as a float32 or float64 array, uncopied where they are one.

    Raises:
        ValueError: If the shape is not (N, L) with N, L > 0, or a value is NaN or outside [0, 1].
    """
    if isinstance(probs, torch.Tensor):
        kept = probs.dtype in (torch.float32, torch.float64)
        probs = probs.detach().cpu() if kept else probs.detach().cpu().float()
    scores = np.asarray(probs)
    scores = scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float32)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"probs: expected shape (N, L), not empty, found {scores.shape}. Pass one row a text.")
    low, high = scores.min(), scores.max()
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise ValueError(
            f"probs: expected values in [0, 1], found {low} to {high}. Pass probabilities, for instance the "
            "sigmoid of finite logits."
        )
    return scores


def as_label_sets(values: Any, shape: tuple[int, ...], where: str) -> sparse.csr_array:
    """0/1 values, dense or sparse, array or tensor, as a canonical boolean CSR matrix.

    Raises:
        ValueError: If the shape differs from `shape` or a value is neither 0 nor 1.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    held = values.tocsr() if sparse.issparse(values) else np.asarray(values)
    if held.shape != tuple(shape):
        raise ValueError(f"{where}: expected shape {tuple(shape)}, found {held.shape}. Align rows and labels.")
    data = np.asarray(held.data) if sparse.issparse(held) else held
    if data.dtype != np.bool_ and not ((data == 0) | (data == 1)).all():
        raise ValueError(f"{where}: expected 0 or 1, found {data[(data != 0) & (data != 1)][0]!r}. Pass label sets.")
    sets = sparse.csr_array(held.astype(bool, copy=False))
    if sets.has_canonical_format and sets.data.all():
        return sets
    sets = sets.copy()
    sets.eliminate_zeros()
    sets.sum_duplicates()
    return sets


@dataclass(frozen=True)
class Counts:
    """Label pairs that were right, wrong and missed: one entry a label (L,) or a row (N,)."""

    true_positive: NDArray[np.int64]
    predicted: NDArray[np.int64]
    positive: NDArray[np.int64]


class Outcome:
    """What a model said about N texts and L labels, and what was true. The metrics are functions of it.

    Args:
        probs: Probabilities, shape (N, L).
        predictions: Decided label sets, dense or CSR, shape (N, L).
        targets: True label sets, dense or CSR, shape (N, L).

    Raises:
        ValueError: If shapes differ, probabilities leave [0, 1], or label sets hold anything but 0 and 1.
    """

    def __init__(self, probs: Any, predictions: Any, targets: Any) -> None:
        self.probs = as_probabilities(probs)
        self.predictions = as_label_sets(predictions, self.probs.shape, "predictions")
        self.targets = as_label_sets(targets, self.probs.shape, "targets")
        self.rows, self.labels = self.probs.shape

    @cached_property
    def _hits(self) -> sparse.csr_array:
        return sparse.csr_array(self.predictions.multiply(self.targets))

    @cached_property
    def by_label(self) -> Counts:
        """Counts per label, (L,)."""
        held = (self._hits, self.predictions, self.targets)
        return Counts(*(np.bincount(sets.indices[: sets.nnz], minlength=self.labels) for sets in held))

    @cached_property
    def by_row(self) -> Counts:
        """Counts per row, (N,)."""
        return Counts(*(np.diff(sets.indptr).astype(np.int64) for sets in (self._hits, self.predictions, self.targets)))

    @cached_property
    def row_ranks(self) -> Ranks:
        """Where each true label stands among the scores of its row."""
        return rank_positives(self.probs, self.targets)

    @cached_property
    def label_ranks(self) -> Ranks:
        """Where each true row stands among the scores of its label."""
        return rank_positives(self.probs.T, self.targets.T.tocsr())
