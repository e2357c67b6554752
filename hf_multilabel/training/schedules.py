"""Learning-rate schedules: the Trainer's, and torch's own with arguments in steps, shares of the run or epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from transformers import TrainingArguments, get_scheduler
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR
from transformers.trainer_utils import SchedulerType

from hf_multilabel.errors import nearest
from hf_multilabel.training.call_arguments import Problem, argument_problems
from hf_multilabel.training.durations import count_steps, duration_problems
from hf_multilabel.training.optimizers import BETAS, is_ours, resolve_optimizer

# Filled in by the trainer.
ELSEWHERE = (
    *("optimizer", "last_epoch", "num_warmup_steps", "num_training_steps"),
    *("max_lr", "total_steps", "epochs", "steps_per_epoch"),
)


@dataclass(frozen=True)
class Schedule:
    """How a schedule is built.

    Args:
        build: Its class or function; arguments beyond `ELSEWHERE` come from the recipe.
        durations: Those of its arguments that count steps and may be written as a duration.
        defaults: Of arguments that have none in `build`.
        warms_up: Whether `warmup_steps` means something to it.
        is_trainers: Built by the Trainer's `get_scheduler`.
    """

    build: Callable[..., Any]
    durations: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    warms_up: bool = True
    is_trainers: bool = False


def is_torchs(name: str | None) -> bool:
    """Whether a schedule is one of torch's own, built here; the others are the Trainer's."""
    return name is not None and not SCHEDULES[name].is_trainers


def build_schedule(
    name: str,
    optimizer: Optimizer,
    arguments: Mapping[str, Any],
    *,
    total_steps: int,
    steps_per_epoch: int,
    warmup_steps: int = 0,
) -> LRScheduler:
    """One of torch's schedulers over the optimizer steps of a run, after a linear warm-up if one is wanted.

    Its values are those of torch's scheduler, stepped after every optimizer step; after W steps of warm-up, in which a
    rate rises by equal steps from 0 to its peak, the curve begins with its first value.

    `one_cycle` has its own rise, and with `cycle_momentum` (true by default, as in torch) moves the momentum, or the
    first beta of the Adam family, against the rate: from max_momentum (0.95) down to base_momentum (0.85) at the peak
    and up again. What the optimizer was given for it does not hold then.

    Args:
        name: One of `SCHEDULES` that is torch's.
        optimizer: Each group's `lr` is its peak.
        arguments: torch's names; step counts may be durations, see `durations.count_steps`, that begin after the
            warm-up, shares being of the steps after it.
        total_steps: Optimizer steps of the run.
        steps_per_epoch: Optimizer steps of one pass over the rows.
        warmup_steps: Steps of the warm-up.

    Returns:
        A scheduler to be stepped after every optimizer step.

    Example:
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> build_schedule("step", optimizer, {"step_size": "1 epoch"}, total_steps=9, steps_per_epoch=3).step_size
        3

    Reference: Loshchilov and Hutter 2017 (cosine annealing, warm restarts); Smith and Topin 2018 (one cycle).
    """
    schedule = SCHEDULES[name]
    arguments = {**schedule.defaults, **arguments}
    rest = max(1, total_steps - warmup_steps)
    for key in schedule.durations:
        arguments[key] = _in_steps(arguments[key], rest, steps_per_epoch)
    if name == "one_cycle":
        arguments |= {"max_lr": [group["lr"] for group in optimizer.param_groups], "total_steps": total_steps}
    if not warmup_steps:
        return schedule.build(optimizer, **arguments)
    rise = LambdaLR(optimizer, lambda step: step / warmup_steps)
    return SequentialLR(optimizer, [rise, schedule.build(optimizer, **arguments)], milestones=[warmup_steps])


def schedule_problems(settings: Any) -> list[Problem]:
    """What is wrong with the schedule and its arguments.

    Args:
        settings: Has the fields `schedule`, `schedule_args`, `lr_scheduler_type`, `lr_scheduler_kwargs`, `warmup_steps`
            and those of the optimizer, which is without problems.
    """
    name, arguments = settings.schedule, settings.schedule_args
    trainers = str(getattr(settings.lr_scheduler_type, "value", settings.lr_scheduler_type))
    trainers_arguments = settings.lr_scheduler_kwargs or {}
    if name is None:
        given = [("schedule_args", "nothing without schedule", repr(arguments), "name the schedule")]
        if arguments or not isinstance(trainers_arguments, Mapping):  # the Trainer also takes a text of JSON
            return given if arguments else []
        return _name_problems("lr_scheduler_kwargs", trainers, trainers_arguments, settings)
    if name not in SCHEDULES:
        fix = f"write {nearest(name, SCHEDULES) or 'linear'}"
        return [("schedule", f"one of {', '.join(SCHEDULES)}", repr(name), fix)]
    # a run's arguments may be read again, the Trainer's fields then already filled in
    if trainers not in (DEFAULT_TYPE, name):
        return [("lr_scheduler_type", "nothing beside schedule", repr(trainers), "remove one of the two")]
    if trainers_arguments and trainers_arguments != arguments:
        found = repr(trainers_arguments)
        return [("lr_scheduler_kwargs", "nothing beside schedule", found, "write schedule_args")]
    return _name_problems("schedule_args", name, arguments, settings)


def _name_problems(key: str, name: str, arguments: Mapping[str, Any], settings: Any) -> list[Problem]:
    schedule = SCHEDULES[name]
    if settings.warmup_steps and not schedule.warms_up:
        fix = f"remove it{', or write constant_with_warmup' if name == 'constant' else ''}"
        return [("warmup_steps", f"nothing beside {name}", repr(settings.warmup_steps), fix)]
    whole = {**schedule.defaults, **arguments}
    problems = argument_problems(key, schedule.build, whole, but=ELSEWHERE, unchecked=schedule.durations)
    for argument in schedule.durations:
        written = whole.get(argument)
        for value in written if isinstance(written, list) else [written]:
            problems += [] if value is None else duration_problems(f"{key}.{argument}", value)
    return problems or _cycle_problems(name, arguments, settings) or _value_problems(key, name, arguments, settings)


def _cycle_problems(name: str, arguments: Mapping[str, Any], settings: Any) -> list[Problem]:
    """A momentum that one_cycle would replace."""
    if name != "one_cycle" or not arguments.get("cycle_momentum", True):
        return []
    given = [f"optimizer_args.{key}" for key in ("momentum", "betas") if key in settings.optimizer_args]
    given += ["adam_beta1"] if settings.adam_beta1 != BETAS["adam_beta1"] else []
    expected, fix = "nothing beside one_cycle, which moves it", "remove it, or set schedule_args.cycle_momentum: false"
    return [(key, expected, "a value", fix) for key in given]


def _value_problems(key: str, name: str, arguments: Mapping[str, Any], settings: Any) -> list[Problem]:
    """What the schedule itself says of its arguments, at a run of ten epochs."""
    weights = [torch.zeros(1, requires_grad=True)]
    optimizer: Optimizer = torch.optim.AdamW(weights, lr=1e-3)
    if is_ours(settings.optimizer):
        optimizer_class, optimizer_arguments = resolve_optimizer(settings)
        optimizer = optimizer_class(weights, **optimizer_arguments)
    try:
        if is_torchs(name):
            build_schedule(name, optimizer, arguments, total_steps=1000, steps_per_epoch=100)
        else:
            get_scheduler(name, optimizer, 10, 1000, dict(arguments))
    except (ValueError, TypeError, ZeroDivisionError) as error:
        fix = "set schedule_args.cycle_momentum: false" if "cycle_momentum" in str(error) else "correct the value"
        return [(key, f"arguments of {name} ({error})", repr(dict(arguments)), fix)]
    return []


def _in_steps(duration: Any, total_steps: int, steps_per_epoch: int) -> Any:
    if duration is None:
        return total_steps
    if isinstance(duration, list):
        return [count_steps(one, total_steps, steps_per_epoch) for one in duration]
    return count_steps(duration, total_steps, steps_per_epoch)


SCHEDULES: dict[str, Schedule] = {
    "step": Schedule(StepLR, ("step_size",), {"step_size": "1 epoch"}),
    "multi_step": Schedule(MultiStepLR, ("milestones",)),
    "cosine_annealing": Schedule(CosineAnnealingLR, ("T_max",), {"T_max": None}),  # null: to the end of the run
    "cosine_annealing_warm_restarts": Schedule(CosineAnnealingWarmRestarts, ("T_0",), {"T_0": "1 epoch"}),
    "one_cycle": Schedule(OneCycleLR, warms_up=False),
}
SCHEDULES |= {kind.value: Schedule(build, is_trainers=True) for kind, build in TYPE_TO_SCHEDULER_FUNCTION.items()}
SCHEDULES |= {
    "constant": Schedule(TYPE_TO_SCHEDULER_FUNCTION[SchedulerType.CONSTANT], warms_up=False, is_trainers=True),
    "reduce_lr_on_plateau": Schedule(ReduceLROnPlateau, warms_up=False, is_trainers=True),
    "greedy": Schedule(GreedyLR, warms_up=False, is_trainers=True),
}
DEFAULT_TYPE = str(getattr(TrainingArguments.__dataclass_fields__["lr_scheduler_type"].default, "value", "linear"))
