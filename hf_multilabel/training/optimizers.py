"""Optimizers by plain names, their arguments typed, and none of them ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import Adafactor, TrainingArguments
from transformers.training_args import OptimizerNames

from hf_multilabel.errors import nearest
from hf_multilabel.training.call_arguments import Problem, argument_problems, as_tuples, known_arguments

# Filled in by the trainer, or without sense in training.
ELSEWHERE = ("params", "lr", "weight_decay")
SENSELESS = ("maximize", "differentiable", "capturable")
MOVED = {"lr": "write training.learning_rate", "weight_decay": "write training.weight_decay"}
# What the Trainer reads of `optim_args` for each of its optimizers; it drops everything else without a word.
OPTIM_ARGS: dict[str, tuple[str, ...]] = {
    "adamw_anyprecision": (
        "use_kahan_summation",
        "momentum_dtype",
        "variance_dtype",
        "compensation_buffer_dtype",
    ),
    **dict.fromkeys(("adamw_torch_4bit", "adamw_torch_8bit"), ("block_size", "bf16_stochastic_round")),
    **dict.fromkeys(
        ("ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"),
        ("beta1", "beta2", "beta3", "alpha", "eps", "t_alpha", "t_beta3"),
    ),
    **dict.fromkeys(
        [name.value for name in OptimizerNames if name.value.startswith("galore")],
        ("rank", "update_proj_gap", "scale", "proj_type"),
    ),
    **dict.fromkeys(
        ("apollo_adamw", "apollo_adamw_layerwise"),
        ("rank", "proj", "scale_type", "update_proj_gap", "scale", "proj_type"),
    ),
    **dict.fromkeys(("schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd"), ("weight_lr_power", "r")),
    "grokadamw": ("alpha_init", "lamb", "gamma", "grokking_signal_decay_rate", "gradient_clipping"),
    "stable_adamw": ("max_lr", "kahan_sum", "decouple_lr"),
    "sgd": ("momentum", "dampening", "nesterov"),
    "adagrad": ("lr_decay", "eps"),
    "rmsprop": ("momentum", "alpha", "eps", "centered"),
}
# They need the whole model or step one parameter at a time: no groups with rates of their own.
WHOLE_MODEL = ("galore", "apollo", "lomo", "muon", "layerwise")
BETAS = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}


def resolve_optimizer(settings: Any) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The class and arguments of an optimizer of `OPTIMIZERS` that this project builds itself.

    Args:
        settings: Has the optimizer's fields of `MultiLabelTrainingArguments`, without problems.

    Returns:
        Class and keyword arguments, `lr` among them, for parameter groups with rates of their own.
    """
    optimizer, defaults = OPTIMIZERS[settings.optimizer]
    arguments = {**defaults, **as_tuples(settings.optimizer_args)}
    if _has_betas(optimizer):
        arguments.setdefault("betas", (settings.adam_beta1, settings.adam_beta2))
        arguments.setdefault("eps", settings.adam_epsilon)
    return optimizer, {"lr": settings.learning_rate, **arguments}


def is_ours(name: str | None) -> bool:
    """Whether this project builds an optimizer itself; the others are the Trainer's."""
    return name is not None and OPTIMIZERS[name][0] is not None


def takes_whole_model(settings: Any) -> bool:
    """Whether the optimizer of a run takes no parameter groups."""
    name = str(settings.optimizer or getattr(settings.optim, "value", settings.optim))
    return any(part in name for part in WHOLE_MODEL)


def optim_args_text(arguments: Mapping[str, Any]) -> str | None:
    """Arguments in the form of the Trainer's `optim_args`.

    Example:
        >>> optim_args_text({"rank": 64, "proj_type": "std"})
        'rank=64,proj_type=std'
    """
    return ",".join(f"{name}={value}" for name, value in arguments.items()) or None


def optimizer_problems(settings: Any) -> list[Problem]:
    """What is wrong with the optimizer and its arguments.

    Args:
        settings: Has the fields `optimizer`, `optimizer_args`, `optim`, `optim_args`, `learning_rate`, `adam_beta1`,
            `adam_beta2` and `adam_epsilon`; what is at its default counts as not given.
    """
    name, arguments = settings.optimizer, settings.optimizer_args
    optim = str(getattr(settings.optim, "value", settings.optim))
    if name is None:
        given = [("optimizer_args", "nothing without optimizer", repr(arguments), "name the optimizer")]
        return (given if arguments else []) + _optim_args_problems(optim, settings.optim_args)
    if name not in OPTIMIZERS:
        fix = f"write {nearest(name, OPTIMIZERS) or 'adamw'}"
        return [("optimizer", f"one of {', '.join(OPTIMIZERS)}", repr(name), fix)]
    # a run's arguments may be read again, the Trainer's fields then already filled in
    if optim not in (DEFAULT_OPTIM, name):
        return [("optim", "nothing beside optimizer", repr(optim), "remove one of the two")]
    if settings.optim_args not in (None, optim_args_text(arguments)):
        return [("optim_args", "nothing beside optimizer", repr(settings.optim_args), "write optimizer_args")]
    moved = [key for key in arguments if key in MOVED]
    if moved:
        return [(f"optimizer_args.{key}", "no such argument", repr(key), MOVED[key]) for key in moved]
    if not is_ours(name):
        return _known_problems("optimizer_args", OPTIM_ARGS.get(name, ()), arguments)
    optimizer, _ = OPTIMIZERS[name]
    problems = argument_problems("optimizer_args", optimizer, arguments, but=(*ELSEWHERE, *SENSELESS))
    return problems or _adam_problems(settings, optimizer) or _value_problems(settings)


def _adam_problems(settings: Any, optimizer: type) -> list[Problem]:
    """Fields of Adam that the optimizer does not read, or that its own arguments set again."""
    changed = [name for name, default in BETAS.items() if getattr(settings, name) != default]
    if not _has_betas(optimizer):
        fix = "remove it, or choose an optimizer of the Adam family"
        return [(name, f"nothing beside {settings.optimizer}", repr(getattr(settings, name)), fix) for name in changed]
    twice = [name for name in changed if ("eps" if name == "adam_epsilon" else "betas") in settings.optimizer_args]
    return [(name, "its value in one place", "optimizer_args too", "remove one of the two") for name in twice]


def _value_problems(settings: Any) -> list[Problem]:
    """What the optimizer itself says of its arguments."""
    optimizer, arguments = resolve_optimizer(settings)
    try:
        optimizer([torch.zeros(1, requires_grad=True)], **arguments)
    except (ValueError, TypeError, RuntimeError) as error:
        expected = f"arguments of {settings.optimizer} ({error})"
        return [("optimizer_args", expected, repr(settings.optimizer_args), "correct the value")]
    return []


def _optim_args_problems(optim: str, written: str | None) -> list[Problem]:
    pairs = [pair.split("=") for pair in (written or "").replace(" ", "").split(",") if pair]
    if any(len(pair) != 2 for pair in pairs):
        return [("optim_args", "name=value, several with commas", repr(written), "write optimizer and optimizer_args")]
    return _known_problems("optim_args", OPTIM_ARGS.get(optim, ()), dict(pairs))


def _known_problems(key: str, known: tuple[str, ...], given: Mapping[str, Any]) -> list[Problem]:
    expected = f"one of {', '.join(known)}" if known else "no arguments"
    unknown = [name for name in given if name not in known]
    other = "optimizer and optimizer_args, which take more"
    fixes = [MOVED.get(name) or f"write {nearest(name, known) or other}" for name in unknown]
    return [(key, expected, repr(name), fix) for name, fix in zip(unknown, fixes, strict=True)]


def _has_betas(optimizer: type) -> bool:
    return "betas" in known_arguments(optimizer)


# Name to class and what it differs in from the class's own defaults. The Trainer's learning_rate and weight_decay hold
# for all, adam_beta1, adam_beta2 and adam_epsilon for those with betas. Weight decay is decoupled in adamw, nadamw and
# radamw (Loshchilov and Hutter 2019) and an L2 term of the gradient in the others.
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer] | None, dict[str, Any]]] = {
    "adamw": (torch.optim.AdamW, {}),
    "adam": (torch.optim.Adam, {}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "adamax": (torch.optim.Adamax, {}),
    "nadam": (torch.optim.NAdam, {}),
    "nadamw": (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    "radam": (torch.optim.RAdam, {}),
    "radamw": (torch.optim.RAdam, {"decoupled_weight_decay": True}),
    "adadelta": (torch.optim.Adadelta, {}),
    "adagrad": (torch.optim.Adagrad, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "sgd": (torch.optim.SGD, {}),
    "sgd_momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd_nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "asgd": (torch.optim.ASGD, {}),
    "adafactor": (Adafactor, {"scale_parameter": False, "relative_step": False}),
    "adamw_torch": (torch.optim.AdamW, {}),
    "adamw_torch_fused": (torch.optim.AdamW, {"fused": True}),
}
# the Trainer's others, built by the Trainer
OPTIMIZERS |= {name.value: (None, {}) for name in OptimizerNames if name.value not in OPTIMIZERS}
DEFAULT_OPTIM = str(TrainingArguments.__dataclass_fields__["optim"].default)
