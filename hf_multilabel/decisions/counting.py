"""Counts and neighbours of scores, dense or kept in part: the only file here that knows how scores are stored.

Dense scores are read in blocks of rows, so that no more than a block is copied; of scores kept in part (`TopScores`)
only those are touched, however many labels there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation import row_chunks
from hf_multilabel.evaluation.scores import Scores, TopScores

_SHIFT = 14  # levels keep sign, exponent and 9 bits of a float32: 1 in 512
LEVELS = (0x3F800000 >> _SHIFT) + 1  # of [0, 1]


@dataclass(frozen=True)
class Pairs:
    """Some (row, label) pairs with their scores, in any order: each (E,)."""

    row: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.floating]
    hit: NDArray[np.bool_]


def scores_of(scores: Scores, held: sparse.csr_array) -> NDArray[np.floating]:
    """Scores of the positives, in their CSR order: (P,).

    Raises:
        ValueError: If a positive's score was not kept.
    """
    rows = np.repeat(np.arange(held.shape[0]), np.diff(held.indptr))
    if not isinstance(scores, TopScores):
        return scores[rows, held.indices]
    place, found = _look_up(_keys(scores.stored), rows * np.int64(held.shape[1]) + held.indices)
    if not found.all():
        missing = np.flatnonzero(~found)[0]
        where = f"row {rows[missing]}, label {held.indices[missing]}"
        raise ValueError(f"probs: expected the scores of all positives, found none at {where}. Keep them all.")
    return scores.stored.data[place]


def pairs_above(scores: Scores, held: sparse.csr_array, least: NDArray[np.floating]) -> Pairs:
    """The pairs with a score of at least their label's `least`: (L,) -> Pairs."""
    width = np.int64(held.shape[1])
    keys, values = [], []
    for start, rows, labels, block in entries(scores, least):
        keys.append((rows + start) * width + labels)
        values.append(block)
    key = np.concatenate(keys)
    hit = np.zeros(len(key), np.bool_)
    place, found = _look_up(key, _keys(held))
    hit[place[found]] = True
    return Pairs(key // width, key % width, np.concatenate(values), hit)


def count_by_label(scores: Scores, cuts: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many scores of each label are at least its cut: (L,) -> (L,)."""
    cut = round_up(cuts, scores.dtype)
    counts = np.zeros(len(cuts), np.int64)
    if isinstance(scores, TopScores):
        labels = scores.stored.indices
        counts += np.bincount(labels[scores.stored.data >= cut[labels]], minlength=len(cuts))
        return np.minimum(counts + unstored_at_least(scores, cuts, by_label=True), scores.shape[0])
    for start, stop in row_chunks(*scores.shape):
        counts += np.count_nonzero(scores[start:stop] >= cut, axis=0)
    return counts


def next_lower(scores: Scores, values: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.floating]:
    """The highest score of each given label below its value, 0 if there is none: (V,), (V,) -> (V,).

    Of scores kept in part one that was not kept may lie there: then the highest floor, or the value if that is lower.
    In a cautious count the highest floor of the rows that do not keep the label.
    """
    below = np.zeros(scores.shape[1], scores.dtype)
    limit = np.zeros(scores.shape[1], scores.dtype)
    limit[labels] = values
    if isinstance(scores, TopScores):
        ids, data = scores.stored.indices, scores.stored.data
        lower = data < limit[ids]
        np.maximum.at(below, ids[lower], data[lower])
        if scores.unstored_at_floor:
            return np.minimum(np.maximum(below[labels], scores.ceiling_by_label[labels]), values)
        return above_floors(scores, values, below[labels])
    few = len(labels) < len(below) / 4
    limit, below = (limit[labels], below[labels]) if few else (limit, below)
    for start, stop in row_chunks(*scores.shape):
        block = scores[start:stop][:, labels] if few else scores[start:stop]
        np.maximum(below, block.max(axis=0, where=block < limit, initial=0), out=below)
    return below if few else below[labels]


def above_floors(scores: Scores, values: NDArray[np.floating], below: NDArray[np.floating]) -> NDArray[np.floating]:
    """What may lie next below each value: the score kept there, or one that was not kept: (V,), (V,) -> (V,)."""
    if not isinstance(scores, TopScores):
        return below
    return np.minimum(np.maximum(below, scores.ceiling), values)


def unstored_at_least(scores: TopScores, values: NDArray[np.floating], by_label: bool) -> NDArray[np.int64]:
    """How many scores that were not kept may be at least each value, of one label or of all; 0 if they count as 0."""
    if not scores.unstored_at_floor:
        return np.zeros(len(values), np.int64)
    order = np.argsort(scores.floor, kind="stable")
    weight = (scores.unstored > 0).astype(np.int64) if by_label else scores.unstored
    lower = np.append(0, np.cumsum(weight[order]))
    return lower[-1] - lower[np.searchsorted(scores.floor[order], values, side="left")]


def level(scores: NDArray[np.floating]) -> NDArray[np.uint32]:
    """A coarse, monotone rank of scores in [0, 1], below LEVELS."""
    bits = np.ascontiguousarray(scores, np.float32).view(np.uint32)
    return (bits & np.uint32(0x7FFFFFFF)) >> np.uint32(_SHIFT)  # -0.0 is 0


def count_levels(scores: Scores) -> NDArray[np.int64]:
    """How many scores stand on each level or a higher one: (LEVELS + 1,)."""
    counts = np.zeros(LEVELS, np.int64)
    for block in _blocks(scores):
        counts += np.bincount(level(block).ravel(), minlength=LEVELS)
    return at_or_above(counts)


def at_or_above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums from each entry to the last, and 0: (V,) -> (V + 1,)."""
    return np.append(np.cumsum(counts[::-1])[::-1], 0)


def scores_between(scores: Scores, low: int, high: int) -> NDArray[np.floating]:
    """All scores from one level to another, both included, ascending."""
    edges = (np.array([low, high + 1], np.uint32) << np.uint32(_SHIFT)).view(np.float32)
    found = []
    for block in _blocks(scores):
        near = block.astype(np.float32, copy=False)
        found.append(block[(near >= edges[0]) & (near < edges[1])])
    return np.sort(np.concatenate(found))


def round_up(cuts: NDArray[np.float64], dtype: np.dtype) -> NDArray[np.floating]:
    """The lowest numbers of a type that are no lower: with them, scores of that type compare as with the cuts."""
    near = cuts.astype(dtype)
    return np.where(near < cuts, np.nextafter(near, dtype.type(np.inf)), near)


def _blocks(scores: Scores) -> Iterator[NDArray[np.floating]]:
    if isinstance(scores, TopScores):
        yield scores.stored.data
        return
    for start, stop in row_chunks(*scores.shape):
        yield scores[start:stop]


def entries(scores: Scores, least: NDArray[np.floating]) -> Iterator[tuple[int, NDArray, NDArray, NDArray]]:
    """Row offset, rows, labels and scores of what is at least `least`, in CSR order."""
    if isinstance(scores, TopScores):
        kept = np.flatnonzero(scores.stored.data >= least[scores.stored.indices])
        row = np.repeat(np.arange(scores.shape[0]), np.diff(scores.stored.indptr))
        yield 0, row[kept], scores.stored.indices[kept], scores.stored.data[kept]
        return
    for start, stop in row_chunks(*scores.shape):
        block = scores[start:stop]
        rows, labels = np.divmod(np.flatnonzero(block >= least), scores.shape[1])
        yield start, rows, labels, block[rows, labels]


def _keys(matrix: sparse.csr_array) -> NDArray[np.int64]:
    """Row and id of each entry as one number, ascending."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return rows * matrix.shape[1] + matrix.indices


def _look_up(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Place of each wanted key among ascending ones, and whether it is there."""
    if not len(keys):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return place, keys[place] == wanted
