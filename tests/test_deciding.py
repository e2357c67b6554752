"""What is said of a fitted decision."""

from __future__ import annotations

from hf_multilabel.deciding import tell_expected


def test_both_expected_scores_have_their_interval() -> None:
    ends = {"micro_f1": [0.61234, 0.7], "macro_f1": [0.143, 0.676]}
    said = tell_expected({"micro_f1": 0.67, "macro_f1": 0.425, "intervals": ends})
    assert "micro-F1 0.670 (95%: 0.612 to 0.700), macro-F1 0.425 (95%: 0.143 to 0.676)" in said
