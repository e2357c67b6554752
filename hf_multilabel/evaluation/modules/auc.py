"""Area under the ROC curve as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelAUC(MultiLabelMetric):
    """Area under the ROC curve."""

    takes_scores = True
    reported = ("micro_auc", "macro_auc", "macro_auc_skipped")
