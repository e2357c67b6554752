"""How good scores and decisions are: metrics from probabilities, decided label sets and true label sets."""

from hf_multilabel.evaluation.metrics import METRICS, evaluate_predictions, per_label_table
from hf_multilabel.evaluation.outcomes import Outcome, as_label_sets, as_probabilities
from hf_multilabel.evaluation.ranks import Ranks, count_at_least, rank_positives, row_chunks

__all__ = [
    "METRICS",
    "Outcome",
    "Ranks",
    "as_label_sets",
    "as_probabilities",
    "count_at_least",
    "evaluate_predictions",
    "per_label_table",
    "rank_positives",
    "row_chunks",
]
