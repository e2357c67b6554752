"""The three forms in which files hold labels: a list column, a delimited text column, 0/1 columns."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.tables import Batch, is_list, is_number, is_text
from hf_multilabel.data.vocabulary import NOT_A_NAME, Vocabulary

ZERO = ("0", "0.0", "false", "False", "FALSE")
ONE = ("1", "1.0", "true", "True", "TRUE")
# What a 0/1 column says where nobody knows, if the recipe has data.unknown_labels: -1.
UNKNOWN = -1
MINUS_ONE = ("-1", "-1.0")
# How a text column spells a number that is not negative.
NUMBER = r"^\+?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
CELL_FIX = "correct the row, or name the label columns in data.labels if this is none"
SOFT_CELL_FIX = "write data.soft_labels: true if this is a probability, or correct the row"
# NumPy prints lists without commas, which Python reads as one long string.
NO_COMMA = re.compile(r"""['"]\s+['"]""")


@dataclass(frozen=True)
class ListLabels:
    """A column with one list of names (or of class numbers) a row; in a text column lists are written out.

    Args:
        column: The column.
        class_names: Names by class number, where the source declares them.
    """

    column: str
    class_names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return (self.column,)

    def read(self, batch: Batch, vocabulary: Vocabulary, findings: Findings) -> csr_matrix:
        """The labels of a batch, bool, shape (n, numbers given out so far)."""
        array = batch.columns[self.column]
        if is_text(array.type):
            array = _parse_lists(batch, self.column, findings)
        if not is_list(array.type):
            return _matrix(len(batch), np.zeros(0, np.int64), np.zeros(0, np.int64), vocabulary)
        flat, rows = _flatten(array)
        kept = _without_nulls(batch, self.column, flat, rows, findings)
        flat, rows = flat.filter(pa.array(kept)), rows[kept]
        if is_number(flat.type):
            flat, rows = self._names(batch, flat, rows, findings)
        flat = flat.cast(pa.large_string())
        return _matrix(len(batch), rows, vocabulary.encode(batch, self.column, flat, rows, findings), vocabulary)

    def _names(self, batch: Batch, flat: pa.Array, rows: np.ndarray, findings: Findings) -> tuple[pa.Array, np.ndarray]:
        """Class numbers as text: the declared name, or the digits."""
        values = flat.to_numpy(zero_copy_only=False)
        self._find_vectors(batch, values, rows, findings)
        highest = len(self.class_names) - 1 if self.class_names else np.iinfo(np.int64).max
        wrong = (values < 0) | (values > highest) | (values != np.floor(values))
        expected = f"whole label numbers from 0{f' to {highest}' if self.class_names else ''}"
        for position in np.flatnonzero(wrong):
            where = batch.where(rows[position], self.column)
            findings.add("L104", where, f"expected {expected}, found {values[position]}", "correct the row")
        numbers, rows = pa.array(values[~wrong].astype(np.int64)), rows[~wrong]
        if self.class_names:
            return pa.array(self.class_names, pa.large_string()).take(numbers), rows
        return numbers.cast(pa.large_string()), rows

    def _find_vectors(self, batch: Batch, numbers: np.ndarray, rows: np.ndarray, findings: Findings) -> None:
        small = np.bincount(rows[(numbers == 0) | (numbers == 1)], minlength=len(batch))
        for row in np.flatnonzero((small > 2) & (small == np.bincount(rows, minlength=len(batch)))):
            found = shown(batch.columns[self.column][row].as_py())
            what = f"expected the numbers of the labels that hold, found one 0/1 value a label, {found}"
            fix = "set data.label_format: columns, and data.label_names to their order"
            findings.add("L104", batch.where(row, self.column), what, fix)


@dataclass(frozen=True)
class DelimitedLabels:
    """A text column with the names between delimiters; an empty cell or null is a row without labels.

    Args:
        column: The column.
        delimiter: Between two names; a space stands for any white space.
    """

    column: str
    delimiter: str

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return (self.column,)

    def read(self, batch: Batch, vocabulary: Vocabulary, findings: Findings) -> csr_matrix:
        """The labels of a batch, bool, shape (n, numbers given out so far)."""
        cells = pc.fill_null(batch.columns[self.column].cast(pa.large_string()), "")
        blank = self.delimiter.isspace() and self.delimiter != "\t"
        parts = pc.utf8_split_whitespace(cells) if blank else pc.split_pattern(cells, self.delimiter)
        flat, rows = _flatten(parts)
        flat = pc.utf8_trim_whitespace(flat)
        kept = pc.not_equal(flat, "").to_numpy(zero_copy_only=False)
        flat, rows = flat.filter(pa.array(kept)), rows[kept]
        return _matrix(len(batch), rows, vocabulary.encode(batch, self.column, flat, rows, findings), vocabulary)


@dataclass(frozen=True)
class ColumnLabels:
    """One 0/1 column a label, named like it.

    Args:
        columns: Their names.
        accepts_unknown: Whether -1 may stand there too; see `UnknownCells`.
        accepts_soft: Whether probabilities may stand there too, which hold from 0.5 on; see `SoftCells`.
    """

    columns: tuple[str, ...]
    accepts_unknown: bool = False
    accepts_soft: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return self.columns

    def read(self, batch: Batch, vocabulary: Vocabulary, findings: Findings) -> csr_matrix:
        """The labels of a batch, bool, shape (n, numbers given out so far)."""
        numbers = [vocabulary.number(name, f"{batch.file}:{name}", findings) for name in self.columns]
        holds = np.zeros((len(batch), len(self.columns)), dtype=bool)  # (n, L): a batch has few rows
        for position, name in enumerate(self.columns):
            array = batch.columns[name]
            zero, one = rounded(array) if self.accepts_soft else zero_one(array)
            holds[:, position] = one
            right = zero | one | minus_one(array) if self.accepts_unknown else zero | one
            if not right.all():
                self._find_wrong(batch, name, np.flatnonzero(~right), findings)
        rows, positions = holds.nonzero()
        return _matrix(len(batch), rows, np.array(numbers, dtype=np.int64)[positions], vocabulary)

    def _find_wrong(self, batch: Batch, name: str, rows: np.ndarray, findings: Findings) -> None:
        cells = batch.columns[name].take(pa.array(rows))
        expected = "a probability from 0 to 1" if self.accepts_soft else "0 or 1"
        for row, cell, value in zip(rows, cells, probabilities(cells), strict=True):
            fix = CELL_FIX if np.isnan(value) else SOFT_CELL_FIX
            findings.add("L104", batch.where(row, name), f"expected {expected}, found {shown(cell.as_py())}", fix)


@dataclass(frozen=True)
class UnknownCells:
    """The cells of 0/1 columns that hold -1.

    Args:
        columns: Their names.
    """

    columns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return self.columns

    def read(self, batch: Batch, vocabulary: Vocabulary, findings: Findings) -> csr_matrix:
        """The unknown labels of a batch, bool, shape (n, numbers given out so far)."""
        numbers = [vocabulary.number(name, f"{batch.file}:{name}", findings) for name in self.columns]
        cells = np.zeros((len(batch), len(self.columns)), dtype=bool)  # (n, L): a batch has few rows
        for position, name in enumerate(self.columns):
            cells[:, position] = minus_one(batch.columns[name])
        rows, positions = cells.nonzero()
        return _matrix(len(batch), rows, np.array(numbers, dtype=np.int64)[positions], vocabulary)


@dataclass(frozen=True)
class SoftCells:
    """The cells of 0/1 columns that hold a probability above 0 and below 1.

    Args:
        columns: Their names.
    """

    columns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return self.columns

    def read(self, batch: Batch, vocabulary: Vocabulary, findings: Findings) -> csr_matrix:
        """The probabilities of a batch, float32, shape (n, numbers given out so far)."""
        numbers = [vocabulary.number(name, f"{batch.file}:{name}", findings) for name in self.columns]
        cells = np.zeros((len(batch), max(len(vocabulary), 1)), dtype=np.float32)  # (n, L): a batch has few rows
        for number, name in zip(numbers, self.columns, strict=True):
            # where several columns are renamed to one label, the highest counts, as with 0 and 1
            cells[:, number] = np.fmax(cells[:, number], probabilities(batch.columns[name]))
        return csr_matrix(np.where(cells < 1, cells, 0))


@dataclass(frozen=True)
class VectorLabels:
    """A column with one list a row that has a 0 or 1 for each label.

    Args:
        column: The column.
        order: The labels in the order of the values.
    """

    column: str
    order: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read."""
        return (self.column,)

    def read(self, batch: Batch, vocabulary: Vocabulary, findings: Findings) -> csr_matrix:
        """The labels of a batch, bool, shape (n, numbers given out so far)."""
        numbers = [vocabulary.number(name, f"{batch.file}:{self.column}", findings) for name in self.order]
        array = batch.columns[self.column]
        widths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(widths != len(self.order)):
            what = f"expected {len(self.order)} values, one a label, found {widths[row]}"
            findings.add("L104", batch.where(row, self.column), what, "correct the row or data.label_names")
        flat, rows = _flatten(array)
        zero, one = zero_one(flat)
        for position in np.flatnonzero(~(zero | one)):
            where = batch.where(rows[position], self.column)
            findings.add("L104", where, f"expected 0 or 1, found {shown(flat[position].as_py())}", "correct the row")
        starts = np.repeat(np.cumsum(widths) - widths, widths)
        positions = np.arange(len(flat)) - starts
        one = one & (positions < len(self.order))
        return _matrix(len(batch), rows[one], np.array(numbers, dtype=np.int64)[positions[one]], vocabulary)


LabelColumns = ListLabels | DelimitedLabels | ColumnLabels | VectorLabels


def zero_one(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Where an array says 0 or false, and where 1 or true; nulls and other values are neither."""
    if is_text(array.type):
        masks = [pc.is_in(array, pa.array(values, array.type)) for values in (ZERO, ONE)]
    elif is_number(array.type):
        masks = [pc.equal(array, value) for value in (0, 1)]
    elif pa.types.is_boolean(array.type):
        masks = [pc.invert(array), array]
    else:
        masks = [pa.array(np.zeros(len(array), dtype=bool))] * 2
    zero, one = (pc.fill_null(mask, False).to_numpy(zero_copy_only=False) for mask in masks)
    return zero, one


def minus_one(array: pa.Array) -> np.ndarray:
    """Where an array holds -1."""
    if is_text(array.type):
        mask = pc.is_in(array, pa.array(MINUS_ONE, array.type))
    elif is_number(array.type):
        mask = pc.equal(array, UNKNOWN)
    else:
        return np.zeros(len(array), dtype=bool)
    return pc.fill_null(mask, False).to_numpy(zero_copy_only=False)


def probabilities(array: pa.Array) -> np.ndarray:
    """The values of an array where they are in [0, 1], NaN elsewhere; float64.

    Example:
        >>> probabilities(pa.array(["0.25", "true", "1.5", None])).tolist()
        [0.25, 1.0, nan, nan]
    """
    zero, one = zero_one(array)
    values = np.full(len(array), np.nan)
    if is_text(array.type):
        array = pc.if_else(pc.match_substring_regex(array, NUMBER), array, pa.scalar(None, array.type))
    if is_text(array.type) or is_number(array.type):
        values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values = np.where((values >= 0) & (values <= 1), values, np.nan)
    return np.where(one, 1.0, np.where(zero, 0.0, values))


def rounded(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Where a probability is below 0.5, and where it is not; what is no probability is neither."""
    values = probabilities(array)
    return values < 0.5, values >= 0.5


def _flatten(array: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """The items of all lists, and the row of each; null lists have none."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return array.flatten(), np.repeat(np.arange(len(array)), lengths)


def _without_nulls(batch: Batch, column: str, flat: pa.Array, rows: np.ndarray, findings: Findings) -> np.ndarray:
    null = flat.is_null().to_numpy(zero_copy_only=False)
    for row in rows[null]:
        findings.add("L101", batch.where(row, column), "expected label names, found null among them", "remove it")
    return ~null


def _matrix(count: int, rows: np.ndarray, numbers: np.ndarray, vocabulary: Vocabulary) -> csr_matrix:
    kept = numbers != NOT_A_NAME
    rows, numbers = rows[kept], numbers[kept]
    matrix = csr_matrix((np.ones(len(rows), dtype=bool), (rows, numbers)), shape=(count, max(len(vocabulary), 1)))
    matrix.sum_duplicates()
    return matrix


def _parse_lists(batch: Batch, column: str, findings: Findings) -> pa.Array:
    lists = []
    for row, cell in enumerate(batch.columns[column].to_pylist()):
        parsed = _parse_list(cell)
        if parsed is None:
            what = f'expected a list of names such as ["a", "b"], found {shown(cell)}'
            fix = "correct the row, or set data.label_format: delimited and data.label_delimiter"
            findings.add("L104", batch.where(row, column), what, fix)
        lists.append(parsed)
    return pa.array(lists, pa.list_(pa.large_string()))


def _parse_list(cell: str | None) -> list[str] | None:
    if cell is None or not cell.strip():
        return []
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        if NO_COMMA.search(cell):
            return None
        try:
            found = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    if not isinstance(found, list):
        return None
    kinds = {type(item) for item in found}
    return [str(item) for item in found] if kinds <= {str} or kinds == {int} else None
