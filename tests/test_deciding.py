"""What is said of a fitted decision."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix

from hf_multilabel.deciding import tell_expected, tell_no_better
from hf_multilabel.evaluation.scores import TopScores
from hf_multilabel.folds import HeldOut


def test_both_expected_scores_have_their_interval() -> None:
    ends = {"micro_f1": [0.61234, 0.7], "macro_f1": [0.143, 0.676]}
    said = tell_expected({"micro_f1": 0.67, "macro_f1": 0.425, "intervals": ends})
    assert "micro-F1 0.670 (95%: 0.612 to 0.700), macro-F1 0.425 (95%: 0.143 to 0.676)" in said


@pytest.mark.parametrize("kept", [False, True])
def test_cuts_expected_to_be_no_better_than_half_are_said_to_be(kept: bool) -> None:
    targets = csr_matrix([[True, False], [True, True], [False, False]])
    # at 0.5: label 0 all right, label 1 never predicted: micro-F1 0.8, macro-F1 0.5
    logits = np.array([[2.0, -1.0], [1.0, -1.0], [-3.0, -2.0]], np.float32)
    probs = TopScores(csr_array(1 / (1 + np.exp(-logits))), np.zeros(3, np.float32))
    held = HeldOut(probs if kept else logits, targets, np.arange(3), None, {})
    decision = {"rule": "threshold", "objective": "balanced", "expected": {"micro_f1": 0.75, "macro_f1": 0.5}}
    said = tell_no_better(decision, held)
    assert said is not None
    assert "on these 3 rows the fitted cuts are expected to be no better than 0.5 (0.625 against 0.650" in said
    assert tell_no_better(decision | {"expected": {"micro_f1": 0.85, "macro_f1": 0.5}}, held) is None
    assert tell_no_better(decision | {"objective": "micro_f1"}, held) is None
    assert tell_no_better(decision | {"expected": {}}, held) is None
