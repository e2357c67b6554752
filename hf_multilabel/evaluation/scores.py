"""Scores of many labels kept in part: the positives' and the highest of each row, and a bound for all others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


@dataclass(frozen=True)
class TopScores:
    """Some probabilities of an (N, L) matrix, and for each row a floor that no other one of its scores exceeds.

    A count of scores at or above a cut is exact where the cut lies above the floors, and too low elsewhere; with
    `unstored_at_floor` it is too high there instead.

    Args:
        stored: Kept probabilities, every positive's among them, (N, L); explicit zeros are kept scores too.
        floor: At least as high as every score of the row that is not kept, (N,).
        unstored_at_floor: Count scores that are not kept as if each stood at its row's floor, not at 0.

    Raises:
        ValueError: If the floors are not one a row, or a value leaves [0, 1].
    """

    stored: sparse.csr_array
    floor: NDArray[np.floating]
    unstored_at_floor: bool = False

    def __post_init__(self) -> None:
        if self.floor.shape != self.stored.shape[:1]:
            raise ValueError(
                f"floor: expected shape ({self.stored.shape[0]},), found {self.floor.shape}. Pass one number a row."
            )
        if not self.stored.has_canonical_format:
            raise ValueError("stored: expected sorted ids without repeats, found others. Call sum_duplicates().")
        for where, values in (("stored", self.stored.data), ("floor", self.floor)):
            if values.size and not (values.min() >= 0 and values.max() <= 1):  # NaN fails both
                found = f"{values.min()} to {values.max()}"
                raise ValueError(f"{where}: expected values in [0, 1], found {found}. Pass probabilities.")

    @classmethod
    def of(cls, probs: NDArray[np.floating], targets: Any, k: int) -> TopScores:
        """The k highest scores of each row and those of its positives: (N, L) -> N k + P scores at most.

        Raises:
            ValueError: If shapes differ.

        Example:
            >>> TopScores.of(np.array([[0.9, 0.1, 0.4]]), sparse.csr_array([[False, True, False]]), 1).floor
            array([0.4])
        """
        rows, labels = probs.shape
        kept = np.array(targets.toarray() if sparse.issparse(targets) else targets, bool)
        if kept.shape != probs.shape:
            raise ValueError(f"targets: expected shape {probs.shape}, found {kept.shape}. Align rows and labels.")
        np.put_along_axis(kept, np.argpartition(-probs, min(k, labels) - 1, axis=1)[:, :k], True, axis=1)
        indptr = np.append(0, np.cumsum(kept.sum(axis=1)))
        stored = sparse.csr_array((probs[kept], np.nonzero(kept)[1], indptr), shape=(rows, labels))
        return cls(stored, np.where(kept, 0, probs).max(axis=1, initial=0))

    @property
    def shape(self) -> tuple[int, int]:
        """Texts and labels: (N, L)."""
        return self.stored.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the kept scores."""
        return self.stored.dtype

    @cached_property
    def unstored(self) -> NDArray[np.int64]:
        """Scores of each row that are not kept: (N,)."""
        return self.shape[1] - np.diff(self.stored.indptr).astype(np.int64)

    @cached_property
    def ceiling(self) -> float:
        """The highest floor of a row with scores that are not kept; below 0 if all are kept."""
        return float(self.floor[self.unstored > 0].max(initial=-1.0))

    @cached_property
    def ceiling_by_label(self) -> NDArray[np.float64]:
        """The highest floor of a row that does not keep the label's score, (L,); below 0 where all rows keep it.

        Cost: O(L) and the kept scores put in order of their labels.
        """
        partial = np.flatnonzero(self.unstored > 0)
        order = partial[np.argsort(-self.floor[partial], kind="stable")]
        by_label = self.stored[order].tocsc()
        sizes = np.diff(by_label.indptr)
        place = np.arange(by_label.nnz) - np.repeat(by_label.indptr[:-1], sizes)
        # as long as a label's rows are the first ones, they all keep it: the next one does not
        kept = np.bincount(np.repeat(np.arange(len(sizes)), sizes)[by_label.indices == place], minlength=len(sizes))
        return np.append(self.floor[order], -1.0).astype(np.float64)[kept]

    def knows(self, cuts: NDArray[np.floating]) -> bool:
        """Whether all counts at these cuts are exact: every cut lies above every floor."""
        return bool(cuts.min() > self.ceiling)


Scores = NDArray[np.floating] | TopScores
