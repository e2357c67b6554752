"""MLSMOTE against a loop written from its two algorithms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.data import synthesis
from hf_multilabel.data.imbalance import minority_labels
from hf_multilabel.data.synthesis import mlsmote

RNG = np.random.default_rng(0)
LABELS = csr_matrix(RNG.random((120, 6)) < 0.6 / np.arange(1, 7) ** 1.5)
FEATURES = RNG.normal(size=(120, 4)).astype(np.float32)


def slow_mlsmote(features: np.ndarray, dense: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    made, labels = [], []
    for label in minority_labels(csr_matrix(dense)):
        bag = [row for row in range(len(dense)) if dense[row, label]]
        if len(bag) < 2:
            continue
        nearest = []
        for row in bag:
            others = [other for other in bag if other != row]
            nearest.append(sorted(others, key=lambda other: np.linalg.norm(features[row] - features[other]))[:k])
        chosen = rng.integers(len(nearest[0]), size=len(bag))
        shares = rng.random((len(bag), features.shape[1]), dtype=np.float32)
        for number, row in enumerate(bag):
            reference = nearest[number][chosen[number]]
            made.append(
                [
                    features[row, d] + (features[reference, d] - features[row, d]) * shares[number, d]
                    for d in range(features.shape[1])
                ]
            )
            group = [row, *nearest[number]]
            labels.append([2 * sum(dense[member, other] for member in group) > len(group) for other in range(6)])
    return np.array(made), np.array(labels)


@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("block", [7, 1024])
def test_synthetic_rows_equal_the_loop(k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "BLOCK", block)
    features, labels = mlsmote(FEATURES, LABELS, neighbors=k, seed=5)
    expected = slow_mlsmote(FEATURES, LABELS.toarray(), k, 5)
    np.testing.assert_allclose(features, expected[0], rtol=1e-5, atol=1e-6)
    assert np.array_equal(labels.toarray(), expected[1])
    assert features.dtype == np.float32
    assert labels.dtype == bool


def test_rows_lie_between_rows_of_their_rare_label_and_keep_it() -> None:
    # label 1 is rare and lies in the corner (10, 10); label 0 holds everywhere
    features = np.concatenate([np.zeros((20, 2)), 10 + RNG.random((3, 2))])
    labels = csr_matrix([[1, 0]] * 20 + [[1, 1]] * 3, dtype=bool)
    made, held = mlsmote(features, labels)
    assert len(made) == 3
    assert (made >= 10).all()
    assert held.toarray().all()


def test_a_label_with_one_row_makes_none() -> None:
    labels = csr_matrix([[1, 0]] * 9 + [[1, 1]], dtype=bool)
    made, held = mlsmote(np.zeros((10, 3)), labels)
    assert made.shape == (0, 3)
    assert held.shape == (0, 2)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="neighbors: expected a number of at least 1, found 0"):
        mlsmote(FEATURES, LABELS, neighbors=0)
    with pytest.raises(ValueError, match="features: expected 120 rows, one a row of labels, found 3"):
        mlsmote(FEATURES[:3], LABELS)
