"""What a report is drawn from: one split as a model scored it, beside the truth, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.averages import f_beta
from hf_multilabel.evaluation.frequency import split_by_frequency
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.evaluation.outcomes import Counts, Outcome
from hf_multilabel.evaluation.top_outcome import TopOutcome


@dataclass(frozen=True)
class RunEvidence:
    """One split of one finished run. Figures and tables are functions of it; `of` makes one from an outcome.

    Args:
        name: Of the run, as people call it.
        split: The rows that were scored: test, or the nearest thing to it.
        labels: Label names by id, L of them.
        scores: Calibrated probabilities, (N, L), or what was kept of them.
        predictions: Decided label sets, bool CSR, (N, L).
        targets: True label sets, bool CSR, (N, L).
        decision: As stored in config.json.
        label_counts: Training rows of each label, (L,); None where the training rows are not at hand.
        training_rows: How many training rows there are, beside `label_counts`.
        texts: The rows' texts, N of them; empty where there are none to show.
        ids: The rows' ids, N of them.
        history: The log of the training, as history.json.
        metrics: `fixed` and `tuned` of this split, from metric to value; without `tuned` where the decision was
            fitted on these rows.
        layer_cosines: Mean cosine of the documents after the embeddings and after each layer; empty if not measured.

    Example:
        >>> found = RunEvidence.of(
        ...     Outcome([[0.9, 0.2]], [[1, 0]], [[1, 1]], [5, 3], 6),
        ...     name="run", split="test", labels=["a", "b"], decision={"thresholds": 0.5},
        ... )
        >>> found.rows, found.cuts.tolist(), found.f1.tolist()
        (1, [0.5, 0.5], [1.0, 0.0])
    """

    name: str
    split: str
    labels: Sequence[str]
    scores: NDArray[np.floating] | RankedScores
    predictions: sparse.csr_array
    targets: sparse.csr_array
    decision: Mapping[str, Any]
    label_counts: NDArray[np.int64] | None = None
    training_rows: int | None = None
    texts: Sequence[str] = ()
    ids: Sequence[str] = ()
    history: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    layer_cosines: Sequence[float] = ()

    @classmethod
    def of(cls, outcome: Outcome, **facts: Any) -> RunEvidence:
        """The evidence of an outcome.

        Args:
            outcome: As `inference.judge` returns it, with or without training counts.
            **facts: All fields that an outcome does not have.
        """
        return cls(
            scores=outcome.scores if isinstance(outcome, TopOutcome) else outcome.probs,
            predictions=outcome.predictions,
            targets=outcome.targets,
            label_counts=outcome.label_counts,
            training_rows=outcome.training_rows,
            **facts,
        )

    @property
    def rows(self) -> int:
        """Texts of the split, N."""
        return self.targets.shape[0]

    @property
    def complete(self) -> bool:
        """Whether all scores of every label are known."""
        return not isinstance(self.scores, RankedScores)

    @cached_property
    def outcome(self) -> Outcome:
        """The same as the metrics take it."""
        kind = Outcome if self.complete else TopOutcome
        return kind(self.scores, self.predictions, self.targets, self.label_counts, self.training_rows)

    @cached_property
    def counts(self) -> Counts:
        """Right, predicted and true texts of each label, (L,)."""
        return self.outcome.by_label

    @cached_property
    def f1(self) -> NDArray[np.float64]:
        """F1 of each label, (L,); 0 for one that is neither predicted nor true."""
        return f_beta(self.counts)

    @cached_property
    def cuts(self) -> NDArray[np.float64]:
        """The cut of each label, (L,)."""
        return np.broadcast_to(np.asarray(self.decision["thresholds"], np.float64), (len(self.labels),))

    @property
    def has_cuts(self) -> bool:
        """Whether a label is decided by its cut; under `top_k` and `expected_f1` it is not."""
        return self.decision.get("rule", "threshold") in ("threshold", "threshold_top_k")

    @cached_property
    def frequency(self) -> NDArray[np.int64]:
        """How often each label holds: in training, or in this split where the training rows are not at hand. (L,)."""
        return self.counts.positive if self.label_counts is None else self.label_counts

    @property
    def frequency_of(self) -> str:
        """Whose rows `frequency` counts: "training" or the name of the split."""
        return self.split if self.label_counts is None else "training"

    @cached_property
    def parts(self) -> dict[str, NDArray[np.int64]]:
        """Ids of the head, torso and tail labels by `frequency`."""
        return split_by_frequency(self.frequency)

    @cached_property
    def by_frequency(self) -> NDArray[np.int64]:
        """Label ids, the most frequent first, equals by id: (L,)."""
        return np.argsort(-self.frequency, kind="stable")

    @cached_property
    def kept(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Rows, labels and probabilities of the kept pairs above their row's floor; of scores kept in part only.

        All such pairs were kept, true or not, so shares of positives among them mean something. Below the floor only
        true ones were.
        """
        top = self.scores.top
        stored = top.stored.tocoo()
        above = (stored.data > top.floor[stored.row]) | (top.unstored[stored.row] == 0)
        row, label, probs = stored.row[above], stored.col[above], stored.data[above]
        return row.astype(np.int64), label.astype(np.int64), probs.astype(np.float64)

    @cached_property
    def kept_true(self) -> NDArray[np.bool_]:
        """Which of the `kept` pairs are true."""
        row, label, _ = self.kept
        return np.asarray(self.targets[row, label]).ravel().astype(bool)
