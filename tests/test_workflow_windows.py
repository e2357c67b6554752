"""Long documents from recipe lines: windows in training, in the metrics, in the bundle and in prediction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_multilabel.errors import InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import evaluate
from hf_multilabel.recipe import load_recipe
from hf_multilabel.workflow import train

WINDOWS = [
    "data.max_rows={train: 32, validation: 32, test: 8}",
    "data.max_length=400",  # six times the positions of the tiny backbone
    "model.windows={length: 64, aggregation: noisy_or}",
    "model.backbone_sha256=null",
    "training.max_steps=2",
    "training.per_device_train_batch_size=8",
    "training.freeze_layers=0",
]


@pytest.fixture(scope="module")
def folder(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "long"
    overrides = [*WINDOWS, f"model.backbone={tiny_backbone_folder}", f"training.output_dir={folder}"]
    train(load_recipe("quickstart", overrides))
    return folder


def test_windows_are_counted_and_stored(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["data"]["windows_per_text"]["train"] > 1.5
    assert metrics["data"]["truncated_share"]["train"] < 1
    config = json.loads((folder / "config.json").read_text())
    assert config["windows"] == {"length": 64, "stride": 46, "aggregation": "noisy_or", "prefix": 1, "suffix": 1}
    assert "windows of 64 tokens (noisy\\_or)" in (folder / "README.md").read_text()


def test_what_stands_in_a_later_window_counts(folder: Path) -> None:
    model = FinishedModel.load(folder)
    start = "the model learns from data " * 8
    texts = [start, start + "economics of inflation and rates " * 3]
    model.model.config.decision["thresholds"] = 0.0  # every label, so that every probability is shown
    first, second = (row["scores"] for row in model.predict({"id": "x", "text": text} for text in texts))
    assert len(first) == len(second) == 8
    assert first != second


def test_evaluation_sees_the_same_windows(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    found = evaluate(str(folder), None)
    assert found["fixed"]["micro_f1"] == pytest.approx(metrics["test"]["fixed"]["micro_f1"], abs=1e-9)
    assert found["fixed"]["lrap"] == pytest.approx(metrics["test"]["fixed"]["lrap"], abs=1e-9)


def test_a_window_longer_than_the_text_is_refused() -> None:
    with pytest.raises(InputError, match="data.max_length: expected more than model.windows.length 256"):
        load_recipe("quickstart", ["model.windows={length: 256}"])


def test_a_stride_that_skips_tokens_is_refused(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    overrides = [*WINDOWS[:2], *WINDOWS[3:], "model.windows={length: 64, stride: 63}"]
    overrides += [f"model.backbone={tiny_backbone_folder}", f"training.output_dir={tmp_path / 'run'}"]
    with pytest.raises(InputError, match=r"windows.stride: expected 1 to 62"):
        train(load_recipe("quickstart", overrides))
    assert not (tmp_path / "run").exists()
