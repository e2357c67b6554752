"""What the training arguments of this project must fulfil, before anything is loaded."""

from __future__ import annotations

import re
from typing import Any

from hf_multilabel.training.call_arguments import Problem
from hf_multilabel.training.durations import duration_problems
from hf_multilabel.training.freezing import BACKBONE_MODES, WAITING_MODES
from hf_multilabel.training.optimizers import optimizer_problems, takes_whole_model
from hf_multilabel.training.schedules import schedule_problems

HEAD_INITS = ("random", "prior", "probe")


def training_problems(settings: Any) -> list[Problem]:
    """What is wrong with the fields of ours, each by its key.

    Args:
        settings: `MultiLabelTrainingArguments`, or a recipe's section with the same fields.
    """
    problems = optimizer_problems(settings)
    problems += [] if problems else schedule_problems(settings)
    for key, known in (("head_init", HEAD_INITS), ("backbone_mode", BACKBONE_MODES)):
        value = getattr(settings, key)
        if value not in known:
            problems.append((key, f"one of {', '.join(known)}", repr(value), "choose one of them"))
    problems += [
        (key, "a number >= 0", repr(value), "write 0 for none")
        for key in ("head_l1", "head_l2")
        if (value := getattr(settings, key)) < 0
    ]
    return problems + _waiting_problems(settings) + _pattern_problems(settings)


def _waiting_problems(settings: Any) -> list[Problem]:
    waits, duration = settings.backbone_mode in WAITING_MODES, settings.unfreeze_after
    if not waits and duration is not None:
        expected = f"null beside backbone_mode {settings.backbone_mode}"
        return [("unfreeze_after", expected, repr(duration), "write backbone_mode: head_first or gradual")]
    if waits and settings.ddp_static_graph:
        return [("ddp_static_graph", f"false beside {settings.backbone_mode}", "true", "remove it")]
    if takes_whole_model(settings) and (settings.backbone_mode != "all" or settings.learning_rates):
        key = "learning_rates" if settings.learning_rates else "backbone_mode"
        expected = "nothing beside an optimizer that takes no parameter groups"
        return [(key, expected, repr(getattr(settings, key)), "write optimizer: adamw")]
    return [] if duration is None else duration_problems("unfreeze_after", duration)


def _pattern_problems(settings: Any) -> list[Problem]:
    found: list[Problem] = []
    for written, rate in settings.learning_rates.items():
        try:
            re.compile(written)
        except re.error as error:
            expected = f"a regular expression ({error})"
            found.append((f"learning_rates.{written}", expected, repr(written), "correct the pattern"))
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate <= 0:
            found.append((f"learning_rates.{written}", "a number > 0", repr(rate), "freeze with backbone_mode instead"))
    return found
