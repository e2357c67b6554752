"""Names that are probably one label, written in two ways: a letter wrong in few rows, or other separators."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from os.path import commonprefix

from hf_multilabel.data.labels import fold
from hf_multilabel.data.profile.facts import LookAlike

WORD = re.compile(r"[^\W\d_]+")
DIGITS = re.compile(r"\d+")
# What people leave out or replace between words; "C++" and "C#" keep their signs.
SEPARATORS = re.compile(r"[\s\-_./,'’]+")
# A misspelt name stands in few rows and the right one in many more: real labels a letter apart ("Ireland", "Iceland")
# seldom do. Short words ("meat", "heat") and a replaced letter ("pastry", "pantry") need more alike letters.
MOST_ROWS, TIMES = 5, 10
LETTERS, LETTERS_REPLACED = 6, 8


def find_lookalikes(names: Sequence[str], rows: Sequence[int]) -> tuple[LookAlike, ...]:
    """Pairs of labels whose names differ in separators alone, or in one letter of one word if one of them is rare.

    Args:
        names: Of the labels.
        rows: Of each label, in all splits; labels without a row are in no pair.

    Returns:
        The most lopsided pairs first.

    Cost: a look-up for each letter of a name, no comparison of all pairs.

    Example:
        >>> find_lookalikes(["sciences", "scienecs", "label 1", "label 2"], [90, 1, 90, 1])
        (LookAlike(first='sciences', second='scienecs', first_rows=90, second_rows=1),)
    """
    folded = {label: fold(names[label]) for label in range(len(names)) if rows[label]}
    pairs = {*_same_but_separators(folded), *_misspelt(folded, rows)}
    ordered = (sorted(pair, key=lambda label: (-rows[label], label)) for pair in pairs)
    found = [LookAlike(names[one], names[two], rows[one], rows[two]) for one, two in ordered]
    return tuple(sorted(found, key=lambda pair: (pair.second_rows / pair.first_rows, pair.first, pair.second)))


def _same_but_separators(folded: dict[int, str]) -> Iterator[tuple[int, int]]:
    same = defaultdict(list)
    for label, name in folded.items():
        joined = SEPARATORS.sub("", name)
        if sum(map(str.isalpha, joined)) >= LETTERS:
            same[joined, tuple(DIGITS.findall(name))].append(label)
    for labels in same.values():
        yield from combinations(labels, 2)


def _misspelt(folded: dict[int, str], rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Two names a letter apart are equal once the right letter of each, or of one of them, is left out."""
    often = defaultdict(list)
    for label, name in folded.items():
        if rows[label] >= TIMES:
            for key in _letters_left_out(name):
                often[key].append(label)
    for label, name in folded.items():
        if rows[label] <= MOST_ROWS:
            for other in {other for key in _letters_left_out(name) for other in often.get(key, ())}:
                if rows[other] >= TIMES * rows[label] and differ_by_a_slip(name, folded[other]):
                    yield min(label, other), max(label, other)


def _letters_left_out(name: str) -> Iterator[str]:
    yield name
    for word in WORD.finditer(name):
        if len(word[0]) >= LETTERS:
            for place in range(word.start() + 1, word.end()):
                yield name[:place] + name[place + 1 :]


def differ_by_a_slip(first: str, second: str) -> bool:
    """Whether two names differ in one long word, there by a letter too many, two swapped, or one replaced.

    Its first letter is the same: people seldom miss that one, and words that differ in it differ in meaning.

    Example:
        >>> differ_by_a_slip("computer science", "computer scince"), differ_by_a_slip("methanol", "ethanol")
        (True, False)
    """
    if WORD.split(first) != WORD.split(second):
        return False
    words = zip(WORD.findall(first), WORD.findall(second), strict=True)
    different = [(one, two) for one, two in words if one != two]
    if len(different) != 1:
        return False
    one, two = different[0]
    start = len(commonprefix([one, two]))
    end = min(len(commonprefix([one[::-1], two[::-1]])), len(one) - start, len(two) - start)
    left, right = one[start : len(one) - end], two[start : len(two) - end]
    if not start or min(len(one), len(two)) < LETTERS:
        return False
    swapped = len(left) == 2 and left == right[::-1]
    replaced = len(left) == len(right) == 1 and len(one) >= LETTERS_REPLACED
    return len(left) + len(right) == 1 or swapped or replaced
