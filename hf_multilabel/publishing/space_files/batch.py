"""A CSV file of texts in, the same rows with their label sets out."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from labelling import Judgement

DELIMITERS = (",", ";", "\t")
# Added to each row; columns of these names, as in a file that came from here, are replaced.
ADDED = ("decided_labels", "decided_probabilities")
# A spreadsheet runs a cell that starts so as a formula; an apostrophe before it keeps it text.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Refused(Exception):
    """What was given is not taken; the message is a sentence for the person who gave it."""


class Table(NamedTuple):
    """A CSV file.

    Args:
        header: Names of the columns.
        rows: One cell a column each.
    """

    header: list[str]
    rows: list[list[str]]


def read_table(path: str | Path, limits: Mapping[str, int]) -> Table:
    """Read a CSV file, separated by commas, semicolons or tabs.

    Args:
        path: The file.
        limits: `bytes`, `rows`, `columns` and `characters` (of a cell) that are taken.

    Raises:
        Refused: If the file is too large, no UTF-8 text, no table, or has no rows.
    """
    size = Path(path).stat().st_size
    if size > limits["bytes"]:
        raise Refused(f"The file has {size:,} bytes; at most {limits['bytes']:,} are taken.")
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused("The file is no UTF-8 text. Save it as CSV in UTF-8.") from error
    if "\0" in content:
        raise Refused("The file is no text: it has zero bytes. Save it as CSV in UTF-8.")
    if not content.strip():
        raise Refused("The file is empty. Its first line must name the columns.")
    # newline="" leaves line breaks inside quotes to the reader
    first = io.StringIO(content.lstrip("\r\n"), newline="").readline()
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=max(DELIMITERS, key=first.count), strict=True)
    try:
        rows = list(_checked(reader, limits))
    except csv.Error as error:
        raise Refused(f"The file is no CSV at line {reader.line_num:,}: {error}.") from error
    if len(rows) < 2:
        raise Refused("The file has a line of column names and no row below it.")
    return Table(rows[0], rows[1:])


def _checked(reader: Iterator[list[str]], limits: Mapping[str, int]) -> Iterator[list[str]]:
    """The rows that are not blank, the header first; stops at the first that is not taken."""
    header: list[str] | None = None
    number = 0
    for row in reader:
        if not row:
            continue
        if header is None:
            header = row
            if len(row) > limits["columns"]:
                raise Refused(f"The file has {len(row):,} columns; at most {limits['columns']:,} are taken.")
            name, times = Counter(row).most_common(1)[0]
            if times > 1:
                raise Refused(f"{times:,} columns are called “{name[:80]}”. Rename them.")
        else:
            number += 1
            if number > limits["rows"]:
                raise Refused(f"The file has more than {limits['rows']:,} rows. Divide it.")
            if len(row) != len(header):
                raise Refused(f"Row {number:,} has {len(row):,} cells, the first line names {len(header):,} columns.")
        if (longest := max(map(len, row))) > limits["characters"]:
            which = f"Row {number:,}" if number else "The first line"
            raise Refused(f"{which} has a cell of {longest:,} characters; at most {limits['characters']:,} are taken.")
        yield row


def texts_of(table: Table, column: str | None) -> list[str]:
    """The cells of one column.

    Raises:
        Refused: If there is none of this name.
    """
    if column not in table.header:
        known = ", ".join(f"“{name[:40]}”" for name in table.header[:8])
        raise Refused(f"There is no column “{str(column or '')[:80]}”. The file has {known}.")
    place = table.header.index(column)
    return [row[place] for row in table.rows]


def label_rows(
    table: Table, texts: Sequence[str], names: Sequence[str], judge: Callable[[str], Judgement]
) -> Iterator[list[str]]:
    """The table's rows, header first, each with its labels and their probabilities, most probable first.

    A row without a text has neither. Of the columns in `ADDED` that the file brought only the new ones are given.

    Args:
        table: The file.
        texts: One a row.
        names: L label names.
        judge: A text's label set.
    """
    kept = [place for place, name in enumerate(table.header) if name not in ADDED]
    join = "|".join if not any("|" in name for name in names) else _as_json
    yield [table.header[place] for place in kept] + list(ADDED)
    for row, text in zip(table.rows, texts, strict=True):
        labels: list[str] = []
        scores: list[str] = []
        if text.strip():
            judged = judge(text)
            decided = [label for label, chosen in enumerate(judged.decided) if chosen]
            decided.sort(key=lambda label: -judged.probabilities[label])
            labels = [names[label] for label in decided]
            scores = [f"{judged.probabilities[label]:.6f}" for label in decided]
        yield [row[place] for place in kept] + [join(labels) if labels else "", "|".join(scores)]


def _as_json(labels: list[str]) -> str:
    """Labels one of which has the separator in its name."""
    return json.dumps(labels, ensure_ascii=False)


def write_table(path: str | Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file that a spreadsheet reads as text, formulas included; the mark in front tells it UTF-8."""
    with Path(path).open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, lineterminator="\r\n").writerows([as_cell(cell) for cell in row] for row in rows)


def as_cell(value: str) -> str:
    """A value that no spreadsheet takes for a formula.

    Example:
        >>> as_cell("=1+1"), as_cell("sport")
        ("'=1+1", 'sport')
    """
    return f"'{value}" if value.startswith(FORMULA) else value
