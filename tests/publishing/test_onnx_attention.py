"""Attention as one operator: the same numbers, or the plain graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import BertConfig, MPNetConfig, PreTrainedConfig

from hf_multilabel import MultiLabelConfig, MultiLabelForSequenceClassification, default_decision, hash_labels
from hf_multilabel.publishing import onnx_attention
from hf_multilabel.publishing.onnx import INPUTS, build_graph
from hf_multilabel.publishing.onnx_attention import OPERATOR, fuse_attention, fused_attention, run_logits
from hf_multilabel.publishing.onnx_int8 import quantize

NAMES = list("abcde")
SIZES = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}


def make(backbone: PreTrainedConfig) -> MultiLabelForSequenceClassification:
    torch.manual_seed(0)
    config = MultiLabelConfig(
        backbone_config=backbone, pooling="mean", head="linear", id2label=dict(enumerate(NAMES)),
        decision=default_decision() | {"labels_sha256": hash_labels(NAMES)},
    )  # fmt: skip
    model = MultiLabelForSequenceClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def test_int8_has_attention_as_one_operator_with_the_same_logits() -> None:
    model = make(BertConfig(num_hidden_layers=1, max_position_embeddings=32, **SIZES))
    plain, _ = build_graph(model, 32, INPUTS[:2], "tiny")
    graph, backbone = fuse_attention(model, 32, plain, "tiny")
    ids = np.random.default_rng(1).integers(0, 50, (5, 20))
    mask = (np.arange(20) < np.array([[20], [1], [7], [19], [2]])).astype(np.int64)
    mask[3, :4] = 0  # padding may stand anywhere
    feed = {"input_ids": ids, "attention_mask": mask}
    expected = run_logits(plain, feed)
    np.testing.assert_allclose(run_logits(graph, feed), expected, atol=2e-5)
    small = quantize(graph, backbone, "tiny")
    assert [node.op_type for node in small.graph.node].count(OPERATOR) == 1
    assert not any(node.op_type == "Softmax" for node in small.graph.node)
    assert 0 < np.abs(run_logits(small, feed) - expected).max() < 0.2 * np.abs(expected).max()
    # what a graph gives that is traced wrongly is compared, not trusted
    for tensor in plain.graph.initializer:
        if tensor.name.endswith("query.bias"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_attention, "build_graph", lambda *_: (graph, backbone))
        assert fuse_attention(model, 32, plain, "tiny") is None


def test_a_backbone_with_attention_of_its_own_keeps_it() -> None:
    model = make(MPNetConfig(num_hidden_layers=1, max_position_embeddings=34, **SIZES))
    texts = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in INPUTS[:2]]
    plain = helper.make_model(helper.make_graph([], "plain", texts, []))
    assert fuse_attention(model, 32, plain, "tiny") is None


def test_attention_to_neighbours_alone_is_refused() -> None:
    states = torch.ones(2, 2, 4, 8)
    with pytest.raises(NotImplementedError, match="some of the tokens"):
        fused_attention(torch.nn.Module(), states, states, states, None, sliding_window=4)
