"""Stock classes give the model's logits: every backbone of the table, every way a head passes through."""

from __future__ import annotations

import pytest
import torch
from transformers import CONFIG_MAPPING

from hf_multilabel import MultiLabelConfig, MultiLabelForSequenceClassification, default_decision, hash_labels
from hf_multilabel.errors import InputError
from hf_multilabel.publishing.plain import ODD_PARTS, STOCK, build_plain, stock_thresholds
from hf_multilabel.publishing.plain_folder import TOLERANCE

NAMES = ["a", "b", "c"]
SIZES = {
    **dict.fromkeys(("hidden_size", "dim", "embedding_size", "pooler_hidden_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "n_heads"), 2),
    **dict.fromkeys(("intermediate_size", "hidden_dim"), 48),
    **{"vocab_size": 60, "max_position_embeddings": 40, "pad_token_id": 0},
}


def make(kind: str, names: list[str] = NAMES, **arguments: object) -> MultiLabelForSequenceClassification:
    known = vars(CONFIG_MAPPING[kind]())
    backbone = CONFIG_MAPPING[kind](
        **{key: value for key, value in SIZES.items() if key in known or key == "pad_token_id"}
    )
    config = MultiLabelConfig(backbone_config=backbone, id2label=dict(enumerate(names)), **arguments)
    model = MultiLabelForSequenceClassification(config).eval()
    for parameter in model.parameters():  # large logits: nothing hides in zeros
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def assert_same_logits(model: MultiLabelForSequenceClassification) -> None:
    plain = build_plain(model, "x")
    ids, mask = torch.randint(2, 60, (6, 12)), torch.ones(6, 12, dtype=torch.long)
    mask[1, 5:] = 0
    with torch.inference_mode():
        expected, found = (m(input_ids=ids, attention_mask=mask).logits for m in (model, plain))
    assert not type(plain).__module__.startswith("hf_multilabel")
    assert expected.abs().max() > 0.3
    assert ((expected - found).abs() / expected.abs().clamp(min=1)).max() <= TOLERANCE
    assert plain.config.id2label == model.config.id2label


@pytest.mark.parametrize("kind", STOCK)
def test_every_stock_class_with_a_linear_head_on_the_first_token(kind: str) -> None:
    assert_same_logits(make(kind, pooling="cls", head="linear"))


@pytest.mark.parametrize("kind", ["bert", "albert", "roberta"])
def test_the_backbones_own_pooler(kind: str) -> None:
    assert_same_logits(make(kind, pooling="pooler", head="linear"))


@pytest.mark.parametrize(
    ("kind", "head", "arguments"),
    [
        ("bert", "linear", {"activation": "tanh"}),
        ("distilbert", "linear", {"activation": "relu"}),
        ("bert", "mlp", {"activation": "tanh", "width": 20}),
        ("electra", "mlp", {"activation": "gelu"}),
        ("roberta", "label_embedding", {"width": 7}),
    ],
)
def test_other_heads_that_are_linear_layers(kind: str, head: str, arguments: dict) -> None:
    assert_same_logits(make(kind, pooling="cls", head=head, head_kwargs=arguments))


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("bert", {"pooling": "mean", "head": "linear"}, "P601.*pooling cls or pooler.*'mean'.*export onnx"),
        ("bert", {"pooling": "cls", "head": "crf"}, "P601.*linear layers.*'crf'"),
        ("bert", {"pooling": "cls", "head": "mlp", "head_kwargs": {"width": 64, "activation": "tanh"}}, "P603"),
        ("bert", {"pooling": "cls", "head": "linear", "head_kwargs": {"activation": "gelu"}}, "P603.*tanh"),
        ("bert", {"pooling": "pooler", "head": "linear", "head_kwargs": {"activation": "tanh"}}, "P603"),
        ("roberta", {"pooling": "cls", "head": "label_embedding", "head_kwargs": {"similarity": "cosine"}}, "P601"),
        ("modernbert", {"pooling": "cls", "head": "linear"}, "P602.*'modernbert'"),
    ],
)
def test_what_no_stock_class_computes_is_refused(kind: str, arguments: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_plain(make(kind, **arguments), "x")


def test_too_many_labels_for_a_relu() -> None:
    model = make("distilbert", [str(i) for i in range(17)], pooling="cls", head="linear")
    with pytest.raises(InputError, match="17 labels .at most 16 fit"):
        build_plain(model, "x")


def test_cuts_on_uncalibrated_scores_decide_the_same() -> None:
    parameters = {"a": [1.0, 1.5, 0.7], "b": [0.5, 1.0, 2.0], "c": [0.1, -0.4, 0.0]}
    decision = default_decision() | {"thresholds": [0.2, 0.5, 0.9], "labels_sha256": hash_labels(NAMES)}
    decision["calibration"] = {"method": "beta", "parameters": parameters}
    model = make("bert", pooling="cls", head="linear", decision=decision)
    logits = torch.randn(500, 3).double() * 3
    expected = model.decide(logits)
    assert torch.equal(torch.sigmoid(logits) >= torch.tensor(stock_thresholds(decision, 3)), expected)
    assert 0.1 < expected.double().mean() < 0.9


def test_odd_parts_are_the_identity() -> None:
    x = torch.randn(100).double()
    for name in ODD_PARTS:
        function = torch.nn.functional.silu if name == "swish" else getattr(torch.nn.functional, name)
        torch.testing.assert_close(function(x) - function(-x), x)
