"""The card of a finished run: its lines work as printed, it says what was cut short, and it can be written anew."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hf_multilabel import carding, cli, describing
from hf_multilabel.carding import write_card
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.publishing.bundle import verify_bundle
from hf_multilabel.publishing.card_sections import split_parts
from hf_multilabel.workflow import train
from tests.test_workflow import quick_recipe, tree

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def run(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "my runs" / "quickstart"
    with pytest.MonkeyPatch.context() as patched:
        # the proof starts a process of its own, and the lines below do what it does
        patched.setattr("hf_multilabel.release.prove_bundle", lambda *args: {"rows": len(args[1])})
        train(quick_recipe(tiny_backbone_folder, folder, "decision.empty=at_least_one"))
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)


def test_the_lines_work_as_printed(copy: Path, monkeypatch: pytest.MonkeyPatch, blocked_package_run: Callable) -> None:
    monkeypatch.chdir(copy.parent)
    card = write_card(copy.name)
    python, shell = blocks(card, "python"), blocks(card, "sh")
    assert 'model="copy"' in python[0]
    # each block for itself, with nothing but transformers
    each = "import os, sys\nos.chdir(sys.argv[1])\nfor block in sys.argv[2:]:\n    exec(block, {})\n"
    printed = blocked_package_run(each, copy.parent, *python).stdout.splitlines()
    labels = eval(printed[0])["labels"]
    assert labels
    assert set(eval(printed[1])[0]) == set(labels)
    shown = dict(split_parts(card))["## Examples"].splitlines()[4]
    assert all(label in shown for label in labels)
    assert [found["label"] for found in ModelCard(card).data.widget[0].get("output", [])] == labels

    Path("texts.csv").write_text("text\nWe prove a theorem.\nStars shine.\n")
    command = f"{sys.executable} -m hf_multilabel"
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["bash", "-ec", f'hf-multilabel() {{ {command} "$@"; }}\n{shell[0]}'],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout.splitlines()[0])["labels"]) == sorted(labels)
    assert len(Path("labels.csv").read_text().splitlines()) == 3


def test_a_card_of_training_holds_all_its_sections_and_figures(run: Path) -> None:
    card, manifest = card_of(run), verify_bundle(run)
    titles = [name for name, _ in split_parts(card) if name.startswith("## ")]
    assert titles == [
        "## How to use", "## Examples", "## Results", "## The decision", "## Labels", "## Figures", "## Training data",
        "## Training", "## Environment", "## Limits",
    ]  # fmt: skip
    shown = re.findall(r"!\[.+\]\((.*)\)", card)
    assert shown
    assert set(shown) == {name for name in manifest["files"] if name.startswith("figures/")}
    assert all((run / name).read_bytes()[:4] == b"\x89PNG" and (run / name).stat().st_size < 60_000 for name in shown)
    metrics = json.loads((run / "metrics.json").read_text())
    found = {result.metric_name: result.metric_value for result in ModelCard(card).data.eval_results}
    assert found["micro F1"] == metrics["test"]["tuned"]["micro_f1"]
    low, high = metrics["test"]["tuned"]["intervals"]["macro_f1"]
    assert f"{low:.3f}–{high:.3f}" in card
    assert "thread" in metrics["training"]["hardware"]
    assert (
        "It used 96 of 1,000 train rows, 48 of 150 validation rows, 48 of 250 test rows (data.max_rows)."
        in card.replace("\\_", "_")
    )
    assert "It stopped after 4 steps, 0.333 epochs of the rows it used" in card
    assert "| training.max\\_steps | 4 | not set |" in card
    assert str(run.parent) not in card


def test_written_anew_it_is_the_same_but_for_what_people_wrote(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, card = tree(copy), card_of(copy)
    edited = card.replace("## Limits\n", "## Limits\n\nMind the gap.\n")
    assert edited != card
    (copy / "README.md").write_text(edited.replace("## Training data", "Mine.\n\n## Training data"))
    (copy / "figures" / "mine.txt").write_text("stays")
    found = write_card(str(copy))
    assert "left as it is: Limits (--overwrite" in capsys.readouterr().err.replace("\n", " ")
    assert "Mind the gap." in found
    # the figures' section is measured: what stood at its end is gone
    moved = found.replace('"copy"', '"quickstart"').replace("predict copy ", "predict quickstart ")
    changed = [line for line in difflib.ndiff(moved.splitlines(), edited.splitlines()) if line[0] in "+-"]
    assert changed == []
    verify_bundle(copy)
    (copy / "figures" / "mine.txt").unlink()
    after = tree(copy)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"README.md", "manifest.json"}
    assert verify_bundle(copy)["proof"] == json.loads((copy / "manifest.json").read_text())["proof"]
    assert "Mind the gap." not in write_card(str(copy), overwrite=True)


def test_a_page_of_its_own_leaves_the_run_alone(run: Path, tmp_path: Path) -> None:
    before = tree(run)
    assert cli.call(["card", str(run), "--output", str(tmp_path / "quickstart.md")]) == 0
    assert cli.call(["card", str(run), "--output", str(tmp_path / "bare.md"), "--no-figures"]) == 0
    assert tree(run) == before
    page = (tmp_path / "quickstart.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[.+\]\((.*)\)", page)
    assert shown
    assert all((tmp_path / name).is_file() for name in shown)
    bare = (tmp_path / "bare.md").read_text(encoding="utf-8")
    assert "## Figures" not in bare
    assert {path.name for path in tmp_path.iterdir()} == {"quickstart.md", "quickstart", "bare.md"}


def test_no_figures_draws_none_and_leaves_those_of_the_run(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(*args: object) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr(describing, "draw_figures", draw)
    section, figures = dict(split_parts(card_of(copy)))["## Figures"], sorted((copy / "figures").iterdir())
    assert cli.call(["card", str(copy), "--no-figures"]) == 0
    assert dict(split_parts(card_of(copy)))["## Figures"] == section
    assert sorted((copy / "figures").iterdir()) == figures
    verify_bundle(copy)
    assert cli.call(["card", str(copy), "--no-figures", "--output", str(copy.parent / "bare.md")]) == 0
    assert not (copy.parent / "bare").exists()


def test_all_files_that_were_written_are_named(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["card", str(copy), "--output", str(tmp_path / "page.md")]) == 0
    said = capsys.readouterr().err
    assert f"written: {tmp_path / 'page.md'}\n" in said
    (listed,) = [line for line in said.splitlines() if line.startswith(f"written: {tmp_path / 'page'}/: ")]
    assert set(listed.partition("/: ")[2].split(", ")) == {path.name for path in (tmp_path / "page").iterdir()}
    assert cli.call(["card", str(copy)]) == 0
    assert f"written: {copy / 'README.md'}\n" in capsys.readouterr().err


def test_without_its_rows_labels_and_figures_stay(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(*args: object) -> None:
        raise InputError(Finding("X1", "recipe", "expected its data, found none", "bring them"))

    monkeypatch.setattr(carding, "load_rows", elsewhere)
    parts, figures = dict(split_parts(card_of(copy))), sorted((copy / "figures").iterdir())
    found = dict(split_parts(write_card(str(copy))))
    assert found["## Labels"] == parts["## Labels"]
    assert found["## Figures"] == parts["## Figures"]
    assert sorted((copy / "figures").iterdir()) == figures
    verify_bundle(copy)


def test_without_matplotlib_there_are_no_figures_and_one_note(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(describing, "find_spec", lambda name: None)
    assert "## Figures" not in write_card(str(run), tmp_path / "page.md")
    assert capsys.readouterr().err.count("hf-multilabel[report]: pip install") == 1


def test_a_figure_that_fails_costs_only_the_figures(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr("hf_multilabel.reports.figures.draw", broken)
    assert "## Figures" not in write_card(str(run), tmp_path / "page.md")
    assert "no figures: RuntimeError: no font" in capsys.readouterr().err


def test_bad_input_writes_nothing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(run)
    for arguments, match in (
        ([str(tmp_path / "none")], "C1|P1"),
        ([str(run), "--output", str(tmp_path / "no" / "card.md")], "C202"),
        (["me/model"], "C114"),
    ):
        assert cli.call(["card", *arguments]) == 2
        assert re.search(match, capsys.readouterr().err)
    assert tree(run) == before
    assert not list(tmp_path.iterdir())
