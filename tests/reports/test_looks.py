"""Attention and attributions of tiny models with real tokenizers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.reports.attention import draw_label_attention, draw_layers, read_attention
from hf_multilabel.reports.attributions import attribute, marked_pieces

TEXT = "the minister resigns after the vote"


@pytest.fixture(scope="module", params=["linear", "label_attention", "windows"])
def model(
    request: pytest.FixtureRequest, tiny_backbone: Backbone, tiny_label_names: list[str]
) -> MultiLabelForSequenceClassification:
    torch.manual_seed(0)
    windows = {"length": 6, "stride": 4, "aggregation": "mean"} if request.param == "windows" else None
    head = "linear" if windows else request.param
    found = build_model(
        tiny_backbone, tiny_label_names, pooling="mean", head=head, head_kwargs={}, windows=windows
    ).eval()
    for parameter in found.head.parameters():
        torch.nn.init.normal_(parameter)
    return found


def test_attention_is_the_models_own(model: MultiLabelForSequenceClassification, tiny_backbone: Backbone) -> None:
    before = model.backbone.config._attn_implementation
    found = read_attention(model, tiny_backbone.tokenizer, TEXT, [0, 3])
    assert model.backbone.config._attn_implementation == before
    tokens = len(found.tokens)
    assert tokens == (6 if model.config.windows else 8)  # of several windows the first
    assert found.layers.shape == (2, tokens, tokens)
    assert found.layers.sum(axis=2) == pytest.approx(1, abs=1e-5)
    assert draw_layers(found).axes
    if model.config.head == "linear":
        assert found.label_weights is None
        assert draw_label_attention(found) is None
        return
    assert found.labels == ("markets", "news")
    assert found.label_weights.shape == (2, tokens)
    assert found.label_weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    # the logit is made of exactly these weights
    inputs = tiny_backbone.tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
        vectors = torch.from_numpy(found.label_weights) @ output.hidden_states[-1][0]
        rows = model.head.output.weight[[0, 3]]
        again = (model.head.activation(vectors) * rows).sum(1) + model.head.output.bias[[0, 3]]
    assert again.numpy() == pytest.approx(output.logits[0, [0, 3]].numpy(), abs=1e-4)


def test_attributions_add_up(model: MultiLabelForSequenceClassification, tiny_backbone: Backbone) -> None:
    found = attribute(model, tiny_backbone.tokenizer, TEXT, 1)
    with torch.no_grad():
        length = 6 if model.config.windows else 64
        inputs = tiny_backbone.tokenizer(TEXT, truncation=True, max_length=length, return_tensors="pt")
        logit = model(**inputs).logits[0, 1]
    assert found.label == "politics"
    assert found.logit == pytest.approx(float(logit), abs=1e-5)
    assert found.values.sum() == pytest.approx(found.logit - found.baseline, rel=0.05, abs=0.05)
    assert all(parameter.grad is None for parameter in model.parameters())
    pieces = marked_pieces(found, TEXT)
    assert "".join(piece for piece, _ in pieces) == TEXT
    assert max(abs(share) for _, share in pieces) <= 1


def test_the_token_that_decides_is_found(tiny_backbone: Backbone) -> None:
    model = build_model(tiny_backbone, ["a", "b"], pooling="mean", head="linear", head_kwargs={}).eval()
    # without layers the logit is a sum over tokens: only the embedding of "cup" speaks for the label
    ids = tiny_backbone.tokenizer("late goal wins the cup final", add_special_tokens=False)["input_ids"]
    model.backbone.encoder.layer = torch.nn.ModuleList()
    embeddings = model.backbone.embeddings
    with torch.no_grad():
        embeddings.LayerNorm, embeddings.dropout = torch.nn.Identity(), torch.nn.Identity()
        embeddings.word_embeddings.weight.zero_()
        embeddings.word_embeddings.weight[ids[4]] = model.head.output.weight[0]
    found = attribute(model, tiny_backbone.tokenizer, "late goal wins the cup final", 0)
    assert found.encoded.tokens[int(np.abs(found.values).argmax())] == "cup"
    assert np.sort(np.abs(found.values))[-2] == pytest.approx(0, abs=1e-6)
