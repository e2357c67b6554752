"""A study from its first to its last trial, in one process or several; stopped anywhere, the same command goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import math
import multiprocessing
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from hf_multilabel.console import note
from hf_multilabel.errors import InputError
from hf_multilabel.progress import Bar, duration, redirected
from hf_multilabel.studies.cells import Cell
from hf_multilabel.studies.definition import StudyPlan, load_study
from hf_multilabel.studies.queue import Queue
from hf_multilabel.studies.results import write_results
from hf_multilabel.studies.trial import Run, Shared, run_once

RESULT, LOG = "result.json", "log.txt"
POLL_SECONDS = 1.0


def run_study(plan: StudyPlan, jobs: int = 1, overwrite: bool = False) -> list[dict[str, Any]]:
    """Run what is left of a study and write its results.

    Args:
        plan: As `load_study` returns it.
        jobs: Processes that share the trials, each with its share of the cores.
        overwrite: Drop an earlier study in the folder.

    Returns:
        The runs, as in trials.json.

    Raises:
        InputError: If optuna is missing, or the folder holds another study.
        KeyboardInterrupt: Once the running trials are queued again and the results so far written.
    """
    queue = Queue(plan, overwrite)
    if (done := queue.done()) and not overwrite:
        note(f"going on with {plan.folder}: {done} of {queue.total()} trials are done")
    try:
        if jobs > 1:
            work_in_processes(plan, queue, jobs)
        else:
            work(plan, queue)
    finally:
        runs = write_results(plan, queue)
    return runs


def work(plan: StudyPlan, queue: Queue, said: bool = True) -> None:
    """Take trials until none is left for this process.

    Args:
        plan: The study.
        queue: Its trials.
        said: Whether this process shows how far they are.
    """
    shared = Shared()
    with Bar("trials", queue.total(), done=queue.done(), said=said) as bar:
        while (trial := queue.claim()) is not None:
            cell, start = Cell(trial.user_attrs["values"], trial.user_attrs["labels"]), time.monotonic()
            bar.total = queue.total()
            show = functools.partial(_show, bar, queue.done(), cell.name)
            show(0.0)
            outcome = run_trial(plan, queue, trial, cell, shared, show)
            bar.set(queue.done(), "")
            if said:
                note(f"{trial.number:>4}  {cell.name}: {outcome}, {duration(time.monotonic() - start)}")


def _show(bar: Bar, before: int, name: str, share: float) -> None:
    bar.set(before + share, name)


def run_trial(plan: StudyPlan, queue: Queue, trial: Any, cell: Cell, shared: Shared, show: Any) -> str:
    """One trial with all its seeds; whatever goes wrong in it is its result.

    Returns:
        What came out, in words.
    """
    seeds, folder = trial.user_attrs["seeds"], queue.trial_folder(trial.number)
    runs: list[Run] = []
    found: dict[str, Any] = {"trial": trial.number, "values": cell.values, "labels": cell.labels}
    start = time.monotonic()
    with (folder / LOG).open("w", encoding="utf-8") as log, redirected(log), logged_to(log):
        try:
            for number, seed in enumerate(seeds):
                recipe = plan.recipe(cell, seed, folder / "run")
                (folder / "recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
                runs.append(
                    run_once(
                        plan, recipe, shared,
                        # the seeds of a trial are alike: the first says whether the trial is worth going on with
                        report=reporter(trial) if number == 0 else None,
                        progress=lambda step, steps, number=number: show((number + step / steps) / len(seeds)),
                        keep=keeper(plan, queue, trial.number) if plan.settings.keep == "best" else None,
                    )
                )  # fmt: skip
                if runs[-1].outcome != "done":
                    break
            outcome, error = runs[-1].outcome, None
        except InputError as refused:
            outcome, error = "refused", str(refused)
        except KeyboardInterrupt:
            queue.finish(trial, None, "fail", "interrupted")
            raise
        except Exception as fault:  # noqa: BLE001 -- one trial's fault must not end the others
            outcome, error = "error", f"{type(fault).__name__}: {fault}"
            log.write(traceback.format_exc())
    value = mean_value(runs, len(seeds))
    if outcome == "done" and value is None:
        outcome = "diverged"
    found |= {"outcome": outcome, "value": value, "error": error, "seconds": round(time.monotonic() - start, 1)}
    write_json(folder / RESULT, {**found, "runs": [dataclasses.asdict(run) for run in runs]})
    with contextlib.suppress(OSError):
        (folder / "run").rmdir()  # trainers make it, nothing is in it
    states = {"done": "complete", "pruned": "pruned", "diverged": "pruned"}
    queue.finish(trial, value, states.get(outcome, "fail"), outcome)
    return f"{plan.settings.metric} {value:.4f}" if value is not None else f"{outcome}{f' ({error})' if error else ''}"


def mean_value(runs: Sequence[Run], seeds: int) -> float | None:
    """Mean of the runs' values; None if one is missing or not finite."""
    values = [run.value for run in runs if run.value is not None and math.isfinite(run.value)]
    return sum(values) / seeds if len(values) == seeds else None


def reporter(trial: Any) -> Any:
    """Tell optuna of a value; true if the trial should end."""

    def report(value: float, number: int) -> bool:
        trial.report(value, number)
        return bool(trial.should_prune())

    return report


def keeper(plan: StudyPlan, queue: Queue, number: int) -> Any:
    """Whether a value is the best of the study so far; until its model is written, no other process asks."""

    @contextlib.contextmanager
    def keep(value: float) -> Iterator[bool]:
        place = plan.folder / "best.json"
        with queue.lock():
            kept = json.loads(place.read_text(encoding="utf-8"))["value"] if place.is_file() else None
            better = kept is None or (value > kept if plan.maximizes else value < kept)
            yield better
            if better:
                write_json(place, {"trial": number, "value": value})

    return keep


def work_in_processes(plan: StudyPlan, queue: Queue, jobs: int) -> None:
    """Let several processes take the trials, and show how far they are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // jobs)))
    context = multiprocessing.get_context("spawn")
    settings = [f"study.{key}={value}" for key, value in _told(plan)]
    overrides = [*settings, *plan.typed]
    workers = [context.Process(target=work_alone, args=(str(plan.path), overrides)) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        with Bar("trials", queue.total(), done=queue.done()) as bar:
            while any(worker.is_alive() for worker in workers):
                time.sleep(POLL_SECONDS)
                bar.total = queue.total()
                bar.set(queue.done(), f"{queue.counts().get('running', 0)} running")
    except KeyboardInterrupt:  # the workers got it too, and put their trials back
        for worker in workers:
            worker.join()
        raise
    broken = [worker.exitcode for worker in workers if worker.exitcode]
    if broken:
        note(f"{len(broken)} of {jobs} processes ended early (exit {broken[0]}); what they left is queued again")


def work_alone(path: str, overrides: list[str]) -> None:
    """What a process of `work_in_processes` does."""
    plan = load_study(path, overrides)
    with contextlib.suppress(KeyboardInterrupt):
        work(plan, Queue(plan), said=False)


def _told(plan: StudyPlan) -> Iterator[tuple[str, str]]:
    """Settings of the study that the command line may have changed, for its processes."""
    content = plan.settings.model_dump()
    for key in content:
        if key != "recipe":
            yield key, json.dumps(content[key])


@contextlib.contextmanager
def logged_to(file: TextIO) -> Iterator[None]:
    """Let warnings of this package go into a file instead of between the lines of the study."""
    logger, handler = logging.getLogger("hf_multilabel"), logging.StreamHandler(file)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all; a NaN becomes null."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(_finite(content), indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
