"""Labels that are probably wrong: a model that did not see the row is sure of the opposite.

    texts -> TF-IDF -> one logistic regression a label, k folds -> out-of-fold probabilities
    -> confident learning (cleanlab) says which pairs (row, label) are suspect -> ranked, missing labels first

Reference: Northcutt, Jiang and Chuang 2021, Confident Learning; Thyagarajan et al. 2022, Identifying incorrect
annotations in multi-label classification data.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from hf_multilabel.data.splitting import kfold
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.progress import Bar

FOLDS = 5
# Rows with and without a label that a fold needs to learn anything of it.
LEAST_ROWS = 2 * FOLDS
# Long documents say what they are about near their beginning; the rest costs more than it tells.
CHARACTERS = 2_000
# Of the labels given, so many are looked for among those that are not: a usual rate of errors.
LEAST_SHARE = 0.05
FEATURES = 100_000
FEW_TEXTS = 1_000
PENALTY_C = 3.0
# Stored values times labels times folds: about two minutes on one core.
MOST_WORK = 1.5e9


@dataclass(frozen=True)
class HeldOutScores:
    """Out-of-fold probabilities.

    Args:
        probs: Probability that a label holds, (N, J) float32.
        judged: Ids of the labels of the columns, (J,), ascending.
    """

    probs: np.ndarray
    judged: np.ndarray


def score_held_out(texts: Sequence[str], targets: csr_matrix, most_work: float = MOST_WORK) -> HeldOutScores:
    """Score every row by models that did not see it, nor a copy of it.

    Labels with fewer than ten rows are not judged; where that is still too much work, the most frequent ones are.

    Args:
        texts: N of them.
        targets: Labels as given, (N, L).
        most_work: Stored TF-IDF values times labels times folds.

    Raises:
        InputError: If the texts have no words.

    Cost: About 80 ns a unit of work.
    """
    counts = targets.getnnz(axis=0)
    enough = np.flatnonzero((counts >= LEAST_ROWS) & (len(texts) - counts >= LEAST_ROWS))
    if not len(enough):
        return HeldOutScores(np.zeros((len(texts), 0), np.float32), enough)
    features = weigh_words(texts)
    most = max(1, int(most_work / (FOLDS * max(features.nnz, 1))))
    judged = np.sort(enough[np.argsort(-counts[enough], kind="stable")[:most]])
    given = targets[:, judged].toarray().astype(bool)
    probs = np.zeros(given.shape, np.float32)
    folds = group_folds(targets, texts)
    with Bar("label errors", len(folds) * len(judged), "fits") as progress:
        for inside, held_out in folds:
            seen, unseen = features[inside], features[held_out]
            for column in range(len(judged)):
                probs[held_out, column] = _fit(seen, given[inside, column], unseen)
                progress.update()
    return HeldOutScores(probs, judged)


def weigh_words(texts: Sequence[str]) -> csr_matrix:
    """TF-IDF of words and pairs of words, (N, V) float32.

    Raises:
        InputError: If the texts have no words.
    """
    # of few texts every word counts
    least = 2 if len(texts) > FEW_TEXTS else 1
    weigh = TfidfVectorizer(
        sublinear_tf=True, min_df=least, ngram_range=(1, 2), max_features=FEATURES, dtype=np.float32
    )
    try:
        return weigh.fit_transform([text[:CHARACTERS] for text in texts])
    except ValueError as error:
        what = f"expected texts with words, found none ({error})"
        raise InputError(Finding("D124", "--label-errors", what, "check data.text")) from error


def group_folds(targets: csr_matrix, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Stratified folds, equal texts in the same one: a copy would give its own label away."""
    fold_of = np.empty(targets.shape[0], np.int64)
    for number, (_, held_out) in enumerate(kfold(csr_matrix(targets, copy=True), FOLDS)):
        fold_of[held_out] = number
    first: dict[str, int] = {}
    of = fold_of[[first.setdefault(text, row) for row, text in enumerate(texts)]]
    parts = [(np.flatnonzero(of != number), np.flatnonzero(of == number)) for number in range(FOLDS)]
    return [part for part in parts if len(part[0]) and len(part[1])]


def _fit(seen: csr_matrix, given: np.ndarray, unseen: csr_matrix) -> np.ndarray:
    """Probability of one label on unseen rows, (M,)."""
    if given.all() or not given.any():
        return np.full(unseen.shape[0], float(given[0]))
    model = LogisticRegression(solver="liblinear", C=PENALTY_C)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(seen, given).predict_proba(unseen)[:, 1]


def rank_suspects(scores: HeldOutScores, targets: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Suspected pairs, the surest first.

    A pair is suspect where confident learning says so: the probability of the opposite is as high as it is on average
    on the rows that have the opposite. A label that is not given is suspect from a probability of 0.5 on, too; and as
    rare labels seldom come so far, the most probable ones are, until there are 5% as many as labels given.

    Args:
        scores: Out-of-fold probabilities.
        targets: Labels as given, (N, L).

    Returns:
        Missing labels (probability descending) and wrong ones (ascending, over the mean probability of the rows that
        are given the label: a rare label's are all low), each (P, 2): row and column of `scores`.

    Raises:
        InputError: If cleanlab is not installed.
    """
    given = targets[:, scores.judged].toarray().astype(bool)
    suspect = np.zeros(given.shape, bool)
    for column in range(given.shape[1]):
        suspect[:, column] = confident_issues(given[:, column], scores.probs[:, column])
    missing, wrong = np.argwhere(_missing(scores.probs, given, suspect)), np.argwhere(suspect & given)
    own = (scores.probs * given).sum(axis=0) / np.maximum(given.sum(axis=0), 1)
    sure = scores.probs[tuple(missing.T)]
    doubtful = scores.probs[tuple(wrong.T)] / np.maximum(own[wrong[:, 1]], 1e-12)
    return missing[np.argsort(-sure, kind="stable")], wrong[np.argsort(doubtful, kind="stable")]


def _missing(probs: np.ndarray, given: np.ndarray, suspect: np.ndarray) -> np.ndarray:
    """Where a label that is not given seems to hold, bool, (N, J)."""
    found = (suspect | (probs >= 0.5)) & ~given
    wanted = min(int(np.ceil(LEAST_SHARE * given.sum())), int((~given).sum()))
    if wanted > found.sum():
        absent = np.where(given, -1.0, probs)
        found |= absent >= np.partition(absent, -wanted, axis=None)[-wanted]
    return found & ~given


def confident_issues(given: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Rows of one label that confident learning calls mislabelled, bool, (N,)."""
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        what = "expected cleanlab installed, found none; --label-errors needs hf-multilabel[report]"
        fix = "pip install hf-multilabel[report]"
        raise InputError(Finding("D123", "--label-errors", what, fix)) from error
    if given.all() or not given.any():
        return np.zeros(len(given), bool)
    both = np.stack([1 - probs, probs], axis=1).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find_label_issues(given.astype(int), both, filter_by="confident_learning", n_jobs=1)
