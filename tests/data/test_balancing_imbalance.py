"""Measures of imbalance against numbers worked out by hand and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.data.imbalance import imbalance_ratios, measure_imbalance, minority_labels, scumble

# counts 4, 2, 1 and none
SMALL = csr_matrix([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)


def test_by_hand() -> None:
    assert imbalance_ratios(SMALL)[:3].tolist() == [1, 2, 4]
    assert np.isnan(imbalance_ratios(SMALL)[3])
    assert minority_labels(SMALL).tolist() == [2]
    mean = 7 / 3
    spread = math.sqrt(((1 - mean) ** 2 + (2 - mean) ** 2 + (4 - mean) ** 2) / 2)
    rows = [1 - math.sqrt(2) / 1.5, 1 - 8 ** (1 / 3) / mean, 0, 0, 0]
    assert scumble(SMALL).tolist() == pytest.approx(rows, abs=1e-12)
    assert measure_imbalance(SMALL) == {
        "mean_ir": round(mean, 4),
        "max_ir": 4.0,
        "cvir": round(spread / mean, 4),
        "scumble": round(sum(rows) / 5, 4),
        "minority_labels": 1,
    }


def slow_scumble(dense: np.ndarray) -> list[float]:
    counts = [int(column.sum()) for column in dense.T]
    found = []
    for row in dense:
        ratios = [max(counts) / count for count, held in zip(counts, row, strict=True) if held]
        if ratios:
            geometric = math.prod(ratios) ** (1 / len(ratios))
            found.append(1 - geometric / (sum(ratios) / len(ratios)))
        else:
            found.append(0.0)
    return found


def test_scumble_equals_the_loop() -> None:
    dense = np.random.default_rng(0).random((300, 9)) < 0.5 / np.arange(1, 10)
    assert scumble(csr_matrix(dense)).tolist() == pytest.approx(slow_scumble(dense), abs=1e-12)


@pytest.mark.parametrize("matrix", [csr_matrix((5, 3), dtype=bool), csr_matrix((0, 3), dtype=bool)])
def test_without_labels_there_is_no_imbalance(matrix: csr_matrix) -> None:
    assert set(measure_imbalance(matrix).values()) == {0.0}
    assert not len(minority_labels(matrix))


def test_equal_labels_are_balanced() -> None:
    assert measure_imbalance(csr_matrix(np.ones((4, 3), dtype=bool))) == {
        "mean_ir": 1.0,
        "max_ir": 1.0,
        "cvir": 0.0,
        "scumble": 0.0,
        "minority_labels": 0,
    }
