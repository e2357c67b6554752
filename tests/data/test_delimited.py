from __future__ import annotations

from pathlib import Path

import pytest

from hf_multilabel.data.delimited import open_delimited
from hf_multilabel.data.findings import Findings


def rows_of(path: Path, *columns: str) -> tuple[list[tuple], list[int], Findings]:
    findings = Findings()
    table = open_delimited(path, findings)
    rows: list[tuple] = []
    places: list[int] = []
    for batch in table.read(columns, findings) if table else ():
        rows += zip(*(batch.columns[name].to_pylist() for name in columns), strict=True)
        places += batch.places.tolist()
    return rows, places, findings


def test_places_are_the_physical_lines_where_rows_start(write) -> None:
    path = write("a.csv", 'id,text\n1,"one\ntwo ""quoted"", three"\n\n2,four\n')
    rows, places, findings = rows_of(path, "id", "text")
    assert rows == [("1", 'one\ntwo "quoted", three'), ("2", "four")]
    assert places == [2, 5]
    assert not findings


def test_words_for_nothing_stay_text(write) -> None:
    rows, _, _ = rows_of(write("a.csv", "text\nNA\nnull\nNone\nnan\n1e-5\n0010\n"), "text")
    assert [row[0] for row in rows] == ["NA", "null", "None", "nan", "1e-5", "0010"]


def test_byte_order_mark_and_crlf(write) -> None:
    rows, _, findings = rows_of(write("a.csv", b"\xef\xbb\xbftext,b\r\nx,1\r\ny,2\r\n"), "text", "b")
    assert rows == [("x", "1"), ("y", "2")]
    assert not findings


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_tabs(write, name: str) -> None:
    assert rows_of(write(name, "a\tb\n1,5\t2\n"), "b", "a")[0] == [("2", "1,5")]


def test_fields_of_any_length(write) -> None:
    long = "x" * 300_000
    assert rows_of(write("a.csv", f"text\n{long}\n"), "text")[0] == [(long,)]


def test_wrong_field_counts_are_found_on_their_lines_and_the_rest_is_read(write) -> None:
    rows, _, findings = rows_of(write("a.csv", "a,b\n1,2\n1,2,3\n1\n5,6\n"), "a")
    assert rows == [("1",), ("5",)]
    assert [str(finding.where)[-2:] for finding in findings] == [":3", ":4"]
    assert "expected 2 fields as in the header, found 3" in findings[0].what


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('a,b\n1,x\n2,"open\n3,y\n', 3),
        # the record starts on line 2, the quote that stays open is on line 3
        ('a,b\n"one\ntwo","open\n3,y\n', 3),
        # the next quote closes it, in the middle of a field
        ('a,b\n1,"open\n2,y\n3,"z"\n', 2),
        ('a,b\n1,"he said "hi" there"\n', 2),
        ('a,b\n1,"fine ""doubled"""\n2,"open', 3),
        ('a,b\n1,un"quoted\n2,"open\n', 3),
    ],
)
def test_the_line_of_the_open_quote(write, content: str, line: int) -> None:
    _, _, findings = rows_of(write("a.csv", content), "a")
    assert len(findings) == 1
    assert findings[0].where.endswith(f"a.csv:{line}")
    assert "expected the quote opened on this line to be closed" in findings[0].what


@pytest.mark.parametrize(("sign", "name"), [("\t", "tab"), ("|", "bar")])
def test_another_delimiter_is_guessed(write, sign: str, name: str) -> None:
    _, _, findings = rows_of(write("a.csv", f"id{sign}text\n1{sign}x\n"), "text")
    assert f"the delimiter is probably a {name}" in findings[0].fix


@pytest.mark.parametrize("header", ["id;text", '"id";"text"', '\n"id, if any";text'])
def test_semicolons_are_read_and_said_once(write, header: str, caplog: pytest.LogCaptureFixture) -> None:
    path = write("a.csv", f'{header}\n1;"a, b; c"\n2;d, e\n')
    for _ in range(2):
        rows, _, findings = rows_of(path, "text")
        assert rows == [("a, b; c",), ("d, e",)]
        assert not findings
    assert caplog.messages == [f"{path}: read with ; as delimiter"]


@pytest.mark.parametrize("header", ["id,text", 'id,"text;"', "id;x,text"])
def test_a_header_with_commas_is_read_with_commas(write, header: str) -> None:
    path = write("a.csv", f"{header}\n1;2,b\n")
    findings = Findings()
    table = open_delimited(path, findings)
    assert table is not None
    assert len(table.types) == 2


def test_latin_1_is_found_by_byte_and_line(write) -> None:
    path = write("a.csv", b"text\nfine\n" + "caf\u00e9\n".encode("latin-1") + b"also fine\n")
    rows, _, findings = rows_of(path, "text")
    assert findings[0].where.endswith("a.csv:3")
    assert findings[0].what == "expected UTF-8, found byte 0xe9 at byte offset 13"
    assert rows[-1] == ("also fine",)


def test_utf_16_is_named(write) -> None:
    _, _, findings = rows_of(write("a.csv", "text\nx\n".encode("utf-16")), "text")
    assert "UTF-16" in findings[0].fix


def test_truncated_gzip(write) -> None:
    path = write("a.csv.gz", "text\n" + "\n".join(map(str, range(5000))))
    path.write_bytes(path.read_bytes()[:-100])
    _, _, findings = rows_of(path, "text")
    assert findings[-1].where == str(path)
    assert "expected a whole gzip file" in findings[-1].what


def test_what_is_no_gzip(write) -> None:
    path = write("a.csv", "text\nx\n").rename(write("a.csv.gz", "").parent / "a.csv.gz")
    assert "expected a whole gzip file" in rows_of(path, "text")[2][0].what


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_empty_files(write, content: str) -> None:
    assert "expected a line of column names, found an empty file" in rows_of(write("a.csv", content))[2][0].what


def test_a_column_twice(write) -> None:
    assert "found 'text' twice" in rows_of(write("a.csv", "text,text\nx,y\n"))[2][0].what


def test_carriage_returns_alone(write) -> None:
    assert "found a CR alone" in rows_of(write("a.csv", "text\rx\ry\r"))[2][0].what


def test_nul_and_control_characters_pass(write) -> None:
    rows, _, findings = rows_of(write("a.csv", "text\na\x00b\x07\n"), "text")
    assert rows == [("a\x00b\x07",)]
    assert not findings


def test_many_rows_come_in_batches_with_true_lines(write) -> None:
    path = write("a.csv", "n,text\n" + "".join(f'{i},"a\nb"\n' for i in range(20_000)))
    rows, places, _ = rows_of(path, "n")
    assert [row[0] for row in rows[:2]] == ["0", "1"]
    assert len(rows) == 20_000
    assert places[-1] == 2 + 2 * 19_999
