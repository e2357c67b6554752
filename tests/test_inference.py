"""Batches of like length: what is computed together, in which order, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest

import hf_multilabel
from hf_multilabel.inference import FinishedModel
from hf_multilabel.label_sets import decide_by_length, label_sets

WORDS = [3, 1, 8, 2, 7, 1, 5]
# more characters where there are fewer tokens: sorting by characters would be the wrong way round
TEXTS = [" ".join(["x" * (40 // count)] * count) for count in WORDS]


@pytest.mark.parametrize(
    ("most_tokens", "expected"),
    [(None, [[8, 7, 5], [3, 2, 1], [1]]), (10, [[8], [7], [5, 3], [2, 1, 1]]), (2, [[8], [7], [5], [3], [2], [1, 1]])],
)
def test_batches_are_cut_by_tokens(most_tokens: int | None, expected: list[list[int]]) -> None:
    batches: list[list[int]] = []

    def lengths(texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def decide(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        batches.append(lengths(texts))
        probs = np.array([[len(text.split()) / 10] for text in texts], dtype=np.float32)
        return probs, probs > 0.4

    done: list[int] = []
    probs, labels = decide_by_length(TEXTS, 3, 1, decide, lengths, done.append, most_tokens)
    assert batches == expected
    assert done == [len(batch) for batch in expected]
    np.testing.assert_allclose(probs[:, 0], np.array(WORDS) / 10)  # in the order of the texts
    np.testing.assert_array_equal(labels[:, 0], np.array(WORDS) > 4)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": "7", "body": "stars"}, "Give {'id': row['id'], 'text': row['body']}: the key is 'text'"),
        ({"text": "stars"}, "Give {'id': '2', 'text': row['text']}"),
        ({"ticket_id": "7", "subject": "stars", "body": "nine"}, "Give {'id': '2', 'text': TEXT}"),
        ({"title": "stars", "text": "nine"}, "Give {'id': '2', 'text': row['text']}"),
        ({"id": "7", "text": None}, "found {'id': '7', 'text': None}. Give {'id': row['id'], 'text': TEXT}"),
        (
            "stars",
            "expected a mapping with 'id' and 'text', the text a str, found 'stars'. Give {'id': '2', 'text': TE",
        ),
    ],
)
def test_a_row_without_id_or_text_is_told_what_to_give(row: object, said: str) -> None:
    def decide(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((len(texts), 1)), np.ones((len(texts), 1), bool)

    found = label_sets([{"id": "6", "text": "graphs"}, row], ["a"], decide, read_ahead=1)
    assert next(found) == {"id": "6", "labels": ["a"], "scores": {"a": 1.0}}
    with pytest.raises(ValueError, match=r"rows\[1\]") as caught:
        next(found)
    assert said in str(caught.value)


@pytest.mark.parametrize("abstains", [False, True])
def test_only_a_text_that_was_decided_abstains(abstains: bool) -> None:
    def decide(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        probs = np.array([[len(text) / 10] for text in texts])
        return probs, probs > 0.4

    rows = [{"id": str(number), "text": text} for number, text in enumerate(("stars", "nine", " "))]
    found = list(label_sets(rows, ["a"], decide, abstains=abstains))
    marked = {"abstained": True} if abstains else {}
    assert found == [
        {"id": "0", "labels": ["a"], "scores": {"a": 0.5}},
        {"id": "1", "labels": [], "scores": {}, **marked},
        {"id": "2", "labels": [], "scores": {}},
    ]


def test_scores_of_all_labels_come_most_probable_first() -> None:
    def decide(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[0.2, 0.9, 0.6]] * len(texts)), np.array([[False, True, True]] * len(texts))

    rows = [{"id": "0", "text": "stars"}, {"id": "1", "text": ""}]
    found = list(label_sets(rows, ["a", "b", "c"], decide, scores="all"))
    assert found[0]["labels"] == ["b", "c"]
    assert list(found[0]["scores"].items()) == [("b", 0.9), ("c", 0.6), ("a", 0.2)]
    assert found[1] == {"id": "1", "labels": [], "scores": {}}
    with pytest.raises(ValueError, match=r"scores: expected one of predicted, all, found 'every'\. Choose"):
        list(label_sets(rows, ["a", "b", "c"], decide, scores="every"))


def test_a_text_abstains_whatever_scores_are_given() -> None:
    def decide(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[0.2]]), np.array([[False]])

    found = label_sets([{"id": "0", "text": "stars"}], ["a"], decide, abstains=True, scores="all")
    assert list(found) == [{"id": "0", "labels": [], "scores": {"a": 0.2}, "abstained": True}]


@pytest.mark.parametrize("rows", ["one text", {"id": "7", "text": "one text"}])
def test_one_text_is_no_stream_of_rows(rows: object) -> None:
    with pytest.raises(ValueError, match=r"rows: expected several rows, found .*one text.*\. Write \[\{'id': '0'"):
        FinishedModel("mine", None, None).predict(rows)


def test_completion_offers_what_is_imported_when_used() -> None:
    assert {"train", "tune", "FinishedModel"} <= set(dir(hf_multilabel))
