"""Label names become a start of the head: encoded as texts are, and worth something before any training."""

from __future__ import annotations

import pytest
import torch

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.training.head_init import encode_names
from hf_multilabel.training.scoring import head_features

NAMES = ["sport", "the economy of a country", "opera"]


@pytest.mark.parametrize(("head", "pooling"), [("label_embedding", "cls"), ("label_attention", "mean")])
def test_names_are_encoded_one_by_one(tiny_backbone: Backbone, head: str, pooling: str) -> None:
    model = build_model(tiny_backbone, NAMES, head=head, pooling=pooling).train()
    found = encode_names(model, tiny_backbone.tokenizer, NAMES, batch_size=2)
    assert model.training
    model.eval()
    for name, encoded in zip(NAMES, found, strict=True):
        states = model.backbone(**tiny_backbone.tokenizer(name, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(encoded, states[0] if pooling == "cls" else states.mean(0), atol=1e-5, rtol=1e-5)
    model.head.init_label_queries(found)


def test_features_of_a_head_that_takes_labels_one_by_one(tiny_backbone: Backbone) -> None:
    model = build_model(tiny_backbone, NAMES, head="label_attention")
    batch = dict(tiny_backbone.tokenizer(["shares rise", "late goal"], padding=True, return_tensors="pt"))
    with torch.no_grad():
        features = head_features(model, batch)
        torch.testing.assert_close(model.head.output(features), model(**batch).logits)


TEXTS = [
    "The striker scored twice and the home side won the cup final on penalties.",
    "Shares fell after the central bank raised interest rates to fight inflation.",
    "The soprano was applauded for minutes after the last aria.",
]


@pytest.mark.parametrize("kwargs", [{"similarity": "dot"}, {"similarity": "cosine"}])
def test_names_score_texts_before_any_training(minilm: Backbone, kwargs: dict[str, str]) -> None:
    names = ["sports", "economy and finance", "opera and classical music"]
    model = build_model(minilm, names, head="label_embedding", head_kwargs={"label_init": "names", **kwargs})
    model.head.init_label_queries(encode_names(model, minilm.tokenizer, names))
    with torch.no_grad():
        logits = model(**minilm.tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    assert logits.argmax(1).tolist() == [0, 1, 2]
    assert (logits.diagonal() > 0).all()


def test_labels_look_at_the_words_that_mean_them(minilm: Backbone) -> None:
    names = ["sports", "finance", "music"]
    model = build_model(minilm, names, head="label_attention", head_kwargs={"label_init": "names"})
    model.head.init_label_queries(encode_names(model, minilm.tokenizer, names))
    inputs = minilm.tokenizer("the banker sang at the football match", return_tensors="pt")
    tokens = minilm.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    with torch.no_grad():
        states = model.backbone(**inputs).last_hidden_state
        weights = model.head.attention(states, inputs["attention_mask"])[0]  # (labels, tokens)
    for label, word in enumerate(("football", "banker", "sang")):
        assert tokens[weights[label].argmax()] == word
        assert 0.3 < weights[label].max() < 0.99
