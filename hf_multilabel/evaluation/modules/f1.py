"""F1, and F-beta where betas are given as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelF1(MultiLabelMetric):
    """F1, and F-beta where betas are given."""

    reported = (
        "micro_f1",
        "macro_f1",
        "macro_f1_present",
        "weighted_f1",
        "samples_f1",
        "micro_f_beta",
        "macro_f_beta",
        "weighted_f_beta",
        "samples_f_beta",
    )
