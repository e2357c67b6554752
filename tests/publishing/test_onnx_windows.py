"""Windows inside a graph: those of the model, pooled as the model pools them."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BertConfig

from hf_multilabel import MultiLabelConfig, MultiLabelForSequenceClassification, default_decision, hash_labels
from hf_multilabel.publishing.onnx import INPUTS, build_graph
from hf_multilabel.publishing.onnx_windows import AGGREGATIONS, WindowedModel, lay_windows
from hf_multilabel.remote_code import windows_multilabel
from hf_multilabel.remote_code.windows_multilabel import cut_windows

NAMES = list("abcde")


def make(aggregation: str) -> MultiLabelForSequenceClassification:
    """Texts of up to 40 tokens in windows of 8."""
    torch.manual_seed(0)
    backbone = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=8,
    )  # fmt: skip
    windows = {"length": 8, "stride": 4, "aggregation": aggregation, "prefix": 1, "suffix": 1}
    config = MultiLabelConfig(
        backbone_config=backbone, pooling="mean", head="linear", windows=windows, id2label=dict(enumerate(NAMES)),
        decision=default_decision() | {"labels_sha256": hash_labels(NAMES)},
    )  # fmt: skip
    model = MultiLabelForSequenceClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def batch(rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each text four tokens shorter than the one before, padded on the right."""
    lengths = (tokens - 4 * torch.arange(rows)).clamp(min=2)
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    return torch.randint(1, 50, (rows, tokens)), mask


def test_aggregations_are_those_of_the_model() -> None:
    assert list(AGGREGATIONS) == list(windows_multilabel.AGGREGATIONS)


@pytest.mark.parametrize(
    ("length", "stride", "prefix", "suffix"), [(8, 4, 1, 1), (8, 6, 1, 1), (9, 1, 2, 0), (5, 5, 0, 0)]
)
@pytest.mark.parametrize("tokens", [3, 8, 9, 14, 31])
def test_windows_are_those_of_the_model(length: int, stride: int, prefix: int, suffix: int, tokens: int) -> None:
    windows = {"length": length, "stride": stride, "aggregation": "max", "prefix": prefix, "suffix": suffix}
    ids, mask = batch(6, tokens)
    places, real = lay_windows(mask, windows)
    found = ids[:, None, :].expand(-1, places.shape[1], -1).gather(2, places).masked_fill(~real, 0)
    cut = cut_windows(mask, windows)
    used = real.any(dim=2)
    if cut is None:
        np.testing.assert_array_equal(found[:, 0], ids * mask)
        assert used.sum() == len(ids)
    else:
        np.testing.assert_array_equal(found[used], cut.take(ids, 0)[:, : found.shape[2]])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_logits_are_those_of_the_model(aggregation: str) -> None:
    model = make(aggregation)
    for rows, tokens in ((6, 31), (2, 8), (3, 5)):
        ids, mask = batch(rows, tokens)
        with torch.inference_mode():
            expected = model(input_ids=ids, attention_mask=mask).logits
            found = WindowedModel(copy.deepcopy(model))(ids, mask)
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("logit", [-25.0, -9.0, 0.0, 9.0, 40.0])
def test_noisy_or_is_exact_for_the_unlikely_and_the_sure(logit: float) -> None:
    values = torch.full((1, 3, 2), logit)
    expected = windows_multilabel.noisy_or_over_windows(values[0], torch.zeros(3, dtype=torch.long), 1)
    found = AGGREGATIONS["noisy_or"](values, torch.ones(1, 3, 1, dtype=torch.bool))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "aggregation", ["noisy_or", *(pytest.param(name, marks=pytest.mark.slow) for name in ("max", "mean"))]
)
def test_a_graph_divides_texts_of_any_length(aggregation: str) -> None:
    model = make(aggregation)
    graph, backbone = build_graph(model, 40, INPUTS[:2], "tiny")
    assert backbone
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows, tokens in ((6, 31), (1, 40), (2, 9), (2, 8), (1, 1)):
        ids, mask = batch(rows, tokens)
        (found,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        with torch.inference_mode():
            expected = model(input_ids=ids, attention_mask=mask).logits
        np.testing.assert_allclose(found, expected, atol=2e-6)
