"""The section `training`: every field of `MultiLabelTrainingArguments`, generated from the dataclass and its help."""

from __future__ import annotations

import dataclasses
import types
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import Field, create_model, model_validator

from hf_multilabel.errors import nearest
from hf_multilabel.evaluation.metrics import metric_calls, needs_counts
from hf_multilabel.recipe.fields import Section, contract_error, number, one_of, whole
from hf_multilabel.recipe.secrets import show
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.checks import HEAD_INITS, training_problems
from hf_multilabel.training.freezing import BACKBONE_MODES
from hf_multilabel.training.optimizers import OPTIMIZERS
from hf_multilabel.training.precision import PRECISIONS
from hf_multilabel.training.schedules import SCHEDULES

# Keys that people write and this project does not take: the next step instead.
HINTS: dict[str, str] = {
    "length_column_name": "remove it; lengths are counted",
    "remove_unused_columns": "remove it; the collator takes what it needs",
    "batch_eval_metrics": "remove it; metrics need whole splits",
    "hub_token": "remove it and set the variable HF_TOKEN, or log in with `hf auth login`",
    **dict.fromkeys(("push_to_hub", "hub_model_id"), "write hub.repo_id"),
    **dict.fromkeys(("hub_strategy", "hub_always_push"), "write hub.repo_id and hub.strategy"),
    "hub_private_repo": "write hub.private",
    "hub_revision": "write hub.revision",
    **dict.fromkeys(("do_train", "do_eval", "do_predict"), "remove it; the command says what is done"),
    "resume_from_checkpoint": "remove it and give the command --resume",
    "overwrite_output_dir": "remove it and give the command --overwrite",
    "local_rank": "remove it; the launcher sets it",
    "parallelism_config": "remove it and name a configuration of recipes/accelerate to the launcher",
    "label_smoothing_factor": "write loss.smoothing; the Trainer ignores its own for multi-label models",
    "warmup_ratio": "write warmup_steps; a number below 1 is a share of all steps",
    "group_by_length": "write train_sampling_strategy: group_by_length",
    "evaluation_strategy": "write eval_strategy",
    "no_cuda": "write use_cpu",
    "gradient_checkpointing": "write activation_checkpointing",
    "gradient_checkpointing_kwargs": "write activation_checkpointing_kwargs",
    "lr": "write learning_rate",
    "epochs": "write num_train_epochs",
    "batch_size": "write per_device_train_batch_size and per_device_eval_batch_size",
}

POSITIVE, NOT_NEGATIVE, SEED = {"gt": 0}, {"ge": 0}, {"ge": 0, "le": 2**32 - 1}
LIMITS: dict[str, dict[str, float]] = {
    **dict.fromkeys(("learning_rate", "head_learning_rate", "probe_c", "num_train_epochs", "adam_epsilon"), POSITIVE),
    **dict.fromkeys(("logging_steps", "eval_steps", "save_steps", "ddp_timeout", "ddp_bucket_cap_mb"), POSITIVE),
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), POSITIVE),
    **dict.fromkeys(
        ("cpu_threads", "gradient_accumulation_steps", "eval_accumulation_steps", "save_total_limit"), POSITIVE
    ),
    **dict.fromkeys(("freeze_layers", "warmup_steps", "weight_decay", "max_grad_norm"), NOT_NEGATIVE),
    **dict.fromkeys(("head_l1", "head_l2"), NOT_NEGATIVE),
    **dict.fromkeys(("eval_delay", "dataloader_num_workers"), NOT_NEGATIVE),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), {"ge": 0, "lt": 1}),
    **dict.fromkeys(("seed", "data_seed"), SEED),
    "layerwise_decay": {"gt": 0, "le": 1},
    "max_steps": {"ge": -1},
}
CHOICES: dict[str, Any] = {
    "head_init": one_of(HEAD_INITS),
    "backbone_mode": one_of(BACKBONE_MODES),
    "optimizer": one_of(OPTIMIZERS) | None,
    "schedule": one_of(SCHEDULES) | None,
    "learning_rates": dict[str, number(gt=0)],
    "precision": one_of(PRECISIONS),
    "train_sampling_strategy": one_of(("random", "sequential", "group_by_length", "batch_rebalance")),
}


class TrainingChecks(Section):
    """What the values of `training` must fulfil together, found before a model is loaded for nothing."""

    @model_validator(mode="after")
    def _goes_together(self) -> TrainingChecks:
        given = self.model_dump(exclude_unset=True)
        problems = []
        saving, evaluating = given.get("save_strategy", "steps"), given.get("eval_strategy", "no")
        if given.get("load_best_model_at_end") and saving != "best" and saving != evaluating:
            expected = f"the value of eval_strategy ({evaluating}) beside load_best_model_at_end"
            problems.append(("save_strategy", expected, show(saving), "set both to epoch, or both to steps"))
        if evaluating == "no" and (given.get("load_best_model_at_end") or saving == "best"):
            problems.append(("eval_strategy", "epoch or steps, to know the best model", "'no'", "set it"))
        best = given.get("metric_for_best_model")
        if best is not None and best.removeprefix("eval_") not in (names := metric_names()):
            near = nearest(best.removeprefix("eval_"), names)
            problems.append(("metric_for_best_model", "a metric, or loss", show(best), f"write {near or 'macro_f1'}"))
        if given.get("max_steps") == 0:
            problems.append(("max_steps", "a whole number >= 1, or -1 for all epochs", "0", "raise it"))
        problems += training_problems(self)
        if problems:
            raise contract_error(*problems)
        return self


def metric_names() -> list[str]:
    """Names the Trainer's evaluations report: the metrics that need no training counts at their default k, the loss."""
    return ["loss", *(shown for shown, name, _ in metric_calls() if not needs_counts(name))]


def build_training_section() -> type[Section]:
    """The pydantic twin of `MultiLabelTrainingArguments`: the same keys, types, defaults and help texts."""
    hints = get_type_hints(MultiLabelTrainingArguments)
    keys: dict[str, Any] = {}
    for field in dataclasses.fields(MultiLabelTrainingArguments):
        if field.name in HINTS or not field.init:
            continue
        kind = CHOICES.get(field.name) or _field_type(hints[field.name], LIMITS.get(field.name, {}))
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = default.value if isinstance(default, Enum) else default
        keys[field.name] = (kind, Field(default, description=" ".join(field.metadata.get("help", "").split())))
    doc = "How the model is trained: every field of MultiLabelTrainingArguments."
    return create_model("TrainingSection", __base__=TrainingChecks, __doc__=doc, **keys)


def _field_type(hint: Any, limits: dict[str, float]) -> Any:
    """A type as the dataclass declares it, as the type of a strict field."""
    if hint is float:
        return number(**limits)
    if hint is int:
        return whole(**limits)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return one_of(str(member.value) for member in hint)
    if get_origin(hint) in (Union, types.UnionType):
        members = get_args(hint)
        named = any(isinstance(member, type) and issubclass(member, Enum) for member in members)
        return reduce(or_, (_field_type(member, limits) for member in members if not (named and member is str)))
    return list[str] if get_origin(hint) is list else hint


TrainingSection = build_training_section()
