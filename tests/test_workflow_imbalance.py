"""A whole run with what a recipe has against imbalance: remedies for the rows, weights and options for the loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_multilabel.workflow import train
from tests.test_workflow import quick_recipe


def test_rows_are_drawn_texts_added_and_weights_saved(
    tiny_backbone_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = quick_recipe(
        tiny_backbone_folder,
        tmp_path / "run",
        "data.balance={method: class_aware, seed: 2}",
        "data.augment={method: drop_sentences, copies: 2}",
        "loss.name=asymmetric",
        "loss.gamma_neg=2",
        "loss.smoothing=0.05",
        "loss.pos_weight=null",
        "loss.class_weights={rule: inverse_sqrt, normalize: true}",
        "training.head_init=prior",
    )
    metrics = train(recipe)
    said = metrics["data"]
    added = said["augmentation"]["rows_added"]
    assert added > 10
    assert said["rows"]["train"] == 96
    assert said["balancing"] == {
        "method": "class_aware",
        "seed": 2,
        "rows_before": 96 + added,
        "rows_after": 96 + added,
    }
    assert said["trained_on"]["rows"] == 96 + added
    weights = json.loads((tmp_path / "run/weights.json").read_text())
    assert sum(row["class_weight"] for row in weights) == pytest.approx(8, abs=1e-4)
    rare, frequent = (pick(weights, key=lambda row: row["positives"]) for pick in (min, max))
    assert rare["class_weight"] > frequent["class_weight"]
    assert sum(row["positives"] for row in weights) > 96
    shown = capfd.readouterr().err
    assert "Weights of the labels in the loss" in shown
    assert f"remedies: 96 -> {96 + added} training rows" in shown


def test_synthetic_rows_feed_the_probe(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    recipe = quick_recipe(
        tiny_backbone_folder,
        tmp_path / "run",
        "data.balance={method: mlsmote, neighbors: 3}",
        "loss.name=distribution_balanced",
        "loss.kappa=0.1",
        "loss.pos_weight=null",
        "training.head_init=probe",
    )
    metrics = train(recipe)
    assert metrics["data"]["balancing"]["synthetic_rows"] > 0
    assert metrics["data"]["trained_on"]["rows"] == 96
    assert not (tmp_path / "run/weights.json").exists()
