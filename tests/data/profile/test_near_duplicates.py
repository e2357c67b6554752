"""Near duplicates: by hand, and against every pair compared with Python sets."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pyarrow as pa
import pytest

from hf_multilabel.data.profile.near_duplicates import exact_similarity, find_near_duplicates, find_pairs, minhash
from hf_multilabel.data.profile.shingles import BLOCK_BYTES, shingle_blocks

THIRTEEN = "a b c d e f g h i j k l m"


def arrow(*texts: str) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(texts, pa.large_string())])


def shingles(text: str) -> set[tuple[str, ...]]:
    """The slow twin: words by a regular expression, shingles as tuples."""
    text = re.sub("[\u2000-\u207f]", " ", text)
    text = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    words = re.findall("[\u3000-\U0010ffff]|[a-z0-9\u0080-\u2fff]+", text)
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))} if words else set()


def similar_texts() -> list[str]:
    rng = random.Random(0)
    vocabulary = [f"w{number}" for number in range(300)] + ["don't", "naïve", "日本語", "tschüß", "😀"]
    texts = []
    for _ in range(150):
        words = [rng.choice(vocabulary) for _ in range(rng.choice([1, 2, 3, 5, 8, 15, 40, 200]))]
        texts.append(" ".join(words))
        for _ in range(rng.choice([0, 0, 1, 2])):
            words[rng.randrange(len(words))] = rng.choice(vocabulary)
        texts.append(rng.choice([" ", ", ", " — "]).join(words).replace("w", rng.choice("wW")))
    return [*texts, "", "...", "“Hello” world—again now", '"hello" world again now']


def test_one_word_changed_at_the_end_of_thirteen_by_hand() -> None:
    # 11 shingles each, 10 shared: 10 / 12
    texts = arrow(THIRTEEN, THIRTEEN[:-1] + "z", "x y z x y z x y z x y z x")
    first, second, similarity = find_pairs(texts)
    assert (first.tolist(), second.tolist()) == ([0], [1])
    assert similarity.tolist() == pytest.approx([10 / 12])


def test_one_word_changed_in_the_middle_is_not_near() -> None:
    # three shingles differ: 8 / 14
    other = THIRTEEN.replace("g", "z")
    assert exact_similarity(arrow(THIRTEEN, other), np.array([0]), np.array([1])).tolist() == pytest.approx([8 / 14])
    assert not len(find_pairs(arrow(THIRTEEN, other))[0])


def test_every_pair_is_found_and_no_other() -> None:
    texts = similar_texts()
    sets = [shingles(text) for text in texts]
    expected = {}
    for i, j in itertools.combinations(range(len(texts)), 2):
        if sets[i] and sets[j] and texts[i] != texts[j]:
            similarity = len(sets[i] & sets[j]) / len(sets[i] | sets[j])
            if similarity >= 0.8:
                expected[i, j] = similarity
    split = pa.chunked_array([pa.array(part, pa.large_string()) for part in (texts[:70], texts[70:])])
    found = {(int(i), int(j)): float(s) for i, j, s in zip(*find_pairs(split), strict=True)}
    assert len(expected) > 40
    assert found == pytest.approx(expected)


def test_shingles_are_those_of_the_slow_twin() -> None:
    texts = similar_texts()
    sizes = []
    for _, hashes, begins in shingle_blocks(arrow(*texts)):
        sizes += [len(set(hashes[a:b].tolist())) for a, b in itertools.pairwise(begins)]
    assert sizes == [len(shingles(text)) for text in texts]


def test_a_text_longer_than_a_block_and_a_sliced_array() -> None:
    long = " ".join(str(number) for number in range(BLOCK_BYTES // 5))
    texts = arrow("skipped", long, "one two three four", f"{long} end").slice(1)
    first, second, similarity = find_pairs(texts)
    assert (first.tolist(), second.tolist()) == ([0], [2])
    assert similarity[0] > 0.99999


def test_signatures_agree_as_often_as_the_sets_overlap() -> None:
    rng = random.Random(1)
    similarities, agreements = [], []
    for _ in range(60):
        words = [str(rng.randrange(10**6)) for _ in range(rng.choice([8, 30, 300]))]
        other = list(words)
        for _ in range(len(words) // rng.choice([4, 10, 40])):
            other[rng.randrange(len(words))] = str(rng.randrange(10**6))
        pair = arrow(" ".join(words), " ".join(other))
        similarities.append(exact_similarity(pair, np.array([0]), np.array([1]))[0])
        signatures = minhash(pair)
        agreements.append((signatures[0] == signatures[1]).mean())
    apart = np.array(agreements) - np.array(similarities)
    assert abs(apart.mean()) < 0.03
    assert np.abs(apart).max() < 0.35


def test_rows_are_counted_by_split_and_equal_texts_left_out() -> None:
    texts = {
        "train": arrow(THIRTEEN, THIRTEEN.upper(), "quite another text of seven words"),
        "test": arrow(THIRTEEN + " n", THIRTEEN, "nothing like the others at all"),
    }
    ids = {split: pa.chunked_array([pa.array([f"{split}-{n}" for n in (1, 2, 3)])]) for split in texts}
    found = find_near_duplicates(texts, ids)
    # capitals make a near duplicate; THIRTEEN in test is byte for byte the first of train, but near the second
    assert found.within == {"train": 1, "test": 1}
    assert found.between == {"train/test": 2}
    assert found.examples[0].similarity == 1
    assert found.examples[0].first == "train train-2"
    assert found.examples[0].second == "test test-2"
    assert (found.rows, found.of) == (6, 6)


def test_of_too_much_text_a_sample_is_searched_and_said() -> None:
    texts = {"train": arrow(*(f"text number {n} of many others" for n in range(200)))}
    ids = {"train": pa.chunked_array([pa.array([str(n) for n in range(200)])])}
    found = find_near_duplicates(texts, ids, most_bytes=texts["train"].nbytes // 2)
    assert (found.rows, found.of) == (100, 200)


def test_a_form_letter_of_many_copies_stays_cheap() -> None:
    copies = arrow(*(f"{THIRTEEN} n o p q r s t u v w x y {number}" for number in range(2000)))
    first, second, _ = find_pairs(copies)
    assert set(second.tolist()) == set(range(1, 2000))
    assert len(first) < 2000 * 16 * 9
