"""Head, torso and tail, propensities and slots against their definitions, for any counts and scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hf_multilabel.evaluation import inverse_propensities, split_by_frequency
from hf_multilabel.evaluation.slots import count_slots, share_slots


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
def test_parts_follow_the_share_of_more_frequent_labels(counts: list[int]) -> None:
    found = split_by_frequency(counts)
    assert sorted(label for ids in found.values() for label in ids.tolist()) == list(range(len(counts)))
    for label, count in enumerate(counts):
        before = sum(other for other in counts if other > count)
        part = (
            "tail" if not count or 10 * before >= 9 * sum(counts) else "torso" if 2 * before >= sum(counts) else "head"
        )
        assert label in found[part]


def test_the_most_frequent_label_is_in_the_head_and_unseen_ones_in_the_tail() -> None:
    found = split_by_frequency([0, 3, 100, 0])
    assert found["head"].tolist() == [2]
    assert {0, 1, 3} == set(found["tail"].tolist())
    assert split_by_frequency([0, 0])["tail"].tolist() == [0, 1]


def test_propensities_of_jain_and_others() -> None:
    counts, rows = np.array([0, 1, 30, 500]), 1000
    c = (np.log(rows) - 1) * (0.4 + 1) ** 0.5
    expected = [1 + c * np.exp(-0.5 * np.log(count + 0.4)) for count in counts]
    assert inverse_propensities(counts, rows, 0.5, 0.4) == pytest.approx(expected)
    assert (np.diff(inverse_propensities(counts, rows)) < 0).all()
    assert inverse_propensities([0, 1], rows=1).tolist() == [1, 1]


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 6), st.integers(1, 7)), elements=st.sampled_from([0, 0.25, 0.5, 1])
    ),
    st.integers(1, 7),
)
def test_slots_equal_the_mean_over_orders_of_the_ties(scores: np.ndarray, depth: int) -> None:
    depth = min(depth, scores.shape[1])
    found = count_slots(scores, depth)
    for k in range(1, depth + 1):
        expected = np.zeros(scores.shape)
        for row, shares in zip(scores, expected, strict=True):
            above, tied = (row[None] > row[:, None]).sum(1), (row[None] == row[:, None]).sum(1)
            shares += np.clip(k - above, 0, tied) / tied
        assert found[k - 1] == pytest.approx(expected.sum(0))
        np.testing.assert_allclose(share_slots(scores, k).toarray(), expected)
    assert found.sum(1) == pytest.approx(len(scores) * np.arange(1, depth + 1))
