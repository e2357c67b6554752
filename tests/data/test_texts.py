from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_multilabel.data.loading import read_texts
from hf_multilabel.errors import InputError

EXPECTED = [{"id": "1", "text": "a b"}, {"id": "2", "text": "NA"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffa b\r\nNA\r\n\n"),
        ("a.txt.gz", "a b\nNA"),
        ("a.csv", "x,text\n1,a b\n2,NA\n"),
        ("a.tsv.gz", "text\tx\na b\t1\nNA\t2\n"),
        ("a.jsonl", '{"text": "a b"}\n{"text": "NA", "y": 1}\n'),
    ],
)
def test_every_format(write, name: str, content: str) -> None:
    assert list(read_texts(write(name, content))) == EXPECTED


def test_parquet_with_ids_and_several_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [7, 8], "t": ["a", "c"], "u": ["b", ""]}), tmp_path / "a.parquet")
    found = read_texts(tmp_path / "a.parquet", text=["t", "u"], text_separator="-", id="key")
    assert list(found) == [{"id": "7", "text": "a-b"}, {"id": "8", "text": "c"}]


def test_markup(write) -> None:
    assert next(read_texts(write("a.txt", "<b>x</b> &amp; y"), strip_html=True))["text"] == "x & y"


def test_standard_input_is_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a b\nNA\n\n")))
    assert list(read_texts("-")) == EXPECTED


def test_a_line_is_returned_before_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def __iter__(self):
            return (f"line {number}\n".encode() for number in itertools.count())

    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=Endless()))
    found = list(itertools.islice(read_texts("-"), 3))
    assert [row["text"] for row in found] == ["line 0", "line 1", "line 2"]


def test_markup_of_standard_input_is_stripped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"<b>x</b> &amp; y\n")))
    assert next(read_texts("-", strip_html=True))["text"] == "x & y"


def test_rows_without_text_are_told_and_kept_where_that_is_asked(write) -> None:
    path = write("a.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in ["x", "", "y", None]))
    places: list[str] = []
    assert [row["text"] for row in read_texts(path, lacking=places.append)] == ["x", "", "y", ""]
    assert places == [f"{path}:2:text", f"{path}:4:text"]
    with pytest.raises(InputError, match=r"D109.*:2:text.*expected the key 'text' on every line"):
        read_texts(write("b.jsonl", '{"text": "x"}\n{"txt": "y"}\n'), lacking=places.append)


def test_all_findings_come_before_the_first_row(write) -> None:
    path = write("a.jsonl", "".join(json.dumps({"text": t}) + "\n" for t in ["x", "", "y", None]))
    with pytest.raises(InputError) as caught:
        read_texts(path)
    assert {finding.where for finding in caught.value.findings} == {f"{path}:2:text", f"{path}:4:text"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x\n\ny\n", "a.txt:2:text: expected text, found ''"),
        ("a.txt", "", "expected texts, found none"),
        ("a.csv", "text\n", "expected texts, found none"),
        ("a.csv", "body\nx\n", "expected a column 'text', found the columns 'body'"),
        ("a.docx", "x", "expected a file that ends in"),
        ("a.txt", b"caf\xe9\n", "byte 0xe9 at byte offset 3"),
    ],
)
def test_what_can_not_be_read(write, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_texts(write(name, content))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file, found none"):
        read_texts(tmp_path / "a.txt")
    with pytest.raises(InputError, match="expected a file, found a folder"):
        read_texts(tmp_path)
