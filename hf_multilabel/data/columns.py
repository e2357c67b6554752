"""Ids and texts of a batch: which columns, joined how, and what is no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.markup import strip_html
from hf_multilabel.data.tables import Batch, Table, describe, is_text

TEXT_FIX = "fill it in or remove the row"


@dataclass(frozen=True)
class TextColumns:
    """Where ids and texts stand.

    Args:
        text: Columns whose values are joined to the text, in this order.
        separator: Stands between two joined values that are not empty.
        strip_html: Remove markup from each value.
        id: Column that names a row; None: rows are numbered.
        may_lack: Rows without text are no findings; whoever reads them asks `lacking`.
        said: How a user names the columns of text and id, for messages.
    """

    text: tuple[str, ...]
    separator: str = " "
    strip_html: bool = False
    id: str | None = None
    may_lack: bool = False
    said: tuple[str, str] = ("set data.text to", "set data.id to null or to")

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return self.text + ((self.id,) if self.id is not None and self.id not in self.text else ())

    def check(self, table: Table, findings: Findings) -> bool:
        """Add findings for columns that are missing or hold no text, and say whether reading makes sense."""
        before = len(findings)
        if table.check_columns(self.text, findings, f"{self.said[0]} the column of the text"):
            for name in self.text:
                if not (is_text(table.types[name]) or pa.types.is_null(table.types[name])):
                    what = f"expected text, found {describe(table.types[name])}"
                    findings.add("D111", f"{table.file}:{name}", what, f"{self.said[0]} another column")
        if self.id is not None and table.check_columns(
            [self.id], findings, f"{self.said[1]} the column that names rows"
        ):
            kind = table.types[self.id]
            if not (is_text(kind) or pa.types.is_integer(kind)):
                what = f"expected ids as text or whole numbers, found {describe(kind)}"
                findings.add("D113", f"{table.file}:{self.id}", what, f"{self.said[1]} another column")
        return len(findings) == before

    def read(self, batch: Batch, findings: Findings) -> pa.Array:
        """The texts of a batch, shape (n,), large_string without nulls."""
        parts = [self._column(batch, name, findings) for name in self.text]
        joined = parts[0]
        for part in parts[1:]:
            both = pc.binary_join_element_wise(joined, part, pa.scalar(self.separator, pa.large_string()))
            joined = pc.if_else(_empty(joined), part, pc.if_else(_empty(part), joined, both))
        for row in () if self.may_lack else self.lacking(joined):
            what = f"expected text, found {shown(joined[row].as_py())}"
            what += " once the markup is removed" if self.strip_html else ""
            findings.add("D111", batch.where(row, "+".join(self.text)), what, TEXT_FIX)
        return joined

    def lacking(self, texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Numbers of the rows that have no text."""
        return np.flatnonzero(pc.equal(pc.utf8_trim_whitespace(texts), "").to_numpy(zero_copy_only=False))

    def read_ids(self, batch: Batch, prefix: str, start: int, findings: Findings) -> pa.Array:
        """The ids of a batch; without an id column the prefix and the row's number from `start`."""
        if self.id is None:
            return pa.array([f"{prefix}{number}" for number in range(start, start + len(batch))], pa.string())
        ids = batch.columns[self.id].cast(pa.string())
        blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(ids), ""), True)
        for row in np.flatnonzero(blank.to_numpy(zero_copy_only=False)):
            what = f"expected an id, found {shown(ids[row].as_py())}"
            findings.add("D113", batch.where(row, self.id), what, f"fill it in, or {self.said[1]} another column")
        return pc.fill_null(ids, "")

    def _column(self, batch: Batch, name: str, findings: Findings) -> pa.Array:
        array = batch.columns[name]
        for row in () if self.may_lack else np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)):
            findings.add("D111", batch.where(row, name), "expected text, found null", TEXT_FIX)
        array = pc.fill_null(array.cast(pa.large_string()), "")
        if self.strip_html:
            return pa.array([strip_html(text) for text in array.to_pylist()], pa.large_string())
        return array


def as_tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple.

    Example:
        >>> as_tuple("text")
        ('text',)
    """
    return (names,) if isinstance(names, str) else tuple(names)


def _empty(array: pa.Array) -> pa.Array:
    return pc.equal(array, "")
