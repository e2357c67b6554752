from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from hf_multilabel.data.columns import TextColumns
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.tables import Batch, Table


def batch_of(**columns: pa.Array | list) -> Batch:
    arrays = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    count = len(next(iter(arrays.values())))
    return Batch(arrays, np.arange(2, count + 2), "a.csv")


def read(columns: TextColumns, batch: Batch) -> tuple[list[str], list[str]]:
    findings = Findings()
    return columns.read(batch, findings).to_pylist(), [str(finding) for finding in findings]


def test_one_column_is_left_as_it_is() -> None:
    assert read(TextColumns(("text",)), batch_of(text=[" a \n b ", "NA"])) == ([" a \n b ", "NA"], [])


def test_several_columns_are_joined_and_empty_ones_leave_no_separator() -> None:
    batch = batch_of(title=["a", "", "c"], body=["x", "y", ""])
    assert read(TextColumns(("title", "body"), " | "), batch)[0] == ["a | x", "y", "c"]


def test_markup_is_removed_from_each_column() -> None:
    batch = batch_of(title=["a &lt; b"], body=["<p>x</p><p>y</p>"])
    assert read(TextColumns(("title", "body"), strip_html=True), batch)[0] == ["a < b x y"]


def test_texts_that_are_none_are_listed_by_row() -> None:
    _, findings = read(TextColumns(("text",)), batch_of(text=["fine", None, "", " \t"]))
    assert [finding.split()[1] for finding in findings] == ["a.csv:3:text:", "a.csv:4:text:", "a.csv:5:text:"]
    assert "found null" in findings[0]
    assert "found ''" in findings[1]


def test_a_text_that_is_only_markup() -> None:
    _, findings = read(TextColumns(("text",), strip_html=True), batch_of(text=["<img src='x'>"]))
    assert "expected text, found '' once the markup is removed" in findings[0]


def test_null_in_one_of_several_columns_is_a_finding() -> None:
    _, findings = read(TextColumns(("title", "body")), batch_of(title=["a"], body=pa.array([None], pa.string())))
    assert "a.csv:2:body" in findings[0]


def check(columns: TextColumns, **types: pa.DataType) -> list[str]:
    findings = Findings()
    assert columns.check(Table("a.csv", types, lambda *_: iter(())), findings) is not bool(findings)
    return [str(finding) for finding in findings]


def test_missing_columns_list_those_found() -> None:
    found = check(TextColumns(("text",), id="key"), id=pa.string(), body=pa.string())
    assert "expected a column 'text', found the columns 'id', 'body'" in found[0]
    assert "expected a column 'key'" in found[1]


@pytest.mark.parametrize(("kind", "word"), [(pa.float64(), "numbers"), (pa.list_(pa.string()), "lists of text")])
def test_columns_that_are_no_text(kind: pa.DataType, word: str) -> None:
    assert check(TextColumns(("text",)), text=kind)[0].startswith(
        f"error[D111] a.csv:text: expected text, found {word}"
    )
    assert "expected ids as text or whole numbers" in check(TextColumns(("t",), id="text"), t=pa.string(), text=kind)[0]


def test_ids_are_text() -> None:
    batch = batch_of(id=pa.array([7, 8]), text=["a", "b"])
    assert TextColumns(("text",), id="id").read_ids(batch, "train-", 1, Findings()).to_pylist() == ["7", "8"]
    assert TextColumns(("text",)).read_ids(batch, "train-", 3, Findings()).to_pylist() == ["train-3", "train-4"]


def test_missing_ids_are_listed_by_row() -> None:
    findings = Findings()
    TextColumns(("text",), id="id").read_ids(batch_of(id=["a", None, " "]), "", 1, findings)
    assert [finding.where for finding in findings] == ["a.csv:3:id", "a.csv:4:id"]
