"""How good scores and decisions are: metrics from probabilities, decided label sets and true label sets."""

from hf_multilabel.evaluation.comparison import CORRECTIONS, Difference, compare_labels, compare_runs
from hf_multilabel.evaluation.frequency import split_by_frequency
from hf_multilabel.evaluation.intervals import INTERVALS, confidence_intervals
from hf_multilabel.evaluation.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    evaluate_outcome,
    evaluate_predictions,
    metric_calls,
    per_label_table,
)
from hf_multilabel.evaluation.outcomes import Outcome, as_label_sets, as_probabilities
from hf_multilabel.evaluation.propensity import inverse_propensities
from hf_multilabel.evaluation.ranks import Ranks, count_at_least, rank_positives, row_chunks
from hf_multilabel.evaluation.scores import Scores, TopScores

__all__ = [
    "CORRECTIONS",
    "INTERVALS",
    "LOWER_IS_BETTER",
    "METRICS",
    "Difference",
    "Outcome",
    "Ranks",
    "Scores",
    "TopScores",
    "as_label_sets",
    "as_probabilities",
    "compare_labels",
    "compare_runs",
    "confidence_intervals",
    "count_at_least",
    "evaluate_outcome",
    "evaluate_predictions",
    "inverse_propensities",
    "metric_calls",
    "per_label_table",
    "rank_positives",
    "row_chunks",
    "split_by_frequency",
]
