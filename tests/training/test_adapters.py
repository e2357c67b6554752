from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import GPT2Config, MPNetConfig

from hf_multilabel.backbones import Backbone, build_model, load_backbone
from hf_multilabel.inference import FinishedModel
from hf_multilabel.publishing.bundle import verify_bundle
from hf_multilabel.recipe import load_recipe
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig
from hf_multilabel.remote_code.heads_multilabel import HEADS
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.training.adapters import (
    PEFT_METHODS,
    adapter_files,
    adapter_problems,
    add_adapters,
    as_pattern,
    load_merged,
)
from hf_multilabel.training.groups import layer_groups
from hf_multilabel.training.penalties import head_weights
from hf_multilabel.training.trainer import MultiLabelTrainer
from hf_multilabel.workflow import train

LABELS = ["a", "b", "c"]
IDS = torch.arange(1, 37).reshape(4, 9)
TARGETS = torch.tensor([[1.0, 0.0, 1.0]]).expand(4, 3)
SMALL = {"miss": {"r": 4}}  # its default rank is wider than the tiny model


def build(backbone: Backbone, seed: int = 0) -> MultiLabelForSequenceClassification:
    torch.manual_seed(seed)
    return build_model(backbone, LABELS, pooling="attention", dropout=0.0)


@pytest.mark.parametrize("method", PEFT_METHODS)
def test_every_method_trains_saves_and_merges(method: str, tiny_backbone: Backbone, tmp_path: Path) -> None:
    plain = build(tiny_backbone)
    start = {name: weight.clone() for name, weight in plain.state_dict().items()}
    before = plain(input_ids=IDS).logits
    model = add_adapters(plain, method, **SMALL.get(method, {}))
    torch.testing.assert_close(model(input_ids=IDS).logits, before, atol=1e-5, rtol=0)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=0.5)
    for _ in range(2):  # an adapter that starts at zero gives its other half no gradient in the first step
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(input_ids=IDS).logits, TARGETS).backward()
        optimizer.step()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in trained.values())
    model.eval().save_pretrained(tmp_path)
    merged = load_merged(build(tiny_backbone, seed=5), tmp_path)
    assert type(merged) is MultiLabelForSequenceClassification
    assert merged.state_dict().keys() == start.keys()
    logits = merged(input_ids=IDS).logits
    torch.testing.assert_close(logits, model(input_ids=IDS).logits, atol=1e-5, rtol=0)
    assert not torch.allclose(logits, before, atol=1e-3)
    changed = {name.split(".")[0] for name, weight in merged.state_dict().items() if not weight.equal(start[name])}
    assert changed == {"backbone", "pooling", "head"}


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_trained_and_saved_as_a_whole(head: str, tiny_backbone: Backbone, tmp_path: Path) -> None:
    model = add_adapters(build_model(tiny_backbone, LABELS, head=head), "lora")
    assert all(weight.requires_grad for weight in model.head.modules_to_save["default"].parameters())
    assert not any(weight.requires_grad for weight in model.head.original_module.parameters())
    for weight in model.head.modules_to_save["default"].parameters():
        torch.nn.init.normal_(weight, std=0.1)
    model.eval().save_pretrained(tmp_path)
    torch.manual_seed(5)
    merged = load_merged(build_model(tiny_backbone, LABELS, head=head), tmp_path)
    torch.testing.assert_close(merged(input_ids=IDS).logits, model(input_ids=IDS).logits, atol=1e-5, rtol=0)


def test_settings_reach_peft(tiny_backbone: Backbone) -> None:
    model = add_adapters(
        build(tiny_backbone),
        "dora",
        r=3,
        alpha=12.0,
        dropout=0.1,
        target_modules=["query", "output.dense"],
        args={"init_lora_weights": "gaussian"},
    )
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout, config.use_dora) == (3, 12.0, 0.1, True)
    assert config.init_lora_weights == "gaussian"
    adapted = {name.split(".lora_A")[0].split("layer.")[1] for name in model.state_dict() if "lora_A" in name}
    endings = ("attention.self.query", "attention.output.dense", "output.dense")
    assert adapted == {f"{layer}.{ending}" for layer in (0, 1) for ending in endings}


@pytest.mark.parametrize(
    ("config", "feedforward"),
    [
        (MPNetConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8), 0),
        (GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, n_positions=40), 1),  # no nn.Linear in it
    ],
)
def test_other_encoders(config: object, feedforward: int) -> None:
    for method in ("lora", "ia3"):
        built = MultiLabelForSequenceClassification(MultiLabelConfig(backbone_config=config, id2label={0: "a"}))
        model = add_adapters(built, method)
        model(input_ids=IDS).logits.sum().backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        found = [m for m in model.modules() if getattr(m, "is_feedforward", False)]
        assert len(found) == (feedforward if method == "ia3" else 0)


def test_layer_wise_rates_and_overrides(tiny_backbone: Backbone) -> None:
    model = add_adapters(build(tiny_backbone), "lora")
    groups = layer_groups(model, 1e-3, 1e-2, 0.5, {r"backbone\..*query": 7e-4})
    rates = {name: group.learning_rate for group in groups for name in group.parameters}
    assert rates.keys() == {name for name, weight in model.named_parameters() if weight.requires_grad}
    for name, rate in rates.items():
        if "backbone" not in name:
            assert rate == 1e-2
        elif "query" in name:
            assert rate == 7e-4
        else:
            assert rate == pytest.approx(1e-3 if "layer.1." in name else 5e-4)
    assert [group.name for group in groups if group.pattern is None] == ["layer 0", "layer 1", "head"]


def test_checkpoints_hold_adapter_and_head_alone(
    make_trainer: Callable[..., MultiLabelTrainer], tmp_path: Path
) -> None:
    trainer = make_trainer(
        peft={"method": "lora", "r": 2}, max_steps=20, save_strategy="steps", save_steps=20, head_l2=0.1
    )
    trainer.train()
    checkpoint = tmp_path / "checkpoint-20"
    assert not (checkpoint / "model.safetensors").exists()
    stored = load_file(checkpoint / "adapter_model.safetensors")
    assert {name.split("lora_")[-1][0] if "lora_" in name else name for name in stored} == {
        *("A", "B", "base_model.model.head.output.weight", "base_model.model.head.output.bias"),
    }
    assert [weight.shape for weight in head_weights(trainer.model)] == [(5, 32)]
    assert [entry["step"] for entry in trainer.state.log_history if "dead_labels" in entry] == [0, 4, 8, 12, 16, 20]


@pytest.mark.parametrize("values", [{}, {"backbone_mode": "gradual", "unfreeze_after": 2}])
def test_resume_is_exact(values: dict, train_and_resume: Callable[..., None]) -> None:
    train_and_resume((3,), peft={"method": "lora", "r": 2, "dropout": 0.1}, **values)


def test_the_best_adapter_is_loaded_at_the_end(make_trainer: Callable[..., MultiLabelTrainer], tmp_path: Path) -> None:
    saving = dict.fromkeys(("save_strategy", "eval_strategy"), "steps") | dict.fromkeys(("save_steps", "eval_steps"), 1)
    trainer = make_trainer(
        peft={"method": "lora"}, max_steps=3, load_best_model_at_end=True, metric_for_best_model="loss", **saving
    )
    trainer.train()
    best = load_file(Path(trainer.state.best_model_checkpoint) / "adapter_model.safetensors")
    weight = trainer.model.head.output.weight
    assert torch.equal(best["base_model.model.head.output.weight"], weight)


def test_no_path_of_this_machine_in_the_adapter(tiny_backbone: Backbone, tmp_path: Path) -> None:
    model = add_adapters(build(tiny_backbone), "lora")
    model.save_pretrained(tmp_path)
    found = adapter_files(tmp_path, "owner/encoder")
    config = json.loads(found["adapter/adapter_config.json"])
    assert config["base_model_name_or_path"] == "owner/encoder"
    assert "/tmp" not in found["adapter/adapter_config.json"].decode()
    assert adapter_files(tmp_path, None).keys() == {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"method": "lorra"}, r"peft.method: expected one of lora, dora.*found 'lorra'. Write lora."),
        ({"method": "ia3", "r": 4}, r"peft.r: expected null: ia3 has no such setting, found 4. Remove it."),
        ({"method": "lora", "args": {"lora_alpha": 4}}, r"peft.args.lora_alpha: .*Write peft.alpha."),
        ({"method": "lora", "args": {"use_rslora": 1, "rank_patern": {}}}, r"rank_patern'. Write rank_pattern."),
        ({"method": "dora", "args": {"use_dora": False}}, r"peft.args.use_dora: expected one of"),
        ({"method": "lora", "args": {"bias": "some", "layers_pattern": "x"}}, r"peft.args: expected arguments of lora"),
        ({"method": "lora", "target_modules": "querry"}, r"peft.target_modules: .*found 'querry'. Write query."),
        ({"method": "lora", "target_modules": ["uer"]}, r"expected endings of module names in the backbone"),
    ],
)
def test_wrong_settings(settings: dict, match: str, tiny_backbone: Backbone) -> None:
    with pytest.raises(ValueError, match=match):
        add_adapters(build(tiny_backbone), **settings)


def test_a_backbone_with_a_module_called_head(tiny_backbone: Backbone) -> None:
    model = build(tiny_backbone)
    model.backbone.encoder.layer[0].extra_head = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"ends in head or pooling, found 'backbone.encoder.layer.0.extra_head'"):
        add_adapters(model, "lora")


def test_every_method_is_of_peft() -> None:
    for name, method in PEFT_METHODS.items():
        assert issubclass(method.config_class(), peft.PeftConfig), name
        assert adapter_problems(name, {}, {}) == []
    assert as_pattern([]) == "(?!)"


def test_a_recipe_with_adapters_gives_a_proved_bundle(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe = load_recipe(
        "quickstart",
        [
            *("data.max_rows={train: 48, validation: 40, test: 40}", "data.max_length=32", "training.max_steps=4"),
            *("training.eval_strategy=no", "training.save_strategy=no", "model.backbone_sha256=null"),
            f"model.backbone={tiny_backbone_folder}",
            f"training.output_dir={folder}",
            *("peft.method=lora", "peft.r=4", "peft.alpha=8", "peft.target_modules=[query, value]"),
            *("training.learning_rate=0.05", "training.freeze_layers=0"),
        ],
    )
    metrics = train(recipe)
    assert 0 < metrics["training"]["trained_parameters"] < metrics["training"]["parameters"]
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= set(verify_bundle(folder)["files"])
    finished = FinishedModel.load(folder).model
    assert not [name for name in finished.state_dict() if "lora" in name]
    labels = finished.config.label_names
    plain = build_model(load_backbone(str(tiny_backbone_folder)), labels)
    query = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(finished.backbone.state_dict()[query], plain.backbone.state_dict()[query])
    adapted = PeftModel.from_pretrained(plain, str(folder / "adapter")).eval()
    torch.testing.assert_close(adapted(input_ids=IDS).logits, finished(input_ids=IDS).logits, atol=1e-5, rtol=0)
    assert str(tmp_path) not in (folder / "adapter" / "adapter_config.json").read_text()
