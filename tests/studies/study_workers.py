"""Processes of a study as its tests want them; a module of its own, because a process that is spawned imports it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hf_multilabel.studies import running
from hf_multilabel.studies.trial import Run

PATIENCE = 120
AS_SHIPPED = running.work_alone


def fake_run(plan, recipe, *args, **kwargs) -> Run:
    """A run that trains nothing; its value is its learning rate."""
    value = recipe.training["learning_rate"]
    metrics = {split: {"fixed": {"micro_auc": value}} for split in ("validation", "test")}
    curve = [{"step": 0, "validation_micro_auc": 0.5}, {"step": 4, "validation_micro_auc": value}]
    training = {"seconds": 1.0, "steps": 4}
    return Run(0, "done", value, metrics, {"validation": 0.5, "test": 0.5}, curve, [(4, 0.3)], training, {})


def work_and_log(path: str, overrides: list[str]) -> None:
    """A process of the study that notes what it runs, and lets its first trial wait until another process has one."""
    log = Path(path).with_name("ran")
    log.mkdir(exist_ok=True)

    def run(plan, recipe, *args, **kwargs) -> Run:
        with (log / str(os.getpid())).open("a") as file:
            file.write(f"{recipe.training['learning_rate']}\n")
        end = time.monotonic() + PATIENCE
        while len(list(log.iterdir())) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        return fake_run(plan, recipe)

    running.run_once = run
    AS_SHIPPED(path, overrides)
