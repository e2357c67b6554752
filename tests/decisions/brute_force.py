"""The slow twins of the threshold rules: every cut between any two scores, counted afresh."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

FEW = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
FINE = st.floats(0, 1, width=32, allow_subnormal=False)

Value = Callable[[np.ndarray, np.ndarray], float]


@st.composite
def scored(
    draw: st.DrawFn, dtype: type = np.float32, max_rows: int = 8, max_labels: int = 8, positive: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truths: ties, scores of 0 and 1, labels with no positive or nothing else, a single row."""
    shape = draw(st.integers(1, max_rows)), draw(st.integers(1, max_labels))
    values = draw(st.sampled_from([FEW, FINE] if dtype is np.float32 else [st.floats(0, 1, allow_subnormal=False)]))
    truth = draw(hnp.arrays(bool, shape))
    if positive:
        truth[0, 0] = True
    return draw(hnp.arrays(dtype, shape, elements=values)), truth


def all_cuts(scores: np.ndarray) -> list[float]:
    """Every way to split the scores by a cut, highest first: (cut midway to the next lower score)."""
    distinct = sorted({float(score) for score in scores.ravel()}, reverse=True)
    cuts = [(score + below) / 2 for score, below in zip(distinct, [*distinct[1:], 0.0], strict=True)]
    return [
        cut if cut > below else score for cut, score, below in zip(cuts, distinct, [*distinct[1:], -1], strict=True)
    ]


def cuts_and_none(scores: np.ndarray) -> list[float]:
    """`all_cuts`, and 1, which takes nothing but scores of 1."""
    return [1.0, *all_cuts(scores)]


def best(scores: np.ndarray, truth: np.ndarray, value: Value) -> tuple[float, float]:
    """The highest value of a common cut, and the first cut that reaches it."""
    cuts = cuts_and_none(scores)
    values = [value(scores.astype(float) >= cut, truth) for cut in cuts]
    return max(values), cuts[values.index(max(values))]


def vectors(scores: np.ndarray, choices: list[list[float]]) -> Iterator[np.ndarray]:
    """Label sets of every combination of cuts, one choice a label."""
    for cuts in itertools.product(*choices):
        yield scores.astype(float) >= np.array(cuts)


def f_beta(decided: np.ndarray, truth: np.ndarray, beta: float = 1.0) -> float:
    """F-beta over all entries, 0 where nothing is decided or true."""
    below = decided.sum() + beta**2 * truth.sum()
    return (1 + beta**2) * (decided & truth).sum() / below if below else 0.0
