"""Resampling against hand-computed cases and slow twins."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.data.balancing import BALANCERS, RESAMPLERS, class_aware, lp_ros, lp_rus, ml_ros, ml_rus
from hf_multilabel.data.imbalance import imbalance_ratios, measure_imbalance, minority_labels


def skewed(rows: int = 400, labels: int = 12, seed: int = 0) -> csr_matrix:
    rng = np.random.default_rng(seed)
    return csr_matrix(rng.random((rows, labels)) < 0.4 / np.arange(1, labels + 1))


# three label sets: {0} on 8 rows, {0, 1} on 3, {2} on 1; the mean set has 4 rows
SETS = csr_matrix([[1, 0, 0]] * 8 + [[1, 1, 0]] * 3 + [[0, 0, 1]], dtype=bool)


def added(label_matrix: csr_matrix, rows: np.ndarray) -> Counter:
    assert rows[: label_matrix.shape[0]].tolist() == list(range(label_matrix.shape[0]))
    return Counter(rows[label_matrix.shape[0] :].tolist())


def test_label_sets_grow_evenly_up_to_the_mean() -> None:
    some = added(SETS, lp_ros(SETS, rate=0.25))
    assert sum(some[row] for row in (8, 9, 10)) == 1
    assert some[11] == 2
    all_there_is_room_for = added(SETS, lp_ros(SETS, rate=1.0))
    assert sum(all_there_is_room_for[row] for row in (8, 9, 10)) == 1
    assert all_there_is_room_for[11] == 3


def test_label_sets_shrink_down_to_the_mean() -> None:
    assert (lp_rus(SETS, rate=0.25) < 8).sum() == 5
    kept = lp_rus(SETS, rate=0.9)
    assert (kept < 8).sum() == 4
    assert set(range(8, 12)) <= set(kept.tolist())


def paper_amounts(room: list[int], total: int) -> int:
    """How many rows Charte's loop adds in all: it hands what a bag has no room for on to the later ones."""
    bags, share, added_rows = sorted(room), total / len(room), 0.0
    for position, free in enumerate(bags):
        taken = min(free, share)
        added_rows += taken
        if position + 1 < len(bags):
            share += (share - taken) / (len(bags) - position - 1)
    return round(added_rows)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.7, 3.0])
def test_label_sets_get_as_many_rows_as_in_the_paper(rate: float) -> None:
    matrix = skewed()
    sets = Counter(tuple(row) for row in matrix.toarray().tolist())
    mean = 400 / len(sets)
    room = [int(mean - size) for size in sets.values() if size < mean]
    assert len(lp_ros(matrix, rate)) - 400 == min(paper_amounts(room, round(rate * 400)), sum(room))


def slow_ml_ros(matrix: csr_matrix, rate: float, seed: int) -> list[int]:
    """Every ratio computed anew after every copy."""
    dense = matrix.toarray()
    rng = np.random.default_rng(seed)
    mean = np.nanmean(imbalance_ratios(matrix))
    labels = rng.permutation([label for label, ratio in enumerate(imbalance_ratios(matrix)) if ratio > mean]).tolist()
    rows, left = list(range(len(dense))), round(rate * len(dense))
    while left and labels:
        for label in list(labels):
            if not left:
                break
            rows.append(int(rng.choice(np.flatnonzero(dense[:, label]))))
            left -= 1
            counts = dense[rows].sum(axis=0)
            if counts.max() / counts[label] <= mean:
                labels.remove(label)
    return rows


@pytest.mark.parametrize("rate", [0.03, 0.25, 2.0])
def test_label_oversampling_equals_the_loop(rate: float) -> None:
    matrix = skewed()
    assert ml_ros(matrix, rate, seed=3).tolist() == slow_ml_ros(matrix, rate, 3)


def test_label_oversampling_stops_at_the_mean_ratio() -> None:
    matrix = skewed()
    mean = np.nanmean(imbalance_ratios(matrix))
    after = imbalance_ratios(matrix[ml_ros(matrix, rate=10.0)])
    # other labels' copies can lift the most frequent one afterwards, so near the mean, not below it
    assert after.max() < 1.1 * mean < imbalance_ratios(matrix).max()
    assert measure_imbalance(matrix[ml_ros(matrix)])["mean_ir"] < measure_imbalance(matrix)["mean_ir"]


def test_label_undersampling_spares_rare_labels() -> None:
    matrix = skewed()
    kept = ml_rus(matrix, rate=0.2)
    assert len(kept) == 320
    gone = np.setdiff1d(np.arange(400), kept)
    rare = minority_labels(matrix)
    assert len(rare)
    assert not matrix[gone][:, rare].nnz
    free = int((matrix[:, rare].getnnz(axis=1) == 0).sum())
    assert len(ml_rus(matrix, rate=0.99)) == 400 - free


def test_every_label_has_its_turn() -> None:
    # label 2 on one row, label 1 on two, label 0 on the rest, the last row without any
    matrix = csr_matrix([[1, 0, 0]] * 5 + [[0, 1, 0]] * 2 + [[0, 0, 1]] + [[0, 0, 0]], dtype=bool)
    drawn = Counter(class_aware(matrix, seed=0).tolist())
    turns = [sum(drawn[row] for row in rows) for rows in (range(5), (5, 6), (7,), (8,))]
    assert sum(turns) == 9
    assert max(turns) - min(turns) <= 1
    assert abs(drawn[5] - drawn[6]) <= 1  # a label's rows come in turn, too


def slow_class_aware(matrix: csr_matrix, seed: object) -> list[int]:
    """One label after the other asks for its turns."""
    rng = np.random.default_rng(seed)
    dense = matrix.toarray()
    bags = [np.flatnonzero(column).tolist() for column in dense.T] + [np.flatnonzero(~dense.any(axis=1)).tolist()]
    bags = [bag for bag in bags if bag]
    turns: list[int] = []
    while len(turns) < len(dense):
        turns += rng.permutation(len(bags)).tolist()
    turns = turns[: len(dense)]
    drawn = [0] * len(dense)
    for number, bag in enumerate(bags):
        queue: list[int] = []
        mine = [position for position, turn in enumerate(turns) if turn == number]
        while len(queue) < len(mine):
            queue += rng.permutation(bag).tolist()
        for position, row in zip(mine, queue[: len(mine)], strict=True):
            drawn[position] = row
    return drawn


@pytest.mark.parametrize("seed", [0, (7, 3)])
def test_class_aware_rows_equal_the_loop(seed: object) -> None:
    assert class_aware(skewed(), seed).tolist() == slow_class_aware(skewed(), seed)


def test_class_aware_evens_labels_out_and_changes_with_the_epoch() -> None:
    matrix = skewed(2000)
    epochs = [class_aware(matrix, (0, epoch)) for epoch in range(2)]
    assert not np.array_equal(*epochs)
    before = measure_imbalance(matrix)
    after = measure_imbalance(matrix[epochs[0]])
    assert after["max_ir"] < 0.5 * before["max_ir"]


@pytest.mark.parametrize("name", RESAMPLERS)
def test_the_seed_decides(name: str) -> None:
    matrix = skewed()
    first, again, other = (BALANCERS[name](matrix, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.max() < 400


@pytest.mark.parametrize("name", RESAMPLERS)
@pytest.mark.parametrize(
    "matrix",
    [csr_matrix((6, 3), dtype=bool), csr_matrix(np.eye(4, dtype=bool)), csr_matrix((0, 3), dtype=bool)],
    ids=["no labels", "all alike", "no rows"],
)
def test_what_is_not_imbalanced_stays_as_it_is(name: str, matrix: csr_matrix) -> None:
    kept = BALANCERS[name](matrix, rate=0.1)
    assert sorted(kept.tolist()) == list(range(matrix.shape[0])) or name == "ml_rus"
    assert class_aware(matrix).shape == (matrix.shape[0],)


@pytest.mark.parametrize(
    ("name", "rate"), [("lp_ros", 0.0), ("ml_ros", -1.0), ("lp_rus", 1.0), ("ml_rus", 1.5), ("ml_rus", float("nan"))]
)
def test_rates_that_are_none(name: str, rate: float) -> None:
    with pytest.raises(ValueError, match=f"rate: expected a share above 0.*, found {rate}"):
        BALANCERS[name](skewed(), rate=rate)


def test_large_sparse_sets_are_quick() -> None:
    rng = np.random.default_rng(0)
    columns = np.minimum(rng.zipf(1.3, 150_000) - 1, 3999)
    matrix = csr_matrix((np.ones(150_000, bool), (np.repeat(np.arange(50_000), 3), columns)), shape=(50_000, 4000))
    matrix.sum_duplicates()
    for name in ("lp_ros", "ml_ros", "ml_rus", "class_aware"):
        assert len(BALANCERS[name](matrix)) > 30_000
