"""Texts as sets of hashed word shingles, straight from Arrow's bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

# Texts hashed at once: the arrays of a block stay in the processor's cache.
BLOCK_BYTES = 1 << 20
_TABLE = np.random.default_rng(8_091_997).integers(1, 2**63, 256 + 4, dtype=np.uint64) | np.uint64(1)
_BYTES, _BASE, _FIRST, _SECOND, _SHORT = _TABLE[:256].copy(), _TABLE[256], _TABLE[257], _TABLE[258], _TABLE[259]
_BYTES[65:91] = _BYTES[97:123]  # A to Z as a to z
_WORD = np.zeros(256, bool)
_WORD[[*range(48, 58), *range(65, 91), *range(97, 123), *range(128, 256)]] = True


def mix(values: np.ndarray) -> np.ndarray:
    """Spread every bit of 64-bit values over all bits (splitmix64's last steps)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def shingle_blocks(text: pa.ChunkedArray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Shingles of all texts, block by block.

    A shingle is three words in a row; a text of one or two words is one shingle. Words are runs of ASCII letters and
    digits and of other scripts' characters; characters from U+3000 on (Chinese, Japanese, Korean, emoji) are each a
    word. Case is ignored for A to Z.

    Args:
        text: Shape (N,), large_string without nulls.

    Returns:
        Of each block the number of its first row, the hashes (repetitions included), and where each row's begin.

    Cost: About 50 bytes beside each byte of a block; some 30 MB of text a second on one core.
    """
    row = 0
    for chunk in text.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        values = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        start = 0
        while start < len(chunk):
            stop = int(np.searchsorted(ends, ends[start] + BLOCK_BYTES, side="right")) - 1
            stop = min(max(stop, start + 1), len(chunk))
            bounds = ends[start : stop + 1]
            yield row + start, *_shingles(values[bounds[0] : bounds[-1]], bounds - bounds[0])
            start = stop
        row += len(chunk)


def _shingles(values: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the shingles of the texts between bounds, and where each text's begin, shape (n + 1,)."""
    words, of_row = _hash_words(values, bounds)
    count = np.diff(of_row)
    begins = np.concatenate([[0], np.cumsum(np.where(count > 2, count - 2, np.minimum(count, 1)))])
    whole = np.ones(len(words), bool)  # where a shingle of three words begins
    last = of_row[1:]
    for back in (1, 2):
        inside = last - back >= of_row[:-1]
        whole[(last - back)[inside]] = False
    starts = np.flatnonzero(whole)
    found = np.empty(begins[-1], np.uint64)
    three = mix(words[starts] * _FIRST + words[starts + 1] * _SECOND + words[starts + 2]) if len(starts) else found[:0]
    few = np.flatnonzero((count == 1) | (count == 2))
    is_short = np.zeros(len(found), bool)
    is_short[begins[:-1][few]] = True
    found[~is_short] = three
    second = np.where(count[few] == 2, words[np.minimum(of_row[:-1][few] + 1, max(len(words) - 1, 0))], np.uint64(0))
    found[is_short] = mix(words[of_row[:-1][few]] * _FIRST + second * _SECOND + _SHORT)
    return found, begins


def _hash_words(values: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash of every word, and where each text's words begin, shape (n + 1,)."""
    inside = _WORD[values]
    lead = np.flatnonzero(values[:-2] == 0xE2)
    quotes = lead[(values[lead + 1] == 0x80) | (values[lead + 1] == 0x81)]
    for byte in range(3):  # typographic quotes and dashes part words as ASCII's do
        inside[quotes + byte] = False
    starts = inside.copy()
    starts[1:] &= ~inside[:-1]
    alone = np.flatnonzero(values >= 0xE3)
    after = alone + 3 + (values[alone] >= 0xF0)
    starts[alone] = True
    after = after[after < len(values)]
    starts[after] = inside[after]
    edges = bounds[:-1][bounds[:-1] < len(values)]
    starts[edges] = inside[edges]
    places = np.flatnonzero(starts)
    powers, inverse = _powers(len(values))
    total = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(np.where(inside, _BYTES[values] * powers, np.uint64(0)), out=total[1:])
    sums = total[np.append(places[1:], len(values))] - total[places] if len(places) else np.zeros(0, np.uint64)
    return mix(sums * inverse[places]), np.searchsorted(places, bounds)


_POWERS: dict[str, np.ndarray] = {}


def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The base to the powers 0 to size - 1, and to their negatives, modulo 2^64."""
    if len(_POWERS.get("up", ())) < size:
        length = max(size, BLOCK_BYTES)
        for name, base in (("up", int(_BASE)), ("down", pow(int(_BASE), -1, 2**64))):
            steps = np.full(length, base, np.uint64)
            steps[:1] = 1
            _POWERS[name] = np.cumprod(steps)
    return _POWERS["up"][:size], _POWERS["down"][:size]
