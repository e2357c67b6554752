from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from hf_multilabel.data.findings import Findings
from hf_multilabel.data.records import open_records


def rows_of(path: Path, *columns: str) -> tuple[list[tuple], Findings]:
    findings = Findings()
    table = open_records(path, findings)
    rows: list[tuple] = []
    for batch in table.read(columns, findings) if table else ():
        rows += zip(*(batch.columns[name].to_pylist() for name in columns), strict=True)
    return rows, findings


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_objects_become_columns(write, name: str) -> None:
    path = write(name, lines({"text": "a", "labels": ["x"]}, {"labels": [], "text": "NA"}) + "\n")
    assert rows_of(path, "text", "labels") == ([("a", ["x"]), ("NA", [])], [])


def test_types_are_found_past_nulls_and_empty_lists(write) -> None:
    path = write("a.jsonl", lines({"t": None, "l": []}, {"t": "x", "l": []}, {"t": "y", "l": [1]}))
    types = open_records(path, Findings()).types
    assert types == {"t": pa.large_string(), "l": pa.list_(pa.int64())}


@pytest.mark.parametrize("bad", ["{", '{"text": "a"', '{"text": NaN}', '{"text": "a", "text": "b"}', "[1]", "nonsense"])
def test_bad_lines_by_number(write, bad: str) -> None:
    path = write("a.jsonl", lines(*[{"text": "x"}] * 36) + bad + "\n" + lines({"text": "y"}))
    rows, findings = rows_of(path, "text")
    assert [finding.where for finding in findings] == [f"{path}:37"]
    assert rows[-1] == ("y",)


def test_all_bad_lines_are_reported(write) -> None:
    path = write("a.jsonl", lines({"text": "x"}) + "{\n" + lines({"text": "x"}) + "}\n")
    assert [finding.where[-1] for finding in rows_of(path, "text")[1]] == ["2", "4"]


def test_type_change_names_the_true_row(write) -> None:
    path = write("a.jsonl", lines(*[{"labels": ["a"]}] * 899, {"labels": "a"}, *[{"labels": ["b"]}] * 100))
    _, findings = rows_of(path, "labels")
    assert findings[0].where == f"{path}:900:labels"
    assert findings[0].what == "expected a list of text as on line 1, found text, 'a'"
    assert len(findings) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a", 3], "found a list of a number and text"),
        ([["a"]], "found a list of"),
        ({"a": 1}, "found an object"),
        ([1], "found a list of numbers"),
    ],
)
def test_mixed_and_nested_lists(write, value: object, message: str) -> None:
    path = write("a.jsonl", lines({"labels": ["a"]}, {"labels": value}))
    assert message in rows_of(path, "labels")[1][0].what


def test_a_text_that_is_a_number(write) -> None:
    path = write("a.jsonl", lines({"text": "a"}, {"text": 12}))
    assert rows_of(path, "text")[1][0].what == "expected text as on line 1, found a number, 12"


def test_a_missing_key_names_those_that_are_there(write) -> None:
    path = write("a.jsonl", lines({"text": "a", "labels": []}, {"text": "a", "label": []}))
    finding = rows_of(path, "labels")[1][0]
    assert finding.where == f"{path}:2:labels"
    assert "found 'text', 'label'" in finding.what


@pytest.mark.parametrize("column", ["text", "labels"])
def test_lone_surrogates(write, column: str) -> None:
    path = write("a.jsonl", '{"text": "ok", "labels": ["ok"]}\n{"text": "\\ud83d", "labels": ["\\ud83d"]}\n')
    findings = rows_of(path, column)[1]
    assert findings[0].where == f"{path}:2:{column}"
    assert "lone surrogate" in findings[0].what


def test_surrogate_pairs_are_one_character(write) -> None:
    assert rows_of(write("a.jsonl", '{"text": "\\ud83d\\ude00"}\n'), "text")[0] == [("\U0001f600",)]


def test_numbers_too_large_for_any_column(write) -> None:
    path = write("a.jsonl", lines({"n": 1}, {"n": 2**70}))
    assert "below 2**53" in rows_of(path, "n")[1][0].what


def test_a_json_array_is_named(write) -> None:
    assert "found a JSON array" in rows_of(write("a.json", '[{"text": "a"}]'), "text")[1][0].what


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_files(write, content: str) -> None:
    assert "found none" in rows_of(write("a.jsonl", content), "text")[1][0].what


@pytest.mark.parametrize("depth", [600, 100_000])
def test_deep_nesting_is_a_finding(write, depth: int) -> None:
    path = write("a.jsonl", lines({"text": "a"}) + '{"text": ' + "[" * depth + "]" * depth + "}\n")
    assert rows_of(path, "text")[1][0].where.startswith(f"{path}:2")
