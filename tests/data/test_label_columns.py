from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from hf_multilabel.data.findings import Findings
from hf_multilabel.data.label_columns import ColumnLabels, DelimitedLabels, LabelColumns, ListLabels, VectorLabels
from hf_multilabel.data.tables import Batch
from hf_multilabel.data.vocabulary import Vocabulary


def read(reader: LabelColumns, /, **columns: pa.Array | list) -> tuple[list[list[str]], list[str]]:
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    findings, vocabulary = Findings(), Vocabulary()
    matrix = reader.read(Batch(arrays, np.arange(2, count + 2), "a.csv"), vocabulary, findings)
    assert matrix.dtype == bool
    rows = [sorted(vocabulary.names[number] for number in matrix[row].indices) for row in range(matrix.shape[0])]
    return rows, [str(finding) for finding in findings]


def test_lists_of_names() -> None:
    rows, findings = read(ListLabels("labels"), labels=[["b", "a", "b"], [], None, ["0010"]])
    assert rows == [["a", "b"], [], [], ["0010"]]
    assert not findings


def test_names_are_one_in_all_unicode_forms() -> None:
    assert read(ListLabels("l"), l=[["caf\u00e9"], ["cafe\u0301"]])[0] == [["caf\u00e9"]] * 2


@pytest.mark.parametrize("bad", ["", "  ", "a\nb"])
def test_names_that_are_none_are_found_by_row(bad: str) -> None:
    rows, findings = read(ListLabels("labels"), labels=[["a"], [bad, "b"]])
    assert rows == [["a"], ["b"]]
    assert findings[0].startswith("error[L101] a.csv:3:labels: expected a label name")


def test_null_among_names() -> None:
    assert (
        "a.csv:3:labels: expected label names, found null"
        in read(ListLabels("labels"), labels=[["a"], ["b", None]])[1][0]
    )


def test_numbers_become_text() -> None:
    assert read(ListLabels("labels"), labels=[[3, 10], [], [0]])[0] == [["10", "3"], [], ["0"]]


def test_class_numbers_become_their_names() -> None:
    labels = ListLabels("labels", class_names=("no", "0010", "x"))
    rows, findings = read(labels, labels=[[2, 1], [0], [3], [-1]])
    assert rows == [["0010", "x"], ["no"], [], []]
    assert "a.csv:4:labels: expected whole label numbers from 0 to 2, found 3" in findings[0]
    assert "a.csv:5:labels: expected whole label numbers from 0 to 2, found -1" in findings[1]


@pytest.mark.parametrize("value", [-1, 1.5])
def test_numbers_that_are_no_ids(value: float) -> None:
    assert f"found {value}" in read(ListLabels("labels"), labels=[[1], [value]])[1][0]


def test_zero_one_vectors_are_not_taken_for_ids() -> None:
    _, findings = read(ListLabels("labels"), labels=[[0, 1, 0, 0], [1, 0, 0, 0]])
    assert "a.csv:2:labels: expected the numbers of the labels that hold, found one 0/1 value a label" in findings[0]
    assert "label_format: columns" in findings[0]


@pytest.mark.parametrize("cell", ['["b", "a"]', "['b', 'a']", "[]", "", None, "[3, 10]"])
def test_lists_written_out_in_text(cell: str | None) -> None:
    rows, findings = read(ListLabels("labels"), labels=pa.array([cell, '["x"]'], pa.large_string()))
    expected = sorted(map(str, json.loads(cell.replace("'", '"')))) if cell else []
    assert rows == [expected, ["x"]]
    assert not findings


@pytest.mark.parametrize("cell", ["a, b", "['a' 'b']", '{"a": 1}', '["a", 3]', "[" * 5000, "__import__('os')"])
def test_text_that_is_no_list(cell: str) -> None:
    _, findings = read(ListLabels("labels"), labels=["[]", cell])
    assert "a.csv:3:labels: expected a list of names" in findings[0]


@pytest.mark.parametrize(
    ("delimiter", "cell", "expected"),
    [
        (" ", "b  a ", ["a", "b"]),
        ("|", "NA|no | 0010|", ["0010", "NA", "no"]),
        (", ", "a, b c", ["a", "b c"]),
        ("\t", "a b\tc", ["a b", "c"]),
        (";", "", []),
        (";", None, []),
        (";", " ; ", []),
    ],
)
def test_delimited_names(delimiter: str, cell: str | None, expected: list[str]) -> None:
    assert read(DelimitedLabels("tags", delimiter), tags=pa.array([cell], pa.large_string())) == ([expected], [])


@pytest.mark.parametrize(
    ("zero", "one"),
    [(0, 1), (False, True), ("0", "1"), (0.0, 1.0), ("0.0", "1.0"), ("false", "true"), ("False", "True")],
)
def test_zero_one_columns(zero: object, one: object) -> None:
    rows, findings = read(ColumnLabels(("no", "b")), no=[zero, one, one], b=[zero, zero, one])
    assert rows == [[], ["no"], ["b", "no"]]
    assert not findings


@pytest.mark.parametrize(("value", "shown"), [(2, "2"), (-1, "-1"), (None, "None")])
def test_other_values_in_zero_one_columns(value: int | None, shown: str) -> None:
    _, findings = read(ColumnLabels(("a", "b")), a=[0, 1], b=pa.array([0, value], pa.int64()))
    assert findings == [
        f"error[L104] a.csv:3:b: expected 0 or 1, found {shown}; "
        "fix: correct the row, or name the label columns in data.labels if this is none"
    ]


def test_other_words_in_zero_one_columns() -> None:
    assert "found 'yes'" in read(ColumnLabels(("a",)), a=["1", "yes"])[1][0]


@pytest.mark.parametrize(
    "values", [[[0, 1, 1], [0, 0, 0]], [[False, True, True], [False] * 3], [[0.0, 1.0, 1.0], [0.0] * 3]]
)
def test_vectors(values: list) -> None:
    assert read(VectorLabels("y", ("a", "b", "c")), y=values) == ([["b", "c"], []], [])


def test_vectors_of_another_width_or_value() -> None:
    _, findings = read(VectorLabels("y", ("a", "b")), y=[[0, 1], [1], [0, 1, 0], [0, 2], None])
    assert [finding.split()[1] for finding in findings] == ["a.csv:3:y:", "a.csv:4:y:", "a.csv:6:y:", "a.csv:5:y:"]
    assert "expected 2 values, one a label, found 1" in findings[0]
    assert "expected 0 or 1, found 2" in findings[3]


def test_many_batches_share_the_vocabulary() -> None:
    vocabulary, findings = Vocabulary(), Findings()
    for names in (["b"], ["a", "b"]):
        batch = Batch({"l": pa.array([names])}, np.array([1]), "a")
        matrix = ListLabels("l").read(batch, vocabulary, findings)
    assert vocabulary.names == ["b", "a"]
    assert matrix.shape == (1, 2)
    assert matrix.indices.tolist() == [0, 1]
