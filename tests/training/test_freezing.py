from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.freezing import freeze_for_good, plan_starts
from hf_multilabel.training.groups import layer_groups
from hf_multilabel.training.trainer import MultiLabelTrainer, bce_rows

GROUPS = ["embeddings", "layer 0", "layer 1", "head"]
MODES = {
    "all": ({}, {"embeddings": 0, "layer 0": 0, "layer 1": 0}),
    "frozen": ({}, {"embeddings": 99, "layer 0": 99, "layer 1": 99}),
    "head_first": ({"unfreeze_after": "1 epoch"}, {"embeddings": 3, "layer 0": 3, "layer 1": 3}),
    "gradual": ({"unfreeze_after": 2}, {"embeddings": 6, "layer 0": 4, "layer 1": 2}),
}


class Watch(TrainerCallback):
    """Keeps the weights before every step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_step_begin(self, args: object, state: object, control: object, model: torch.nn.Module, **_: object) -> None:
        self.weights.append({name: weight.clone() for name, weight in model.state_dict().items()})


def group_of(name: str) -> str:
    if name.startswith("head"):
        return "head"
    return "embeddings" if "embeddings" in name else f"layer {name.split('layer.')[1][0]}"


def test_plans() -> None:
    for mode, (_, starts) in MODES.items():
        found = plan_starts(mode, GROUPS, {"head_first": 3, "gradual": 2}.get(mode, 0))
        assert {name: 99 if start is None else start for name, start in found.items()} == {**starts, "head": 0}


def test_what_lies_on_top_starts_with_the_top_layer() -> None:
    found = plan_starts("gradual", ["embeddings", "layer 0", "layer 1", "top", "head"], 5)
    assert found == {"embeddings": 15, "layer 0": 10, "layer 1": 5, "top": 5, "head": 0}


@pytest.mark.parametrize("mode", MODES)
def test_parts_move_from_their_step_on_and_not_before(
    mode: str, make_trainer: Callable[..., MultiLabelTrainer]
) -> None:
    values, starts = MODES[mode]
    trainer = make_trainer(backbone_mode=mode, max_steps=7, weight_decay=0.1, **values)
    watch = Watch()
    trainer.add_callback(watch)
    trainer.train()
    watch.weights.append(trainer.model.state_dict())
    for step in range(7):
        before, after = watch.weights[step], watch.weights[step + 1]
        moved = {group_of(name) for name in before if not torch.equal(before[name], after[name])}
        assert moved == {name for name, start in {**starts, "head": 0}.items() if step >= start}, step
    assert all(parameter.requires_grad for parameter in trainer.model.parameters()) == (mode != "frozen")


@pytest.mark.parametrize("mode", ["head_first", "gradual"])
def test_equals_a_plain_loop(
    mode: str,
    make_trainer: Callable[..., MultiLabelTrainer],
    tiny_backbone: Backbone,
    tiny_label_names: list[str],
    rows: Dataset,
) -> None:
    values, starts = MODES[mode]
    trainer = make_trainer(
        backbone_mode=mode, max_steps=6, optimizer="adamw", lr_scheduler_type="constant", max_grad_norm=0.5, **values
    )
    torch.manual_seed(0)
    twin = build_model(tiny_backbone, tiny_label_names, dropout=0.0).train()
    trainer.train()
    optimizers = {
        name: torch.optim.AdamW(
            [p for key, p in twin.named_parameters() if group_of(key) == name], lr=1e-2, weight_decay=0.0
        )
        for name in GROUPS
    }
    for step in range(6):
        batch = trainer.data_collator([rows[4 * (step % 3) + i] for i in range(4)])
        targets = batch.pop("labels")
        twin.zero_grad()
        bce_rows(twin(**batch).logits, targets).mean().backward()
        training = [name for name in GROUPS if step >= starts.get(name, 0)]
        trained = [p for name in training for group in optimizers[name].param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, 0.5)  # of what trains, and nothing else
        for name in training:
            optimizers[name].step()
    for name, weight in twin.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], weight, atol=1e-5, rtol=1e-4)


def test_real_weights_rest_for_the_epochs_that_the_arguments_say(
    minilm: Backbone, tiny_texts: list[str], rows: Dataset, tiny_label_names: list[str], tmp_path: Path
) -> None:
    ids = minilm.tokenizer(tiny_texts)["input_ids"]
    real = Dataset.from_dict({"input_ids": ids, "labels": rows["labels"], "length": [len(row) for row in ids]})
    args = MultiLabelTrainingArguments(
        output_dir=str(tmp_path),
        backbone_mode="head_first",
        unfreeze_after="2 epochs",
        num_train_epochs=3,
        per_device_train_batch_size=6,
        use_cpu=True,
        precision="fp32",
        save_strategy="no",
        disable_tqdm=True,
    )
    model = build_model(minilm, tiny_label_names)
    trainer = MultiLabelTrainer(model=model, args=args, train_dataset=real, processing_class=minilm.tokenizer)
    watch = Watch()
    trainer.add_callback(watch)
    trainer.train()
    start, end = watch.weights[0], trainer.model.state_dict()
    for step, weights in enumerate(watch.weights):  # two steps an epoch
        rested = all(torch.equal(weights[name], start[name]) for name in start if name.startswith("backbone."))
        assert rested == (step <= 4)
        assert torch.equal(weights["head.output.weight"], start["head.output.weight"]) == (step == 0)
    assert all(not torch.equal(end[name], start[name]) for name in start if name.endswith("query.weight"))


@pytest.mark.parametrize("mode", MODES)
def test_resume_is_exact_in_every_mode(mode: str, train_and_resume: Callable[..., None]) -> None:
    # before, at and after a part joins
    train_and_resume((2, 3, 4) if mode in ("head_first", "gradual") else (3,), backbone_mode=mode, **MODES[mode][0])


def test_discriminative_fine_tuning_after_the_head(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    trainer = make_trainer(backbone_mode="head_first", unfreeze_after=0.5, layerwise_decay=0.4, max_steps=4)
    trainer.train()
    rates = {group["name"]: group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert rates["layer 0"] == pytest.approx(rates["layer 1"] * 0.4)
    assert trainer.unfreezing.waiting[0][0] == 2


def test_a_part_that_never_trains_is_said(
    make_trainer: Callable[..., MultiLabelTrainer], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        make_trainer(backbone_mode="gradual", max_steps=7).train()  # an epoch is three steps
    assert "backbone_mode: embeddings never trains: it waits for step 9 of 7. Shorten unfreeze_after." in caplog.text


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"mode": "all"}, ["embeddings", "layer 0", "layer 1", "head"]),
        ({"mode": "all", "layers": 1}, ["layer 1", "head"]),
        ({"mode": "all", "layers": 2}, ["head"]),
        ({"mode": "all", "embeddings": True}, ["layer 0", "layer 1", "head"]),
        ({"mode": "frozen"}, ["head"]),
    ],
)
def test_freezing_for_good(values: dict, expected: list[str], tiny_backbone: Backbone) -> None:
    model = build_model(tiny_backbone, ["a", "b"])
    for _ in range(2):  # a second trainer on the same model freezes no more
        freeze_for_good(model, **values)
    assert [group.name for group in layer_groups(model, 1e-3)] == expected


def test_more_layers_than_there_are(tiny_backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="freeze_layers: expected 0 to 2"):
        freeze_for_good(build_model(tiny_backbone, ["a", "b"]), "all", 3)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"backbone_mode": "headfirst"}, "backbone_mode: expected one of all, frozen, head_first, gradual"),
        ({"unfreeze_after": 3}, "unfreeze_after: expected null beside backbone_mode all, found 3"),
        ({"backbone_mode": "gradual", "unfreeze_after": 1.5}, "unfreeze_after: expected a whole number of steps"),
        ({"backbone_mode": "gradual", "ddp_static_graph": True}, "ddp_static_graph: expected false beside gradual"),
        ({"backbone_mode": "gradual", "optim": "lomo"}, "backbone_mode: expected nothing beside an optimizer that"),
        ({"learning_rates": {"layer.(": 1.0}}, r"learning_rates.layer.\(: expected a regular expression"),
        ({"learning_rates": {"layer": 0.0}}, "learning_rates.layer: expected a number > 0"),
    ],
)
def test_arguments_that_do_not_go_together(values: dict, match: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=match):
        MultiLabelTrainingArguments(output_dir=str(tmp_path), **values)


def test_ddp_looks_for_what_waits(tmp_path: Path) -> None:
    found = {
        mode: MultiLabelTrainingArguments(output_dir=str(tmp_path), backbone_mode=mode).ddp_find_unused_parameters
        for mode in MODES
    }
    assert found == {"all": False, "frozen": False, "head_first": True, "gradual": True}
