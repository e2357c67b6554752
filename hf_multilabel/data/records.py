"""JSON Lines files: one object a line, columns of one type, the true line of whatever breaks that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.lines import read_lines
from hf_multilabel.data.tables import BATCH_ROWS, Batch, Table

NULL = "null"
EMPTY_LIST = "an empty list"
OBJECT = "an object"
TYPES = {
    NULL: pa.null(),
    "text": pa.large_string(),
    "a number": pa.int64(),
    "a boolean": pa.bool_(),
    OBJECT: pa.struct([]),
    EMPTY_LIST: pa.list_(pa.null()),
    "a list of text": pa.list_(pa.large_string()),
    "a list of numbers": pa.list_(pa.int64()),
    "a list of booleans": pa.list_(pa.bool_()),
}
SCALARS = ((str, "text", "text"), (bool, "a boolean", "booleans"), ((int, float), "a number", "numbers"))
# Nulls and empty lists do not tell a column's type: so many lines are looked through for one that does.
PEEK = 1000


def open_records(path: Path, findings: Findings) -> Table | None:
    """Open a JSON Lines file; its columns are the keys of its first lines.

    Args:
        path: The file; .gz is unpacked.
        findings: Receives what is wrong with the first lines; None is returned where none can be read.
    """
    kinds: dict[str, str] = {}
    records = _records(path, before := Findings())
    for _, record in itertools.islice(records, PEEK):
        for name, value in record.items():
            if kinds.get(name, NULL) in (NULL, EMPTY_LIST):
                kinds[name] = _kind(value)
        if not {NULL, EMPTY_LIST} & set(kinds.values()):
            break
    records.close()
    if not kinds:
        findings.extend(before)
        if not before:
            findings.add("D102", str(path), "expected one JSON object a line, found none", "check how it was written")
        return None

    def read(columns: Sequence[str], findings: Findings) -> Iterator[Batch]:
        readers = [_Column(name, str(path), findings) for name in columns]
        records = _records(path, findings)
        while block := list(itertools.islice(records, BATCH_ROWS)):
            places = np.array([place for place, _ in block], dtype=np.int64)
            yield Batch({column.name: column.convert(block) for column in readers}, places, str(path))

    return Table(str(path), {name: TYPES.get(kind, pa.struct([])) for name, kind in kinds.items()}, read)


def _records(path: Path, findings: Findings) -> Generator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path, findings):
        if not line.strip():
            continue
        if number == 1 and line.lstrip().startswith("["):
            what = "expected one JSON object a line, found a JSON array"
            findings.add("D108", f"{path}:1", what, "write one object a line (JSON Lines)")
            return
        try:
            record = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            what = f"expected a JSON object, found {shown(line.strip())} ({error})"
            findings.add("D108", f"{path}:{number}", what, "correct the line")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            what = f"expected a JSON object, found {_kind(record)}"
            findings.add("D108", f"{path}:{number}", what, "write one object a line (JSON Lines)")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} twice")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


def _kind(value: Any) -> str:
    if value is None:
        return NULL
    if isinstance(value, list):
        # one level only: a line may nest deeper than functions can call each other
        kinds = {"a list" if isinstance(item, list) else _kind(item) for item in value}
        plural = next((many for _, one, many in SCALARS if kinds == {one}), None)
        if plural or not kinds:
            return f"a list of {plural}" if plural else EMPTY_LIST
        return f"a list of {' and '.join(sorted(kinds))}"
    return next((one for kind, one, _ in SCALARS if isinstance(value, kind)), OBJECT)


class _Column:
    """One column on its way to Arrow: its kind is that of its first value."""

    def __init__(self, name: str, file: str, findings: Findings) -> None:
        self.name, self.file, self.findings = name, file, findings
        self.kind, self.line = NULL, 0

    def convert(self, block: Sequence[tuple[int, dict[str, Any]]]) -> pa.Array:
        values = [self._checked(line, record) for line, record in block]
        # whole numbers or not, Arrow decides by the values
        kind = None if self.kind in ("a number", "a list of numbers") else TYPES[self.kind]
        try:
            return pa.array(values, kind)
        except UnicodeEncodeError:
            whole = [self._without_surrogates(line, value) for (line, _), value in zip(block, values, strict=True)]
            return pa.array(whole, kind)
        except (pa.ArrowInvalid, OverflowError):
            return pa.array([self._small(line, value) for (line, _), value in zip(block, values, strict=True)])

    def _checked(self, line: int, record: dict[str, Any]) -> Any:
        if self.name not in record:
            what = f"expected the key {self.name!r} on every line, found {', '.join(map(repr, record)) or 'none'}"
            self._add("D109", line, what, "add it; an empty list stands for no labels")
            return None
        value = record[self.name]
        kind = _kind(value)
        if kind == NULL or (kind == EMPTY_LIST and self.kind.startswith("a list")):
            return value
        undecided = self.kind == NULL or (self.kind == EMPTY_LIST and kind.startswith("a list"))
        if undecided and kind in TYPES and kind != OBJECT:
            self.kind, self.line = kind, line
        if kind == self.kind:
            return value
        since = f"{self.kind} as on line {self.line}" if self.line else "text, a number or a list of either"
        found = kind if isinstance(value, (list, dict)) else f"{kind}, {shown(value)}"
        self._add("D109", line, f"expected {since}, found {found}", "write all rows in one form")
        return None

    def _without_surrogates(self, line: int, value: Any) -> Any:
        if value is None:
            return None
        parts = value if isinstance(value, list) else [value]
        cleaned = [part.encode("utf-8", "replace").decode("utf-8") for part in parts]
        if cleaned != parts:
            what = f"expected Unicode text, found a lone surrogate in {shown(value)}"
            self._add("D112", line, what, "remove the escape \\udXXX or write its pair")
        return cleaned if isinstance(value, list) else cleaned[0]

    def _small(self, line: int, value: Any) -> Any:
        parts = value if isinstance(value, list) else [value]
        if all(part is None or abs(part) < 2**53 for part in parts):
            return value
        self._add("D109", line, f"expected numbers below 2**53, found {shown(value)}", "write identifiers as text")
        return None

    def _add(self, code: str, line: int, what: str, fix: str) -> None:
        self.findings.add(code, f"{self.file}:{line}:{self.name}", what, fix)
