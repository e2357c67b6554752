"""File formats by the end of a file's name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from hf_multilabel.data.columnar import open_arrow, open_parquet
from hf_multilabel.data.delimited import open_delimited
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.lines import STDIN, read_lines
from hf_multilabel.data.records import open_records
from hf_multilabel.data.tables import BATCH_ROWS, Batch, Table


def suffix_of(path: Path | str) -> str:
    """The end of a name that tells the format, without .gz.

    Example:
        >>> suffix_of("train.v2.CSV.gz")
        '.csv'
    """
    return Path(str(path).lower().removesuffix(".gz")).suffix


def open_table(path: Path | str, findings: Findings) -> Table | None:
    """Open a file by its suffix.

    Args:
        path: The file.
        findings: Receives what is wrong; None is returned then.
    """
    if not Path(path).is_file():
        found = "a folder" if Path(path).is_dir() else "none"
        findings.add("D101", str(path), f"expected a file, found {found}", "check the path")
        return None
    packed = str(path).lower().endswith(".gz")
    opener = FORMATS.get(suffix_of(path))
    if opener is None or (packed and suffix_of(path) in (".parquet", ".arrow")):
        what = f"expected a file that ends in {', '.join(FORMATS)} (text formats also .gz), found {Path(path).name!r}"
        findings.add("D105", str(path), what, "convert or rename it")
        return None
    return opener(Path(path), findings)


def open_lines(path: Path | str, column: str = "text") -> Table:
    """A file with one text a line, or standard input ("-"), as a table with one column; blank lines end it only."""
    name = "standard input" if str(path) == STDIN else str(path)
    # a person or a pipe at the other end waits for each line
    size = 1 if str(path) == STDIN else BATCH_ROWS

    def read(columns: Sequence[str], findings: Findings) -> Iterator[Batch]:
        lines = _without_blank_end(read_lines(path, findings))
        while block := list(itertools.islice(lines, size)):
            texts = pa.array([line for _, line in block], pa.large_string())
            places = np.array([number for number, _ in block], dtype=np.int64)
            yield Batch(dict.fromkeys(columns, texts), places, name)

    return Table(name, {column: pa.large_string()}, read)


def _without_blank_end(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    blank: list[tuple[int, str]] = []
    for number, line in lines:
        blank.append((number, line.rstrip("\r\n")))
        if line.strip():
            yield from blank
            blank.clear()


FORMATS: dict[str, Callable[[Path, Findings], Table | None]] = {
    ".csv": open_delimited,
    ".tsv": open_delimited,
    ".jsonl": open_records,
    ".ndjson": open_records,
    ".json": open_records,
    ".parquet": open_parquet,
    ".arrow": open_arrow,
}
