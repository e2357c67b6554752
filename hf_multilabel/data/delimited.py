"""CSV and TSV files: physical line numbers, open quotes, wrong field counts, wrong delimiters."""

from __future__ import annotations

import csv
import functools
import itertools
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.lines import read_lines
from hf_multilabel.data.tables import BATCH_ROWS, Batch, Table

DELIMITERS = (",", ";", "\t", "|")
QUOTED = re.compile('"[^"]*"')
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

logger = logging.getLogger(__name__)

# Legal documents pass the default of 131,072 characters a field. The limit is one for the whole process.
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


def open_delimited(path: Path, findings: Findings, delimiter: str | None = None) -> Table | None:
    """Open a CSV or TSV file whose first line names the columns.

    Args:
        path: The file; .gz is unpacked.
        findings: Receives what is wrong with the header; None is returned then.
        delimiter: One character; None: tab where the name says .tsv, else comma, or semicolon as its header has it.
    """
    delimiter = delimiter or ("\t" if ".tsv" in path.suffixes else comma_or_semicolon(path))
    before = len(findings)
    start, header = next(_records(path, delimiter, findings), (1, []))
    if len(findings) > before:
        return None
    if not header:
        findings.add(
            "D102", str(path), "expected a line of column names, found an empty file", "check how it was written"
        )
        return None
    _check_header(path, start, header, delimiter, findings)
    if len(findings) > before:
        return None

    def read(columns: Sequence[str], findings: Findings) -> Iterator[Batch]:
        indices = [header.index(name) for name in columns]
        rows = _rows(path, delimiter, len(header), findings)
        while block := list(itertools.islice(rows, BATCH_ROWS)):
            places = np.array([place for place, _ in block], dtype=np.int64)
            cells = {
                name: pa.array([record[index] for _, record in block], pa.large_string())
                for name, index in zip(columns, indices, strict=True)
            }
            yield Batch(cells, places, str(path))

    return Table(str(path), dict.fromkeys(header, pa.large_string()), read)


def comma_or_semicolon(path: Path) -> str:
    """What separates the columns of a file: a semicolon, which is said, if its header has one and no comma."""
    header = next((line for _, line in read_lines(path, Findings()) if line.strip()), "")
    bare = QUOTED.sub("", header)
    if ";" not in bare or "," in bare:
        return ","
    _say_semicolon(str(path))
    return ";"


@functools.cache  # once a file: a command may open it several times
def _say_semicolon(path: str) -> None:
    logger.warning("%s: read with ; as delimiter", path)


def _check_header(path: Path, line: int, header: list[str], delimiter: str, findings: Findings) -> None:
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        what = f"expected different column names, found {twice!r} twice"
        findings.add("D107", f"{path}:{line}", what, "rename one of the columns")
    other = max(DELIMITERS, key=header[0].count)
    if len(header) == 1 and other in header[0]:
        what = f"expected columns separated by a {NAMES.get(delimiter, repr(delimiter))}, found {shown(header[0])}"
        fix = f"the delimiter is probably a {NAMES[other]}: save the file with the usual one (.csv comma, .tsv tab)"
        findings.add("D107", f"{path}:{line}", what, fix)


def _rows(path: Path, delimiter: str, width: int, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    records = _records(path, delimiter, findings)
    next(records, None)
    for place, record in records:
        if len(record) == width:
            yield place, record
            continue
        what = f"expected {width} fields as in the header, found {len(record)}"
        sign = NAMES.get(delimiter, repr(delimiter))
        fix = f"put fields that contain a {sign} or a line end between double quotes"
        findings.add("D107", f"{path}:{place}", what, fix)


def _records(path: Path, delimiter: str, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """The records with the physical line on which each starts; blank lines are left out."""
    reader = csv.reader((line for _, line in read_lines(path, findings)), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            _explain(path, delimiter, start, reader.line_num, error, findings)
            return
        if record:
            yield start, record


def _explain(path: Path, delimiter: str, start: int, end: int, error: csv.Error, findings: Findings) -> None:
    if "new-line" in str(error):
        what = "expected lines that end in LF or CR LF, found a CR alone"
        findings.add("D107", f"{path}:{start}", what, "save the file with LF line ends")
        return
    line = _open_quote(path, delimiter, start)
    what = f"expected the quote opened on this line to be closed before a delimiter, found none until line {end}"
    fix = 'close it, and write a quote inside a field twice (""); the rows after it were not read'
    findings.add("D107", f"{path}:{line}", what, fix)


def _open_quote(path: Path, delimiter: str, start: int) -> int:
    """The line of the quote that is wrong: still open at the end of the file, or closed in the middle of a field."""
    opening = re.compile(f'(?:^|(?<={re.escape(delimiter)}))"')
    inside, opened = False, start
    for number, line in itertools.islice(read_lines(path, Findings()), start - 1, None):
        position = 0
        while True:
            if not inside:
                match = opening.search(line, position)
                if match is None:
                    break
                inside, opened, position = True, number, match.end()
            closing = line.find('"', position)
            if closing < 0:
                break
            position = closing + 1
            if line[position : position + 1] == '"':
                position += 1
            elif line[position : position + 1] in ("", delimiter, "\r", "\n"):
                inside = False
            else:
                return opened
    return opened
