"""Ranks of positives against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from hf_multilabel.evaluation import count_at_least, rank_positives


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))
    few = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
    values = draw(st.sampled_from([few, st.floats(0, 1, width=32)]))
    return draw(hnp.arrays(np.float32, shape, elements=values)), draw(hnp.arrays(bool, shape))


@settings(deadline=None)
@given(scored(), st.integers(1, 30))
def test_ranks_equal_counting(case: tuple[np.ndarray, np.ndarray], chunk: int) -> None:
    scores, targets = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hf_multilabel.evaluation.ranks.CHUNK", chunk)
        ranks = rank_positives(scores, sparse.csr_array(targets))
        at_least, above = count_at_least(scores, np.unique(scores))
    for place, (row, label) in enumerate(np.argwhere(targets)):
        score, others = scores[row, label], scores[row]
        assert ranks.row[place] == row
        assert ranks.score[place] == score
        assert ranks.at_least[place] == (others >= score).sum()
        assert ranks.above[place] == (others > score).sum()
        assert ranks.below[place] == others[others < score].max(initial=0)
    for place, value in enumerate(np.unique(scores)):
        assert at_least[place] == (scores >= value).sum()
        assert above[place] == (scores > value).sum()


def test_transposed_views_rank_within_labels() -> None:
    rng = np.random.default_rng(0)
    scores, targets = rng.random((6, 4)), rng.random((6, 4)) < 0.5
    before = scores.copy()
    ranks = rank_positives(scores.T, sparse.csr_array(targets.T))
    label, row = np.nonzero(targets.T)
    np.testing.assert_array_equal(ranks.at_least, (scores[:, label] >= scores[row, label]).sum(axis=0))
    np.testing.assert_array_equal(scores, before)
