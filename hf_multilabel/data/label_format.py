"""Which of the label forms a file uses: the recipe says so, or the type of the column does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from hf_multilabel.data.columns import as_tuple
from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.label_columns import (
    ONE,
    UNKNOWN,
    ZERO,
    ColumnLabels,
    DelimitedLabels,
    LabelColumns,
    ListLabels,
    UnknownCells,
    VectorLabels,
    minus_one,
    rounded,
    zero_one,
)
from hf_multilabel.data.tables import Table, describe, is_list, is_number, is_text

LABELS_FIX = "set data.labels to the label column, to the list of the 0/1 columns, or to null for all 0/1 columns"
UNKNOWN_FIX = "set data.unknown_labels to the column that lists a row's unknown labels, or remove it"
SOFT_FIX = "name the 0/1 columns, one a label, in data.labels, or remove data.soft_labels"
GUESSES = ("|", ";", ",", "\t", " ")


@dataclass(frozen=True)
class LabelRequest:
    """What a recipe says about the labels.

    Args:
        columns: The label column, the 0/1 columns, or None for all 0/1 columns.
        form: Key of `LABEL_FORMATS`.
        delimiter: Between the names of a delimited column.
        order: Declared labels; a column of 0/1 lists follows their order.
        unknown: The column of the labels that are unknown, in the form of the label column; or -1: the cells of 0/1
            columns that hold -1. None: all are known.
        soft: Whether cells of 0/1 columns may hold probabilities.
    """

    columns: str | Sequence[str] | None = "labels"
    form: str = "auto"
    delimiter: str | None = None
    order: tuple[str, ...] = ()
    unknown: str | int | None = None
    soft: bool = False

    def choose(self, table: Table, findings: Findings) -> LabelColumns | None:
        """The reader of a table's labels, or None where a finding says why there is none.

        Raises:
            ValueError: If `form` is unknown, or the columns were not found with `find_columns`.
        """
        if self.form not in LABEL_FORMATS:
            raise ValueError(f"label_format: expected one of {', '.join(LABEL_FORMATS)}, found {self.form!r}.")
        if self.columns is None:
            raise ValueError("labels: expected column names, found None. Call find_columns first.")
        if not table.check_columns(as_tuple(self.columns), findings, LABELS_FIX):
            return None
        if self.soft and not self._has_cells(table):
            self._refuse_cells("soft_labels: true", table, findings, SOFT_FIX)
            return None
        return LABEL_FORMATS[self.form](self, table, findings)

    def choose_unknown(self, table: Table, findings: Findings) -> LabelColumns | UnknownCells | None:
        """The reader of a table's unknown labels, or None where there are none or a finding says why."""
        if self.unknown is None:
            return None
        if isinstance(self.unknown, str):
            if not table.check_columns([self.unknown], findings, UNKNOWN_FIX):
                return None
            form = self.form if self.form in ("list", "delimited") else "auto"
            return replace(self, columns=self.unknown, form=form, unknown=None, soft=False).choose(table, findings)
        if self._has_cells(table):
            return UnknownCells(as_tuple(self.columns or ()))
        self._refuse_cells("unknown_labels: -1", table, findings, UNKNOWN_FIX)
        return None

    def _has_cells(self, table: Table) -> bool:
        """Whether the labels of a table are one 0/1 column each."""
        names = as_tuple(self.columns or ())
        named = self.form == "columns" or (self.form == "auto" and not isinstance(self.columns, str))
        return named and all(name in table.types and not is_list(table.types[name]) for name in names)

    def _refuse_cells(self, beside: str, table: Table, findings: Findings, fix: str) -> None:
        found = ", ".join(map(repr, as_tuple(self.columns or ())))
        findings.add("L106", f"{table.file}:labels", f"expected 0/1 columns beside {beside}, found {found}", fix)

    def find_columns(self, table: Table, others: Sequence[str], findings: Findings) -> LabelRequest:
        """Name the 0/1 columns of a table where the recipe leaves them open.

        Args:
            table: Its whole content is looked at: a column in which most values are 0 or 1 (or probabilities, where
                they may stand) is a label, and the other values in it are then found row by row.
            others: Columns of ids and texts.
            findings: Receives that there is none.
        """
        if self.columns is not None:
            return self
        possible = [name for name, kind in table.types.items() if name not in others and self._may_hold(kind)]
        right = dict.fromkeys(possible, 0)
        rows = 0
        for batch in table.read(possible, Findings()) if possible else ():
            rows += len(batch)
            for name in possible:
                zero, one = (rounded if self.soft else zero_one)(batch.columns[name])
                unknown = minus_one(batch.columns[name]) if self.unknown == UNKNOWN else False
                right[name] += int((zero | one | unknown).sum())
        found = tuple(name for name in possible if 2 * right[name] > rows)
        if rows and not found:
            what = f"expected 0/1 columns, found {', '.join(map(repr, table.types))}"
            soft = "" if self.soft else ", or data.soft_labels: true if columns hold probabilities"
            findings.add("L105", f"{table.file}:labels", what, f"set data.labels to the label column{soft}")
        return replace(self, columns=found)

    def _may_hold(self, kind: pa.DataType) -> bool:
        return (
            is_text(kind)
            or pa.types.is_integer(kind)
            or pa.types.is_boolean(kind)
            or (self.soft and pa.types.is_floating(kind))
        )


def _auto(request: LabelRequest, table: Table, findings: Findings) -> LabelColumns | None:
    if not isinstance(request.columns, str):
        return _columns(request, table, findings)
    kind = table.types[request.columns]
    if is_text(kind):
        return _delimited(request, table, findings)
    return _list(request, table, findings)


def _list(request: LabelRequest, table: Table, findings: Findings) -> LabelColumns | None:
    column = _single(request, table, findings)
    if column is None:
        return None
    kind = table.types[column]
    item = kind.value_type if is_list(kind) else kind
    if is_list(kind) and pa.types.is_boolean(item):
        fix = "set data.label_format: columns, and data.label_names to their order"
        findings.add("L105", f"{table.file}:{column}", "expected lists of names, found lists of booleans", fix)
        return None
    readable = is_text(item) or pa.types.is_null(item) or (is_list(kind) and is_number(item))
    if not readable:
        what = f"expected lists of label names, found {describe(kind)}"
        findings.add("L105", f"{table.file}:{column}", what, LABELS_FIX)
        return None
    return ListLabels(column, tuple(table.class_names.get(column, ())))


def _delimited(request: LabelRequest, table: Table, findings: Findings) -> LabelColumns | None:
    column = _single(request, table, findings)
    if column is None:
        return None
    kind = table.types[column]
    if not (is_text(kind) or pa.types.is_null(kind)):
        what = f"expected text with a delimiter between label names, found {describe(kind)}"
        findings.add("L105", f"{table.file}:{column}", what, "leave data.label_format out")
        return None
    if request.delimiter is None:
        _ask_for_delimiter(table, column, findings)
        return None
    return DelimitedLabels(column, request.delimiter)


def _ask_for_delimiter(table: Table, column: str, findings: Findings) -> None:
    cells: list[str] | None = None
    for batch in table.read([column], Findings()):
        cells = [cell for cell in batch.columns[column].drop_null().to_pylist() if cell.strip()]
        break
    if cells is None:
        findings.add("D102", str(table.file), "expected rows, found none below the column names", "bring rows")
        return
    found = f"text such as {shown(max(cells, key=len))}" if cells else "empty cells"
    if cells and all(cell.strip().startswith("[") for cell in cells):
        fix = "set data.label_format: list"
    elif cells and set(cells) <= {*ZERO, *ONE}:
        fix = f"write {shlex.quote(f'data.labels={json.dumps([column], ensure_ascii=False)}')}: it is a 0/1 column"
    else:
        guess = next((sign for sign in GUESSES if any(sign in cell for cell in cells)), "|")
        fix = f"set data.label_delimiter, probably to {guess!r}"
    what = f"expected a list column or a delimiter for the text column, found {found}"
    findings.add("L105", f"{table.file}:{column}", what, fix)


def _columns(request: LabelRequest, table: Table, findings: Findings) -> LabelColumns | None:
    names = as_tuple(request.columns or ())
    if len(names) == 1 and is_list(table.types[names[0]]):
        if request.order:
            return VectorLabels(names[0], request.order)
        what, fix = "expected the labels of the 0/1 lists, found none declared", "set data.label_names to their order"
        findings.add("L105", f"{table.file}:{names[0]}", what, fix)
        return None
    for name in names:
        kind = table.types[name]
        if not (is_number(kind) or is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            what = f"expected a 0/1 column, found {describe(kind)}"
            findings.add("L105", f"{table.file}:{name}", what, LABELS_FIX)
            return None
    return ColumnLabels(names, accepts_unknown=request.unknown == UNKNOWN, accepts_soft=request.soft)


def _single(request: LabelRequest, table: Table, findings: Findings) -> str | None:
    names = as_tuple(request.columns or ())
    if len(names) == 1:
        return names[0]
    what = f"expected one label column for label_format {request.form}, found {len(names)}"
    findings.add("L105", f"{table.file}:labels", what, "set data.label_format: columns")
    return None


LABEL_FORMATS: dict[str, Callable[[LabelRequest, Table, Findings], LabelColumns | None]] = {
    "auto": _auto,
    "list": _list,
    "delimited": _delimited,
    "columns": _columns,
}
