"""Labels flipped in real abstracts are found far better than by chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.data.loading import load_data
from hf_multilabel.data.profile.label_errors import HeldOutScores, group_folds, rank_suspects, score_held_out
from hf_multilabel.errors import InputError

QUICKSTART = Path(__file__).parents[3] / "recipes/data/quickstart"


def flip(given: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The labels with some left out and about as many given by chance, and where."""
    rng = np.random.default_rng(0)
    left_out, added = np.zeros_like(given), np.zeros_like(given)
    for cells, planted in ((np.argwhere(given), left_out), (np.argwhere(~given), added)):
        chosen = cells[rng.choice(len(cells), round(share * given.sum()), replace=False)]
        planted[tuple(chosen.T)] = True
    return given ^ left_out ^ added, left_out, added


def test_planted_errors_are_found_far_better_than_by_chance() -> None:
    pytest.importorskip("cleanlab")
    data = load_data(QUICKSTART)
    texts = [text for rows in data.splits.values() for text in rows["text"][:]]
    truth = np.concatenate([data.label_matrix(split).toarray() for split in data.splits])
    given, left_out, added = flip(truth, 0.05)
    scores = score_held_out(texts, csr_matrix(given))
    assert scores.judged.tolist() == list(range(8))
    missing, wrong = rank_suspects(scores, csr_matrix(given))
    for pairs, planted, others in ((missing, left_out, ~given), (wrong, added, given)):
        most = int(planted.sum())
        found = planted[tuple(pairs[:most].T)].mean()
        chance = planted[others].mean()
        assert found > 0.3
        assert found > 8 * chance


def test_the_most_probable_are_listed_where_none_is_sure() -> None:
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(0)
    given = rng.random((100, 2)) < 0.2
    probs = np.where(given, 0.9, 0.1 * rng.random((100, 2))).astype(np.float32)
    missing, _ = rank_suspects(HeldOutScores(probs, np.arange(2)), csr_matrix(given))
    expected = np.argwhere(~given)[np.argsort(-probs[~given])][: int(np.ceil(0.05 * given.sum()))]
    assert missing.tolist() == expected.tolist()


def test_copies_of_a_text_share_a_fold() -> None:
    texts = [f"text {number % 15}" for number in range(60)]
    for inside, held_out in group_folds(csr_matrix(np.ones((60, 1), bool)), texts):
        assert not {texts[row] for row in inside} & {texts[row] for row in held_out}
        assert len(inside) + len(held_out) == 60


def test_labels_of_few_rows_are_not_judged_and_work_is_bounded() -> None:
    texts = [f"word{number % 3} of the text {number % 7}" for number in range(60)]
    targets = csr_matrix(np.stack([np.arange(60) % 3 == 0, np.arange(60) < 3, np.arange(60) % 2 == 0], axis=1))
    assert score_held_out(texts, targets).judged.tolist() == [0, 2]
    assert score_held_out(texts, targets, most_work=1).judged.tolist() == [2]  # the most frequent one


def test_too_few_rows_judge_nothing_and_texts_without_words_are_refused() -> None:
    scores = score_held_out(["a text", "another"], csr_matrix([[1], [0]], dtype=bool))
    assert scores.probs.shape == (2, 0)
    assert [pairs.shape for pairs in rank_suspects(scores, csr_matrix([[1], [0]], dtype=bool))] == [(0, 2), (0, 2)]
    with pytest.raises(InputError, match=r"D124.*data\.text"):
        score_held_out(["?!"] * 40, csr_matrix(np.arange(40)[:, None] % 2))
