"""Every calibration lowers the class-wise error on rows it was not fitted on: real texts, real logits."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from hf_multilabel.decisions.calibration import CALIBRATORS, fit_calibration
from hf_multilabel.evaluation.calibration import classwise_ece
from hf_multilabel.remote_code.decision_multilabel import default_decision, probabilities

SLICE = Path(__file__).parents[2] / "recipes/data/quickstart"
FITTED, DRAWS = 200, 4


def rows(*splits: str) -> list[dict]:
    return [json.loads(line) for split in splits for line in (SLICE / f"{split}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", params=[None, "balanced"], ids=["plain", "weighted"])
def scored(request: pytest.FixtureRequest) -> tuple[NDArray, NDArray]:
    """Logits of 400 abstracts that took no part in training, (N, L), and their topics."""
    train, held_out = rows("train"), rows("validation", "test")
    names = sorted({name for row in train for name in row["labels"]})
    truth, fresh = (np.array([[name in row["labels"] for name in names] for row in some]) for some in (train, held_out))
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform([row["text"] for row in train])
    unseen = vectorizer.transform([row["text"] for row in held_out])
    models = [LogisticRegression(C=10, class_weight=request.param).fit(features, held) for held in truth.T]
    return np.stack([model.decision_function(unseen) for model in models], axis=1), fresh


@pytest.mark.parametrize("method", [name for name in CALIBRATORS if name != "prior_shift"])
def test_the_class_wise_error_falls(scored: tuple[NDArray, NDArray], method: str) -> None:
    logits, truth = scored
    errors = []
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(logits))
        fitted, judged = order[:FITTED], order[FITTED:]
        found = fit_calibration(logits[fitted], sparse.csr_array(truth[fitted]), method)
        values = torch.from_numpy(logits[judged])
        for calibration in (None, found):
            probs = probabilities(values, {**default_decision(), "calibration": calibration}).numpy()
            errors.append(classwise_ece(probs, truth[judged]))
    before, after = np.reshape(errors, (DRAWS, 2)).mean(axis=0)
    assert after < 0.9 * before
