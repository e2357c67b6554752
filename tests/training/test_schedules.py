from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler as torchs
from transformers.trainer_utils import SchedulerType

from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.schedules import SCHEDULES, build_schedule, is_torchs
from hf_multilabel.training.trainer import MultiLabelTrainer

PEAKS = [1e-3, 2e-2]  # of two groups
TOTAL, EPOCH = 60, 20
# Name and arguments as a recipe gives them, and torch's own scheduler with its arguments in steps.
TWINS: list[tuple[str, dict, Callable]] = [
    ("step", {}, lambda o, n: torchs.StepLR(o, 20)),
    ("step", {"step_size": 7, "gamma": 0.5}, lambda o, n: torchs.StepLR(o, 7, 0.5)),
    ("multi_step", {"milestones": ["1 epoch", 30], "gamma": 0.3}, lambda o, n: torchs.MultiStepLR(o, [20, 30], 0.3)),
    ("multi_step", {"milestones": [0.5]}, lambda o, n: torchs.MultiStepLR(o, [n // 2])),
    ("cosine_annealing", {}, lambda o, n: torchs.CosineAnnealingLR(o, n)),
    (
        "cosine_annealing",
        {"T_max": "0.5 epochs", "eta_min": 1e-4},
        lambda o, n: torchs.CosineAnnealingLR(o, 10, 1e-4),
    ),
    ("cosine_annealing_warm_restarts", {}, lambda o, n: torchs.CosineAnnealingWarmRestarts(o, 20)),
    (
        "cosine_annealing_warm_restarts",
        {"T_0": 8, "T_mult": 2, "eta_min": 1e-5},
        lambda o, n: torchs.CosineAnnealingWarmRestarts(o, 8, 2, 1e-5),
    ),
    ("one_cycle", {}, lambda o, n: torchs.OneCycleLR(o, PEAKS, TOTAL)),
    (
        "one_cycle",
        {"anneal_strategy": "linear", "pct_start": 0.2, "three_phase": True, "max_momentum": 0.9},
        lambda o, n: torchs.OneCycleLR(
            o, PEAKS, TOTAL, pct_start=0.2, anneal_strategy="linear", three_phase=True, max_momentum=0.9
        ),
    ),
    (
        "one_cycle",
        {"cycle_momentum": False},
        lambda o, n: torchs.OneCycleLR(o, PEAKS, TOTAL, cycle_momentum=False),
    ),
]
IDS = [f"{name} {given}" for name, given, _ in TWINS]


def two_groups() -> torch.optim.Optimizer:
    return torch.optim.AdamW([{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in PEAKS])


def curve(optimizer: torch.optim.Optimizer, scheduler: torchs.LRScheduler, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append([value for group in optimizer.param_groups for value in (group["lr"], group["betas"][0])])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(("name", "given", "twin"), TWINS, ids=IDS)
def test_curves_equal_torchs(name: str, given: dict, twin: Callable) -> None:
    ours, other = two_groups(), two_groups()
    scheduler = build_schedule(name, ours, given, total_steps=TOTAL, steps_per_epoch=EPOCH)
    found = curve(ours, scheduler, TOTAL)
    assert found == curve(other, twin(other, TOTAL), TOTAL)
    assert len({tuple(step) for step in found}) > 1


@pytest.mark.parametrize(("name", "given", "twin"), TWINS, ids=IDS)
def test_warm_up_comes_before_the_curve(name: str, given: dict, twin: Callable) -> None:
    if not SCHEDULES[name].warms_up:
        return
    ours, other = two_groups(), two_groups()
    scheduler = build_schedule(name, ours, given, total_steps=TOTAL, steps_per_epoch=EPOCH, warmup_steps=10)
    found = curve(ours, scheduler, TOTAL)
    rise = [[value for peak in PEAKS for value in (peak * step / 10, 0.9)] for step in range(10)]
    for step, expected in zip(found, rise + curve(other, twin(other, TOTAL - 10), TOTAL - 10), strict=True):
        assert step == pytest.approx(expected, rel=1e-12, abs=0)


def test_every_schedule_of_torch_has_a_twin_and_the_trainers_are_all_there() -> None:
    assert {name for name in SCHEDULES if is_torchs(name)} == {name for name, _, _ in TWINS}
    assert {kind.value for kind in SchedulerType} == {name for name in SCHEDULES if not is_torchs(name)}


def test_one_cycle_moves_the_momentum_against_the_rate() -> None:
    optimizer = two_groups()
    scheduler = build_schedule("one_cycle", optimizer, {}, total_steps=TOTAL, steps_per_epoch=EPOCH)
    found = curve(optimizer, scheduler, TOTAL)
    peak = max(range(TOTAL), key=lambda step: found[step][0])
    assert found[0][1] == found[-1][1] == 0.95
    assert found[peak][1] == pytest.approx(0.85, abs=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        {"schedule": "step", "schedule_args": {"step_size": "1 epoch"}},
        {"schedule": "multi_step", "schedule_args": {"milestones": [2, 0.9]}, "warmup_steps": 1},
        {"schedule": "cosine_annealing", "warmup_steps": 0.3},
        {"schedule": "cosine_annealing_warm_restarts", "schedule_args": {"T_0": 2}, "warmup_steps": 2},
        {"schedule": "one_cycle", "schedule_args": {"anneal_strategy": "linear"}, "optimizer": "sgd_momentum"},
    ],
    ids=lambda values: values["schedule"],
)
def test_resume_is_exact_under_every_schedule(values: dict, train_and_resume: Callable[..., None]) -> None:
    train_and_resume((2,), **values)


def test_the_trainer_follows_the_curve(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    arguments = {"step_size": "1 epoch", "gamma": 0.5}
    trainer = make_trainer(schedule="step", schedule_args=arguments, num_train_epochs=2, head_learning_rate=0.1)
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([0.01] * 3 + [0.005] * 3)  # of the first group: the embeddings
    logged = [entry["learning_rate/head"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert logged == pytest.approx([0.1] * 3 + [0.05] * 3)  # every group's own, of the same steps
    last = [group["lr"] for group in trainer.optimizer.param_groups if group["name"] == "head"]
    assert last == [0.1 * 0.5**2]  # stepped once more after the last optimizer step


def test_a_name_of_the_trainers_is_the_trainers(tmp_path: Path) -> None:
    args = MultiLabelTrainingArguments(
        output_dir=str(tmp_path), schedule="cosine_with_min_lr", schedule_args={"min_lr": 1e-6}
    )
    assert args.lr_scheduler_type == SchedulerType.COSINE_WITH_MIN_LR
    assert args.lr_scheduler_kwargs == {"min_lr": 1e-6}


WRONG = [
    ({"schedule": "onecycle"}, r"schedule: expected one of step, .*Write one_cycle."),
    (
        {"schedule": "step", "schedule_args": {"step_sise": 3}},
        r"schedule_args.step_sise: expected one of step_size, gamma, found 'step_sise'. Write step_size.",
    ),
    (
        {"schedule": "step", "schedule_args": {"step_size": "a week"}},
        r"step_size: expected a whole number of steps, .* found 'a week'. Write for instance 0.1 or 1 epoch.",
    ),
    ({"schedule": "multi_step"}, r"schedule_args: expected the argument milestones"),
    ({"schedule": "multi_step", "schedule_args": {"milestones": [5, 0]}}, r"milestones: expected a whole number.*0"),
    ({"schedule": "step", "schedule_args": {"gamma": "0.1"}}, r"gamma: expected a number, found '0.1'"),
    ({"schedule": "linear", "schedule_args": {"num_cycles": 2}}, r"num_cycles: expected no arguments"),
    ({"schedule": "one_cycle", "warmup_steps": 10}, r"warmup_steps: expected nothing beside one_cycle, found 10"),
    ({"schedule": "constant", "warmup_steps": 10}, r"warmup_steps: .*or write constant_with_warmup"),
    ({"lr_scheduler_type": "constant", "warmup_steps": 10}, r"warmup_steps: expected nothing beside constant"),
    ({"lr_scheduler_kwargs": {"power": 2}}, r"lr_scheduler_kwargs.power: expected no arguments"),
    ({"schedule": "one_cycle", "optimizer": "adagrad"}, r"Set schedule_args.cycle_momentum: false"),
    ({"schedule": "one_cycle", "adam_beta1": 0.8}, r"adam_beta1: expected nothing beside one_cycle, which moves it"),
    (
        {"schedule": "one_cycle", "optimizer": "sgd", "optimizer_args": {"momentum": 0.5}},
        r"optimizer_args.momentum: expected nothing beside one_cycle",
    ),
    ({"schedule": "one_cycle", "schedule_args": {"anneal_strategy": "cubic"}}, r"must be one of 'cos' or 'linear'"),
    ({"schedule": "cosine_annealing_warm_restarts", "schedule_args": {"T_mult": 0}}, r"Expected integer T_mult"),
    ({"schedule": "step", "lr_scheduler_type": "cosine"}, r"lr_scheduler_type: expected nothing beside schedule"),
    ({"schedule": "step", "lr_scheduler_kwargs": {"power": 2}}, r"lr_scheduler_kwargs: .*Write schedule_args"),
    ({"schedule_args": {"gamma": 0.1}}, r"schedule_args: expected nothing without schedule"),
]


@pytest.mark.parametrize(("values", "match"), WRONG, ids=[str(values) for values, _ in WRONG])
def test_no_argument_is_ignored(values: dict, match: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=match):
        MultiLabelTrainingArguments(output_dir=str(tmp_path), **values)
