"""New texts are made of whole sentences, keep their labels, and only documents that can be changed are."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.data.augmentation import (
    AUGMENTERS,
    augment,
    drop_sentences,
    recombine_sentences,
    split_sentences,
    trim_sentences,
)
from hf_multilabel.data.imbalance import minority_labels

SENTENCES = [f"Sentence {number}." for number in range(10)]
OTHER = [f"Other {number}." for number in range(6)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "no." She left.\nA new line', ['He said "no."', "She left.", "A new line"]),
        ("A value of 3.5, e.g. in May. Then 7 more.", ["A value of 3.5, e.g. in May.", "Then 7 more."]),
        ("wait... what? \n\n Yes (really!) Fine.", ["wait... what?", "Yes (really!)", "Fine."]),
        ("第一句。第二句！Third.", ["第一句。", "第二句！", "Third."]),
        ("  no end  ", ["no end"]),
        ("line one\nline two", ["line one", "line two"]),
        (" \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


def test_sentences_of_long_texts_are_found_quickly() -> None:
    start = time.perf_counter()
    assert len(split_sentences("A b. " * 10_000)) == 10_000
    assert split_sentences("." + " " * 100_000 + "x" + '"' * 100_000)
    assert time.perf_counter() - start < 2


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.99])
@pytest.mark.parametrize("length", [2, 3, 10])
@pytest.mark.parametrize("name", AUGMENTERS)
def test_something_changes_and_something_stays(name: str, length: int, rate: float) -> None:
    for seed in range(20):
        found = AUGMENTERS[name](SENTENCES[:length], OTHER, rate, generator(seed))
        own = [sentence for sentence in found if sentence in SENTENCES]
        assert 1 <= len(own) < length
        assert own == sorted(own, key=SENTENCES.index)
        assert set(found) <= {*SENTENCES[:length], *OTHER}


def test_dropping_leaves_out_the_given_share() -> None:
    kept = np.mean([len(drop_sentences(SENTENCES, [], 0.4, generator(seed))) for seed in range(400)])
    assert kept == pytest.approx(6, abs=0.3)


def test_trimming_keeps_one_passage_anywhere() -> None:
    found = {tuple(trim_sentences(SENTENCES, [], 0.3, generator(seed))) for seed in range(50)}
    assert found == {tuple(SENTENCES[start : start + 7]) for start in range(4)}


def test_recombining_takes_the_end_of_the_other_document() -> None:
    assert recombine_sentences(SENTENCES, OTHER, 0.3, generator()) == [*SENTENCES[:7], *OTHER[4:]]
    assert recombine_sentences(SENTENCES[:2], OTHER[:1], 0.01, generator()) == [SENTENCES[0], OTHER[0]]


# label 1 is rare: rows 1, 4 and 5; rows 1 and 4 have the same labels; row 5 is one sentence
LABELS = csr_matrix([[1, 0]] * 6, dtype=bool).tolil()
LABELS[[1, 4, 5], 1] = True
LABELS = csr_matrix(LABELS)
TEXTS = [f"Row {row} begins. Row {row} goes on. Row {row} ends." for row in range(5)] + ["Row 5 is one sentence."]


@pytest.mark.parametrize("name", AUGMENTERS)
def test_only_documents_with_a_rare_label_are_changed(name: str) -> None:
    assert minority_labels(LABELS).tolist() == [1]
    found = augment(TEXTS, LABELS, name, rate=0.4)
    assert found.rows.tolist() == [1, 4]
    assert found.skipped == 1
    assert not set(found.texts) & set(TEXTS)
    everywhere = augment(TEXTS, LABELS, name, rate=0.4, only_minority=False)
    assert everywhere.rows.tolist() == [0, 1, 2, 3, 4]


def test_recombined_documents_have_the_same_labels() -> None:
    found = augment(TEXTS, LABELS, "recombine_sentences", rate=0.4, copies=3)
    assert found.rows.tolist() == [1, 4] or found.rows.tolist() == [1, 1, 4, 4]
    assert {text.split()[-2] for text in found.texts} <= {"1", "4", "one"}
    alone = csr_matrix([[1, 0], [0, 1]], dtype=bool)
    assert augment(TEXTS[:2], alone, "recombine_sentences", only_minority=False).skipped == 2


def test_copies_differ_and_the_seed_decides() -> None:
    text = " ".join(f"Sentence {number} of a long document." for number in range(30))
    labels = csr_matrix([[1, 1]], dtype=bool)
    first, again, other = (
        augment([text], labels, "drop_sentences", copies=4, only_minority=False, seed=seed) for seed in (1, 1, 2)
    )
    assert len(set(first.texts)) == 4
    assert first.texts == again.texts
    assert first.texts != other.texts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "drop"}, "method: expected one of drop_sentences, trim_sentences, .* found 'drop'"),
        ({"rate": 0.0}, "rate: expected a share above 0 and below 1, found 0.0"),
        ({"rate": 1.0}, "rate: expected a share above 0 and below 1, found 1.0"),
        ({"copies": 0}, "copies: expected a number of at least 1, found 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment(TEXTS, LABELS, **{"method": "drop_sentences"} | arguments)
