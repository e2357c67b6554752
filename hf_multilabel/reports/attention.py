"""Where a model looks: the backbone's attention by layer, and what each label looks at under label_attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hf_multilabel.reports.drawing import HEAT, label_last, new_figure, shorten, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedTokenizerBase

    from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

# Tokens drawn of a text: more names than that no axis can carry.
TOKENS_SHOWN = 36
COLUMNS = 2
LABELS_SHOWN = 12
# Maps of a text: two beside each other leave room for the names of the tokens, and more of them nobody reads.
LAYERS_SHOWN = 6
MAP: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest"}


@dataclass(frozen=True)
class EncodedText:
    """One text as the model reads it.

    Args:
        inputs: Tensors for the model, one row.
        tokens: What each token stands for, (T,); special ones by their names.
        spans: Where each token stands in the text, (T,); None for special ones and tokenizers that do not say.
    """

    inputs: Mapping[str, Tensor]
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class Attention:
    """Attention on one text.

    Args:
        tokens: Its tokens, (T,).
        layers: Weights averaged over heads: how much a token (row) takes from another (column), (layers, T, T); empty
            where the backbone gives none.
        labels: Labels whose weights are known, M of them.
        label_weights: What each of them looks at, rows add up to 1, (M, T); empty for heads that do not attend.
    """

    tokens: tuple[str, ...]
    layers: NDArray[np.float32]
    labels: tuple[str, ...] = ()
    label_weights: NDArray[np.float32] | None = None


def encode(tokenizer: PreTrainedTokenizerBase, text: str, max_length: int) -> EncodedText:
    """Tokens of a text, cut where the model cuts it."""
    fast = bool(tokenizer.is_fast)
    found = tokenizer(
        text, truncation=True, max_length=max_length, return_tensors="pt",
        return_offsets_mapping=fast, return_special_tokens_mask=True,
    )  # fmt: skip
    ids, special = found["input_ids"][0].tolist(), found.pop("special_tokens_mask")[0].tolist()
    offsets = found.pop("offset_mapping")[0].tolist() if fast else [(0, 0)] * len(ids)
    spans = [(a, b) if b > a and not s else None for (a, b), s in zip(offsets, special, strict=True)]
    names = tokenizer.convert_ids_to_tokens(ids)
    tokens = [name if span is None else text[slice(*span)] for name, span in zip(names, spans, strict=True)]
    return EncodedText(dict(found), tuple(tokens), tuple(spans))


def length_of(model: MultiLabelForSequenceClassification, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens of one forward pass of the backbone: of a model that reads windows, those of the first one."""
    windows = model.config.windows
    return min(tokenizer.model_max_length, windows["length"] if windows else tokenizer.model_max_length)


@contextmanager
def eager(backbone: Any) -> Iterator[None]:
    """The backbone with attention that hands out its weights; fused kernels never hold them."""
    before = backbone.config._attn_implementation
    backbone.set_attn_implementation("eager")
    try:
        yield
    finally:
        backbone.set_attn_implementation(before)


def read_attention(
    model: MultiLabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    labels: Sequence[int] = (),
) -> Attention:
    """Run a text through a model once more and keep where it looks.

    Args:
        model: In eval mode.
        tokenizer: Beside it.
        text: Of any length; cut where the model cuts it, and to the first window of a model that reads several.
        labels: Ids of the labels whose own attention is wanted, of heads that have one.

    Cost: One forward pass without fused attention.
    """
    encoded = encode(tokenizer, text, length_of(model, tokenizer))
    inputs = {name: tensor.to(model.device) for name, tensor in encoded.inputs.items()}
    mask = inputs["attention_mask"]
    with torch.no_grad(), eager(model.backbone):
        known = inputs if model._takes_token_types else {n: t for n, t in inputs.items() if n != "token_type_ids"}
        found = model.backbone(**known, output_attentions=True, return_dict=True)
        tokens = len(encoded.tokens)
        # encoders that look at neighbours only have no whole map
        whole = [
            layer for layer in found.attentions or () if layer is not None and layer.shape[-2:] == (tokens, tokens)
        ]
        layers = [layer[0].float().mean(dim=0).cpu().numpy() for layer in whole]
        stacked = np.stack(layers) if layers else np.zeros((0, tokens, tokens), np.float32)
        if not labels or not hasattr(model.head, "attention"):
            return Attention(encoded.tokens, stacked)
        states = found.last_hidden_state.to(next(model.head.parameters()).dtype)
        weights = model.head.attention(states, mask)[0, list(labels)].float().cpu().numpy()  # (M, T)
    names = tuple(model.config.label_names[label] for label in labels)
    return Attention(encoded.tokens, stacked, names, weights)


def label_tokens(tokens: Sequence[str]) -> list[str]:
    """Tokens as names of an axis."""
    return [shorten(token, 14) or "?" for token in tokens[:TOKENS_SHOWN]]


@styled
def draw_layers(attention: Attention) -> Figure | None:
    """A map a layer, of many the first, the last and some between; None where the backbone gives no weights.

    Rows are tokens, columns what they take from.

    Every map has its own scale, for upper layers look at few tokens; the first token of many texts takes most of it.
    """
    layers = attention.layers[:, :TOKENS_SHOWN, :TOKENS_SHOWN]
    if not len(layers):
        return None
    chosen = np.unique(np.linspace(0, len(layers) - 1, min(LAYERS_SHOWN, len(layers))).round().astype(int)).tolist()
    names, columns = label_tokens(attention.tokens), min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    side = 0.75 + 0.083 * max(len(names), 16)
    figure = new_figure(columns * side + 0.5, rows * side + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, number in zip(grid, chosen, strict=False):
        axes.imshow(layers[number], cmap=HEAT, vmin=0, vmax=float(layers[number].max()) or 1, **MAP)
        axes.grid(False)
        axes.set_title(f"layer {number + 1} of {len(layers)}, up to {layers[number].max():.2f}", fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axes.set_yticks(range(len(names)), names, fontsize=6)
    label_last(grid, columns, len(chosen))
    more = len(attention.tokens) - len(names)
    figure.supxlabel(
        "attended token" + (f" (first {len(names)} of {len(attention.tokens)})" if more else ""), fontsize=8
    )
    figure.supylabel("attending token", fontsize=8)
    return figure


@styled
def draw_label_attention(attention: Attention) -> Figure | None:
    """What each label looks at, a row a label; None for heads that do not attend."""
    if attention.label_weights is None or not len(attention.label_weights):
        return None
    weights = attention.label_weights[:LABELS_SHOWN, :TOKENS_SHOWN]
    names = label_tokens(attention.tokens)
    figure = new_figure(2.4 + 0.17 * len(names), 1.5 + 0.26 * len(weights))
    axes = figure.subplots()
    image = axes.imshow(weights, cmap=HEAT, vmin=0, aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axes.set_yticks(range(len(weights)), [shorten(name, 26) for name in attention.labels[:LABELS_SHOWN]])
    axes.set(xlabel="token", ylabel="label")
    axes.set_title("What each label looks at")
    figure.colorbar(image, label="weight (a label's add up to 1)")
    return figure
