"""Macro metrics of a fixed budget: every row is given its k highest scores, and the labels are averaged.

They say what P@k hides: whether the k slots of a row ever go to rare labels. A label that is given to nobody, or holds
nowhere, counts 0. Tied scores share the last slots in equal parts, so that counts can be fractions.

Reference: Schultheis et al. 2023, Generalized test utilities for long-tail performance in extreme multi-label
classification, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.averages import Quotient, macro
from hf_multilabel.evaluation.outcomes import Counts, Outcome
from hf_multilabel.evaluation.ranking import shared_places


@dataclass(frozen=True)
class SlotMetric:
    """Mean over all labels of a quotient of their counts, where being among a row's k highest is being predicted.

    Args:
        quotient: `precision`, `recall` or `f_beta`.
    """

    quotient: Quotient

    def values(self, outcome: Outcome, counts: Counts, *parameters: float) -> NDArray[np.float64]:
        """The metric of each set of counts at this k, (..., L) -> (...)."""
        return macro(self.quotient, counts)

    def __call__(self, outcome: Outcome, k: int) -> float | None:
        """The metric's value, None if too few scores are known for this k."""
        k = min(k, outcome.labels)
        found = np.bincount(outcome.targets.indices, weights=_shares(outcome, k), minlength=outcome.labels)
        given = outcome.given_slots(k)
        return None if given is None else float(macro(self.quotient, Counts(found, given, outcome.by_label.positive)))


def slot_sets(outcome: Outcome, k: int) -> tuple[sparse.csr_array, sparse.csr_array] | None:
    """What share of a slot each row gives to the labels that hold, and to all of them, CSR (N, L); None if not known.

    Args:
        outcome: Scores and truths.
        k: Slots of a row, at most L.
    """
    given = outcome.row_slots(k)
    if given is None:
        return None
    targets = outcome.targets
    return sparse.csr_array((_shares(outcome, k), targets.indices, targets.indptr), shape=targets.shape), given


def _shares(outcome: Outcome, k: int) -> NDArray[np.float64]:
    """The share of a slot that each true pair gets, in CSR order of the targets, (P,)."""
    return shared_places(outcome.row_ranks, np.ones(k))
