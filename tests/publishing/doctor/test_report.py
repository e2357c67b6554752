"""What the command prints, and its exit codes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_multilabel import cli, default_decision, hash_labels
from hf_multilabel.publishing.doctor.examination import examine
from hf_multilabel.publishing.doctor.report import to_json
from tests.publishing.doctor.breaks import edit, rename
from tests.publishing.doctor.conftest import NAMES


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_sound_folder(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["doctor", str(finished)]) == 0
    said = capsys.readouterr().out
    assert "What each consumer returns" in said
    assert "label sets by the stored decision" in said
    assert "0 errors" in said
    assert "ok[" not in said
    cli.call(["doctor", str(finished), "--all"])
    assert "ok[labels.ids] config.json:id2label: 5 labels" in capsys.readouterr().out


def test_words_stay_whole_at_80_columns(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cli.call(["doctor", str(finished)])
    words = set(re.split(r"[\s│]+", capsys.readouterr().out))
    for outlook in examine(str(finished)).outlooks:
        assert set(f"{outlook.consumer} {outlook.returns} {outlook.advice}".split()) <= words


def test_errors_come_first_and_set_the_exit_code(
    stock: Path, copy: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(stock)
    edit("config.json", problem_type=None, vocab_size=9999)(folder)
    assert cli.call(["doctor", str(folder)]) == 3
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("error[", "warning[", "note["))]
    kinds = [line.split("[")[0] for line in lines]
    assert kinds == sorted(kinds, key=["error", "warning", "note"].index)
    assert kinds.count("error") == 2
    assert all("; fix: " in line for line in lines if not line.startswith("note"))


def test_json_is_the_whole_diagnosis(stock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["doctor", str(stock), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "BertForSequenceClassification"
    assert found["labels"] == 5
    assert {entry["consumer"]: entry["verdict"] for entry in found["outlooks"]}["text-embeddings-inference"] == "wrong"
    assert {"severity", "code", "where", "what", "fix"} == set(found["symptoms"][0])


@pytest.mark.parametrize("name", ["{tmp}", "{tmp}/nothing", "{tmp}/file.txt", "./nothing", "a/b/c"])
def test_what_is_no_model_is_bad_input(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file.txt").write_text("no model")
    assert cli.call(["doctor", name.format(tmp=tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "; fix: " in said
    assert "Traceback" not in said


def test_a_folder_has_no_revision(stock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["doctor", str(stock), "--revision", "main"]) == 2
    assert "P403" in capsys.readouterr().err


def test_hostile_names_are_text(stock: Path, copy: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy(stock)
    rename(_0="[red]x[/red]", _1="[RED]x[/RED]", _2="\x1b[31mescape", _3="\x1b[31mESCAPE")(folder)
    assert cli.call(["doctor", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "[red]x[/red]" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"id2label": [1, 2]}', '{"id2label": {"a": 1}}', "{" * 5000])
def test_a_config_of_any_shape_is_no_crash(content: str, stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    (folder / "config.json").write_text(content)
    assert cli.call(["doctor", str(folder)]) in (0, 3)


ODD = [None, 0, -1, 1.5, float("nan"), True, "", "../y", [], {}, [None], [[1]], {"a": 1}, {"0": None}, 10**40]


def keys(value: object, found: tuple = ()) -> list[tuple]:
    """The ways to all values inside a value."""
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    return [way for key, inner in items for way in [(*found, key), *keys(inner, (*found, key))]]


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("stock", "config.json"),
        ("stock", "tokenizer_config.json"),
        ("stock", "tokenizer.json"),
        ("adapter", "adapter_config.json"),
    ],
)
def test_odd_values_anywhere_are_no_crash(
    base: str, name: str, copy: Callable[[Path], Path], request: pytest.FixtureRequest
) -> None:
    chance, folder = random.Random(name), copy(request.getfixturevalue(base))
    if name == "config.json":
        calibration = {"method": "platt", "parameters": {"slope": [1.0] * 5, "intercept": 0.0}, "rows": 9}
        risk = {"metric": "recall", "target": 0.9, "rows": 9, "refitted": {"data": "x"}}
        fitted = {"thresholds": [0.5] * 5, "calibration": calibration, "fitted_on": "validation", "rows": 9}
        decision = {**default_decision(), **fitted, "risk": risk, "labels_sha256": hash_labels(NAMES)}
        edit(name, decision=decision, auto_map={"AutoModel": "mine.Mine"})(folder)
    content = (folder / name).read_text(encoding="utf-8")
    for _ in range(100):
        found = json.loads(content)
        *way, last = chance.choice(keys(found))
        inner = found
        for key in way:
            inner = inner[key]
        inner[last] = chance.choice(ODD)
        (folder / name).write_text(json.dumps(found), encoding="utf-8")
        assert to_json(examine(str(folder))), found
