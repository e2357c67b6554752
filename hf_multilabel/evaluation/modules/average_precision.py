"""Average precision as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelAveragePrecision(MultiLabelMetric):
    """Average precision."""

    takes_scores = True
    reported = ("micro_ap", "macro_ap", "macro_ap_present", "labels_without_positives")
