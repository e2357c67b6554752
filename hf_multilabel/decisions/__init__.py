"""What a model decides: cut-offs fitted on held-out scores, and the decision that is stored with the model."""

from hf_multilabel.decisions.thresholds import THRESHOLD_RULES, fit_decision, fit_thresholds, hash_rows

__all__ = ["THRESHOLD_RULES", "fit_decision", "fit_thresholds", "hash_rows"]
