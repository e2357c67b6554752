"""Subset accuracy and Hamming loss as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelAccuracy(MultiLabelMetric):
    """Subset accuracy and Hamming loss."""

    reported = ("subset_accuracy", "hamming_loss")
