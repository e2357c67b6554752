from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hf_multilabel.errors import InputError
from hf_multilabel.recipe import load_recipe
from hf_multilabel.training.tracking import PACKAGES, SINKS, Tracking, as_markdown, check_trackers
from hf_multilabel.workflow import train

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tracked(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with tensorboard and trackio in a process of its own: its folder, and trackio's."""
    pytest.importorskip("trackio")
    pytest.importorskip("tensorboard")
    home = tmp_path_factory.mktemp("tracked")
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "TRACKIO_DIR": str(home / "trackio"), "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "tests/training/track_run.py"), str(tiny_backbone_folder), str(home / "run")]
    done = subprocess.run([*command, "tensorboard,trackio"], cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "did not get the results" not in done.stderr
    return home / "run", home / "trackio"


def test_tensorboard_has_everything(tracked: tuple[Path, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = {path.parent for path in tracked[0].rglob("events.out.tfevents*")}
    assert len(folders) == 1  # one run, not two
    events = EventAccumulator(str(folders.pop())).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {
        "train/loss",
        "eval/loss",
        "train/learning_rate/head",
        "train/learning_rate/embeddings",
        "train/learning_rate/layer 0",
        "train/learning_rate/layer 1",
    } <= scalars
    assert "final/test/tuned/micro_f1" in scalars
    head, lowest = (events.Scalars(name) for name in ("train/learning_rate/head", "train/learning_rate/embeddings"))
    assert [point.step for point in head] == [2, 4]
    assert head[0].value == pytest.approx(10 * lowest[0].value / 0.9**2, rel=1e-3)  # two layers, decayed by 0.9
    texts = {
        tag: events.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()
        for tag in ("recipe", "results")
    }
    assert '"layerwise_decay": 0.9' in texts["recipe"]
    assert "| micro_f1 |" in texts["results"]
    assert events.Images("figures/curves")[0].height == 30


def test_trackio_has_everything(tracked: tuple[Path, Path]) -> None:
    files = [path for path in tracked[1].rglob("*.db")]
    rows, configs = [], []
    for path in files:
        with sqlite3.connect(path) as database:
            rows += [str(row) for row in database.execute("select * from metrics")]
            configs += [str(row) for row in database.execute("select * from configs")]
    everything = "\n".join(rows)
    for name in (
        "train/loss",
        "eval/loss",
        "train/learning_rate/head",
        "train/learning_rate/layer 1",
        "final/test/tuned/micro_f1",
        "figures/curves",
    ):
        assert f'"{name}"' in everything, name
    assert "layerwise_decay" in "\n".join(configs)
    assert len({path.stem for path in files}) >= 1
    assert [path for path in tracked[1].rglob("*.png")]


def test_history_has_the_rate_of_every_group(
    tiny_backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {}
    monkeypatch.setattr("hf_multilabel.workflow.publish", lambda *args: stored.update(args[-1]))
    values = ["training.max_steps=2", "training.logging_steps=1", "training.freeze_layers=0", "data.max_length=16"]
    values += ["data.max_rows=16", f"model.backbone={tiny_backbone_folder}", "model.backbone_sha256=null"]
    train(load_recipe("quickstart", [*values, "training.head_init=prior", f"training.output_dir={tmp_path / 'run'}"]))
    rates = [
        [name for name in entry if name.startswith("learning_rate/")]
        for entry in json.loads(stored["history.json"])
        if "learning_rate" in entry
    ]
    assert rates == [[f"learning_rate/{name}" for name in ("embeddings", "layer 0", "layer 1", "head")]] * 2


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_a_missing_tracker_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(InputError, match=rf"T108.*no package {name}; fix: pip install"):
        check_trackers([name, "none"])


def test_a_missing_tracker_stops_before_data_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_multilabel.training.tracking.importlib.util.find_spec", lambda package: None)
    monkeypatch.setattr("hf_multilabel.workflow.load_data", lambda **kwargs: pytest.fail("data were read"))
    recipe = load_recipe("quickstart", ["training.report_to=[aim]", f"training.output_dir={tmp_path / 'run'}"])
    with pytest.raises(InputError, match="pip install aim"):
        train(recipe)
    assert not list(tmp_path.iterdir())


def test_every_tracker_has_a_sink() -> None:
    assert set(SINKS) == set(PACKAGES)


def test_trackers_that_read_the_environment_get_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")  # so that it is put back after the test
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    Tracking([], {"training": {"project": "topics"}})
    assert os.environ["MLFLOW_EXPERIMENT_NAME"] == "topics"
    assert os.environ["WANDB_PROJECT"] == "mine"


def test_rates_by_group_and_table() -> None:
    assert as_markdown([{"metric": "f1", "test": 0.5}]).splitlines()[-1] == "| f1 | 0.5000 |"
