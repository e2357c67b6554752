"""How long texts are, in tokens of a backbone or in words, and how many of them a length cuts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from hf_multilabel.data.profile.facts import LengthFacts

PERCENTILES = (5, 25, 50, 75, 95, 99, 100)
CANDIDATES = (32, 64, 128, 256, 384, 512, 1024, 2048, 4096)
BINS = 40
# Tokenizers read a few MB a second: of long texts a sample says enough (5,000 texts: shares within 1.5 points).
MOST = 5_000, 10_000_000
BLOCK = 256

Count = Callable[[Sequence[str]], Sequence[int]]


def measure_lengths(
    texts: Mapping[str, pa.ChunkedArray],
    max_length: int,
    count: Count | None = None,
    tokenizer: str | None = None,
    most: tuple[int, int] = MOST,
) -> LengthFacts:
    """Lengths of the texts of every split.

    Args:
        texts: Split to texts, (N,).
        max_length: Where the recipe cuts.
        count: Texts to their numbers of tokens; None counts words.
        tokenizer: Name of what `count` uses.
        most: Texts and characters of a split that `count` reads.
    """
    lengths = {split: sample_lengths(found, count, most) for split, found in texts.items()}
    train = lengths.get("train", next(iter(lengths.values())))
    longest = int(train.max(initial=1))
    # the last bin holds what is longer than nearly all texts: a few outliers would squeeze the rest
    end = max(float(np.percentile(train, 99)) if len(train) else 1.0, min(longest, max_length) * 1.1, 8.0)
    # one edge just above the cut, so that a bar is whole on one side of it
    width = max(1.0, max_length / max(1, round(BINS * max_length / end)))
    edges = 0.5 + width * np.arange(int(np.ceil((end - 0.5) / width)) + 1)
    counts, _ = np.histogram(np.clip(train, 1, edges[-1]), edges)
    return LengthFacts(
        unit="words" if count is None else "tokens",
        tokenizer=tokenizer,
        max_length=max_length,
        measured={split: len(found) for split, found in lengths.items()},
        percentiles={
            split: {p: int(np.percentile(found, p)) if len(found) else 0 for p in PERCENTILES}
            for split, found in lengths.items()
        },
        truncated={split: share_above(found, max_length) for split, found in lengths.items()},
        cut_at={size: share_above(train, size) for size in CANDIDATES},
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def share_above(lengths: np.ndarray, size: int) -> float:
    """Share of lengths above a size; 0 of none."""
    return float((lengths > size).mean()) if len(lengths) else 0.0


def sample_lengths(text: pa.ChunkedArray, count: Count | None = None, most: tuple[int, int] = MOST) -> np.ndarray:
    """Lengths of the texts; in tokens of some of them, drawn by chance."""
    if count is None:
        return pc.list_value_length(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(text))).to_numpy()
    characters = pc.sum(pc.utf8_length(text)).as_py() or 0
    rows = min(len(text), most[0], max(1, int(most[1] * len(text) / max(characters, 1))))
    drawn = np.sort(np.random.default_rng(0).permutation(len(text))[:rows])
    return np.asarray(count(text.take(pa.array(drawn)).to_pylist()), np.int64)


def count_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, special ones included, however long it is."""
    options = dict(return_attention_mask=False, return_token_type_ids=False, truncation=False, verbose=False)
    found: list[int] = []
    for start in range(0, len(texts), BLOCK):
        found += [len(ids) for ids in tokenizer(list(texts[start : start + BLOCK]), **options)["input_ids"]]
    return found
