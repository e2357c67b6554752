"""A list of corrected labels: written, edited, read back, and refused where it does not fit."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_multilabel.data.corrections import Suspect, write_suspects
from hf_multilabel.data.loading import load_data
from hf_multilabel.errors import InputError

Write = Callable[[str, "str | bytes"], Path]
ROWS = [("=1", "first text", ["a"]), ("2", "second text", ["a", "b"]), ("3", "third text", ["b"]), ("4", "last", [])]


@pytest.fixture
def source(write: Write) -> Path:
    lines = (json.dumps({"id": name, "text": text, "labels": labels}) for name, text, labels in ROWS)
    return write("train.jsonl", "\n".join(lines))


def load(source: Path, corrections: Path) -> tuple[dict[str, list[str]], dict]:
    data = load_data(source, id="id", corrections=corrections, validation_size=0, test_size=0)
    rows = zip(data.splits["train"]["id"], data.splits["train"]["labels"], strict=True)
    return {name: data.labels.decode(ids) for name, ids in rows}, data.statistics["corrections"]


def edit(path: Path, **actions: str) -> None:
    """Write `fix` or `keep` as a person does in a spreadsheet."""
    with path.open(newline="") as stream:
        entries = list(csv.DictReader(stream))
    for entry in entries:
        entry["action"] = actions.get(f"{entry['id'].strip(chr(39))}{entry['label']}", "")
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, entries[0].keys())
        writer.writeheader()
        writer.writerows(entries)


def suspects() -> list[Suspect]:
    return [
        Suspect("=1", "train", "b", 0, 1, 0.93, text="first text"),
        Suspect("3", "train", "a", 0, 1, 0.9, text="third text"),
        Suspect("2", "train", "a", 1, 0, 0.01, text="second text"),
        Suspect("4", "train", "b", 0, 1, 0.6, text="last"),
    ]


def test_only_what_is_to_be_fixed_changes(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "suspects.csv"
    write_suspects(file, suspects())
    assert "'=1" in file.read_text()  # no formula for a spreadsheet
    edit(file, **{"=1b": "fix", "2a": "Fix ", "3a": "keep"})
    labels, counts = load(source, file)
    assert labels == {"=1": ["a", "b"], "2": ["b"], "3": ["b"], "4": []}
    assert counts == {"file": "suspects.csv", "added": 1, "removed": 1, "already": 0, "left": 2}


def test_json_lines_and_a_second_time(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "suspects.jsonl"
    write_suspects(file, [Suspect("3", "train", "b", 0, 1, 0.9, "fix"), Suspect("4", "train", "a", 0, 1, 0.9, "fix")])
    labels, counts = load(source, file)
    assert (labels["3"], labels["4"]) == (["b"], ["a"])
    assert (counts["added"], counts["already"]) == (1, 1)


def test_everything_that_does_not_fit_is_said_at_once(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "suspects.csv"
    write_suspects(
        file,
        [
            Suspect("9", "train", "a", 0, 1, 0.5, "fix"),
            Suspect("3", "train", "aa", 0, 1, 0.5, "fix"),
            Suspect("3", "train", "a", 0, 1, 0.5, "fix", "another text"),
            Suspect("4", "train", "a", 0, 1, 0.5, "mend"),
            Suspect("4", "train", "a", 0, 2, 0.5, "fix"),
        ],
    )
    with pytest.raises(InputError) as caught:
        load(source, file)
    said = str(caught.value)
    assert [finding.code for finding in caught.value.findings] == ["D121", "L103", "D121", "D120", "D120"]
    for part in ("suspects.csv:2:id", "did you mean 'a'?", "'another text'", "found 'mend'", "found '2'"):
        assert part in said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "id,label\n1,a\n", "found no suggested, action"),
        ("a.jsonl", "no json\n", "expected a JSON object"),
        ("a.csv", b"id,label,suggested,action\n\xff,a,1,fix\n", "UTF-8"),
        ("a.txt", "", "ends in .csv or .jsonl"),
    ],
)
def test_a_file_that_is_no_list(source: Path, write: Write, name: str, content: str | bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(source, write(name, content))


def test_a_label_of_which_nobody_knew_is_known_then(write: Write, tmp_path: Path) -> None:
    source = write("train.csv", "text,a,b\none,1,-1\ntwo,0,1\n")
    file = tmp_path / "list.csv"
    write_suspects(file, [Suspect("train-1", "train", "b", 0, 1, 0.9, "fix")])
    data = load_data(source, labels=["a", "b"], unknown_labels=-1, corrections=file, validation_size=0, test_size=0)
    assert data.label_matrix("train").toarray().tolist() == [[True, True], [False, True]]
    assert data.statistics["unknown_labels"]["cells"] == 0


def test_rows_are_found_before_splits_are_made(write: Write, tmp_path: Path) -> None:
    lines = "".join(f"text number {n},{'a' if n % 2 else 'b'}\n" for n in range(40))
    source = write("data.csv", f"text,labels\n{lines}")
    file = tmp_path / "list.csv"
    write_suspects(file, [Suspect(f"train-{n}", "test", "a", 0, 1, 0.9, "fix") for n in range(1, 41)])
    data = load_data(source, label_delimiter=";", corrections=file)
    assert data.statistics["corrections"]["added"] == 20
    assert sum(counts[0] for counts in (data.label_matrix(split).getnnz(axis=0) for split in data.splits)) == 40
