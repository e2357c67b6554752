"""Two gloo processes, started as a user starts them, against one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.metric_values import assert_same_metrics

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.distributed


def launch(folder: Path, backbone: Path, processes: int, batch: int, accumulation: int, *more: str) -> dict:
    several = ["--multi_gpu"] if processes > 1 else []
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", *several, "--num_processes", str(processes)),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
        *("run.py", "recipes/quickstart.yaml", f"model.backbone={backbone}", "model.backbone_sha256=null"),
        *(f"training.output_dir={folder}", "data.max_rows={train: 41, validation: 30, test: 25}"),
        *("data.max_length=32", "model.dropout=0.0", "training.max_steps=6", "training.logging_steps=1"),
        *("training.freeze_layers=0", "training.head_init=random", "training.precision=fp32"),
        f"training.per_device_train_batch_size={batch}",
        f"training.gradient_accumulation_steps={accumulation}",
        *more,
    ]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        "metrics": json.loads((folder / "metrics.json").read_text()),
        "losses": [entry["loss"] for entry in json.loads((folder / "history.json").read_text()) if "loss" in entry],
        "printed": done.stdout + done.stderr,
    }


@pytest.fixture(scope="module")
def runs(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("distributed")
    # one process that accumulates: tests/training/test_trainer.py
    plans = {"1 process, 4 x 1": (1, 4, 1)}
    plans |= {"2 processes, 2 x 1": (2, 2, 1), "2 processes, 1 x 2": (2, 1, 2)}
    return {name: launch(folder / name.replace(" ", "-"), tiny_backbone_folder, *plan) for name, plan in plans.items()}


def test_two_processes_are_two(runs: dict[str, dict]) -> None:
    for name, run in runs.items():
        assert run["metrics"]["training"]["num_processes"] == int(name[0])


def test_losses_agree_step_by_step(runs: dict[str, dict]) -> None:
    reference = runs["1 process, 4 x 1"]["losses"]
    assert len(reference) == 6
    for name, run in runs.items():
        np.testing.assert_allclose(run["losses"], reference, atol=1e-5, err_msg=name)


def test_metrics_equal_those_of_one_process(runs: dict[str, dict]) -> None:
    reference = runs["1 process, 4 x 1"]["metrics"]
    for run in runs.values():
        for split in ("validation", "test"):
            for decision in ("fixed", "tuned"):
                assert_same_metrics(run["metrics"][split][decision], reference[split][decision])


def test_results_are_printed_once(runs: dict[str, dict]) -> None:
    assert runs["2 processes, 2 x 1"]["printed"].count("proved: ") == 1
    assert runs["2 processes, 2 x 1"]["printed"].count("Learning rates by layer") == 1


def test_bad_input_ends_both_processes_with_one_message(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(AssertionError) as failure:
        launch(tmp_path, tiny_backbone_folder, 2, 2, 1)
    assert str(failure.value).count("error[T103]") == 1
