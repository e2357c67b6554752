"""What README.md tells people to type."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hf_multilabel as hml
from hf_multilabel import cli
from hf_multilabel.publishing import hub
from hf_multilabel.recipe import load_recipe
from hf_multilabel.workflow import train

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def finished(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme") / "run"
    values = ["data.max_rows=32", "data.max_length=32", "training.max_steps=2", "training.freeze_layers=0"]
    backbone = f"model.backbone={tiny_backbone_folder}"
    train(load_recipe("quickstart", [*values, backbone, f"training.output_dir={folder}"]))
    return folder


def test_the_lines_that_load_and_predict(finished: Path, blocked_package_run: Callable) -> None:
    first, second = (block for block in blocks("python") if "hf_multilabel" not in block)
    code = (first + second).replace('"runs/quickstart"', repr(str(finished)))
    assert "'labels'" in blocked_package_run(code).stdout


def test_the_lines_that_train_with_the_trainer(minilm: object, tmp_path: Path) -> None:
    code = next(block for block in blocks("python") if "MultiLabelTrainer(" in block)
    code = code.replace("runs/script", str(tmp_path)).replace("max_steps=20", "max_steps=2")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["trainer"].state.global_step == 2


def test_the_lines_that_do_what_the_commands_do(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "mine"
    shutil.copytree(finished, run)
    pushed = []
    push = inspect.signature(hml.push_bundle)
    monkeypatch.setattr(hub, "push_bundle", lambda *given, **named: pushed.append(push.bind(*given, **named).arguments))
    code = next(block for block in blocks("python") if "FinishedModel" in block)
    code = code.replace('"runs/mine"', repr(str(run))).replace("spaces/mine", str(tmp_path / "space"))
    code = code.replace("int8=True", "rows=8")  # what int8 costs a random model says nothing
    exec(compile(code, "README.md", "exec"), {})
    assert (run / "report.html").is_file()
    assert (tmp_path / "mine-onnx" / "model.onnx").is_file()
    assert (tmp_path / "space" / "app.py").is_file()
    assert pushed == [{"folder": str(run), "repo_id": "me/my-topics", "private": True}]


def test_the_lines_with_scores_of_any_other_model(capsys: pytest.CaptureFixture[str]) -> None:
    code = next(block for block in blocks("python") if "decide_probabilities" in block)
    given = {"probs": [[0.2, 0.9], [0.8, 0.1]], "targets": [[0, 1], [1, 0]], "new_probs": [[0.9, 0.1]]}
    exec(compile(code, "README.md", "exec"), given)
    assert "[[ True, False]]" in capsys.readouterr().out


def test_the_lines_with_scores_of_your_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile("".join(blocks("python", text)), "docs/decisions.md", "exec"), names)
    assert "Guaranteed for texts like these" in capsys.readouterr().out
    decision, labels = names["decision"], names["labels"]
    with pytest.raises(ValueError, match="in another order, reorder the columns"):
        hml.check_decision(decision, labels[::-1])
    assert hml.override_decision(decision, labels, threshold=0.3)["thresholds"] == 0.3


def test_the_recipe_for_own_data(tmp_path: Path) -> None:
    (tmp_path / "my_folder").mkdir()
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(blocks("yaml")[0], encoding="utf-8")
    found = load_recipe(recipe)
    assert (found.model.head, found.training["head_learning_rate"]) == ("label_embedding", 1e-3)


def test_every_command_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = {found for line in lines for found in re.findall(r"hf-multilabel (\w+)", line)}
    steps = {"inspect", "train", "evaluate", "tune", "predict", "report", "study"}
    assert commands == steps | {"card", "push", "doctor", "export", "space"}
    assert all(cli.call([command, "--help"]) == 0 for command in commands)
    assert all(cli.call(["export", form, "--help"]) == 0 for form in ("onnx", "plain"))
    assert cli.call(["--help"]) == 0
    shown = capsys.readouterr().out
    assert {found for line in lines for found in re.findall(r" (--[a-z]+)", line)} <= set(
        re.findall(r"--[a-z]+", shown)
    )


def test_files_it_names_exist() -> None:
    named = re.findall(r"\]\(([\w./]+)\)", README) + re.findall(r"recipes/[\w./]+\.yaml", README)
    assert named
    assert all((ROOT / name).exists() for name in named)
