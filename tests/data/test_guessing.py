"""Columns guessed as users name them, and what can't be guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_multilabel.data.findings import Findings
from hf_multilabel.data.formats import open_table
from hf_multilabel.data.guessing import guess_columns, guess_delimiter
from hf_multilabel.errors import InputError

Write = Callable[[str, "str | bytes"], Path]


def guess(path: Path, **given: object) -> dict:
    table = open_table(path, Findings())
    assert table is not None
    return guess_columns(table, given).settings


def test_delimited_labels_and_the_longest_text(write: Write) -> None:
    path = write(
        "a.csv",
        "Ticket ID,subject_line,reply,Tags\n1,hi,we will call you back soon,red wine;cheese\n2,ho,thanks,cheese\n",
    )
    assert guess(path) == {
        "labels": "Tags",
        "label_delimiter": ";",
        "id": "Ticket ID",
        "text": ["subject_line", "reply"],
    }


def test_zero_one_columns(write: Write) -> None:
    path = write("a.csv", "comment_text,toxic,insult\nwhat a day,0,1\ngo away,1,1\n")
    assert guess(path) == {"labels": None, "text": "comment_text"}


def test_a_column_of_0_and_1_holds_no_names(write: Write) -> None:
    path = write("a.csv", "comment_text,toxic\nwhat a day,0\ngo away,1\n")
    assert guess(path, labels="toxic") == {"text": "comment_text"}


def test_lists(write: Write) -> None:
    rows = [{"text": "a b", "labels": ["x"]}, {"text": "c d", "labels": []}]
    path = write("a.jsonl", "\n".join(map(json.dumps, rows)))
    assert guess(path) == {"labels": "labels", "text": "text"}


def test_lists_written_out_in_a_text_column(write: Write) -> None:
    path = write("a.csv", "text,labels\nhello there,\"['a', 'b']\"\nbye,['a']\n")
    assert guess(path) == {"labels": "labels", "label_format": "list", "text": "text"}


def test_html_is_seen(write: Write) -> None:
    path = write("a.csv", "body,tags\n<p>one</p>,a b\n<p>two</p>,a\n")
    assert guess(path)["strip_html"] is True


def test_a_title_that_the_text_repeats_is_not_read_twice(write: Write) -> None:
    rows = [
        {"title": "Salt", "text": "Salt is white", "labels": ["x"]},
        {"title": "Tea", "text": "Tea is hot", "labels": []},
    ]
    assert guess(write("a.jsonl", "\n".join(map(json.dumps, rows))))["text"] == "text"


def test_what_the_user_says_is_not_guessed(write: Write) -> None:
    path = write("a.csv", "title,body,tags,kind\nx,a long text,a b,u;v\ny,another text,a,u\n")
    assert guess(path, text="title", labels="kind") == {"label_delimiter": ";"}


def test_ids_that_repeat_are_no_ids(write: Write) -> None:
    assert "id" not in guess(write("a.csv", "id,text,tags\n1,one thing,a b\n1,two things,a\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [("text,stars\nhello,4\nbye,5\n", "label column"), ("labels,n\na;b,1\nb,2\n", "column of text")],
)
def test_nothing_to_guess_from_names_the_columns(write: Write, content: str, said: str) -> None:
    path = write("a.csv", content)
    with pytest.raises(InputError, match=f"D122.*expected a {said}.*data.text=COLUMN"):
        guess(path)


@pytest.mark.parametrize(
    ("cells", "delimiter"),
    [
        (["a,b", "b,c", "a"], ","),
        (["machine learning|vision", "vision", "machine learning"], "|"),
        (["red wine, bread", "bread", "red wine"], ","),
        (["one", "two", "one"], "|"),
    ],
)
def test_delimiters(cells: list[str], delimiter: str) -> None:
    assert guess_delimiter(cells) == delimiter


def test_a_file_without_rows_is_said_to_have_none(write: Write) -> None:
    path = write("a.csv", "ticket_id,body,tags\n")
    with pytest.raises(InputError, match="D102.*expected rows, found none below the column names") as error:
        guess(path)
    assert "data.text" not in str(error.value)
