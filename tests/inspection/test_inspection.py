"""`hf-multilabel inspect`: on recipes and on data themselves, with its files; and that these work."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hf_multilabel import cli
from hf_multilabel.data.loading import load_data
from hf_multilabel.errors import InputError
from hf_multilabel.inspection import inspect_data
from hf_multilabel.inspection.recommending import LENGTHS, names_are_words, placed, recommend, render
from hf_multilabel.inspection.sources import ask
from hf_multilabel.inspection.tables import label_table, profile_tables
from hf_multilabel.recipe import load_recipe
from hf_multilabel.reports.data_report import findings_table
from hf_multilabel.workflow import train

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "recipes/data/quickstart"
WRONG = (14, 26, 38)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, tiny_texts: list[str], tiny_labels: list[list[str]]) -> Path:
    """240 rows in one CSV file with columns as users name them, three of them with wrong labels."""
    file = tmp_path_factory.mktemp("table") / "articles.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["article_id", "headline", "tags"])
        for number in range(240):
            text, labels = tiny_texts[number % 12], tiny_labels[number % 12]
            if number in WRONG:  # about a cup final
                labels = ["markets", "news"]
            writer.writerow([number, f"{text} in the year {number} of {number * 7919 % 977}", "; ".join(labels)])
    return file


@pytest.fixture(scope="module")
def inspected(table: Path, tiny_backbone_folder: Path) -> tuple[Path, object]:
    """What all outputs of one inspection are."""
    folder = table.parent / "out"
    folder.mkdir()
    pytest.importorskip("cleanlab")
    pytest.importorskip("matplotlib")
    profile = inspect_data(
        str(table),
        [f"model.backbone={tiny_backbone_folder}", "data.max_length=16"],
        output=folder / "report",
        label_errors=folder / "suspects.csv",
        recipe=folder / "articles.yaml",
    )
    return folder, profile


def test_columns_are_guessed_and_said(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ask(str(table))
    assert asked.recipe.data.text == "headline"
    assert (asked.recipe.data.labels, asked.recipe.data.label_delimiter) == ("tags", ";")
    assert asked.recipe.data.id == "article_id"
    assert any(reason.startswith("data.label_delimiter: ';'") for reason in asked.guessed)


def test_what_the_user_says_wins(table: Path) -> None:
    asked = ask(str(table), ["data.id=null", "data.label_delimiter='|'"])
    assert asked.recipe.data.id is None
    assert asked.recipe.data.label_delimiter == "|"
    assert not any("data.id" in reason or "delimiter" in reason for reason in asked.guessed)


def test_a_recipe_is_read_as_one() -> None:
    asked = ask("quickstart", ["data.max_length=64"])
    assert asked.is_recipe
    assert asked.recipe.data.max_length == 64
    assert not ask(str(QUICKSTART)).is_recipe


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["nowhere.csv"], "C117"),
        (["nowhere.yaml"], "expected a recipe"),
        ([str(QUICKSTART), "data.txt=a"], "txt"),
        ([str(QUICKSTART), "data.text=body"], "body"),
        (["quickstart", "--output", "report.pdf"], "C118"),
        (["quickstart", "--recipe", "mine.txt"], "C118"),
        (["quickstart", "--label-errors", "list.xlsx"], "D120"),
        (["quickstart", "--output", "nowhere/report.html"], "make the folder"),
    ],
)
def test_bad_input_ends_with_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.call(["inspect", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_people_write_into_is_not_replaced(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("data: {}  # edited\n")
    assert cli.call(["inspect", str(QUICKSTART), "--recipe", "mine.yaml"]) == 2
    assert "C124] mine.yaml: expected a new file" in capsys.readouterr().err
    assert "edited" in (tmp_path / "mine.yaml").read_text()


def test_few_rows_are_described_and_what_needs_more_is_said(
    tmp_path: Path, tiny_backbone_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "few.csv"
    file.write_text("text,tags\n" + "".join(f"about number {i % 3},a;b\n" for i in range(12)))
    given = ["inspect", str(file), f"model.backbone={tiny_backbone_folder}", "--label-errors", str(tmp_path / "e.csv")]
    assert cli.call(given) == 0
    found = capsys.readouterr()
    assert "Lengths in tokens" in found.out
    assert "too few rows (12) for a validation and a test split" in found.err
    assert "no label was judged: each needs 10 rows" in found.err
    assert cli.call([*given, "--recipe", str(tmp_path / "few.yaml"), "--overwrite"]) == 2
    found = capsys.readouterr()
    assert "Lengths in tokens" in found.out
    assert "error[D118]" in found.err
    assert not (tmp_path / "few.yaml").exists()


def test_misspelt_labels_are_listed_everywhere(
    tmp_path: Path, tiny_backbone_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "slips.csv"
    tags = ["Computer Scince" if i == 7 else "Computer Science" for i in range(40)]
    file.write_text("text,tags\n" + "".join(f"about number {i},{tag};other\n" for i, tag in enumerate(tags)))
    given = ["inspect", str(file), f"model.backbone={tiny_backbone_folder}", "--no-near", "--output"]
    assert cli.call([*given, str(tmp_path / "found")]) == 0
    said = capsys.readouterr().out
    assert "Labels that look alike: 1" in said
    assert any(re.search(r"Computer Scince +│ +1 │ Computer Science +│ +39", line) for line in said.splitlines())
    pair = {"first": "Computer Science", "second": "Computer Scince", "first_rows": 39, "second_rows": 1}
    assert json.loads((tmp_path / "found/profile.json").read_text())["lookalikes"] == [pair]
    assert "Labels that look alike: 1" in (tmp_path / "found/report.html").read_text()


def test_rows_without_text_are_counted_and_the_others_described(
    tmp_path: Path, tiny_backbone_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "holes.csv"
    texts = ["" if i == 4 else "  " if i == 7 else f"about number {i}" for i in range(40)]
    file.write_text("text,tags\n" + "".join(f"{text},a;b\n" for text in texts))
    profile = inspect_data(str(file), [f"model.backbone={tiny_backbone_folder}"], near=False)
    assert sum(facts.rows for facts in profile.splits.values()) == 38
    assert profile.textless == {"train": {"count": 2, "examples": [f"{file}:6", f"{file}:9"]}}
    line = ("rows without text in train, left out here", 2, f"{file}:6, {file}:9")
    assert line in findings_table(profile).rows
    found = capsys.readouterr()
    assert "holes.csv:6, holes.csv:9" in found.out
    assert "training refuses them" in found.err
    with pytest.raises(InputError, match="D111.*holes.csv:6:text: expected text, found ''"):
        load_data(file, labels="tags", label_delimiter=";")


def test_the_files_are_there(inspected: tuple[Path, object]) -> None:
    folder, profile = inspected
    assert {path.name for path in folder.iterdir()} == {"report", "suspects.csv", "articles.yaml"}
    written = json.loads((folder / "report/profile.json").read_text())
    assert written["lengths"]["unit"] == "tokens"
    assert written["memory"]["total"] == profile.memory.total > 600 << 20
    assert (folder / "report/label_distribution.png").read_bytes().startswith(b"\x89PNG")
    assert "articles.csv" in (folder / "report/report.html").read_text()


def test_tables_fit_into_80_columns(inspected: tuple[Path, object]) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=80)
    for found in profile_tables(inspected[1]):
        console.print(found)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    shown = stream.getvalue()
    for expected in ("MeanIR", "Lengths in tokens", "To look at before training", "activations", "Suspected label"):
        assert expected in shown


def test_long_label_names_cut_no_number(inspected: tuple[Path, Any]) -> None:
    """Of EuroVoc's names nothing but `ro…` and `8.7…` was left of the numbers beside them."""
    _, profile = inspected
    labels = tuple(f"harmonisation of the {name} of member states" for name in profile.labels)
    counts = {"train": [1_234_567 - number for number in range(len(labels))]}
    stream = io.StringIO()
    Console(file=stream, width=80).print(label_table(replace(profile, labels=labels, counts=counts), 3))
    shown = stream.getvalue()
    for expected in ("1,234,567", "IRLbl", "##########", f"... {len(labels) - 3} more"):
        assert expected in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_recommended_recipe_reasons_and_trains(inspected: tuple[Path, object], tmp_path: Path) -> None:
    folder, _ = inspected
    text = (folder / "articles.yaml").read_text()
    assert "label_embedding  # the names are words" in text
    assert 'label_delimiter: ";"  # guessed: between names that come again' in text
    assert "empty: allow  # 20 rows have no label" in text
    steps = ["training.max_steps=2", "training.save_strategy=no", f"training.output_dir={tmp_path / 'run'}"]
    metrics = train(load_recipe(folder / "articles.yaml", steps))
    assert "tuned" in metrics["test"]


@pytest.mark.parametrize(("longer", "windows"), [(0.88, True), (0.05, False)])
def test_texts_that_no_length_holds_are_sent_to_windows(
    inspected: tuple[Path, Any], longer: float, windows: bool
) -> None:
    _, profile = inspected
    lengths = replace(profile.lengths, cut_at=dict.fromkeys(LENGTHS, longer))
    size = recommend(replace(profile, lengths=lengths), "bert", positions=512, hidden=32)[0]
    assert size.value == (512 if windows else 32)
    assert ("model.windows" in size.reason) == windows


def test_one_near_duplicate_is_one_row(inspected: tuple[Path, Any]) -> None:
    _, profile = inspected
    near = replace(profile.near_duplicates, between={"train/test": 1})
    assert "# 1 row nearly repeats one of" in render([], replace(profile, near_duplicates=near))


def test_corrected_suspects_are_fed_back(table: Path, inspected: tuple[Path, object], tmp_path: Path) -> None:
    with (inspected[0] / "suspects.csv").open(newline="") as stream:
        entries = list(csv.DictReader(stream))
    assert {(entry["id"], entry["label"]) for entry in entries[:3]} == {(str(row), "sport") for row in WRONG}
    assert [entry["suggested"] for entry in entries] == sorted((e["suggested"] for e in entries), reverse=True)
    entries[0]["action"] = "fix"
    corrected = tmp_path / "corrected.csv"
    with corrected.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, entries[0].keys())
        writer.writeheader()
        writer.writerows(entries)
    profile = inspect_data(str(table), [f"data.corrections={corrected}", "model.backbone=scratch"], near=False)
    assert profile.corrections["added"] + profile.corrections["removed"] == 1
    assert profile.corrections["left"] == len(entries) - 1


@pytest.mark.parametrize("change", ["peft.method=lora", "training.freeze_layers=1", "training.backbone_mode=frozen"])
def test_what_is_not_trained_takes_less_memory(
    table: Path, inspected: tuple[Path, object], tiny_backbone_folder: Path, change: str
) -> None:
    options = [f"model.backbone={tiny_backbone_folder}", "data.max_length=16", change]
    less, all_trained = inspect_data(str(table), options, near=False).memory, inspected[1].memory
    assert less.trainable < all_trained.trainable
    assert less.optimizer < all_trained.optimizer
    assert less.total < all_trained.total


def test_without_the_backbone_lengths_are_in_words(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = inspect_data(str(table), ["model.backbone=python:no_such_package/model"], near=False)
    assert profile.lengths.unit == "words"
    assert profile.memory is None
    assert "lengths are in words" in capsys.readouterr().err


def test_a_recipe_beside_its_data_names_them_relatively(tmp_path: Path) -> None:
    read = {"source": str(tmp_path / "data/rows.csv"), "text": "body", "label_names": "/elsewhere/names.txt"}
    placed_there = placed(read, tmp_path / "mine.yaml")
    assert placed_there == {"source": "./data/rows.csv", "text": "body", "label_names": "/elsewhere/names.txt"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["severe_toxic", "insult"], True),
        (["machine-learning", "pid", "c++", "arduino", "raspberry-pi", "kinematics"], True),
        (["C17", "1309", "cs.AI"], False),
        (["0010", "0020"], False),
        (["日本", "経済学者"], False),
    ],
)
def test_names_that_speak(names: list[str], words: bool) -> None:
    assert names_are_words(names) == words


def test_a_hub_name_that_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="C117"):
        ask("some/where/else")
