"""A run of one file: every later command splits it as the training did, and never takes training rows for others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hf_multilabel.carding import judge_again
from hf_multilabel.errors import InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import compare, evaluate, load_rows, recipe_of
from hf_multilabel.tuning import tune
from hf_multilabel.workflow import train
from tests.metric_values import assert_same_metrics
from tests.test_workflow import quick_recipe

SOURCE = Path("recipes/data/quickstart/train.jsonl")


@pytest.fixture(scope="module")
def run(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one")
    lines = SOURCE.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "texts.jsonl").write_text("".join(lines[:300]), encoding="utf-8")
    train(quick_recipe(tiny_backbone_folder, folder / "run", f"data.source={folder / 'texts.jsonl'}"))
    return folder / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("hf_multilabel.release.prove_bundle", lambda *args: {"rows": len(args[1])})
    return Path(shutil.copytree(run, tmp_path / "copy"))


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def test_evaluate_measures_the_test_rows_of_the_run(run: Path) -> None:
    found, stored = evaluate(str(run), None), read_metrics(run)["test"]
    for decision in ("fixed", "tuned"):
        assert_same_metrics(found[decision], stored[decision])


def test_two_runs_are_compared_on_the_test_rows(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load_rows(FinishedModel.load(str(run)), None)[1]
    assert sorted(data.splits) == ["test", "train", "validation"]
    compare(str(run), str(run), None)
    assert f"{len(data.splits['test'])} rows of test" in capsys.readouterr().err


def test_the_card_finds_the_rows_of_the_run(run: Path) -> None:
    finished = FinishedModel.load(str(run))
    judged = judge_again(recipe_of(finished, []), finished, read_metrics(run), 32)
    assert judged is not None


def test_tune_finds_the_validation_rows_and_keeps_the_results(copy: Path) -> None:
    before = read_metrics(copy)
    tune(str(copy))
    assert_same_metrics(read_metrics(copy)["test"]["tuned"], before["test"]["tuned"])


def test_tune_refuses_the_file_that_holds_the_training_rows(copy: Path) -> None:
    file = copy.parent / "same.jsonl"
    shutil.copy(recipe_of(FinishedModel.load(str(copy)), []).data.source, file)
    with pytest.raises(InputError, match=r"C115.*among its train rows"):
        tune(str(copy), str(file))
