"""Optimizers, schedules, training modes and adapters as recipes write them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hf_multilabel.recipe import schema
from hf_multilabel.training.adapters import PEFT_METHODS
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.freezing import BACKBONE_MODES
from hf_multilabel.training.optimizers import OPTIMIZERS
from hf_multilabel.training.schedules import SCHEDULES
from tests.recipe_text import VALID, load, refuse


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


RIGHT = [
    "training: {optimizer: sgd, optimizer_args: {momentum: 0.9, nesterov: true}}",
    "training: {optimizer: adam, optimizer_args: {betas: [0.9, 0.98], eps: 1e-6}, weight_decay: 0.01}",
    "training: {schedule: one_cycle, schedule_args: {anneal_strategy: linear}}",
    "training: {schedule: multi_step, schedule_args: {milestones: [1 epoch, 0.5, 300], gamma: 0.5}, warmup_steps: 0.1}",
    "training: {schedule: cosine_with_min_lr, schedule_args: {min_lr: 1e-6}}",
    "training: {optim: sgd, optim_args: 'momentum=0.9', lr_scheduler_type: cosine}",
    "training: {backbone_mode: head_first, unfreeze_after: 1 epoch, layerwise_decay: 0.4}",
    "training: {backbone_mode: gradual, unfreeze_after: 0.2, freeze_embeddings: true}",
    "training: {head_l1: 1e-5, head_l2: 1e-4, learning_rates: {'layer\\.[01]\\.': 1e-5}}",
]


@pytest.mark.parametrize("line", RIGHT)
def test_lines_that_work(line: str) -> None:
    training = load(f"{VALID}{line}\n").training
    args = MultiLabelTrainingArguments(**training)
    for key, value in training.items():
        if key not in ("output_dir", "optim", "lr_scheduler_type"):
            assert getattr(args, key) == value


WRONG = [
    ("training: {optimizer: adma}", r"x.yaml:3:12 training.optimizer: expected one of adamw, .*found 'adma'"),
    (
        "training: {optimizer: sgd, optimizer_args: {momentun: 0.9}}",
        r"x.yaml:3:45 training.optimizer_args.momentun: expected one of momentum, .*fix: write momentum",
    ),
    ("training: {optim_args: 'amsgrad=True'}", r"training.optim_args: expected no arguments, found 'amsgrad'"),
    ("training: {schedule: step, schedule_args: {step_size: soon}}", r"schedule_args.step_size: .* found 'soon'"),
    ("training: {schedule: multi_step}", r"training.schedule_args: expected the argument milestones"),
    ("training: {schedule: one_cycle, warmup_steps: 5}", r"x.yaml:3:33 training.warmup_steps: expected nothing beside"),
    ("training: {backbone_mode: gradul}", r"expected one of all, frozen, head_first, gradual, found 'gradul'"),
    ("training: {unfreeze_after: 1 epoch}", r"unfreeze_after: expected null beside backbone_mode all"),
    ("training: {backbone_mode: gradual, unfreeze_after: 1 week}", r"unfreeze_after: .* found '1 week'"),
    ("training: {learning_rates: {'(': 1e-3}}", r"learning_rates.\(: expected a regular expression"),
    ("training: {learning_rates: {layer: 0}}", r"training.learning_rates.layer: expected a finite number > 0, found 0"),
    ("training: {head_l1: -1}", r"training.head_l1: expected a finite number >= 0, found -1"),
    ("peft: {method: lorra}", r"peft.method: expected one of lora, dora, .*found 'lorra'; fix: write lora"),
    ("peft: {r: 8}", r"peft.method: expected a method beside r, found null; fix: write lora"),
    ("peft: {method: ia3, alpha: 4}", r"peft.alpha: expected null: ia3 has no such setting, found 4"),
    ("peft: {method: lora, r: 0}", r"peft.r: expected a whole number >= 1 or null, found 0"),
    ("peft: {method: lora, dropout: 1}", r"peft.dropout: expected a finite number >= 0 and < 1 or null, found 1"),
    (
        "peft: {method: lora, args: {rank_patern: {}}}",
        r"x.yaml:3:29 peft.args.rank_patern: expected one of .*found 'rank_patern'; fix: write rank_pattern",
    ),
    ("peft: {methd: lora}", r"peft.methd: expected a key of peft, found 'methd'; fix: write method"),
]


@pytest.mark.parametrize(("line", "expected"), WRONG, ids=[line for line, _ in WRONG])
def test_lines_that_do_not(line: str, expected: str) -> None:
    assert re.search(expected, refuse(f"{VALID}{line}\n"))


def test_adapters_of_a_recipe() -> None:
    recipe = load(VALID + "peft: {method: lora, r: 8, alpha: 16, target_modules: [query, value]}\n")
    assert recipe.peft.arguments() == {
        **{"method": "lora", "r": 8, "alpha": 16},
        "target_modules": ["query", "value"],
    }
    assert load(VALID).peft.arguments() == {}


def test_the_schema_knows_every_name() -> None:
    definitions = schema()["$defs"]
    training = definitions["TrainingSection"]["properties"]
    for key, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        assert training[key]["anyOf"][0]["enum"] == list(known)
    assert training["backbone_mode"]["enum"] == list(BACKBONE_MODES)
    assert definitions["PeftSection"]["properties"]["method"]["anyOf"][0]["enum"] == list(PEFT_METHODS)
