"""Recipes with cross-validation, the whole way: a decision from scores of rows that no model was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.errors import InputError
from hf_multilabel.folds import draw_folds, group_texts
from hf_multilabel.measurement import evaluate
from hf_multilabel.recipe import load_recipe
from hf_multilabel.workflow import train
from tests.test_workflow import QUICK


def quick(backbone: Path, folder: Path, *overrides: str) -> tuple[dict, dict]:
    metrics = train(
        load_recipe("quickstart", [*QUICK, f"model.backbone={backbone}", f"training.output_dir={folder}", *overrides])
    )
    return json.loads((folder / "config.json").read_text())["decision"], metrics


def test_cuts_averaged_over_folds(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    decision, _ = quick(tiny_backbone_folder, tmp_path / "run", "decision.cross_validation={folds: 3}")
    assert (decision["fitted_on"], decision["folds"], decision["rows"]) == ("cross_validation", 3, 48)
    assert decision["cross_validation"] == {"mode": "thresholds", "combine": "averaged", "rows": {"validation": 48}}
    assert decision["expected"]["folds"] == 3
    assert set(evaluate(str(tmp_path / "run"), None, split="validation")) == {"fixed"}
    assert set(evaluate(str(tmp_path / "run"), None, split="test")) == {"fixed", "tuned"}


def test_a_frozen_backbone_holds_training_rows_out_too(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    decision, metrics = quick(
        tiny_backbone_folder,
        tmp_path / "run",
        "decision.cross_validation={folds: 3, mode: head}",
        "training.backbone_mode=frozen",
    )
    assert decision["cross_validation"]["rows"] == {"train": 96, "validation": 48}
    assert (decision["fitted_on"], decision["folds"], decision["rows"]) == ("cross_validation", 3, 144)
    assert len(decision["threshold_intervals"]["low"]) == 8
    for split in ("train", "validation"):
        assert set(evaluate(str(tmp_path / "run"), None, split=split)) == {"fixed"}
    assert metrics["test"]["tuned"]["micro_f1"] > 0


def test_a_trained_backbone_knows_its_rows(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    decision, _ = quick(tiny_backbone_folder, tmp_path / "run", "decision.cross_validation={folds: 2, mode: head}")
    assert decision["cross_validation"]["rows"] == {"train": 0, "validation": 48}


def test_training_anew_for_each_fold(tiny_backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    decision, metrics = quick(
        tiny_backbone_folder,
        tmp_path / "run",
        "decision.cross_validation={folds: 2, mode: retrain}",
        "decision.shrinkage=auto",
    )
    assert decision["cross_validation"]["rows"] == {"train": 96, "validation": 48}
    assert decision["shrinkage"] >= 0
    shown = " ".join("".join(capsys.readouterr()).split())
    assert "cross-validation: 2 trainings more" in shown
    assert "fold 2 of 2: training on" in shown
    assert not (tmp_path / "run" / ".folds").exists()
    card = (tmp_path / "run" / "README.md").read_text()
    assert "144 rows held out by cross-validation" in " ".join(card.split())
    assert set(metrics) >= {"validation", "test"}


def test_rows_with_the_same_text_share_a_fold() -> None:
    texts = [f"text {row % 15}" for row in range(30)]
    groups = group_texts(texts)
    targets = csr_matrix(np.random.default_rng(0).random((30, 3)) < 0.4)
    folds = draw_folds(targets, groups, 3)
    assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(30))
    assert not any(set(groups[fold]) & set(np.delete(groups, fold)) for fold in folds)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (["decision.cross_validation={combine: pooled}"], "averaged under mode thresholds"),
        (["decision.cross_validation={}", "decision.calibration=platt"], "null beside averaged cuts"),
        (["decision.cross_validation={mode: head}", "decision.risk={recall: 0.8}"], "its promise is for scores of one"),
        (["decision.cross_validation={}", "decision.objective=fixed"], "one that fits cuts"),
        (["decision.cross_validation={mode: head}", "peft.method=lora"], "ships another last layer"),
        (["decision.cross_validation={mode: head}", "data.balance={method: lp_ros}"], "needs each row once"),
        (
            [
                "decision.cross_validation={mode: retrain}",
                "training.load_best_model_at_end=true",
                "training.save_strategy=epoch",
                "training.eval_strategy=epoch",
            ],
            "false beside mode retrain",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], match: str) -> None:
    with pytest.raises(InputError, match=match):
        load_recipe("quickstart", overrides)
