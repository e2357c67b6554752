"""Attention as one operator of onnxruntime, for graphs in int8.

    query, key, value (N, heads, T, D), mask -> com.microsoft.MultiHeadAttention -> (N, T, heads, D)

Once weights are int8, attention in float32 takes a third of the time. The operator computes it block by block in the
cache, but only where it is given no mask. So the mask goes into the product: a place is appended to each head, 1 in
queries, and in keys 0 where the token is real and -10,000 where it is padding; query times key is then their product
plus the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from hf_multilabel.errors import InputError
from hf_multilabel.publishing.onnx import INPUTS, build_graph
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

if TYPE_CHECKING:
    import onnx

OPERATOR = "MultiHeadAttention"
NAME = "onnxruntime_attention"
# exp of it is 0 in float32, whatever a real token scores
PADDING = -1e4
# Of logits, relative to the largest: the same sums in another order.
TOLERANCE = 1e-4
MOST_TOKENS = 256


def fused_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in place of its own attention, while a model is traced.

    Args:
        module: The layer that asks.
        query: (N, heads, T, D); `key` and `value` likewise.
        key: See there.
        value: See there.
        attention_mask: Added to the scores, (N, 1, T, T), the same for all queries; None where nothing is padding.
        scaling: Of the scores; 1 / sqrt(D) if None.
        options: `sliding_window` must be absent or None.

    Returns:
        (N, T, heads, D), and no weights.

    Raises:
        NotImplementedError: If a token may look at some of the tokens only.

    Reference: Dao et al. 2022.
    """
    if options.get("sliding_window") is not None or getattr(module, "is_causal", False):
        raise NotImplementedError("attention to some of the tokens")
    rows, heads, tokens, width = query.shape
    scaling = width**-0.5 if scaling is None else scaling
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))  # (N, T, heads, D)
    if attention_mask is not None:
        padding = attention_mask[:, 0, 0, :].clamp(min=PADDING) / scaling  # (N, T)
        place = (rows, tokens, heads, 1)
        query = torch.cat([query, query.new_ones(place)], dim=-1)
        key = torch.cat([key, padding[:, :, None, None].expand(place)], dim=-1)
    out = torch.onnx.ops.symbolic(
        f"com.microsoft::{OPERATOR}",
        [part.flatten(2) for part in (query, key, value)],
        {"num_heads": heads, "scale": float(scaling)},
        dtype=query.dtype,
        shape=(rows, tokens, heads * width),
        version=1,
    )
    return out.reshape(rows, tokens, heads, width), None


def fuse_attention(
    model: MultiLabelForSequenceClassification, max_length: int | None, plain: onnx.ModelProto, where: str
) -> tuple[onnx.ModelProto, list[str]] | None:
    """Trace the model again with attention as one operator.

    Args:
        model: As for `build_graph`.
        max_length: See there.
        plain: Its graph of standard operators.
        where: Name of the model.

    Returns:
        As `build_graph`; None where the backbone computes attention in its own way, or the logits would differ.
    """
    inputs = [tensor.name for tensor in plain.graph.input]
    try:
        graph, backbone = build_graph(model, max_length, inputs, where, NAME)
    except (InputError, ValueError):  # a backbone without exchangeable attention says so in many ways
        return None
    if not any(node.op_type == OPERATOR for node in graph.graph.node):
        return None
    feed = draw_texts(model.config.backbone_config.vocab_size, min(max_length or MOST_TOKENS, MOST_TOKENS), inputs)
    expected, found = run_logits(plain, feed), run_logits(graph, feed)
    same = np.abs(expected - found).max() <= TOLERANCE * max(1.0, float(np.abs(expected).max()))
    return (graph, backbone) if same else None


def draw_texts(vocabulary: int, tokens: int, inputs: Sequence[str]) -> dict[str, np.ndarray]:
    """Random texts of three lengths, padded, as a graph takes them."""
    ids = np.random.default_rng(0).integers(0, vocabulary, (3, tokens))
    lengths = np.array([[tokens], [tokens // 2 + 1], [1]])
    mask = (np.arange(tokens) < lengths).astype(np.int64)
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: feed[name] for name in INPUTS if name in inputs}


def run_logits(graph: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    """Logits of a graph in memory, (N, L)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], feed)[0]


AttentionInterface.register(NAME, fused_attention)
AttentionMaskInterface.register(NAME, eager_mask)
