"""From the names found in the data to the one label space: declared, known from a model, or collected."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from hf_multilabel.data.columns import as_tuple
from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.label_format import LABELS_FIX, LabelRequest
from hf_multilabel.data.labels import LabelSpace, nearest_labels, normalize, read_label_names
from hf_multilabel.data.rows import Rows
from hf_multilabel.data.tables import Table
from hf_multilabel.data.vocabulary import Vocabulary
from hf_multilabel.errors import SHOWN, Finding, InputError


@dataclass(frozen=True)
class Declared:
    """Labels that are settled before any row is read.

    Args:
        names: In their order; empty where the data decide.
        renames: What the data hold to the name it stands for.
        where: Where the names come from, for messages.
    """

    names: tuple[str, ...] = ()
    renames: Mapping[str, str] | None = None
    where: str = "label_names"

    @classmethod
    def read(cls, label_names: str | Path | Sequence[str] | None) -> Declared:
        """From a file or a list; None declares nothing.

        Raises:
            InputError: If the file is missing or wrong, or the names do not make a label space.
        """
        if label_names is None:
            return cls()
        if not isinstance(label_names, (str, Path)):
            return cls(LabelSpace.from_names(label_names, where="label_names").names)
        names, renames = read_label_names(label_names)
        return cls(LabelSpace.from_names(names, where=str(label_names)).names, renames, str(label_names))

    def or_classes(self, table: Table, columns: str | Sequence[str] | None) -> Declared:
        """These, or else the class names that the source itself declares for the label column."""
        classes = table.class_names.get(columns) if isinstance(columns, str) else None
        if self.names or not classes:
            return self
        where = f"{table.file}:{columns}"
        return replace(self, names=LabelSpace.from_names(classes, where=where).names, where=where)


def find_label_columns(
    request: LabelRequest, table: Table, others: Sequence[str], known: LabelSpace | None, findings: Findings
) -> LabelRequest:
    """The request with its 0/1 columns named: those of the table, or those of the labels a model knows.

    Args:
        request: As the recipe has it.
        table: The first of the training split, or of the split to evaluate.
        others: Columns of ids and texts.
        known: The labels of a finished model; a label without a column is a finding.
        findings: Receives what is wrong.

    Raises:
        InputError: If a model's labels are known and the table has no column of them: texts alone can't be measured.
    """
    if known is not None:
        wanted = known.names if request.columns is None else as_tuple(request.columns)
        _check_labelled(table, wanted, others)
    if request.columns is not None:
        return request
    if known is None:
        return request.find_columns(table, others, findings)
    found = as_tuple(request.find_columns(table, others, Findings()).columns or ())
    named = [name for name in table.types if name not in found and normalize(name) in known.id_of]
    columns = (*found, *named)
    present = {normalize(name) for name in columns}
    table.check_columns([name for name in known.names if name not in present], findings, LABELS_FIX)
    return replace(request, columns=columns)


def _check_labelled(table: Table, wanted: Sequence[str], others: Sequence[str]) -> None:
    """Refuse a table with none of the wanted columns, and none of a like name, with one finding for all of them."""
    free = [name for name in table.types if name not in others]
    names = {normalize(name) for name in free}
    if any(normalize(name) in names for name in wanted) or any(nearest_labels(n, free) for n in wanted[:SHOWN]):
        return
    more = f" and {len(wanted) - 3} more" if len(wanted) > 3 else ""
    columns = f"the column{'s'[: len(wanted) > 1]} {', '.join(map(repr, wanted[:3]))}{more}"
    what = f"expected labels in {columns}, found the columns {', '.join(map(repr, table.types)) or 'none'}"
    fix = "set data.labels if they stand elsewhere; texts without labels are for `hf-multilabel predict`"
    raise InputError(Finding("D103", f"{table.file}:labels", what, fix))


def collect_space(vocabulary: Vocabulary, in_order: bool, where: str) -> LabelSpace:
    """The label space of the names that occur.

    Args:
        vocabulary: After all splits were read.
        in_order: Keep the order of appearance (of 0/1 columns); else sort, so that the order of rows does not matter.
        where: The source, for messages.

    Raises:
        InputError: If there are no labels, or two are equal but for Unicode form, space or case.
    """
    names = vocabulary.names
    return LabelSpace.from_names(names if in_order else sorted(names, key=natural_key), where=where)


def natural_key(name: str) -> tuple[int, str]:
    """A sort key by which plain numbers come first, in the order of their value.

    Example:
        >>> sorted(["10", "b", "3"], key=natural_key)
        ['3', '10', 'b']
    """
    return (len(name), name) if name.isascii() and name.isdigit() else (1 << 30, name)


def map_labels(
    splits: Mapping[str, Rows],
    vocabulary: Vocabulary,
    space: LabelSpace,
    findings: Findings,
    *,
    known: bool = False,
    guessed: bool = False,
) -> dict[str, Rows]:
    """The same rows with labels as ids of the label space, sorted.

    Args:
        splits: Rows whose labels are numbers of the vocabulary.
        vocabulary: Name and first place of each number.
        space: The labels there may be.
        findings: Receives each name that is not in the space, with its first row and the nearest name; and each label
            that a row both has and does not know.
        known: The label space is that of a finished model.
        guessed: All 0/1 columns were taken for labels, so that another name may be none.
    """
    target = np.array([space.id_of.get(name, -1) for name in vocabulary.names], dtype=np.int64)
    matrices = [matrix for rows in splits.values() for matrix in (rows.labels, rows.unknown) if matrix is not None]
    held = np.sum([np.bincount(matrix.indices, minlength=len(target)) for matrix in matrices], axis=0)
    for position, number in enumerate(np.flatnonzero(target < 0)):
        # several unknown names may stand in one cell, so no sorting out by place
        name, where = vocabulary.names[number], vocabulary.places[number]
        finding = space.unknown(name, where, int(held[number]), position < SHOWN, known)
        if known and guessed:
            finding = replace(finding, fix=f"{_name_columns(space)} if it is no label; else {finding.fix}")
        findings.append(finding)
    return {split: _map_rows(rows, target, space, findings) for split, rows in splits.items()}


def _name_columns(space: LabelSpace, most: int = 10) -> str:
    """How a command names the columns of the labels, of many only the first."""
    names = json.dumps(space.names[:most], ensure_ascii=False)
    names = names if len(space) <= most else f"{names[:-1]}, ...]"
    return f"add {shlex.quote(f'data.labels={names}')} to the command"


def _map_rows(rows: Rows, target: np.ndarray, space: LabelSpace, findings: Findings) -> Rows:
    labels = _renumber(rows.labels, target, len(space))
    soft = None if rows.soft is None else _renumber(rows.soft, target, len(space))
    if rows.unknown is None:
        return replace(rows, labels=labels, soft=soft)
    unknown = _renumber(rows.unknown, target, len(space))
    said = labels if soft is None else labels + soft.astype(bool)
    for row, label in zip(*(said.multiply(unknown)).nonzero(), strict=True):
        what = f"expected a label to hold or to be unknown, found both for {shown(space.names[label])}"
        findings.add("L106", f"{rows.where(row)}:labels", what, "remove it from one of the two")
    return replace(rows, labels=labels, unknown=unknown, soft=soft)


def _renumber(labels: csr_matrix, target: np.ndarray, width: int) -> csr_matrix:
    rows = np.repeat(np.arange(labels.shape[0]), np.diff(labels.indptr))
    numbers = target[labels.indices]
    kept = numbers >= 0
    matrix = csr_matrix((labels.data[kept], (rows[kept], numbers[kept])), shape=(labels.shape[0], width))
    matrix.sum_duplicates()
    return matrix
