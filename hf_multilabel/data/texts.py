"""Unlabelled texts for prediction, streamed in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hf_multilabel.data.columns import TextColumns, as_tuple
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.formats import open_lines, open_table, suffix_of
from hf_multilabel.data.lines import STDIN
from hf_multilabel.data.tables import Table
from hf_multilabel.errors import InputError, raise_findings


def read_texts(
    path: str | Path,
    *,
    text: str | Sequence[str] = "text",
    text_separator: str = " ",
    strip_html: bool = False,
    id: str | None = None,
) -> Iterator[dict[str, str]]:
    """Check a file of texts, then stream it.

    Args:
        path: Lines (.txt), JSON Lines, CSV or TSV (each also .gz), Parquet, Arrow; "-" reads lines from standard input.
        text: The column of the text, or several that are joined; lines have none.
        text_separator: Stands between joined columns.
        strip_html: Replace markup by the text a reader sees.
        id: The column that names a row; None: its number from 1.

    Returns:
        One `{"id", "text"}` a row.

    Raises:
        InputError: With all findings about the file, before the first row is returned. Standard input can't be read
            twice: there the finding comes at its line.

    Cost: Constant memory; a file is read twice, which is little beside a model's work.
    """
    columns = TextColumns(as_tuple(text), text_separator, strip_html, id)
    if str(path) == STDIN:
        return _stream(open_lines(STDIN), TextColumns(("text",)))
    findings = Findings()
    if suffix_of(path) == ".txt" and Path(path).is_file():
        table, columns = open_lines(path), TextColumns(("text",), strip_html=strip_html)
    else:
        found = open_table(path, findings)
        if found is None:
            raise InputError(findings)
        table = found
    _check(table, columns)
    return _stream(table, columns)


def _check(table: Table, columns: TextColumns) -> None:
    findings = Findings()
    count = 0
    if columns.check(table, findings):
        for batch in table.read(columns.names, findings):
            columns.read(batch, findings)
            columns.read_ids(batch, "", 1, findings)
            count += len(batch)
        if not count and not findings:
            findings.add("D102", table.file, "expected texts, found none", "check how the file was written")
    raise_findings(findings)


def _stream(table: Table, columns: TextColumns) -> Iterator[dict[str, str]]:
    count = 0
    findings = Findings()
    for batch in table.read(columns.names, findings):
        texts = columns.read(batch, findings).to_pylist()
        ids = columns.read_ids(batch, "", count + 1, findings).to_pylist()
        raise_findings(findings)
        yield from ({"id": name, "text": value} for name, value in zip(ids, texts, strict=True))
        count += len(batch)
    raise_findings(findings)
