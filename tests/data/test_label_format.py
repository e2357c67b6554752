from __future__ import annotations

import pyarrow as pa
import pytest

from hf_multilabel.data.delimited import open_delimited
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.label_columns import ColumnLabels, DelimitedLabels, ListLabels, VectorLabels
from hf_multilabel.data.label_format import LABEL_FORMATS, LabelRequest
from hf_multilabel.data.tables import Table

TEXT, NUMBER = pa.large_string(), pa.int64()


def choose(request: LabelRequest, **types: pa.DataType):
    findings = Findings()
    found = request.choose(Table("a.csv", types, lambda *_: iter(())), findings)
    return found or str(findings[0])


def test_the_type_of_the_column_decides() -> None:
    assert choose(LabelRequest("y"), y=pa.list_(TEXT)) == ListLabels("y")
    assert choose(LabelRequest("y"), y=pa.list_(NUMBER)) == ListLabels("y")
    assert choose(LabelRequest("y", delimiter="|"), y=TEXT) == DelimitedLabels("y", "|")
    assert choose(LabelRequest(["a", "b"]), a=NUMBER, b=pa.bool_()) == ColumnLabels(("a", "b"))


def test_the_recipe_can_say_so() -> None:
    assert choose(LabelRequest("y", "list"), y=TEXT) == ListLabels("y")
    assert choose(LabelRequest("y", "columns"), y=NUMBER) == ColumnLabels(("y",))
    assert choose(LabelRequest("y", "columns", order=("a", "b")), y=pa.list_(NUMBER)) == VectorLabels("y", ("a", "b"))


@pytest.mark.parametrize(
    ("request_", "types", "message"),
    [
        (LabelRequest("y"), {"z": TEXT}, "expected a column 'y', found the columns 'z'"),
        (LabelRequest(["a", "b"]), {"a": NUMBER}, "expected a column 'b', found the columns 'a'"),
        (LabelRequest("y"), {"y": NUMBER}, "expected lists of label names, found numbers"),
        (LabelRequest("y"), {"y": pa.list_(pa.bool_())}, "found lists of booleans"),
        (LabelRequest("y"), {"y": pa.list_(pa.list_(TEXT))}, "found lists of lists of text"),
        (LabelRequest("y"), {"y": TEXT}, "expected rows, found none"),
        (LabelRequest("y", "delimited", "|"), {"y": pa.list_(TEXT)}, "found lists of text"),
        (LabelRequest("y", "columns"), {"y": pa.list_(NUMBER)}, "found none declared"),
        (LabelRequest(["a"]), {"a": pa.struct([])}, "expected a 0/1 column, found objects"),
        (LabelRequest(["a", "b"], "list"), {"a": TEXT, "b": TEXT}, "expected one label column for label_format list"),
    ],
)
def test_what_does_not_fit(request_: LabelRequest, types: dict, message: str) -> None:
    assert message in choose(request_, **types)


@pytest.mark.parametrize(
    ("cells", "fix"),
    [
        ("a|b\nc\n", "label_delimiter, probably to '|'"),
        ("a b\nc\n", "label_delimiter, probably to ' '"),
        ('"a,b"\nc\n', "label_delimiter, probably to ','"),
        ('"[""a""]"\n[]\n', "label_format: list"),
        ("0\n1\n", """write 'data.labels=["tags"]': it is a 0/1 column"""),
    ],
)
def test_a_delimiter_is_asked_for_with_a_guess(write, cells: str, fix: str) -> None:
    findings = Findings()
    table = open_delimited(write("a.csv", "tags,x\n" + cells.replace("\n", ",1\n")), findings)
    assert LabelRequest("tags").choose(table, findings) is None
    assert fix in findings[0].fix


def test_zero_one_columns_are_found(write) -> None:
    path = write("a.csv", "id,text,a,year,b,c,half\n1,x,0,2001,1,0,0\n0,y,1,1999,True,0,7\n1,z,0,2003,0,1,8\n")
    found = LabelRequest(None).find_columns(open_delimited(path, Findings()), ("id", "text"), Findings())
    assert found.columns == ("a", "b", "c")


def test_a_mostly_zero_one_column_is_a_label_whose_other_values_are_found(write) -> None:
    path = write("a.csv", "text,a\n" + "x,0\n" * 9 + "y,2\n")
    assert LabelRequest(None).find_columns(open_delimited(path, Findings()), ("text",), Findings()).columns == ("a",)


def test_no_zero_one_columns(write) -> None:
    findings = Findings()
    LabelRequest(None).find_columns(open_delimited(write("a.csv", "text,b\nx,y\n"), findings), ("text",), findings)
    assert "expected 0/1 columns, found 'text', 'b'" in findings[0].what


def test_unknown_forms_are_refused() -> None:
    with pytest.raises(ValueError, match="label_format: expected one of auto, list, delimited, columns, found 'x'"):
        choose(LabelRequest("y", "x"), y=TEXT)
    assert set(LABEL_FORMATS) == {"auto", "list", "delimited", "columns"}
