"""Macro metrics of a fixed budget: every row is given its k highest scores, and the labels are averaged.

They say what P@k hides: whether the k slots of a row ever go to rare labels. A label that is given to nobody, or holds
nowhere, counts 0. Tied scores share the last slots in equal parts, so that counts can be fractions.

Reference: Schultheis et al. 2023, Generalized test utilities for long-tail performance in extreme multi-label
classification, section 3.
"""

from __future__ import annotations

import numpy as np

from hf_multilabel.evaluation.averages import Quotient, f_beta, macro, precision, recall
from hf_multilabel.evaluation.outcomes import Counts, Outcome
from hf_multilabel.evaluation.ranking import shared_places


def macro_precision_at_k(outcome: Outcome, k: int) -> float | None:
    """Mean over labels of the share of right ones among the rows that have the label in their top k."""
    return _macro_at_k(precision, outcome, k)


def macro_recall_at_k(outcome: Outcome, k: int) -> float | None:
    """Mean over labels of the share of the label's rows that have it in their top k."""
    return _macro_at_k(recall, outcome, k)


def macro_f1_at_k(outcome: Outcome, k: int) -> float | None:
    """Mean over labels of the F1 of being in a row's top k."""
    return _macro_at_k(f_beta, outcome, k)


def _macro_at_k(quotient: Quotient, outcome: Outcome, k: int) -> float | None:
    k = min(k, outcome.labels)
    shares = shared_places(outcome.row_ranks, np.ones(k))
    found = np.bincount(outcome.targets.indices, weights=shares, minlength=outcome.labels)
    given = outcome.given_slots(k)
    return None if given is None else float(macro(quotient, Counts(found, given, outcome.by_label.positive)))
