from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_multilabel.backbones import Backbone
from hf_multilabel.data.batching import MultiLabelCollator, beginning, tokenize

LONG = " ".join(f"word{i % 7} and more" for i in range(2000))


@pytest.fixture
def tokenizer(tiny_backbone: Backbone) -> PreTrainedTokenizerBase:
    return tiny_backbone.tokenizer


def texts(*values: str) -> Dataset:
    return Dataset.from_dict({"id": [str(i) for i in range(len(values))], "text": list(values)})


def test_ids_labels_and_lengths(tokenizer, tiny_texts) -> None:
    dataset = Dataset.from_dict({"text": tiny_texts, "labels": [[i % 5] for i in range(12)]})
    tokens, share = tokenize(dataset, tokenizer, 64)
    assert set(tokens.column_names) == {"input_ids", "length", "labels"}
    assert tokens["input_ids"][:] == tokenizer(tiny_texts)["input_ids"]
    assert tokens["length"][:] == [len(ids) for ids in tokens["input_ids"]]
    assert tokens["labels"][:] == dataset["labels"][:]
    assert share == 0.0


@pytest.mark.parametrize("max_length", [8, 16, 50])
def test_long_texts_get_the_tokens_of_the_whole_text(tokenizer, tiny_texts, max_length: int) -> None:
    values = [*tiny_texts, LONG, LONG.replace(" ", "\n"), "\n " * 200 + LONG, "x" * 3000, "", " ".join(tiny_texts)]
    tokens, _ = tokenize(texts(*values), tokenizer, max_length)
    assert tokens["input_ids"][:] == tokenizer(values, truncation=True, max_length=max_length)["input_ids"]


def test_real_tokenizers_too(minilm: Backbone) -> None:
    values = [LONG, "caf\u00e9 " * 999, "\u6f22\u5b57" * 900, "1,234.5 " * 300, "a" * 99_999, " " * 5000 + "end"]
    tokens, share = tokenize(texts(*values), minilm.tokenizer, 32)
    expected = [minilm.tokenizer(value[:3200], truncation=True, max_length=32)["input_ids"] for value in values]
    assert tokens["input_ids"][:] == expected
    assert share == 1.0


def test_the_cut_share_is_exact(tokenizer) -> None:
    whole = "shares rise as inflation cools"
    length = len(tokenizer(whole)["input_ids"])
    _, share = tokenize(texts(whole, whole + "  \n" * 500, whole + " more", LONG), tokenizer, length)
    assert share == 0.5


def test_a_selection_is_what_is_tokenized(tokenizer, tiny_texts) -> None:
    dataset = Dataset.from_dict({"text": tiny_texts, "labels": [[i] for i in range(12)]}).select([3, 1])
    tokens, _ = tokenize(dataset, tokenizer, 64)
    assert tokens["labels"][:] == [[3], [1]]
    assert tokens["input_ids"][:] == tokenizer([tiny_texts[3], tiny_texts[1]])["input_ids"]


def test_no_rows(tokenizer) -> None:
    tokens, share = tokenize(texts(), tokenizer, 8)
    assert (len(tokens), share) == (0, 0.0)


def test_a_text_of_50_mb_takes_bounded_time(tokenizer) -> None:
    huge = texts("word " * 10_000_000)
    start = time.perf_counter()
    tokens, share = tokenize(huge, tokenizer, 64)
    assert time.perf_counter() - start < 5
    assert tokens["length"][:] == [64]
    assert share == 1.0


def test_token_types_are_kept_where_they_say_something(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    call = type(tokenizer).__call__

    def with_types(self, *args, **kwargs):
        found = call(self, *args, **kwargs)
        found["token_type_ids"] = [[0] * (len(ids) - 1) + [2] for ids in found["input_ids"]]
        return found

    monkeypatch.setattr(type(tokenizer), "__call__", with_types)
    tokens, _ = tokenize(texts("shares rise", "banks fall on fears"), tokenizer, 64)
    batch = MultiLabelCollator(tokenizer, 2)([tokens[0], tokens[1]])
    assert batch["token_type_ids"].shape == batch["input_ids"].shape
    assert batch["token_type_ids"].sum() == 4


def test_tokenizers_that_keep_the_end_are_refused(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "truncation_side", "left")
    with pytest.raises(ValueError, match="truncation_side: expected 'right', found 'left'"):
        tokenize(texts("a"), tokenizer, 8)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("short", 10, "short"),
        ("salt and pepper", 8, "salt and"),
        ("salt and pepper", 10, "salt and"),
        ("x" * 20, 8, "x" * 8),
    ],
)
def test_beginnings_end_at_white_space(text: str, size: int, expected: str) -> None:
    assert beginning(text, size) == expected


def test_batches_are_padded_and_dense(tokenizer) -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": [0, 2], "length": 3}, {"input_ids": [5], "labels": [], "length": 1}]
    batch = MultiLabelCollator(tokenizer, num_labels=4)(rows)
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    pad = tokenizer.pad_token_id
    assert batch["input_ids"].tolist() == [[5, 6, 7] + [pad] * 5, [5] + [pad] * 7]
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 1]
    assert torch.equal(batch["labels"], torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 0]]))
    assert batch["labels"].dtype == torch.float32


def test_padding_on_the_left(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "padding_side", "left")
    batch = MultiLabelCollator(tokenizer, 1, pad_to_multiple_of=None)([{"input_ids": [5, 6]}, {"input_ids": [7]}])
    assert batch["input_ids"].tolist() == [[5, 6], [tokenizer.pad_token_id, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1], [0, 1]]
    assert "labels" not in batch


def test_padding_never_passes_the_models_positions(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "model_max_length", 10)
    assert MultiLabelCollator(tokenizer, 1)([{"input_ids": [1] * 9}])["input_ids"].shape == (1, 10)


def test_a_tokenizer_without_padding() -> None:
    tokenizer = SimpleNamespace(pad_token_id=None)
    with pytest.raises(ValueError, match="tokenizer: expected one with a padding token"):
        MultiLabelCollator(tokenizer, 1)
