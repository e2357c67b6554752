"""Unlabelled texts for prediction, streamed in constant memory."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hf_multilabel.data.columns import TextColumns, as_tuple
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.formats import open_lines, open_table, suffix_of
from hf_multilabel.data.lines import STDIN
from hf_multilabel.data.tables import Table
from hf_multilabel.errors import Finding, InputError, raise_findings

# How `hf-multilabel predict` names the columns.
OPTIONS = ("give --text COLUMN,", "give --id COLUMN,")


def read_texts(
    path: str | Path,
    *,
    text: str | Sequence[str] = "text",
    text_separator: str = " ",
    strip_html: bool = False,
    id: str | None = None,
    lacking: Callable[[str], object] | None = None,
) -> Iterator[dict[str, str]]:
    """Check a file of texts, then stream it.

    Args:
        path: Lines (.txt), JSON Lines, CSV or TSV (each also .gz), Parquet, Arrow; "-" reads lines from standard input.
        text: The column of the text, or several that are joined; lines have none.
        text_separator: Stands between joined columns.
        strip_html: Replace markup by the text a reader sees.
        id: The column that names a row; None: its number from 1.
        lacking: Called with the place of each row without text, which is then returned with a text of no more than
            blanks; None refuses such rows.

    Returns:
        One `{"id", "text"}` a row.

    Raises:
        InputError: With all findings about the file, before the first row is returned. Standard input can't be read
            twice: there the finding comes at its line.

    Cost: Constant memory; a file is read twice, which is little beside a model's work.
    """
    columns = TextColumns(as_tuple(text), text_separator, strip_html, id, lacking is not None, OPTIONS)
    lines = replace(columns, text=("text",), id=None)
    if str(path) == STDIN:
        return _stream(open_lines(STDIN), lines, lacking)
    findings = Findings()
    if suffix_of(path) == ".txt" and Path(path).is_file():
        table, columns = open_lines(path), lines
    else:
        found = open_table(path, findings)
        if found is None:
            raise InputError(findings)
        table = found
    _check(table, columns)
    return _stream(table, columns, lacking)


def _check(table: Table, columns: TextColumns) -> None:
    findings = Findings()
    count = blank = 0
    if columns.check(table, findings):
        for batch in table.read(columns.names, findings):
            blank += len(columns.lacking(columns.read(batch, findings)))
            columns.read_ids(batch, "", 1, findings)
            count += len(batch)
        if not findings and blank == count:
            findings.append(_no_texts(table, count))
    raise_findings(findings)


def _no_texts(table: Table, rows: int) -> Finding:
    found = f"{rows} row{'s'[: rows != 1]} without" if rows else "none"
    return Finding("D102", table.file, f"expected texts, found {found}", "check how the file was written")


def _stream(table: Table, columns: TextColumns, lacking: Callable[[str], object] | None) -> Iterator[dict[str, str]]:
    count = blank = 0
    findings = Findings()
    for batch in table.read(columns.names, findings):
        texts = columns.read(batch, findings)
        ids = columns.read_ids(batch, "", count + 1, findings).to_pylist()
        raise_findings(findings)
        for row in columns.lacking(texts) if lacking is not None else ():
            lacking(batch.where(row, "+".join(columns.text)))
            blank += 1
        yield from ({"id": name, "text": value} for name, value in zip(ids, texts.to_pylist(), strict=True))
        count += len(batch)
    if not findings and blank == count:
        findings.append(_no_texts(table, count))
    raise_findings(findings)


def checked_row(row: Mapping[str, str], position: int) -> Mapping[str, str]:
    """A row as `read_texts` gives it, if it is one.

    Args:
        row: With `id` and `text`.
        position: Its number among the rows from 0, for the message.

    Raises:
        ValueError: If not, with the key under which it has its text, where only one can be meant.
    """
    if isinstance(row, Mapping) and "id" in row and isinstance(row.get("text"), str):
        return row
    held = row if isinstance(row, Mapping) else {}
    texts = [key for key, value in held.items() if isinstance(value, str) and key != "id"]
    texts = ["text"] if "text" in texts else texts
    id = "row['id']" if "id" in held else repr(str(position + 1))
    text = f"row[{texts[0]!r}]" if len(texts) == 1 else "TEXT"
    raise ValueError(
        f"rows[{position}]: expected a mapping with 'id' and 'text', the text a str, found {reprlib.repr(row)}. Give "
        f"{{'id': {id}, 'text': {text}}}: the key is 'text', whatever the column was called in training."
    )
