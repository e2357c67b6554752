"""Precision as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelPrecision(MultiLabelMetric):
    """Precision."""

    reported = (
        "micro_precision",
        "macro_precision",
        "macro_precision_present",
        "weighted_precision",
        "samples_precision",
    )
