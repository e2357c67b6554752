"""The two matrices against cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from hf_multilabel.reports.confusion import confuse_sets, missed_for, name_set


def sets(*rows: str) -> sparse.csr_array:
    """Label sets of the labels a, b and c, one string a text."""
    return sparse.csr_array(np.array([[letter in row for letter in "abc"] for row in rows]))


def test_label_sets_are_classes() -> None:
    true = sets("a", "a", "a", "ab", "ab", "", "", "c", "bc")
    said = sets("a", "ab", "", "ab", "abc", "", "c", "c", "b")
    found = confuse_sets(true, said)
    assert found.sets == [(0,), (0, 1), ()]
    # rows and columns: a, ab, none, others; c and bc occur once and are folded, c rightly predicted
    assert found.table.tolist() == [[1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 2]]
    assert found.right_among_others == 1
    assert found.table.sum() == 9


def test_only_the_most_frequent_sets_are_shown() -> None:
    found = confuse_sets(sets("a", "a", "b", "b", "b"), sets("a", "b", "b", "b", "a"), shown=1)
    assert found.sets == [(1,)]
    assert found.table.tolist() == [[2, 1], [1, 1]]
    assert found.right_among_others == 1


def test_a_miss_is_shared_among_the_wrong_labels_of_its_text() -> None:
    # misses a, says b and c / misses a, says nothing wrong / misses a and b, says c / all right / c too much, no miss
    true, said = sets("a", "a", "ab", "abc", "a"), sets("bc", "", "c", "abc", "ac")
    matrix, alone = missed_for(true, said)
    assert matrix.toarray().tolist() == [[0, 0.5, 1.5], [0, 0, 1], [0, 0, 0]]
    assert alone.tolist() == [1, 0, 0]


def test_shares_and_lone_misses_add_up_to_all_misses() -> None:
    rng = np.random.default_rng(0)
    true, said = (sparse.csr_array(rng.random((200, 7)) < 0.3) for _ in range(2))
    matrix, alone = missed_for(true, said)
    missed = (true.toarray() & ~said.toarray()).sum(axis=0)
    assert np.asarray(matrix.sum(axis=1)).ravel() + alone == pytest.approx(missed)
    assert matrix.diagonal() == pytest.approx(0)


def test_long_sets_keep_a_part_of_each_name() -> None:
    assert name_set((0, 1), ["Quantitative Biology", "Quantitative Finance"], 30) == "Quantitative. + Quantitative."
