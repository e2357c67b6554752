"""Folds of held-out scores: rows judged by cuts that never saw them, scores of folds put together, cuts averaged.

Pure: whoever calls draws the folds (`data.splitting.kfold`) and says how a decision is fitted and applied. A fold is
the row numbers held out; the folds together are all rows, each once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.decisions.cuts import keep_distance, logit
from hf_multilabel.evaluation.scores import Scores, TopScores

Rows = NDArray[np.int64]
Fit = Callable[[Rows], dict[str, Any]]
Decide = Callable[[dict[str, Any], Rows], sparse.csr_array]

MODES = ("thresholds", "head", "retrain")
COMBINE = ("pooled", "averaged")


def check_folds(folds: Sequence[Rows], rows: int) -> None:
    """Refuse folds that are not all rows, each once.

    Raises:
        ValueError: If there are fewer than two, or a row is missing or repeated.
    """
    if len(folds) < 2 or not np.array_equal(np.sort(np.concatenate(folds)), np.arange(rows)):
        found = f"{len(folds)} folds with {sum(len(fold) for fold in folds)} rows"
        raise ValueError(f"folds: expected 2 or more that hold each of {rows} rows once, found {found}. Use kfold().")


def check_ways(ways: Any) -> None:
    """Refuse what is no list of ways to draw folds, each a list of folds.

    Raises:
        ValueError: If they are nested otherwise: folds of one way alone, a number, or the pairs that kfold() gives.
    """
    nested = isinstance(ways, Sequence) and all(
        isinstance(folds, list) and all(isinstance(fold, (np.ndarray, list)) for fold in folds) for folds in ways
    )
    if not nested:
        step = "[[held_out for _, held_out in kfold(targets, 5)]] is one way"
        raise ValueError(f"folds: expected a list of ways, each a list of the rows held out, found others. {step}.")


def take_rows(scores: Scores, rows: Rows) -> Scores:
    """The scores of some rows, also repeated ones: (N, L) -> (n, L)."""
    if isinstance(scores, TopScores):
        return TopScores(scores.stored[rows], scores.floor[rows], scores.unstored_at_floor)
    return scores[rows]


def pool_scores(parts: Sequence[Scores], folds: Sequence[Rows]) -> Scores:
    """Scores of each fold's rows, each from a model that never saw them, in the order of all rows.

    Args:
        parts: For each fold (n, L), all arrays or all kept in part.
        folds: The rows of each part.

    Returns:
        Shape (N, L).

    Raises:
        ValueError: If parts and folds do not fit each other.

    Example:
        >>> pool_scores([np.array([[0.1]]), np.array([[0.2], [0.3]])], [np.array([1]), np.array([0, 2])]).ravel()
        array([0.2, 0.1, 0.3])
    """
    check_folds(folds, sum(part.shape[0] for part in parts))
    order = np.argsort(np.concatenate(folds))
    kept = [part for part in parts if isinstance(part, TopScores)]
    if len(kept) == len(parts):
        stored = sparse.vstack([part.stored for part in kept], format="csr")[order]
        return TopScores(sparse.csr_array(stored), np.concatenate([part.floor for part in kept])[order])
    if kept:
        raise ValueError("parts: expected all arrays or all kept in part, found both. Score all folds alike.")
    return np.concatenate([np.asarray(part) for part in parts])[order]


def average_cuts(cuts: NDArray[np.float64], scores: Scores | None = None) -> NDArray[np.float64]:
    """Mean of the folds' cuts on the logit scale, where a cut of 0.01 is as far from 0.1 as 0.9 from 0.99.

    A cut of 1 says that none was good enough, and stays 1 where all folds say so. Where some do, it counts as the
    log-odds of the highest probability below 1, about 16: one such fold of five lifts a cut of 0.5 to 0.96, three lift
    it above all but the surest scores.

    Args:
        cuts: One row a fold, (K, L).
        scores: Where given, the cuts below 1 keep a distance from these scores, as those of `balanced` do.

    Returns:
        Shape (L,).

    Example:
        >>> average_cuts(np.array([[0.5, 0.2], [0.5, 0.8]])).round(3).tolist()
        [0.5, 0.5]
    """
    each = np.atleast_2d(cuts)
    mean = 1 / (1 + np.exp(-np.mean([logit(row) for row in each], axis=0)))
    mean = mean if scores is None else keep_distance(scores, mean)
    return np.where((each == 1).all(axis=0), 1.0, mean)


def cross_fit(fit: Fit, decide: Decide, folds: Sequence[Rows]) -> tuple[list[dict[str, Any]], sparse.csr_array]:
    """Decide each fold by what was fitted on all other rows.

    Args:
        fit: Rows to a decision fitted on them and no others.
        decide: A decision and rows to the label sets it gives them, CSR (n, L).
        folds: See `check_folds`.

    Returns:
        The decision of each fold, and the label sets of all rows, bool CSR (N, L): what the decision is worth on rows
        it was not fitted on, but for the k-th part of the rows that each fit lacks.

    Cost: k fits on (k - 1) / k of the rows.
    """
    rows = int(sum(len(fold) for fold in folds))
    check_folds(folds, rows)
    decisions, sets = [], []
    for held_out in folds:
        decisions.append(fit(np.setdiff1d(np.arange(rows), held_out, assume_unique=True)))
        sets.append(decide(decisions[-1], held_out))
    return decisions, sparse.csr_array(sparse.vstack(sets, format="csr")[np.argsort(np.concatenate(folds))])
