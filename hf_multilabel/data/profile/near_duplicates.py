"""Texts that are nearly the same: MinHash and locality-sensitive hashing find candidates, exact sets decide.

    shingles -> one-permutation MinHash of 64 values -> 16 bands of 4 -> rows that share a band -> exact Jaccard

At a similarity of 0.8 a pair shares a band with probability 1 - (1 - 0.8^4)^16 = 0.9998.

Reference: Broder 1997 (resemblance of shingles); Li, Owen and Zhang 2012 (one permutation hashing); Shrivastava 2017
(empty bins borrow from a bin that chance names).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from hf_multilabel.data.checks import text_digests
from hf_multilabel.data.profile.facts import NearDuplicates, NearPair
from hf_multilabel.data.profile.shingles import mix, shingle_blocks

THRESHOLD = 0.8
WORDS = 3
BINS, BAND = 64, 4
# A row is compared with so many rows before it in each band, and with the first: copies of one form letter would
# otherwise be compared each with each.
BEFORE = 8
# Text that is searched whole; of more, rows are drawn by chance from every split.
MOST_BYTES = 1 << 30
EXAMPLES, SHOWN = 10, 160
EMPTY = np.uint64(2**64 - 1)


def find_near_duplicates(
    texts: Mapping[str, pa.ChunkedArray], ids: Mapping[str, pa.ChunkedArray], most_bytes: int = MOST_BYTES
) -> NearDuplicates:
    """Search all splits for rows whose texts share at least 0.8 of their shingles, but are not the same bytes.

    Args:
        texts: Split to texts, (N,), large_string; training first.
        ids: Split to ids, (N,).
        most_bytes: Of text; where there is more, a sample of the rows of each split is searched.

    Cost: Linear in the text: about 20 s a GB and core; 0.5 kB a row.
    """
    drawn = _draw(texts, most_bytes)
    joined = pa.chunked_array(
        [chunk for split in texts for chunk in _take(texts[split], drawn[split])], pa.large_string()
    )
    split_of = np.repeat(np.arange(len(texts)), [len(rows) for rows in drawn.values()])
    first, second, similarity = find_pairs(joined)
    names = list(texts)
    within = {
        split: len(np.unique(second[(split_of[first] == s) & (split_of[second] == s)])) for s, split in enumerate(names)
    }
    between = {
        f"{names[a]}/{names[b]}": len(np.unique(second[(split_of[first] == a) & (split_of[second] == b)]))
        for a, b in itertools.combinations(range(len(names)), 2)
    }
    places = [(split, int(row)) for split, rows in drawn.items() for row in rows]
    order = np.lexsort((-similarity, split_of[first] == split_of[second]))[:EXAMPLES]

    def where(row: int) -> str:
        split, number = places[row]
        return f"{split} {ids[split][number].as_py()}"

    examples = tuple(
        NearPair(
            where(first[i]),
            where(second[i]),
            float(similarity[i]),
            joined[int(first[i])].as_py()[:SHOWN],
            joined[int(second[i])].as_py()[:SHOWN],
        )
        for i in order
    )
    rows = sum(len(found) for found in texts.values())
    return NearDuplicates(THRESHOLD, WORDS, len(joined), rows, within, between, examples)


def find_pairs(text: pa.ChunkedArray, threshold: float = THRESHOLD) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of rows with similar texts.

    Args:
        text: (N,), large_string.
        threshold: Least Jaccard similarity of the shingles.

    Returns:
        The earlier row of each pair, the later, and the exact similarity; equal texts are left out. Of many similar
        rows each is paired with a few only, never with none.
    """
    signatures = minhash(text)
    first, second = candidates(signatures)
    digests = text_digests(text)
    agreement = _agreement(signatures, first, second)
    # an estimate from 64 values is off by 0.3 once in a million times
    kept = (digests[first] != digests[second]) & (agreement >= threshold - 0.3)
    first, second = first[kept], second[kept]
    similarity = exact_similarity(text, first, second)
    close = similarity >= threshold
    return first[close], second[close], similarity[close]


def minhash(text: pa.ChunkedArray) -> np.ndarray:
    """Signatures whose values agree, each with the probability of the similarity, (N, 64) uint64; EMPTY of no words."""
    found = np.full((len(text), BINS), EMPTY, np.uint64)
    rng = np.random.default_rng(1)
    walks = np.stack([rng.permutation(BINS) for _ in range(BINS)])  # (bin, where it looks next)
    for start, hashes, begins in shingle_blocks(text):
        rows = len(begins) - 1
        block = found[start : start + rows]
        cell = np.repeat(np.arange(rows) * BINS, np.diff(begins)) + (hashes >> np.uint64(58)).astype(np.int64)
        np.minimum.at(block.reshape(-1), cell, hashes)
        held = block != EMPTY
        gaps = np.flatnonzero(~held.all(axis=1) & held.any(axis=1))
        sources = block[gaps].copy()
        for number in range(BINS):
            step = held[gaps][:, walks[number]].argmax(axis=1)
            borrowed = sources[np.arange(len(gaps)), walks[number][step]]
            block[gaps, number] = np.where(held[gaps, number], sources[:, number], borrowed)
    return found


def candidates(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows that agree on one band at least, the earlier row first."""
    rows = len(signatures)
    usable = np.flatnonzero(signatures[:, 0] != EMPTY)
    found: list[np.ndarray] = []
    for start in range(0, BINS, BAND):
        key = np.zeros(len(usable), np.uint64)
        for value in signatures[usable, start : start + BAND].T:
            key = mix(key * np.uint64(0x9E3779B97F4A7C15) + value)
        order = np.argsort(key, kind="stable")
        key, row = key[order], usable[order]
        for step in range(1, BEFORE + 1):
            same = np.flatnonzero(key[step:] == key[:-step])
            if not len(same):
                break
            found.append(row[same] * rows + row[same + step])
        opens = np.flatnonzero(np.append(True, key[1:] != key[:-1])) if len(key) else np.zeros(0, np.int64)
        head = np.repeat(row[opens], np.diff(np.append(opens, len(key))))
        found.append((head * rows + row)[head != row])
    pairs = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return pairs // max(rows, 1), pairs % max(rows, 1)


def exact_similarity(text: pa.ChunkedArray, first: np.ndarray, second: np.ndarray, block: int = 20_000) -> np.ndarray:
    """Jaccard similarity of the shingle sets of pairs of rows, (P,)."""
    rows, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    if not len(rows):
        return np.zeros(0)
    owners, hashes = [], []
    for start, found, begins in shingle_blocks(text.take(pa.array(rows))):
        owners.append(np.repeat(np.arange(start, start + len(begins) - 1), np.diff(begins)))
        hashes.append(found)
    _, columns = np.unique(np.concatenate(hashes), return_inverse=True)
    owner = np.concatenate(owners)
    sets = csr_matrix((np.ones(len(owner), np.int32), (owner, columns)), shape=(len(rows), columns.max() + 1))
    sets.sum_duplicates()
    sets.data[:] = 1
    sizes = np.diff(sets.indptr)
    one, other = place[: len(first)], place[len(first) :]
    shared = np.concatenate(
        [
            np.asarray(sets[one[i : i + block]].multiply(sets[other[i : i + block]]).sum(axis=1)).ravel()
            for i in range(0, len(one), block)
        ]
    )
    return shared / (sizes[one] + sizes[other] - shared)


def _agreement(signatures: np.ndarray, first: np.ndarray, second: np.ndarray, block: int = 50_000) -> np.ndarray:
    """Share of equal values of pairs of signatures, (P,)."""
    steps = range(0, len(first), block)
    parts = [(signatures[first[i : i + block]] == signatures[second[i : i + block]]).mean(axis=1) for i in steps]
    return np.concatenate(parts) if parts else np.zeros(0)


def _take(text: pa.ChunkedArray, rows: np.ndarray) -> list[pa.Array]:
    """These rows, in the same memory if they are all."""
    return text.chunks if len(rows) == len(text) else text.take(pa.array(rows)).chunks


def _draw(texts: Mapping[str, pa.ChunkedArray], most_bytes: int) -> dict[str, np.ndarray]:
    """Rows of each split to search, ascending: all, or the same share of each."""
    size = sum(found.nbytes for found in texts.values())
    share = min(1.0, most_bytes / max(size, 1))
    rng = np.random.default_rng(0)
    return {
        split: np.arange(len(found))
        if share == 1
        else np.sort(rng.choice(len(found), round(share * len(found)), replace=False))
        for split, found in texts.items()
    }
