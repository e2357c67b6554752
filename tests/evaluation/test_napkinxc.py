"""Ranking metrics against what napkinxc 0.7.2 computes of the same scores, written down here: it is no dependency."""

import numpy as np
import pytest

from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.evaluation.propensity import inverse_propensities

PROBS = np.random.default_rng(0).permutation(72).reshape(12, 6) / 72
TRUTH = (np.arange(72).reshape(12, 6) * 7 % 11 < 4).astype(int)
COUNTS, ROWS = np.array([900, 240, 60, 12, 3, 1]), 1000
# Jain_et_al_inverse_propensity(..., A=.55, B=1.5)
WEIGHTS = [1.2317706, 1.47828315, 2.0148648, 3.33671598, 5.27585155, 6.90775528]
# at k = 1, 2, 3: psprecision_at_k, psndcg_at_k, macro_precision_at_k, macro_recall_at_k, macro_f1_measure_at_k
FOUND = {
    "psp": [0.311754182758, 0.294410191739, 0.57182135316],
    "psndcg": [0.311754182758, 0.299703095825, 0.451873585964],
    "macro_precision": [0.319444444444, 0.305555555556, 0.372883597884],
    "macro_recall": [0.25, 0.291666666667, 0.55],
    "macro_f1": [0.280423280423, 0.290235690236, 0.440776815777],
}


def test_inverse_propensities():
    assert inverse_propensities(COUNTS, ROWS) == pytest.approx(WEIGHTS, abs=1e-8)


@pytest.mark.parametrize("name", FOUND)
def test_at_k(name):
    found = evaluate_predictions(
        PROBS, PROBS >= 0.5, TRUTH, label_counts=COUNTS, rows=ROWS, k=(1, 2, 3), metrics=[f"{name}_at_k"]
    )
    assert [found[f"{name}_at_{k}"] for k in (1, 2, 3)] == pytest.approx(FOUND[name], abs=1e-9)
