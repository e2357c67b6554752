"""A whole run of which only the highest scores of each text are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_multilabel.errors import InputError
from hf_multilabel.evaluation.curves import ALL_SCORES
from hf_multilabel.inference import FinishedModel
from hf_multilabel.workflow import train
from tests.test_workflow import quick_recipe


def test_a_run_from_kept_scores_to_its_card(
    tiny_backbone_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = quick_recipe(tiny_backbone_folder, tmp_path / "run", "evaluation.keep_scores=7")
    metrics = train(recipe)
    decision = FinishedModel.load(tmp_path / "run").model.config.decision
    assert decision["exact"] in (True, False)
    for split in ("validation", "test"):
        for name in ("fixed", "tuned"):
            found = metrics[split][name]
            assert {"micro_f1", "macro_f1", "lrap", "ndcg_at_1", "rows_unsettled"} <= set(found)
            assert not set(ALL_SCORES) & set(found)
    assert "the highest scores of each text are kept; left out: macro_auc" in capfd.readouterr().err
    assert "macro F1" in (tmp_path / "run/README.md").read_text()


def test_what_needs_all_scores_is_refused_before_training(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    recipe = quick_recipe(
        tiny_backbone_folder, tmp_path / "run", "evaluation.keep_scores=7", "decision.calibration=platt"
    )
    with pytest.raises(InputError, match=r"calibration: expected none that needs all scores.*keep_scores to 8"):
        train(recipe)
    assert not (tmp_path / "run").exists()
