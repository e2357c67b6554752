"""Text files as numbered physical lines: gzip, byte order marks, and bytes that are no UTF-8."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from hf_multilabel.data.findings import Findings

BOM = b"\xef\xbb\xbf"
STDIN = "-"


@contextlib.contextmanager
def open_bytes(path: Path | str) -> Iterator[BinaryIO]:
    """Open a file for reading bytes, decompressed where its name ends in .gz; "-" is standard input."""
    if str(path) == STDIN:
        yield sys.stdin.buffer
    elif str(path).endswith(".gz"):
        # reading a GzipFile line by line is slow without a buffer around it
        with gzip.open(path, "rb") as unpacked, io.BufferedReader(unpacked, 1 << 20) as handle:
            yield handle
    else:
        with open(path, "rb") as handle:
            yield handle


def read_lines(path: Path | str, findings: Findings) -> Generator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file with their numbers, line ends kept.

    Bytes that can't be decoded become findings and are replaced, so that the rest of the file is checked too.

    Args:
        path: A file, a gzip file (name ends in .gz), or "-" for standard input.
        findings: Receives what is wrong.

    Yields:
        Line number from 1, and the line. The byte order mark is dropped.
    """
    offset = 0
    try:
        with open_bytes(path) as handle:
            for number, raw in enumerate(handle, 1):
                line = raw[len(BOM) :] if number == 1 and raw.startswith(BOM) else raw
                yield number, _decode(line, path, number, offset + len(raw) - len(line), findings)
                offset += len(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = f"expected a whole gzip file, found one that breaks off or is damaged ({error})"
        findings.add("D110", str(path), what, "fetch or compress the file again")
    except OSError as error:
        findings.add(
            "D101", str(path), f"expected a readable file, found: {error.strerror}", "check path and permissions"
        )


def _decode(line: bytes, path: Path | str, number: int, offset: int, findings: Findings) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        what = f"expected UTF-8, found byte 0x{byte:02x} at byte offset {offset + error.start}"
        guess = "UTF-16" if offset == 0 and line[:2] in (b"\xff\xfe", b"\xfe\xff") else "Latin-1 or Windows-1252"
        findings.add("D106", f"{path}:{number}", what, f"save the file as UTF-8 (it may be {guess})")
        return line.decode("utf-8", "replace")
