"""What the modules for the `evaluate` library share: their inputs, and the way from them to `METRICS`.

Label sets are given in one of two forms, named by the configuration: `ids`, lists of label ids of any length, and
`multi_hot`, lists of L zeros and ones. Both look alike to a reader of numbers, so the form is said and never guessed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as SequenceFeature
from scipy import sparse

from hf_multilabel.evaluation.metrics import evaluate_outcome
from hf_multilabel.evaluation.outcomes import Outcome, as_label_sets

FORMS = ("ids", "multi_hot")


class MultiLabelMetric(evaluate.Metric, ABC):
    """A group of metrics as a module of the `evaluate` library; needs no network.

    Decided label sets come as `predictions`, the truth as `references`, probabilities as `prediction_scores`: modules
    of both kinds combine, each taking what it needs.

    Args:
        config_name: Form of the label sets, `ids` (default) or `multi_hot`.
        num_labels: L; needed for `ids` without scores, where the labels that no row has must be known; elsewhere only
            checked.
        k: Depths of the `_at_k` metrics.
        betas: Weights of recall in the `_f_beta` metrics.
        label_counts: Training texts of each label, for the metrics that weigh labels by frequency.
        rows: Number of training texts, beside `label_counts`.
        **kwargs: As `evaluate.Metric` takes them.

    Raises:
        ValueError: If the form is unknown.
    """

    takes_scores = False

    def __init__(
        self,
        config_name: str | None = None,
        num_labels: int | None = None,
        k: Sequence[int] = (1, 3, 5),
        betas: Sequence[float] = (),
        label_counts: Sequence[int] | None = None,
        rows: int | None = None,
        **kwargs: Any,
    ) -> None:
        form = config_name or FORMS[0]
        if form not in FORMS:
            raise ValueError(f"config_name: expected one of {', '.join(FORMS)}, found {form!r}. Choose one of them.")
        self.num_labels, self.k, self.betas = num_labels, k, betas
        self.label_counts, self.training_rows = label_counts, rows
        super().__init__(form, **kwargs)

    @property
    @abstractmethod
    def reported(self) -> tuple[str, ...]:
        """Keys of `METRICS` that the module reports."""

    def _info(self) -> evaluate.MetricInfo:
        label_set = SequenceFeature(Value("float64"))  # of whole numbers a cast would make what it is given, unseen
        given = (
            ("prediction_scores", SequenceFeature(Value("float64")))
            if self.takes_scores
            else ("predictions", label_set)
        )
        return evaluate.MetricInfo(
            description=f"{(self.__doc__ or '').strip()} Reports {', '.join(self.reported)}.",
            citation="",
            inputs_description="\nLabel sets are lists of label ids (`ids`) or of L zeros and ones (`multi_hot`).\n",
            features=Features({given[0]: given[1], "references": label_set}),
        )

    def _compute(
        self,
        *,
        references: Sequence[Sequence[float]],
        predictions: Sequence[Sequence[float]] | None = None,
        prediction_scores: Sequence[Sequence[float]] | None = None,
    ) -> dict[str, float | int]:
        if self.takes_scores:
            probs = np.array(prediction_scores, np.float64)
            self._check_num_labels(probs.shape[-1], "prediction_scores")
            targets = self._label_sets(references, probs.shape[-1], "references")
            outcome = Outcome(probs, targets, targets, self.label_counts, self.training_rows)
        else:
            labels = self._count_labels(references)
            decided = self._label_sets(predictions or [], labels, "predictions")
            targets = self._label_sets(references, labels, "references")
            outcome = Outcome(None, decided, targets, self.label_counts, self.training_rows)
        return evaluate_outcome(outcome, self.k, self.reported, self.betas)

    def _count_labels(self, references: Sequence[Sequence[float]]) -> int:
        """L of label sets that come without scores."""
        if self.config_name == "multi_hot":
            self._check_num_labels(len(references[0]), "references")
            return len(references[0])
        if self.num_labels is None:
            raise ValueError(
                "num_labels: expected the number of labels beside label sets of ids, found None. "
                f"Write {type(self).__name__}(num_labels=...)."
            )
        return self.num_labels

    def _check_num_labels(self, found: int, where: str) -> None:
        if self.num_labels not in (None, found):
            raise ValueError(
                f"num_labels: expected {found}, as {where} have it, found {self.num_labels}. Leave it out."
            )

    def _label_sets(self, given: Sequence[Sequence[float]], labels: int, where: str) -> Any:
        """Label sets as an array or matrix of shape (N, L).

        Raises:
            ValueError: If an id is no whole number or not below L.
        """
        if self.config_name == "multi_hot":
            return as_label_sets(given, (len(given), labels), where)
        numbers = np.array([label for row in given for label in row], np.float64)
        ids = numbers.astype(np.int64)
        if (wrong := numbers[numbers != ids]).size:
            raise ValueError(
                f"{where}: expected label ids, found {wrong[0]:g}. Decide before: ids or 0 and 1, no scores."
            )
        if ids.size and not 0 <= ids.min() <= ids.max() < labels:
            wrong = ids[(ids < 0) | (ids >= labels)][0]
            raise ValueError(f"{where}: expected label ids from 0 to {labels - 1}, found {wrong}. Check num_labels.")
        indptr = np.cumsum([0, *(len(row) for row in given)])
        return sparse.csr_array((np.ones(len(ids), np.int64), ids, indptr), shape=(len(given), labels)).astype(bool)
