"""Recall as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelRecall(MultiLabelMetric):
    """Recall."""

    reported = ("micro_recall", "macro_recall", "macro_recall_present", "weighted_recall", "samples_recall")
