"""Propensity-scored metrics of the k highest scores as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelPropensity(MultiLabelMetric):
    """Propensity-scored metrics of the k highest scores; needs label_counts and rows."""

    takes_scores = True
    reported = ("psp_at_k", "psndcg_at_k")
