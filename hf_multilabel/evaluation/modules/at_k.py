"""The k highest scores of each row as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelAtK(MultiLabelMetric):
    """The k highest scores of each row."""

    takes_scores = True
    reported = (
        "precision_at_k",
        "recall_at_k",
        "r_precision_at_k",
        "ndcg_at_k",
        "macro_precision_at_k",
        "macro_recall_at_k",
        "macro_f1_at_k",
    )
