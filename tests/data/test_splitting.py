from __future__ import annotations

import time

import numpy as np
import pytest
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold, MultilabelStratifiedShuffleSplit
from scipy.sparse import csr_matrix, random_array

from hf_multilabel.data.splitting import balance_report, iterative_stratification, kfold, split_rows


def skewed(rows: int, labels: int, seed: int = 0) -> csr_matrix:
    """Labels whose frequency falls like 1 / rank, as those of real data do."""
    rng = np.random.default_rng(seed)
    return csr_matrix(rng.random((rows, labels)) < 0.4 / np.arange(1, labels + 1))


def test_every_row_is_in_one_part() -> None:
    parts = iterative_stratification(skewed(500, 20), [0.7, 0.2, 0.1], seed=3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(500))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_sizes_and_shares_are_kept() -> None:
    matrix = skewed(2000, 30)
    for part, fraction in zip(iterative_stratification(matrix, [0.8, 0.1, 0.1]), [0.8, 0.1, 0.1], strict=True):
        assert abs(len(part) - 2000 * fraction) < 20
        expected = matrix.getnnz(axis=0) * fraction
        assert np.abs(matrix[part].getnnz(axis=0) - expected).max() <= 3


def test_the_seed_decides() -> None:
    matrix = skewed(300, 10)
    first, again, other = (iterative_stratification(matrix, [0.5, 0.5], seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_form_of_the_matrix_does_not() -> None:
    matrix = skewed(300, 10)
    dense = csr_matrix(matrix.toarray().astype(np.int64))
    for one, other in zip(*(iterative_stratification(m, [0.5, 0.5]) for m in (matrix, dense)), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("seed", [0, 1])
def test_balance_is_that_of_the_reference_package(seed: int) -> None:
    matrix = skewed(1000, 25, seed)
    dense = matrix.toarray().astype(int)
    theirs = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=0.2, random_state=seed)
    reference = balance_report(matrix, list(next(theirs.split(dense, dense))))
    ours = balance_report(matrix, iterative_stratification(matrix, [0.8, 0.2], seed))
    chance = balance_report(matrix, np.split(np.random.default_rng(seed).permutation(1000), [800]))
    assert ours["label_distribution"] <= 1.25 * reference["label_distribution"]
    assert ours["label_distribution"] < 0.3 * chance["label_distribution"]


def test_folds_are_as_balanced_as_the_reference_packages() -> None:
    matrix = skewed(600, 15)
    dense = matrix.toarray().astype(int)
    theirs = MultilabelStratifiedKFold(n_splits=5, shuffle=True, random_state=0)
    reference = balance_report(matrix, [held_out for _, held_out in theirs.split(dense, dense)])
    ours = balance_report(matrix, [held_out for _, held_out in kfold(matrix, 5)])
    assert ours["label_distribution"] <= 1.25 * reference["label_distribution"]


def test_folds_are_disjoint_and_complete() -> None:
    folds = kfold(skewed(103, 5), 4, seed=1)
    assert sorted(np.concatenate([held_out for _, held_out in folds]).tolist()) == list(range(103))
    for rest, held_out in folds:
        assert sorted([*rest.tolist(), *held_out.tolist()]) == list(range(103))


def test_rows_without_labels_and_labels_without_rows() -> None:
    matrix = csr_matrix((100, 3), dtype=bool)
    assert [len(part) for part in iterative_stratification(matrix, [0.75, 0.25])] == [75, 25]
    assert balance_report(matrix, [np.arange(100)])["label_distribution"] == 0.0


def test_large_sparse_sets_are_quick() -> None:
    matrix = random_array((15_000, 736), density=0.003, format="csr", rng=np.random.default_rng(0)) > 0
    start = time.perf_counter()
    iterative_stratification(csr_matrix(matrix), [0.8, 0.1, 0.1])
    assert time.perf_counter() - start < 3


def test_every_label_is_trained() -> None:
    matrix = csr_matrix(np.eye(30, dtype=bool))
    train, held_out = split_rows(matrix, [0.5, 0.5])
    assert len(train) == 30
    assert not len(held_out)


def test_rows_with_one_text_stay_together() -> None:
    matrix = skewed(400, 10)
    groups = np.arange(400) // 2
    parts = split_rows(matrix, [0.8, 0.2], seed=5, groups=groups)
    assert not set(groups[parts[0]]) & set(groups[parts[1]])
    assert abs(len(parts[0]) - 320) < 40


@pytest.mark.parametrize("fractions", [[0.5, 0.6], [1.0, 0.0], [], [0.5, np.nan]])
def test_fractions_that_are_none(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match="fractions: expected positive numbers that sum to 1"):
        iterative_stratification(skewed(10, 2), fractions)


@pytest.mark.parametrize("k", [1, 11, 2.0, "5"])
def test_folds_that_do_not_fit(k: int) -> None:
    with pytest.raises(ValueError, match=f"k: expected 2 to 10 folds for 10 rows, found {k!r}"):
        kfold(skewed(10, 2), k)


def test_the_report_counts_missing_labels() -> None:
    matrix = csr_matrix([[1, 0], [1, 0], [0, 1]], dtype=bool)
    report = balance_report(matrix, [np.array([0, 1]), np.array([2])])
    assert report["rows"] == [2, 1]
    assert report["labels_missing"] == [1, 1]
