"""Recipes with a calibration and a guarantee, the whole way: the proof compares label sets without the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hf_multilabel import cli
from hf_multilabel.errors import InputError
from hf_multilabel.recipe import load_recipe
from hf_multilabel.workflow import train
from tests.test_workflow import QUICK


def quick(backbone: Path, folder: Path, *overrides: str) -> dict:
    train(
        load_recipe("quickstart", [*QUICK, f"model.backbone={backbone}", f"training.output_dir={folder}", *overrides])
    )
    return json.loads((folder / "config.json").read_text())["decision"]


def test_a_calibration_travels_with_the_model(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    decision = quick(tiny_backbone_folder, tmp_path / "run", "decision.calibration=isotonic")
    assert decision["calibration"]["method"] == "isotonic"
    assert decision["calibration"]["rows"] == decision["rows"] == 48
    assert len(decision["thresholds"]) == 8
    card = (tmp_path / "run" / "README.md").read_text()
    assert "Probabilities are calibrated first (isotonic)." in card


def test_a_guarantee_travels_with_the_model(
    tiny_backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    decision = quick(
        tiny_backbone_folder, tmp_path / "run", "decision.risk={recall: 0.8}", "decision.calibration=platt"
    )
    risk = decision["risk"]
    assert risk["controlled"]
    assert risk["rows"] + risk["rows_left_out"] == 24  # the other half calibrates
    assert decision["thresholds"] == risk["lambda"]
    assert decision["fitted_on"] == "validation"
    assert decision["objective"] == "risk"
    assert risk["sentence"] in (tmp_path / "run" / "README.md").read_text()
    said = " ".join("".join(capsys.readouterr()).split())
    assert "Guaranteed for texts like these" in said
    assert "promised of tuned: samples_recall_present of at least 0.8 on average" in said
    assert cli.call(["evaluate", str(tmp_path / "run")]) == 0
    assert "samples_recall_present of at least 0.8 on average" in " ".join("".join(capsys.readouterr()).split())


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        (
            ["decision.risk={recall: 0.99}"],
            r"R900\] decision\.risk: expected at least 99 validation rows .*, found 4\d",
        ),
        (["decision.risk={recall: 0.99}"], r"fix: label more, train with a larger data\.validation_size, or lower"),
        (
            ["decision.objective=fixed", "decision.shrinkage=null", "decision.prevalence={Phisics: 0.1}"],
            r"R900\] decision\.prevalence: expected names among the labels, found 'Phisics'; fix: .* mean 'Physics'\?$",
        ),
    ],
)
def test_what_can_not_be_kept_is_refused_before_training(
    overrides: list[str], match: str, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=match):
        quick(tiny_backbone_folder, tmp_path / "run", *overrides)
    assert not (tmp_path / "run").exists()
