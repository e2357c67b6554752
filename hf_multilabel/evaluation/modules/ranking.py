"""How well each row ranks its labels as a module of the `evaluate` library."""

from __future__ import annotations

from hf_multilabel.evaluation.modules.base import MultiLabelMetric


class MultiLabelRanking(MultiLabelMetric):
    """How well each row ranks its labels."""

    takes_scores = True
    reported = ("lrap", "coverage_error", "ranking_loss", "one_error")
