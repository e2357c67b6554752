from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_multilabel import cli
from hf_multilabel.errors import InputError
from hf_multilabel.studies import running
from hf_multilabel.studies.definition import load_study
from hf_multilabel.studies.plots import _over
from hf_multilabel.studies.queue import Queue
from hf_multilabel.studies.results import Tried, group_runs
from hf_multilabel.studies.running import run_study
from tests.studies.conftest import GRID

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("optuna")


def states(plan) -> list[str]:
    return [trial.state.name for trial in Queue(plan, reading=True).study.get_trials()]


def test_a_grid_from_the_command_line(
    write_study: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # narrower tables wrap their names
    assert cli.call(["study", str(write_study()), "study.seeds=[0, 1]"]) == 0
    shown = capsys.readouterr().out
    folder = tmp_path / "study"
    assert "Adam, learning_rate 0.001" in shown
    assert "diverged" in shown
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert [(row["optimizer"], row["seed"], row["outcome"]) for row in rows] == [
        ("Adam", "0", "done"), ("Adam", "0", "done"), ("SGD", "0", "diverged"),
        ("Adam", "1", "done"), ("Adam", "1", "done"), ("SGD", "1", "diverged"),
    ]  # fmt: skip
    stored = json.loads((folder / "trials.json").read_text())
    assert all(0 <= row["validation"] <= 1 and 0 <= row["test"] <= 1 for row in stored if row["outcome"] == "done")
    assert [look["step"] for look in stored[0]["curve"]] == [0, 2, 4]
    assert {"validation_micro_auc", "test_micro_auc", "validation_loss"} <= set(stored[0]["curve"][0])
    summary = (folder / "summary.md").read_text()
    assert "Diverged: SGD" in summary
    for figure in ("best_train_loss.png", "validation_micro_auc.png", "over_learning_rate.png"):
        assert (folder / "figures" / figure).read_bytes().startswith(b"\x89PNG")
        assert figure in summary
    assert not list(folder.rglob("*.safetensors"))  # a trial leaves numbers
    plan = load_study(write_study(), ["study.seeds=[0, 1]"])
    best = group_runs(plan, stored)[0]
    mean = sum(row["validation"] for row in stored if row["values"] == best.runs[0]["values"]) / 2
    assert best.mean() == pytest.approx(mean)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")}
    assert cli.call(["study", str(write_study()), "study.seeds=[0, 1]"]) == 0  # all is done: nothing runs again
    assert {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")} == before


def test_the_value_is_that_of_the_workflow(write_study: Callable[..., Path], tmp_path: Path) -> None:
    from hf_multilabel.workflow import train

    plan = load_study(write_study("grid: {training.learning_rate: [1.0e-2]}"))
    row = run_study(plan)[0]
    metrics = train(plan.recipe(plan.cells()[0], 0, tmp_path / "run"))
    assert row["validation"] == pytest.approx(metrics["validation"]["fixed"]["micro_auc"], abs=1e-9)
    assert row["test"] == pytest.approx(metrics["test"]["fixed"]["micro_auc"], abs=1e-9)


def test_a_killed_study_goes_on(write_study: Callable[..., Path], tmp_path: Path) -> None:
    path = write_study(GRID)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # the third trial is slow, so that the kill finds it running
    code = (
        "import sys, time, hf_multilabel.studies.running as r\n"
        "once = r.run_once\n"
        "def slow(plan, recipe, *a, **k):\n"
        "    if recipe.training['optimizer'] == 'sgd': print('slow', flush=True); time.sleep(60)\n"
        "    return once(plan, recipe, *a, **k)\n"
        "r.run_once = slow\n"
        "from hf_multilabel.cli import call\n"
        "sys.exit(call(['study', sys.argv[1]]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"slow\n"
    plan = load_study(path)
    assert states(plan) == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert Queue(plan).counts() == {"complete": 2, "running": 1}  # it lives: nobody takes its trial
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = (tmp_path / "study" / "trials" / "0000" / "result.json").read_bytes()
    rows = run_study(plan)
    assert states(plan) == ["COMPLETE", "COMPLETE", "FAIL", "PRUNED"]
    assert [row["outcome"] for row in rows] == ["done", "done", "diverged"]
    assert (tmp_path / "study" / "trials" / "0000" / "result.json").read_bytes() == kept


def test_two_processes_share_a_study(write_study: Callable[..., Path], tmp_path: Path) -> None:
    path = write_study("grid: {training.learning_rate: [1.0e-2, 1.0e-3, 1.0e-4, 1.0e-5]}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hf_multilabel", "--quiet", "study", str(path)]
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    plan = load_study(path)
    assert states(plan) == ["COMPLETE"] * 4
    rows = json.loads((tmp_path / "study" / "trials.json").read_text())
    assert sorted(row["labels"]["learning_rate"] for row in rows) == [1e-5, 1e-4, 1e-3, 1e-2]


def test_a_fault_is_tried_once_more_and_a_refusal_is_not(
    write_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def broken(plan, recipe, *args, **kwargs):
        calls.append(recipe.model.pooling)
        if recipe.model.pooling == "cls":
            raise MemoryError("no room")
        raise InputError([])

    monkeypatch.setattr(running, "run_once", broken)
    plan = load_study(write_study("grid: {model.pooling: [cls, mean]}"))
    rows = run_study(plan)
    assert calls == ["cls", "mean", "cls"]
    assert sorted(row["outcome"] for row in rows) == ["error", "refused"]
    assert "MemoryError" in (plan.folder / "trials" / "0002" / "log.txt").read_text()
    assert [row["error"] for row in rows if row["outcome"] == "error"] == ["MemoryError: no room"]


def test_a_search_prunes_and_keeps_the_best(write_study: Callable[..., Path], tmp_path: Path) -> None:
    space = """
space:
  training.optimizer: [sgd]
  training.learning_rate: {type: float, low: 1.0e-9, high: 1.0e-1, log: true}
  start:
    head: {training.head_learning_rate: {type: float, low: 0.05, high: 0.5}}
    same: {training.head_learning_rate: null}
budget: {trials: 6}
pruner: {name: median, first_trials: 1, first_points: 0}
"""
    plan = load_study(write_study(space), ["study.keep=best"])
    rows = run_study(plan)
    found = states(plan)
    assert len(found) == 6
    assert set(found) == {"COMPLETE", "PRUNED"}
    pruned = [row for row in rows if row["outcome"] == "pruned"]
    assert pruned
    assert all(row["steps"] < 4 and row["validation"] is None for row in pruned)
    best = json.loads((plan.folder / "best.json").read_text())
    assert best["value"] == max(row["validation"] for row in rows if row["validation"] is not None)
    stored = json.loads((plan.folder / "best" / "metrics.json").read_text())
    assert stored["validation"]["fixed"]["micro_auc"] == best["value"]
    names = {trial.number: set(trial.params) for trial in Queue(plan, reading=True).study.get_trials()}
    assert any("start=head:training.head_learning_rate" in params for params in names.values())


def test_the_folder_of_another_study_is_left_alone(write_study: Callable[..., Path], tmp_path: Path) -> None:
    plan = load_study(write_study("grid: {model.pooling: [cls, mean]}"))
    Queue(plan)
    other = load_study(write_study("grid: {model.pooling: [cls, mean]}"), ["training.max_steps=3"])
    with pytest.raises(InputError, match=r"C122.*--overwrite"):
        Queue(other)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"C121.*thesis\.txt"):
        Queue(load_study(write_study(folder="thesis")), overwrite=True)
    with pytest.raises(InputError, match="C123"):
        Queue(load_study(write_study(folder="nothing")), reading=True)
    assert not (tmp_path / "nothing").exists()


def test_a_grid_may_grow_and_shrink(write_study: Callable[..., Path]) -> None:
    plan = load_study(write_study("grid: {training.learning_rate: [1.0e-2, 1.0e-3]}"))
    assert Queue(plan).counts() == {"waiting": 2}
    plan = load_study(write_study("grid: {training.learning_rate: [1.0e-3, 1.0e-4, 1.0e-5]}"))
    queue = Queue(plan)
    assert queue.counts() == {"waiting": 3, "fail": 1}
    assert (queue.total(), queue.done()) == (3, 0)
    again = Queue(load_study(write_study("grid: {training.learning_rate: [1.0e-2]}")))
    assert (again.total(), again.done()) == (1, 0)


def test_hours_end_a_start(write_study: Callable[..., Path]) -> None:
    plan = load_study(write_study("grid: {training.learning_rate: [1.0e-2]}\nbudget: {hours: 1.0e-9}"))
    queue = Queue(plan)
    time.sleep(0.01)
    assert queue.claim() is None


@pytest.mark.parametrize(("joined", "lines"), [(True, ["-"]), (False, [])])
def test_runs_of_a_search_are_dots_and_only_a_grid_is_joined(joined: bool, lines: list[str]) -> None:
    tried = [Tried({"rate": rate}, [{}], {"validation": [0.5 + rate]}) for rate in (0.3, 0.1, 0.2)]
    panel = _over(tried, "rate", "macro_f1", ("validation",), joined).axes[0]
    assert [line.get_linestyle() for line in panel.lines if line.get_linestyle() != "None"] == lines
    assert sorted(line.get_xdata()[0] for line in panel.lines if line.get_marker() == "o") == [0.1, 0.2, 0.3]
