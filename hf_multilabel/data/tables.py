"""What all file formats have in common: a table with typed columns, read in batches whose rows know their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from hf_multilabel.data.findings import Findings
from hf_multilabel.data.labels import either, nearest_labels
from hf_multilabel.errors import SHOWN

BATCH_ROWS = 8192


@dataclass(frozen=True)
class Batch:
    """Some rows of one file.

    Args:
        columns: Name to values, all of one length.
        places: For each row its number from 1: the physical line where it starts (text formats), else the row.
        file: As printed in findings.
    """

    columns: Mapping[str, pa.Array]
    places: np.ndarray
    file: str

    def where(self, row: int | np.integer, column: str) -> str:
        """`file:row:field` of a cell."""
        return f"{self.file}:{self.places[row]}:{column}"

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Table:
    """One opened file, or one split of a Hub dataset.

    Args:
        file: As printed in findings.
        types: Column name to type. Delimited files have text columns only; a type that is not known is null.
        read: Reads the named columns in order, in batches, and adds to the findings what is wrong.
        class_names: Label names of columns that hold class numbers (Hub features, XMC).
    """

    file: str
    types: Mapping[str, pa.DataType]
    read: Callable[[Sequence[str], Findings], Iterator[Batch]]
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check_columns(self, wanted: Sequence[str], findings: Findings, hint: str) -> bool:
        """Add a finding for each column that is not there, listing those that are, and those of like names."""
        missing = [name for name in wanted if name not in self.types]
        for name in missing:
            what = f"expected a column {name!r}, found the columns {', '.join(map(repr, self.types)) or 'none'}"
            near = nearest_labels(name, list(self.types)) if len(findings) < SHOWN else []
            findings.add("D103", f"{self.file}:{name}", what, f"did you mean {either(near)}? {hint}" if near else hint)
        return not missing


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds one list a row."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers; booleans are none."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def describe(kind: pa.DataType) -> str:
    """A type in a user's words.

    Example:
        >>> describe(pa.list_(pa.int64()))
        'lists of numbers'
    """
    if is_list(kind):
        inner = kind.value_type
        return "empty lists" if pa.types.is_null(inner) else f"lists of {describe(inner)}"
    return next((word for test, word in WORDS if test(kind)), str(kind))


WORDS = (
    (is_text, "text"),
    (is_number, "numbers"),
    (pa.types.is_boolean, "booleans"),
    (pa.types.is_null, "nulls"),
    (pa.types.is_struct, "objects"),
)
