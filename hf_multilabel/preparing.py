"""What a training starts from: announced data, remedies against imbalance, backbone, token ids, a new model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import torch
from datasets import Dataset
from transformers import set_seed

from hf_multilabel.backbones import Backbone, build_model, load_backbone
from hf_multilabel.console import note
from hf_multilabel.data.batching import tokenize
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.remedies import apply_remedies
from hf_multilabel.recipe import Recipe
from hf_multilabel.recipe.loading import blame
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.remote_code.windows_multilabel import count_windows
from hf_multilabel.training.distributed import main_first, on_main


@dataclass
class Tokenized:
    """The splits as token ids, and how much of them was cut.

    Args:
        splits: Split to dataset with `input_ids`, `labels` and `length`.
        truncated: Split to the share of texts cut at `data.max_length`.
    """

    splits: dict[str, Dataset]
    truncated: dict[str, float]


def announce(data: MultiLabelData) -> None:
    """Say what was loaded."""
    rows = ", ".join(f"{split} {len(dataset):,}" for split, dataset in data.splits.items())
    note(f"data: {rows} rows, {len(data.labels):,} labels, {data.statistics['cardinality']['train']:.2f} a row")
    if corrected := data.statistics.get("corrections"):
        note(f"corrections: {corrected['added']:,} labels added, {corrected['removed']:,} removed")


def balance_of(recipe: Recipe) -> dict[str, Any] | None:
    """What the recipe does against imbalance by the choice of rows, as the functions of `data.remedies` take it."""
    return recipe.data.balance and recipe.data.balance.arguments()


def remedy(recipe: Recipe, data: MultiLabelData) -> MultiLabelData:
    """Augment and balance the training split as the recipe says."""
    augment, balance = recipe.data.augment, balance_of(recipe)
    if augment is None and balance is None:
        return data
    with blame(recipe, "data"):
        found = apply_remedies(data, augment and augment.model_dump(), balance)
    before, after = data.statistics["imbalance"], found.statistics["trained_on"]
    note(
        f"remedies: {len(data.splits['train']):,} -> {after['rows']:,} training rows, "
        f"mean imbalance {before['mean_ir']:.2f} -> {after['mean_ir']:.2f}"
    )
    return found


def prepare_backbone(recipe: Recipe, data: MultiLabelData) -> Backbone:
    """Find the backbone and let its tokenizer cut texts where the recipe says; every consumer then cuts there too."""
    settings = recipe.model
    scratch = None if settings.scratch is None else settings.scratch.model_dump()
    # trained here, the tokenizer must be one and the same everywhere; read, main first, then all from the cache
    load = partial(on_main, load_backbone) if settings.backbone == "scratch" else main_first(load_backbone)
    backbone = load(
        settings.backbone,
        revision=settings.revision,
        sha256=settings.backbone_sha256,
        scratch=scratch,
        texts=data.splits["train"]["text"] if settings.backbone == "scratch" else None,
        max_length=recipe.data.max_length,
        window_length=settings.windows and settings.windows.length,
        config_overrides=settings.config_overrides,
    )
    backbone.tokenizer.model_max_length = recipe.data.max_length
    return backbone


def tokenize_splits(data: MultiLabelData, backbone: Backbone, max_length: int) -> Tokenized:
    """Token ids of all splits."""
    found = {split: tokenize(dataset, backbone.tokenizer, max_length) for split, dataset in data.splits.items()}
    tokens = Tokenized({s: f[0] for s, f in found.items()}, {s: round(f[1], 4) for s, f in found.items()})
    shares = ", ".join(f"{split} {share:.1%}" for split, share in tokens.truncated.items())
    note(f"texts cut at {max_length} tokens: {shares}")
    return tokens


def describe_windows(model: MultiLabelForSequenceClassification, tokens: Tokenized) -> dict[str, dict[str, float]]:
    """How many windows the texts of each split are read in, on average; empty where texts are read in one piece."""
    windows = model.config.windows
    if windows is None:
        return {}
    counts = {
        split: round(count_windows(torch.tensor(dataset["length"]), windows).double().mean().item(), 2)
        for split, dataset in tokens.splits.items()
    }
    shown = ", ".join(f"{split} {count:.2f}" for split, count in counts.items())
    note(f"windows of {windows['length']} tokens, one every {windows['stride']}: {shown} a text")
    return {"windows_per_text": counts}


def drop_texts(data: MultiLabelData) -> None:
    """Let go of the training texts, which nobody reads after tokenizing: of EURLEX57K they are 0.4 GB a process."""
    data.splits["train"] = data.splits["train"].remove_columns("text")
    pa.default_memory_pool().release_unused()


def new_model(
    recipe: Recipe, backbone: Backbone, data: MultiLabelData, seed: int
) -> MultiLabelForSequenceClassification:
    """The recipe's model with the backbone's weights and a head drawn from the seed."""
    with blame(recipe, "model"):
        # after the data: how many random numbers they took must not decide how the head is drawn
        set_seed(seed)
        return build_model(
            backbone,
            data.labels.names,
            pooling=recipe.model.pooling,
            head=recipe.model.head,
            head_kwargs=recipe.model.head_kwargs,
            dropout=recipe.model.dropout,
            attention_dropout=recipe.model.attention_dropout,
            windows=recipe.model.windows and recipe.model.windows.model_dump(),
        )
