"""The model over seven encoder families: forward, backward, saving, padding, precision, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    RobertaConfig,
    T5Config,
    Trainer,
    TrainingArguments,
)

from hf_multilabel import HEADS, POOLINGS, MultiLabelConfig, MultiLabelForSequenceClassification, default_decision
from hf_multilabel.remote_code.modeling_multilabel import build_encoder

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "initializer_range": 0.2,  # logits of about 1, so that 1e-5 is a small difference
}
BACKBONES: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES),
    "distilbert": DistilBertConfig(**{**SIZES, "hidden_dim": 64}),
    "mpnet": MPNetConfig(**SIZES),
    "electra": ElectraConfig(**SIZES, embedding_size=16),
    "deberta-v2": DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "modernbert": ModernBertConfig(
        **SIZES,
        global_attn_every_n_layers=2,
        local_attention=8,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
    ),
}
NAMES = ["a", "b", "c", "d", "e"]
POOLERS = ["bert", "roberta", "mpnet"]
# every pooling and every head once: a head sees of the pooling only what it pooled
PARTS = [(pooling, "linear") for pooling in POOLINGS] + [("mean", head) for head in HEADS if head != "linear"]
EVERYWHERE = [
    (backbone, pooling, head)
    for backbone in BACKBONES
    for pooling, head in PARTS
    if pooling != "pooler" or backbone in POOLERS
]


def build(backbone: str = "bert", **fields: Any) -> MultiLabelForSequenceClassification:
    config = MultiLabelConfig(backbone_config=BACKBONES[backbone].to_dict(), id2label=dict(enumerate(NAMES)), **fields)
    return MultiLabelForSequenceClassification(config).eval()


def stir(model: MultiLabelForSequenceClassification) -> MultiLabelForSequenceClassification:
    """Move every weight of the head away from where it starts, which may be zero."""
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    return model


def batch(rows: int = 3, tokens: int = 9) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(4, 60, (rows, tokens)), "attention_mask": torch.ones(rows, tokens).long()}


@pytest.mark.parametrize(("backbone", "pooling", "head"), EVERYWHERE)
def test_every_part_learns_on_every_encoder(backbone: str, pooling: str, head: str) -> None:
    model, inputs = build(backbone, pooling=pooling, head=head).train(), batch()
    output = model(**inputs, token_type_ids=torch.zeros(3, 9).long(), labels=torch.randint(0, 2, (3, 5)))
    output.loss.backward()
    missing = [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]
    assert missing == []
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    ("backbone", "pooling", "head"),
    [(backbone, "attention", "mlp") for backbone in BACKBONES] + [("bert", *part) for part in PARTS],
)
def test_every_encoder_and_every_part_survives_saving(backbone: str, pooling: str, head: str, tmp_path: Path) -> None:
    model, inputs = stir(build(backbone, pooling=pooling, head=head)), batch()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is MultiLabelForSequenceClassification
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in loaded.state_dict().items())
    torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("backbone", "pooling", "head"), EVERYWHERE)
def test_padding_changes_nothing(backbone: str, pooling: str, head: str) -> None:
    model, inputs = stir(build(backbone, pooling=pooling, head=head)), batch()
    padded = {
        "input_ids": torch.cat([inputs["input_ids"], torch.ones(3, 7).long()], dim=1),
        "attention_mask": torch.cat([inputs["attention_mask"], torch.zeros(3, 7).long()], dim=1),
    }
    with torch.no_grad():
        logits = model(**inputs).logits
        torch.testing.assert_close(model(**padded).logits, logits, atol=1e-5, rtol=1e-5)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize("head", HEADS)
def test_what_a_head_starts_at_survives_the_librarys_own_start(head: str) -> None:
    model, inputs = build(head=head), batch()
    states = model.backbone(**inputs).last_hidden_state
    given = (states, inputs["attention_mask"], states.mean(1))
    assert model.head.solvable
    torch.testing.assert_close(model(**inputs).logits, model.head.output(model.head.features(*given)))
    assert (model.head.output.bias == 0).all()


def test_loss_is_plain_binary_cross_entropy() -> None:
    model, inputs = build(), batch()
    targets = torch.randint(0, 2, (3, 5))
    output = model(**inputs, labels=targets)
    logits, truth = output.logits.double(), targets.double()
    expected = -(truth * logits.sigmoid().log() + (1 - truth) * (1 - logits.sigmoid()).log()).mean()
    torch.testing.assert_close(output.loss.double(), expected)


def test_missing_mask_means_all_tokens_are_real() -> None:
    model, inputs = build(), batch()
    assert torch.equal(model(inputs["input_ids"]).logits, model(**inputs).logits)
    embeddings = model.get_input_embeddings()(inputs["input_ids"])
    torch.testing.assert_close(model(inputs_embeds=embeddings).logits, model(**inputs).logits)


def test_outputs_on_request_only() -> None:
    model, inputs = build(), batch()
    assert list(model(**inputs)) == ["logits"]
    assert len(model(**inputs, output_hidden_states=True).hidden_states) == 3
    assert isinstance(model(**inputs, return_dict=False), tuple)


@pytest.mark.parametrize(("pooling", "head"), PARTS)
def test_head_stays_in_float32_under_autocast(pooling: str, head: str) -> None:
    model, inputs = stir(build(pooling=pooling, head=head)), batch()
    seen = []
    model.head.register_forward_hook(lambda module, given, result: seen.extend([given[0].dtype, result.dtype]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**inputs, labels=torch.ones(3, 5))
    assert [output.logits.dtype, output.loss.dtype, *seen] == [torch.float32] * 4
    # eight bits of mantissa would leave hardly any difference between these logits
    assert (output.logits.bfloat16().float() != output.logits).any()


@pytest.mark.parametrize(("pooling", "head"), PARTS)
def test_half_precision_backbone_keeps_a_float32_head(pooling: str, head: str, tmp_path: Path) -> None:
    build(pooling=pooling, head=head).save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {weight.dtype for weight in model.backbone.parameters()} == {torch.bfloat16}
    kept = {weight.dtype for name, weight in model.named_parameters() if not name.startswith("backbone.")}
    assert kept == {torch.float32}
    assert model(**batch()).logits.dtype == torch.float32
    assert model.bfloat16()(**batch()).logits.dtype == torch.float32


def test_no_pooler_is_built_or_trained_that_nobody_reads() -> None:
    for config in BACKBONES.values():
        encoder = build_encoder(config)
        assert all(not weight.requires_grad for name, weight in encoder.named_parameters() if "pooler" in name)
    for parts in ({}, {"pooling": "pooler", "head": "label_attention"}):
        assert getattr(build("bert", **parts).backbone, "pooler", None) is None


@pytest.mark.parametrize("backbone", POOLERS)
def test_pooler_is_the_backbones_own(backbone: str) -> None:
    model, inputs = build(backbone, pooling="pooler"), batch()
    pooler = model.backbone.pooler.dense
    first = model.backbone(**inputs).last_hidden_state[:, 0]
    expected = model.head.output(torch.tanh(first @ pooler.weight.T + pooler.bias))
    torch.testing.assert_close(model(**inputs).logits, expected)
    model(**inputs, labels=torch.ones(3, 5)).loss.backward()
    assert (pooler.weight.grad != 0).any()


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name not in POOLERS])
def test_pooler_of_a_backbone_without_one_is_refused(backbone: str) -> None:
    with pytest.raises(ValueError, match=f"expected a backbone with a pooler for 'pooler', found '{backbone}'"):
        build(backbone, pooling="pooler")


def test_positions_are_counted_as_the_encoder_counts_them() -> None:
    assert {name: build(name).max_tokens() for name in ("bert", "roberta", "mpnet", "distilbert")} == {
        "bert": 40,
        "roberta": 38,
        "mpnet": 38,
        "distilbert": 40,
    }
    for name in BACKBONES:
        model = build(name)
        assert model(**batch(2, model.max_tokens())).logits.isfinite().all()


def test_decision_methods_use_the_stored_decision() -> None:
    model = build(decision={**default_decision(), "rule": "top_k", "top_k": 2})
    logits = torch.tensor([[0.0, 3.0, 1.0, -1.0, 2.0]])
    assert model.decide(logits).tolist() == [[False, True, False, False, True]]
    assert model.predict_labels(logits) == [["b", "e"]]
    assert torch.equal(model.probabilities(logits), logits.sigmoid())


def test_same_seed_gives_the_same_head() -> None:
    torch.manual_seed(3)
    one = build(head="mlp")
    torch.manual_seed(3)
    assert torch.equal(build(head="mlp").head.output.weight, one.head.output.weight)


def test_resized_vocabulary_is_saved(tmp_path: Path) -> None:
    model = build()
    model.resize_token_embeddings(70)
    model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).get_input_embeddings().num_embeddings == 70


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    model, inputs = build(), batch()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.activation_checkpointing_enable()
        model.train().zero_grad()
        torch.manual_seed(0)
        model(**inputs, labels=torch.ones(3, 5)).loss.backward()
        gradients.append(model.get_input_embeddings().weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_attention_implementation_reaches_the_backbone(tmp_path: Path) -> None:
    build().save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, attn_implementation="eager")
    assert model.backbone.config._attn_implementation == "eager"


@pytest.mark.parametrize("lost", ["head.output.bias", "backbone.embeddings.word_embeddings.weight"])
def test_missing_weight_is_refused(tmp_path: Path, lost: str) -> None:
    build().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[lost]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"expected all weights .* found none for '{lost}' and 0 more"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_head_with_other_rows_than_labels_is_refused(tmp_path: Path) -> None:
    build().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"]["5"] = "f"
    (tmp_path / "config.json").write_text(json.dumps(config))
    expected = r"expected shape \(6,\) for 'head.output.bias' with 6 labels, found \(5,\)"
    with pytest.raises(ValueError, match=expected):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=expected):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True)


def test_decision_of_other_labels_is_not_saved(tmp_path: Path) -> None:
    model = build()
    model.config.decision["thresholds"] = [0.5] * 4
    with pytest.raises(ValueError, match="found '4 numbers'"):
        model.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"pooling": "sum"}, r"pooling: expected one of .*'mean'.*, found 'sum'"),
        ({"head": "tree"}, r"head: expected one of .*'linear'.*, found 'tree'"),
        ({"head_kwargs": {"widht": 3}}, r"head_kwargs: expected \['activation', 'dropout'\] .* found 'widht'"),
    ],
)
def test_unknown_part_is_refused(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(**fields)


@pytest.mark.parametrize("config", [None, T5Config(), MultiLabelConfig()])
def test_only_an_encoder_can_be_a_backbone(config: PreTrainedConfig | None) -> None:
    with pytest.raises(ValueError, match="backbone_config: expected a text encoder, found"):
        build_encoder(config)


def test_stock_trainer_trains_it_and_scales_the_loss_once(tmp_path: Path) -> None:
    rows = [{"input_ids": ids, "labels": torch.ones(5)} for ids in batch(4)["input_ids"]]
    losses = []
    for size, accumulation in ((4, 1), (1, 4)):
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            logging_steps=1,
            use_cpu=True,
            disable_tqdm=True,
        )
        torch.manual_seed(0)
        model = build()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        trainer = Trainer(model, arguments, train_dataset=rows)
        losses.append(trainer.train().training_loss)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


@pytest.mark.parametrize(("pooling", "head"), PARTS)
def test_lora_trains_adapters_and_head_only(pooling: str, head: str) -> None:
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], modules_to_save=["head"])
    model, inputs = peft.get_peft_model(build(pooling=pooling, head=head), settings), batch()
    model(**inputs, labels=torch.ones(3, 5)).loss.backward()
    trained = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert any("lora_A" in name for name in trained)
    assert any("head.modules_to_save.default.output.weight" in name for name in trained)
    assert not any("word_embeddings" in name for name in trained)


@pytest.mark.parametrize(("pooling", "head"), [part for part in PARTS if part[1] != "rnn"])
def test_graph_can_be_exported_with_any_batch_and_length(pooling: str, head: str) -> None:
    chunks = {"head_kwargs": {"chunk": 2}} if head == "label_attention" else {}
    model, inputs = stir(build(pooling=pooling, head=head, **chunks)), batch(2, 8)
    sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens", max=40)}
    program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, sizes))
    other = batch(3, 11)
    torch.testing.assert_close(program.module()(**other)["logits"], model(**other).logits, atol=1e-5, rtol=0)


def test_graph_of_a_recurrence_is_refused() -> None:
    with pytest.raises(ValueError, match="head: expected one whose graph can be exported, found 'rnn'"):
        torch.export.export(build(head="rnn"), (), batch())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_head_stays_in_float32_under_autocast_on_a_gpu(dtype: torch.dtype) -> None:
    model = build(pooling="attention", head="mlp").cuda()
    inputs = {name: value.cuda() for name, value in batch().items()}
    with torch.autocast("cuda", dtype=dtype):
        output = model(**inputs, labels=torch.ones(3, 5, device="cuda"))
    assert [output.logits.dtype, output.loss.dtype] == [torch.float32] * 2
    assert model.decide(output.logits).device.type == "cuda"
