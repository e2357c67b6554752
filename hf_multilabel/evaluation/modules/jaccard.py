"""Jaccard index as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelJaccard(MultiLabelMetric):
    """Jaccard index."""

    reported = ("micro_jaccard", "macro_jaccard", "macro_jaccard_present", "samples_jaccard")
