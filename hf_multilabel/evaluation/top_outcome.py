"""An outcome of scores kept in part: metrics of decisions and of the rows' rankings, exact, without an N x L array."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.evaluation.outcomes import Outcome, as_label_counts, as_label_sets
from hf_multilabel.evaluation.ranks import Ranks
from hf_multilabel.evaluation.slots import rank_pairs, share_of_slot, slot_array

# Kept scores looked at at once.
CHUNK = 1 << 17


class TopOutcome(Outcome):
    """What a model said about N texts and L labels, of whose scores the highest of each row were kept.

    Metrics that need all scores of a label (`curves.ALL_SCORES`: AUC and average precision by label or pooled) have no
    value. Those of a budget (`macro_f1_at_k`, ...) have one where the k highest scores of every row were kept.

    Args:
        scores: Kept scores and places of the positives, (N, L).
        predictions: Decided label sets, dense or CSR, (N, L).
        targets: True label sets, those that the scores were kept for, dense or CSR, (N, L).
        label_counts: As of `Outcome`.
        rows: As of `Outcome`.
        unsettled: Rows whose predictions are not surely those of all scores: precision and F1 are then too good, see
            `keeping.tell_unsettled`.

    Raises:
        ValueError: If shapes differ or values are wrong.
    """

    complete = False

    def __init__(
        self,
        scores: RankedScores,
        predictions: Any,
        targets: Any,
        label_counts: Any = None,
        rows: int | None = None,
        unsettled: int = 0,
    ) -> None:
        self.scores, self.unsettled = scores, unsettled
        self.predictions = as_label_sets(predictions, scores.shape, "predictions")
        self.targets = as_label_sets(targets, scores.shape, "targets")
        if self.targets.nnz != len(scores.at_least):
            raise ValueError(
                f"targets: expected the {len(scores.at_least)} positives that scores were kept for, found "
                f"{self.targets.nnz}. Pass the same label sets."
            )
        self.rows, self.labels = scores.shape
        self.label_counts = None if label_counts is None else as_label_counts(label_counts, rows, self.labels)
        self.training_rows = rows
        self._given: dict[int, NDArray[np.float64] | None] = {}

    @cached_property
    def row_ranks(self) -> Ranks:
        """Where each true label stands among all scores of its row; scores and neighbours themselves were not kept."""
        row = np.repeat(np.arange(self.rows), np.diff(self.targets.indptr))
        unknown = np.broadcast_to(np.float32(np.nan), row.shape)
        at_least, above = self.scores.at_least.astype(np.int64), self.scores.above.astype(np.int64)
        return Ranks(row, unknown, at_least, above, unknown)

    def given_slots(self, k: int) -> NDArray[np.float64] | None:
        """In how many rows each label is among the k highest scores, (L,); None if too few scores were kept for it."""
        if k not in self._given:  # several metrics of one k ask
            slots = self.row_slots(k)
            self._given[k] = None if slots is None else np.asarray(slots.sum(axis=0))
        return self._given[k]

    def row_slots(self, k: int) -> sparse.csr_array | None:
        """What share of a slot each label has among a row's k highest scores; None if too few scores were kept."""
        top, parts = self.scores.top, []
        start = top.stored.indptr
        for first in range(0, self.rows, step := max(1, CHUNK * self.rows // max(1, top.stored.nnz))):
            last = min(first + step, self.rows)
            part = slice(start[first], start[last])
            row = np.repeat(np.arange(last - first), np.diff(start[first : last + 1]))
            score = top.stored.data[part]
            # none that was not kept ties with these
            known = score > np.where(top.unstored > 0, top.floor, -1)[first:last][row]
            if np.bincount(row[known], minlength=last - first).min() < k:
                return None
            label, above, tied = rank_pairs(row[known], top.stored.indices[part][known], score[known])
            parts.append(slot_array(row[known], label, share_of_slot(k, above, tied), (last - first, self.labels)))
        return sparse.vstack(parts, format="csr")
