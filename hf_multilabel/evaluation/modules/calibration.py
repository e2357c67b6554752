"""Calibration error as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelCalibration(MultiLabelMetric):
    """Class-wise calibration error and Brier score."""

    takes_scores = True
    reported = ("classwise_ece", "brier_score")
