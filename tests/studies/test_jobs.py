"""`study --jobs 2` shares one queue between two processes, and `study --table` runs nothing."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from hf_multilabel import cli
from hf_multilabel.studies import running
from hf_multilabel.studies.definition import load_study
from hf_multilabel.studies.queue import Queue

pytest.importorskip("optuna")
FOUR = "grid: {training.learning_rate: [1.0e-2, 1.0e-3, 1.0e-4, 1.0e-5]}"


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """study_workers.py where spawned processes find it, too: another package may be called tests."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setattr(running, "POLL_SECONDS", 0.05)
    return import_module("study_workers")


def test_two_jobs_share_the_queue_and_run_each_trial_once(
    write_study: Callable[..., Path],
    workers: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(running, "work_alone", workers.work_and_log)  # what the processes are told to run
    path = write_study(FOUR)
    assert cli.call(["study", str(path), "study.seeds=[3]", "--jobs", "2"]) == 0
    ran = {file.name: file.read_text().split() for file in (tmp_path / "ran").iterdir()}
    assert len(ran) == 2
    assert str(os.getpid()) not in ran
    assert sorted(sum(ran.values(), [])) == ["0.0001", "0.001", "0.01", "1e-05"]
    trials = Queue(load_study(path, ["study.seeds=[3]"]), reading=True).study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
    assert [trial.user_attrs["seeds"] for trial in trials] == [[3]] * 4  # as the command line said
    rows = json.loads((tmp_path / "study" / "trials.json").read_text())
    assert [row["validation"] for row in rows] == [1e-2, 1e-3, 1e-4, 1e-5]
    assert "ended early" not in capsys.readouterr().err


def test_the_table_is_written_anew_and_nothing_runs(
    write_study: Callable[..., Path],
    workers: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(running, "run_once", workers.fake_run)
    folder = tmp_path / "study"
    assert cli.call(["study", str(write_study("grid: {training.learning_rate: [1.0e-2, 1.0e-3]}"))]) == 0
    first = (folder / "summary.md").read_text()
    capsys.readouterr()

    path = write_study("grid: {training.learning_rate: [1.0e-2, 1.0e-3, 1.0e-4]}")  # one more is asked for
    (folder / "summary.md").write_text("lost")
    (folder / "trials.csv").unlink()
    monkeypatch.setattr(running, "run_once", lambda *args, **kwargs: pytest.fail("a trial ran"))
    assert cli.call(["study", str(path), "--table"]) == 0
    assert "learning_rate 0.001" in capsys.readouterr().out
    assert Queue(load_study(path), reading=True).counts() == {"complete": 2}  # nor was anything queued
    assert (folder / "summary.md").read_text() == first
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert [row["validation"] for row in rows] == ["0.01", "0.001"]


def test_a_table_of_nothing_is_refused(write_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["study", str(write_study()), "--table"]) == 2
    assert "C123" in capsys.readouterr().err
    assert cli.call(["study", str(write_study()), "--table", "--overwrite"]) == 2
