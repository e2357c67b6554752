"""Splits to token ids, and rows to padded batches with the only dense label matrix there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_multilabel.progress import Bar

BLOCK_ROWS = 1000
# A text is handed over up to so many characters a token. The first number holds most texts' first tokens; where it
# yields too few of them, the text is done again with the second, which bounds the work for a text of any size.
CHARACTERS_A_TOKEN = (8, 100)
# Tokenizers without a limit call it 1e30, more than their own code can count to.
UNLIMITED = 1 << 24
# What a row says of its labels: ids of those that hold, of those nobody knows, of those with a probability, and that.
TARGET_COLUMNS = ("labels", "unknown", "soft_ids", "soft_values")


def tokenize(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int, *, description: str = "tokenizing"
) -> tuple[Dataset, float]:
    """Turn the texts of a split into token ids, in memory.

    A text is cut to its first tokens. Long texts are not tokenized to their end: the tokens are those of the whole
    text, found at a fraction of its cost.

    Args:
        dataset: With `text`, and those of `TARGET_COLUMNS` that there are.
        tokenizer: Adds its special tokens.
        max_length: Most tokens a text, special ones included.
        description: Of the progress bar.

    Returns:
        A dataset with `input_ids`, `length` and the target columns (and `token_type_ids` where a tokenizer gives other
        values than 0), and the share of texts that were cut.

    Raises:
        ValueError: If the tokenizer keeps the end of long texts.

    Cost: At most 108 * max_length characters a text.
    """
    if tokenizer.truncation_side != "right":
        raise ValueError(
            f"truncation_side: expected 'right', found {tokenizer.truncation_side!r}. Set it on the tokenizer."
        )
    max_length = min(max_length, UNLIMITED)
    rows = dataset.with_format("arrow")
    blocks: dict[str, list[pa.Array]] = {"input_ids": [], "token_type_ids": []}
    cut = 0
    with Bar(description, len(dataset), "texts") as progress:
        for start in range(0, len(dataset), BLOCK_ROWS):
            texts = rows[start : start + BLOCK_ROWS].column("text").to_pylist()
            encoded, truncated = _encode(texts, tokenizer, max_length)
            for name, found in encoded.items():
                blocks[name].append(pa.array(found, pa.list_(pa.int32())))
            cut += sum(truncated)
            progress.update(len(texts))
    columns = {name: pa.chunked_array(found, pa.list_(pa.int32())) for name, found in blocks.items()}
    kinds = columns.pop("token_type_ids")
    if any(np.any(chunk.flatten().to_numpy()) for chunk in kinds.chunks):
        columns["token_type_ids"] = kinds
    lengths = [chunk.value_lengths() for chunk in columns["input_ids"].chunks]
    columns["length"] = pa.chunked_array(lengths, pa.int32())
    for name in TARGET_COLUMNS:
        if name in dataset.column_names:
            columns[name] = rows[:].column(name)
    fingerprint = f"{dataset._fingerprint}-{max_length}"
    return Dataset(pa.table(columns), fingerprint=fingerprint), cut / max(len(dataset), 1)


def _encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[dict[str, list[list[int]]], list[bool]]:
    """Token ids of each text, and whether it was cut."""
    parts = list(texts)
    encoded: dict[str, list[list[int]]] = {}
    rows = list(range(len(texts)))
    for size in CHARACTERS_A_TOKEN:
        for row in rows:
            parts[row] = beginning(texts[row], size * max_length)
        for name, found in _call(tokenizer, [parts[row] for row in rows], max_length).items():
            kept = encoded.setdefault(name, [[]] * len(texts))
            for row, ids in zip(rows, found, strict=True):
                kept[row] = ids
        rows = [row for row in rows if _is_cut(parts[row], texts[row]) and len(encoded["input_ids"][row]) < max_length]
    cut = [_is_cut(part, text) for part, text in zip(parts, texts, strict=True)]
    # a text of exactly max_length tokens is whole: one token more of room tells it from a longer one
    unclear = [row for row, ids in enumerate(encoded["input_ids"]) if not cut[row] and len(ids) >= max_length]
    roomy = _call(tokenizer, [parts[row] for row in unclear], max_length + 1)["input_ids"]
    for row, ids in zip(unclear, roomy, strict=True):
        cut[row] = len(ids) > max_length
    return encoded, cut


def _is_cut(part: str, text: str) -> bool:
    return len(part) < len(text) and len(part) < len(text.rstrip())


def _call(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> dict[str, list[list[int]]]:
    if not texts:
        return {"input_ids": []}
    found = tokenizer(list(texts), truncation=True, max_length=max_length, return_attention_mask=False)
    return {name: found[name] for name in ("input_ids", "token_type_ids") if name in found}


def beginning(text: str, size: int) -> str:
    """The start of a text, at most `size` characters, up to its last white space where there is some near the end.

    Example:
        >>> beginning("salt and pepper", 10)
        'salt and'
    """
    if len(text) <= size:
        return text
    cut = text[: size + 1]
    near = max(cut.rfind(blank, size // 2) for blank in (" ", "\n", "\t"))
    return cut[:near] if near > 0 else cut[:size]


def check_ids(labels: Sequence[int], num_labels: int) -> None:
    """Refuse a row's labels that are not ids.

    Raises:
        ValueError: If an id repeats, is no whole number, or there is no such label.
    """
    whole = all(isinstance(i, int | np.integer) and 0 <= i < num_labels for i in labels)
    if not whole or len(set(labels)) != len(labels):
        raise ValueError(
            f"labels: expected different ids below {num_labels}, found {list(labels)[:8]!r}. "
            "Pass the ids of a row's labels, not one 0/1 a label."
        )


@dataclass
class MultiLabelCollator:
    """Rows to a padded batch: `input_ids`, `attention_mask`, `labels` (1, 0, and -1 where `unknown` names a label).

    Where `soft_ids` names a label, its target is the probability in `soft_values`, above 0 and below 1.

    Args:
        tokenizer: Says with what and on which side to pad.
        num_labels: L.
        pad_to_multiple_of: Pad to a multiple of so many tokens, which matrix units compute faster.

    Raises:
        ValueError: If the tokenizer has no padding token.

    Example:
        >>> collator = MultiLabelCollator(tokenizer, num_labels=3)  # doctest: +SKIP
        >>> collator([{"input_ids": [101, 102], "labels": [0, 2]}])["labels"]  # doctest: +SKIP
        tensor([[1., 0., 1.]])
    """

    tokenizer: PreTrainedTokenizerBase
    num_labels: int
    pad_to_multiple_of: int | None = 8

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            name = type(self.tokenizer).__name__
            raise ValueError(f"tokenizer: expected one with a padding token, found {name} without. Set its pad_token.")

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pad rows to one width; `labels` are left out where the rows have none."""
        ids = [feature["input_ids"] for feature in features]
        width = self._width(max(map(len, ids)))
        batch = {
            "input_ids": self._pad(ids, width, self.tokenizer.pad_token_id),  # (B, T)
            "attention_mask": self._pad([[1] * len(row) for row in ids], width, 0),  # (B, T)
        }
        if "token_type_ids" in features[0]:
            kinds = [feature["token_type_ids"] for feature in features]
            batch["token_type_ids"] = self._pad(kinds, width, self.tokenizer.pad_token_type_id)
        if "labels" in features[0]:
            batch["labels"] = self._multi_hot([feature["labels"] for feature in features])
            if "unknown" in features[0]:
                batch["labels"] -= self._multi_hot([feature["unknown"] for feature in features])
            if "soft_ids" in features[0]:
                soft = self._multi_hot([f["soft_ids"] for f in features], [f["soft_values"] for f in features])
                batch["labels"] = torch.where(soft > 0, soft, batch["labels"])
        return batch

    def _width(self, longest: int) -> int:
        if not self.pad_to_multiple_of:
            return longest
        width = -(-longest // self.pad_to_multiple_of) * self.pad_to_multiple_of
        # never past the positions a model has
        return max(longest, min(width, self.tokenizer.model_max_length))

    def _pad(self, rows: Sequence[Sequence[int]], width: int, value: int) -> Tensor:
        padded = torch.full((len(rows), width), value, dtype=torch.long)
        for number, row in enumerate(rows):
            start = 0 if self.tokenizer.padding_side == "right" else width - len(row)
            padded[number, start : start + len(row)] = torch.as_tensor(row, dtype=torch.long)
        return padded

    def _multi_hot(self, labels: Sequence[Sequence[int]], values: Sequence[Sequence[float]] | None = None) -> Tensor:
        """1, or the values, where rows name labels."""
        dense = torch.zeros((len(labels), self.num_labels), dtype=torch.float32)  # (B, L)
        for row in labels:
            check_ids(row, self.num_labels)
        rows = np.repeat(np.arange(len(labels)), [len(row) for row in labels])
        columns = np.concatenate([np.asarray(row, dtype=np.int64) for row in labels])
        cells = np.ones(len(rows)) if values is None else np.concatenate([np.asarray(row, float) for row in values])
        dense[torch.from_numpy(rows), torch.from_numpy(columns)] = torch.from_numpy(cells).float()
        return dense
