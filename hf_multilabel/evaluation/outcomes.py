"""One set of scores, decisions and truths, checked once, with the counts that the metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.evaluation.frequency import split_by_frequency
from hf_multilabel.evaluation.ranks import Ranks, count_at_least, rank_positives
from hf_multilabel.evaluation.scores import TopScores
from hf_multilabel.evaluation.slots import count_slots, share_slots


def as_scores(values: Any, where: str, other: type[np.floating] = np.float32) -> NDArray[np.floating]:
    """Numbers of all texts and labels as a float32 or float64 array, uncopied where they are one.

    Args:
        values: Array, tensor or nested lists, shape (N, L).
        where: Their name in messages.
        other: What numbers of another type become.

    Raises:
        ValueError: If some are not given (sparse, `TopScores`), one is no number, or the shape is not (N, L) with
            N, L > 0.
    """
    if sparse.issparse(values):  # what is not stored there: 0, or not known?
        raise ValueError(
            f"{where}: expected an array or tensor of all scores, found a sparse matrix of shape {np.shape(values)}. "
            f"Pass {where}.toarray(), or to a fit of cuts TopScores with the floor of what is not stored."
        )
    if isinstance(values, TopScores):
        raise ValueError(
            f"{where}: expected an array or tensor of all scores, found TopScores, which keep a part. Pass all; "
            "without calibration or promise, cuts can be fitted to a part: fit_thresholds, fit_decision."
        )
    if isinstance(values, torch.Tensor):
        kept = values.dtype in (torch.float32, torch.float64)
        values = values.detach().cpu() if kept else values.detach().cpu().float()
    scores = _as_array(values, where, "numbers of shape (N, L)", "Pass one row a text, one number a label.")
    if scores.dtype.kind not in "fiub":
        raise ValueError(f"{where}: expected numbers of shape (N, L), found {scores.dtype}. Pass one row a text.")
    scores = scores if scores.dtype in (np.float32, np.float64) else scores.astype(other)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"{where}: expected shape (N, L), not empty, found {scores.shape}. Pass one row a text.")
    return scores


def as_probabilities(probs: ArrayLike | torch.Tensor) -> NDArray[np.floating]:
    """Probabilities as a float32 or float64 array, uncopied where they are one.

    Raises:
        ValueError: As `as_scores`, or if a value is NaN or outside [0, 1].
    """
    scores = as_scores(probs, "probs")
    low, high = scores.min(), scores.max()
    if not (low >= 0 and high <= 1):  # NaN fails both
        row, label = np.argwhere(~((scores >= 0) & (scores <= 1)))[0]
        found = f"{low} to {high}, the first outside" if low < high else f"{scores[row, label]}"
        raise ValueError(
            f"probs: expected values in [0, 1], found {found} at row {row}, label {label}. Pass probabilities, for "
            "instance the sigmoid of finite logits."
        )
    return scores


def as_label_sets(values: Any, shape: tuple[int, ...], where: str) -> sparse.csr_array:
    """0/1 values, dense or sparse, array or tensor, as a canonical boolean CSR matrix.

    Raises:
        ValueError: If rows differ in length, the shape differs from `shape` or a value is neither 0 nor 1.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().to_dense()
        values = (values.float() if values.is_floating_point() else values).numpy()  # numpy knows no bfloat16
    if np.ma.is_masked(values):
        raise ValueError(f"{where}: expected 0 or 1 everywhere, found masked values. Leave those rows or labels out.")
    step = f"Lists of names become that by MultiLabelBinarizer(classes=labels).fit_transform({where}) of scikit-learn."
    held = values.tocsr() if sparse.issparse(values) else _as_array(values, where, f"0 or 1 of shape {shape}", step)
    if held.shape != tuple(shape):
        raise ValueError(f"{where}: expected shape {tuple(shape)}, found {held.shape}. Align rows and labels.")
    data = np.asarray(held.data) if sparse.issparse(held) else held
    if data.dtype != np.bool_ and not ((data == 0) | (data == 1)).all():
        raise ValueError(f"{where}: expected 0 or 1, found {_first_other(held)}. Pass label sets.")
    sets = sparse.csr_array(held.astype(bool, copy=False))
    if sets.has_canonical_format and sets.data.all():
        return sets
    sets = sets.copy()
    sets.eliminate_zeros()
    sets.sum_duplicates()
    return sets


def _as_array(values: Any, where: str, expected: str, step: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:  # what numpy says of it is about its own inside
        raise ValueError(f"{where}: expected {expected}, found rows of different lengths. {step}") from None


def _first_other(held: Any) -> str:
    """The first value that is neither 0 nor 1, with its place."""
    found = held.tocoo() if sparse.issparse(held) else None
    data = held.ravel() if found is None else found.data
    first = np.flatnonzero((data != 0) & (data != 1))[0]
    row, label = np.unravel_index(first, held.shape) if found is None else (found.row[first], found.col[first])
    return f"{data[first]} at row {row}, label {label}"


# Depths of which the slots are counted in one pass: asking for k = 1, 3, 5 in turn costs one.
SLOTS = 8


@dataclass(frozen=True)
class Counts:
    """Label pairs that were right, predicted and true: one entry a label (L,) or a row (N,); (B, L) for B resamples."""

    true_positive: NDArray[Any]
    predicted: NDArray[Any]
    positive: NDArray[Any]

    def __getitem__(self, labels: NDArray[np.int64]) -> Counts:
        """The counts of some labels."""
        return Counts(self.true_positive[..., labels], self.predicted[..., labels], self.positive[..., labels])


@dataclass(frozen=True)
class PooledRanks:
    """Where the positives stand among the scores of all rows and labels: one entry a distinct score of a positive.

    Args:
        positives: Positives with this score, (V,).
        at_least: Scores as high or higher, (V,).
        above: Higher scores, (V,).
    """

    positives: NDArray[np.int64]
    at_least: NDArray[np.int64]
    above: NDArray[np.int64]


def as_label_counts(label_counts: Any, rows: int | None, labels: int) -> NDArray[np.int64]:
    """Training texts of each label as whole numbers, checked.

    Raises:
        ValueError: If there is not one count a label, a count is negative or above `rows`, or `rows` is missing.
    """
    counts = np.asarray(label_counts)
    if counts.shape != (labels,) or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ValueError(
            f"label_counts: expected {labels} whole numbers >= 0, found {counts.dtype} of shape {counts.shape}. "
            "Give the training texts of each label."
        )
    if rows is None or rows < max(1, counts.max()):
        raise ValueError(
            f"rows: expected the number of training texts, at least {max(1, counts.max())}, found {rows!r}. "
            "Give it beside label_counts."
        )
    return counts.astype(np.int64)


class Outcome:
    """What a model said about N texts and L labels, and what was true. The metrics are functions of it.

    Args:
        probs: Probabilities, shape (N, L); None where only decisions are measured.
        predictions: Decided label sets, dense or CSR, shape (N, L).
        targets: True label sets, dense or CSR, shape (N, L).
        label_counts: Training texts of each label, shape (L,); None where nothing asks for them.
        rows: Number of training texts, beside `label_counts`.

    Raises:
        ValueError: If shapes differ, probabilities leave [0, 1], label sets hold anything but 0 and 1, or the counts
            do not fit the labels.
    """

    # False where not all scores of a label are known: what needs them (`curves.ALL_SCORES`) then has no value.
    complete = True

    def __init__(
        self, probs: Any, predictions: Any, targets: Any, label_counts: Any = None, rows: int | None = None
    ) -> None:
        self._probs = None if probs is None else as_probabilities(probs)
        shape = np.shape(targets) if self._probs is None else self._probs.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"targets: expected shape (N, L), not empty, found {shape}. Pass one row a text.")
        self.predictions = as_label_sets(predictions, shape, "predictions")
        self.targets = as_label_sets(targets, shape, "targets")
        self.rows, self.labels = shape
        self.label_counts = None if label_counts is None else as_label_counts(label_counts, rows, self.labels)
        self.training_rows = rows
        self._slots = np.zeros((0, self.labels))

    @property
    def probs(self) -> NDArray[np.floating]:
        """The probabilities, (N, L).

        Raises:
            ValueError: If there are none.
        """
        if self._probs is None:
            raise ValueError("probs: expected probabilities of shape (N, L), found None. Only decisions were given.")
        return self._probs

    @cached_property
    def hits(self) -> sparse.csr_array:
        """The predicted labels that are true, CSR, (N, L)."""
        return sparse.csr_array(self.predictions.multiply(self.targets))

    @cached_property
    def by_label(self) -> Counts:
        """Counts per label, (L,)."""
        held = (self.hits, self.predictions, self.targets)
        return Counts(*(np.bincount(sets.indices[: sets.nnz], minlength=self.labels) for sets in held))

    @cached_property
    def by_row(self) -> Counts:
        """Counts per row, (N,)."""
        return Counts(*(np.diff(sets.indptr).astype(np.int64) for sets in (self.hits, self.predictions, self.targets)))

    @cached_property
    def row_ranks(self) -> Ranks:
        """Where each true label stands among the scores of its row."""
        return rank_positives(self.probs, self.targets)

    @cached_property
    def label_ranks(self) -> Ranks:
        """Where each true row stands among the scores of its label."""
        return rank_positives(self.probs.T, self.targets.T.tocsr())

    @cached_property
    def pooled_ranks(self) -> PooledRanks:
        """Where each true pair stands among the scores of all pairs."""
        values, positives = np.unique(self.row_ranks.score, return_counts=True)
        return PooledRanks(positives, *count_at_least(self.probs, values))

    @cached_property
    def _parts(self) -> dict[str, NDArray[np.int64]]:
        return split_by_frequency(self.label_counts)

    def part(self, name: str) -> NDArray[np.int64]:
        """Ids of the `head`, `torso` or `tail` labels by training frequency; needs `label_counts`."""
        return self._parts[name]

    def given_slots(self, k: int) -> NDArray[np.float64] | None:
        """In how many rows each label is among the k highest scores, (L,); None where that is not known."""
        if k > len(self._slots):
            self._slots = count_slots(self.probs, min(max(k, SLOTS), self.labels))
        return self._slots[k - 1]

    def row_slots(self, k: int) -> sparse.csr_array | None:
        """What share of a slot each label has among a row's k highest scores, CSR (N, L); None if not known."""
        return share_slots(self.probs, k)


def check_outcome(run: Any, where: str = "outcome") -> None:
    """Refuse arrays in the place of an outcome.

    Raises:
        ValueError: If it is none.
    """
    if not isinstance(run, Outcome):
        step = "Pass Outcome(probs, predictions, targets)"
        raise ValueError(f"{where}: expected an Outcome, found {type(run).__name__}. {step}.")
