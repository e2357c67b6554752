"""What is to be done, shared by several processes: an SQLite file of optuna, claims under a lock, the dead found.

A process holds a lock on the folder of the trial it works on. The system lets go of it when the process ends, however
it ends: a trial that is called running while nobody holds its lock has died.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.studies.cells import Cell
from hf_multilabel.studies.definition import StudyPlan
from hf_multilabel.studies.search import draw_cell

STUDY_FILE, DATABASE = "study.json", "study.db"
RETRIES = 1


class Queue:
    """The trials of a study.

    Args:
        plan: The study.
        overwrite: Drop what the folder holds of an earlier study.
        reading: Only look at what is there.

    Raises:
        InputError: If optuna is missing, the folder holds another study or something else, or there is none to read.
    """

    def __init__(self, plan: StudyPlan, overwrite: bool = False, reading: bool = False) -> None:
        self.optuna = import_optuna()
        self.plan, self.folder = plan, plan.folder
        self.started = time.monotonic()
        self.held: dict[int, IO[str]] = {}
        check_study_folder(plan, overwrite)
        if reading and not (self.folder / STUDY_FILE).is_file():
            raise _refused("C123", self.folder, "a study", "none")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.lock():
            if overwrite:
                _clear(self.folder)
            self.study = self._open()
            if reading:
                return
            _mark(plan)
            self._recover()
            if plan.is_grid:
                self._fill()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time."""
        with (self.folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def claim(self) -> Any | None:
        """The next trial, or None if there is none or the budget is spent.

        Returns:
            A trial of optuna; its user attributes hold `values`, `labels`, `seeds` and `folder`.
        """
        with self.lock():
            self._recover()
            if self._is_over():
                return None
            trial = self.study.ask()
            if not self.plan.is_grid:  # of one that is repeated, too: optuna then learns from its values
                self._describe(trial, draw_cell(trial, self.plan.settings.space or {}), self.plan.settings.seeds)
            folder = self.trial_folder(trial.number)
            folder.mkdir(parents=True, exist_ok=True)
            self.held[trial.number] = _hold(folder)
            return trial

    def finish(self, trial: Any, value: float | None, state: str, outcome: str) -> None:
        """Store how a trial ended.

        Args:
            trial: As `claim` gave it.
            value: Of a trial that is complete.
            state: complete, pruned or fail.
            outcome: In a word, for people.
        """
        with self.lock():
            self._end(trial.number, value, state, outcome)
            self.held.pop(trial.number).close()

    def trial_folder(self, number: int) -> Path:
        """Where a trial leaves what it found."""
        return self.folder / "trials" / f"{number:04}"

    def counts(self) -> dict[str, int]:
        """Trials by state, in lower case."""
        found: dict[str, int] = {}
        for trial in self.study.get_trials(deepcopy=False):
            found[trial.state.name.lower()] = found.get(trial.state.name.lower(), 0) + 1
        return found

    def total(self) -> int:
        """Trials that there will be, those that failed and were not repeated among them."""
        counts = self.counts()
        given_up = counts.get("fail", 0) - self._repeated()
        if self.plan.is_grid:
            there = sum(counts.values()) - counts.get("fail", 0) + given_up
            return there if self.plan.trials is None else min(there, self.plan.trials)
        return self.plan.trials or 0

    def done(self) -> int:
        """Trials that came to an end and will not be repeated."""
        counts = self.counts()
        return counts.get("complete", 0) + counts.get("pruned", 0) + counts.get("fail", 0) - self._repeated()

    def _repeated(self) -> int:
        trials = self.study.get_trials(deepcopy=False)
        return sum(trial.state.name == "FAIL" and trial.user_attrs.get("repeated", False) for trial in trials)

    def _open(self) -> Any:
        optuna, settings = self.optuna, self.plan.settings
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        connection = {"connect_args": {"timeout": 60}}
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.folder / DATABASE}", engine_kwargs=connection)
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        pruner: Any = optuna.pruners.NopPruner()
        if settings.pruner is not None and settings.pruner.name == "median":
            asked = settings.pruner
            pruner = optuna.pruners.MedianPruner(
                n_startup_trials=asked.first_trials, n_warmup_steps=asked.first_points, n_min_trials=1
            )
        elif settings.pruner is not None:
            pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=max(settings.pruner.first_points, 1))
        return optuna.create_study(
            study_name=self.plan.name,
            storage=storage,
            direction=settings.direction,
            load_if_exists=True,
            sampler=samplers[settings.sampler.name](seed=settings.sampler.seed),
            pruner=pruner,
        )

    def _is_over(self) -> bool:
        hours, counts = self.plan.settings.budget.hours, self.counts()
        if hours is not None and time.monotonic() - self.started > hours * 3600:
            return True
        begun = self.done() + counts.get("running", 0)
        if self.plan.trials is not None and begun >= self.plan.trials:
            return True
        return self.plan.is_grid and not counts.get("waiting", 0)

    def _fill(self) -> None:
        """Queue the combinations of the grid that were never queued, seed by seed; withdraw those it lost."""
        wanted = {
            _key(cell.values, [seed]): {"values": cell.values, "labels": cell.labels, "seeds": [seed]}
            for seed in self.plan.settings.seeds
            for cell in self.plan.cells()
        }
        asked = set(wanted)
        for trial in self.study.get_trials(deepcopy=False):
            key = _key(trial.user_attrs["values"], trial.user_attrs["seeds"])
            if trial.user_attrs.get("withdrawn"):
                continue
            if key not in asked and trial.state.name == "WAITING":
                for name in ("withdrawn", "repeated"):
                    self.study._storage.set_trial_user_attr(trial._trial_id, name, True)
                self.study._storage.set_trial_state_values(trial._trial_id, self.optuna.trial.TrialState.FAIL)
            wanted.pop(key, None)
        for attributes in wanted.values():
            self.study.enqueue_trial({}, user_attrs=attributes)

    def _recover(self) -> None:
        """Mark the trials of processes that are gone as failed, and queue them once more."""
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and trial.number not in self.held:
                with contextlib.suppress(BlockingIOError):
                    _hold(self.trial_folder(trial.number)).close()
                    self._end(trial.number, None, "fail", "died")

    def _end(self, number: int, value: float | None, state: str, outcome: str) -> None:
        """Store how a trial ended, and queue it again if that was not its own doing."""
        trial = self.study.get_trials(deepcopy=False)[number]
        attributes = {key: trial.user_attrs[key] for key in ("values", "labels", "seeds") if key in trial.user_attrs}
        retries = trial.user_attrs.get("retries", 0) + (outcome != "interrupted")
        again = outcome in ("interrupted", "died", "error") and retries <= RETRIES and bool(attributes)
        # first what is to be known of it: optuna lets nobody write about a trial that is over
        for name, content in (("outcome", outcome), ("repeated", again)):
            self.study._storage.set_trial_user_attr(trial._trial_id, name, content)
        self.study.tell(number, value, state=self.optuna.trial.TrialState[state.upper()])
        if again:
            self.study.enqueue_trial(dict(trial.params), user_attrs={**attributes, "retries": retries, "of": number})

    @staticmethod
    def _describe(trial: Any, cell: Cell, seeds: list[int]) -> None:
        for key, value in (("values", cell.values), ("labels", cell.labels), ("seeds", list(seeds))):
            trial.set_user_attr(key, value)


def import_optuna() -> Any:
    """Optuna, or one line that says what is missing.

    Raises:
        InputError: If it is not installed.
    """
    try:
        import matplotlib  # noqa: F401 -- missed now and not after hours
        import optuna
    except ImportError as error:
        what = f"expected the packages of studies, found no {error.name}"
        raise InputError(Finding("C120", "study", what, "pip install 'hf-multilabel[study]'")) from None
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return optuna


def check_study_folder(plan: StudyPlan, overwrite: bool) -> None:
    """Refuse a folder of another study, or of something else. Writes nothing.

    Raises:
        InputError: If trials of another base or measure would mix with these.
    """
    folder, marked = plan.folder, plan.folder / STUDY_FILE
    if folder.exists() and not folder.is_dir():
        raise _refused("C121", folder, "a folder", "a file")
    if marked.is_file():
        try:
            found = json.loads(marked.read_text(encoding="utf-8"))["base_sha256"]
        except (ValueError, KeyError, TypeError):
            found = "damaged"
        if found != plan.base_sha256 and not overwrite:
            expected = f"a study with this base and measure ({plan.base_sha256[:12]})"
            raise _refused("C122", folder, expected, f"one with others ({found[:12]})")
    elif folder.is_dir() and (others := sorted(path.name for path in folder.iterdir() if not _is_beginning(path.name))):
        raise _refused("C121", folder, "a new folder or an earlier study", f"{len(others)} files, {others[0]!r} first")


def _is_beginning(name: str) -> bool:
    """Whether a file is what another process that starts the same study writes before its mark."""
    return name == ".lock" or name.startswith((DATABASE, STUDY_FILE))


def _key(values: dict[str, Any], seeds: list[int]) -> str:
    return json.dumps([values, seeds], sort_keys=True)


def _refused(code: str, folder: Path, expected: str, found: str) -> InputError:
    fix = "set study.output_dir=FOLDER to another one" + (", or give --overwrite" if code == "C122" else "")
    return InputError(Finding(code, str(folder), f"expected {expected}, found {found}", fix))


def _mark(plan: StudyPlan) -> None:
    settings = plan.settings.model_dump()
    content = {"study": plan.name, "base_sha256": plan.base_sha256, "settings": settings, "typed": list(plan.typed)}
    part = plan.folder / f"{STUDY_FILE}.part"
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(plan.folder / STUDY_FILE)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name == ".lock":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _hold(folder: Path) -> IO[str]:
    """Take the lock of a trial's folder until the file is closed.

    Raises:
        BlockingIOError: If a living process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file
