"""F1 of the frequent and the rare labels as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelFrequencyF1(MultiLabelMetric):
    """F1 of the frequent and the rare labels; needs label_counts and rows."""

    reported = (
        "head_labels",
        "head_micro_f1",
        "head_macro_f1",
        "head_macro_f1_present",
        "torso_labels",
        "torso_micro_f1",
        "torso_macro_f1",
        "torso_macro_f1_present",
        "tail_labels",
        "tail_micro_f1",
        "tail_macro_f1",
        "tail_macro_f1_present",
    )
