"""One split in memory: ids, texts and sparse labels, each row with its place in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from hf_multilabel.data.columns import TextColumns
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.label_columns import SoftCells
from hf_multilabel.data.label_format import LabelRequest
from hf_multilabel.data.tables import Table
from hf_multilabel.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Rows:
    """The rows of one split, N of them.

    Args:
        ids: Shape (N,), string.
        text: Shape (N,), large_string.
        labels: Bool, shape (N, numbers of the vocabulary).
        unknown: Labels of which nobody knows whether they hold, bool, same shape; None where all are known.
        soft: Probabilities above 0 and below 1 of labels, float32, same shape; None where all are 0 or 1.
        files: Names of the files.
        file: Index into `files`, shape (N,).
        place: Number of the row in its file, shape (N,).
    """

    ids: pa.ChunkedArray
    text: pa.ChunkedArray
    labels: csr_matrix
    files: tuple[str, ...]
    file: np.ndarray
    place: np.ndarray
    unknown: csr_matrix | None = None
    soft: csr_matrix | None = None

    def __len__(self) -> int:
        return len(self.place)

    def where(self, row: int) -> str:
        """`file:row` of a row."""
        return f"{self.files[self.file[row]]}:{self.place[row]}"

    def take(self, rows: np.ndarray) -> Rows:
        """The given rows, in their order."""
        indices = pa.array(rows)
        return Rows(
            self.ids.take(indices),
            self.text.take(indices),
            self.labels[rows],
            self.files,
            self.file[rows],
            self.place[rows],
            None if self.unknown is None else self.unknown[rows],
            None if self.soft is None else self.soft[rows],
        )


def read_rows(
    split: str,
    tables: Sequence[Table],
    text: TextColumns,
    labels: LabelRequest,
    vocabulary: Vocabulary,
    findings: Findings,
) -> Rows:
    """Read the tables of one split after each other.

    Args:
        split: Its name; ids are made of it where there is no id column.
        tables: Its files.
        text: Which columns make id and text.
        labels: Which columns hold the labels, and which the unknown ones, and whether they may be soft.
        vocabulary: Receives the label names.
        findings: Receives what is wrong; the rows are of use only if there is nothing.
    """
    ids: list[pa.Array] = []
    texts: list[pa.Array] = []
    matrices: list[csr_matrix] = []
    unknown: list[csr_matrix] = []
    soft: list[csr_matrix] = []
    files: list[np.ndarray] = []
    places: list[np.ndarray] = []
    count = 0
    for number, table in enumerate(tables):
        readable = text.check(table, findings)
        reader, unknown_reader = labels.choose(table, findings), labels.choose_unknown(table, findings)
        if reader is None or not readable or (labels.unknown is not None and unknown_reader is None):
            continue
        names = text.names + reader.names + (() if unknown_reader is None else unknown_reader.names)
        before, known = count, len(findings)
        for batch in table.read(tuple(dict.fromkeys(names)), findings):
            ids.append(text.read_ids(batch, f"{split}-", count + 1, findings))
            texts.append(text.read(batch, findings))
            matrices.append(reader.read(batch, vocabulary, findings))
            if unknown_reader is not None:
                unknown.append(unknown_reader.read(batch, vocabulary, findings))
            if labels.soft:
                soft.append(SoftCells(reader.names).read(batch, vocabulary, findings))
            files.append(np.full(len(batch), number, dtype=np.int32))
            places.append(batch.places)
            count += len(batch)
        if count == before and len(findings) == known:
            what = "expected rows, found none below the column names"
            findings.add("D102", table.file, what, "check how the file was written")
    return Rows(
        pa.chunked_array(ids, pa.string()),
        pa.chunked_array(texts, pa.large_string()),
        _stack(matrices, len(vocabulary)),
        tuple(table.file for table in tables),
        np.concatenate(files) if files else np.zeros(0, np.int32),
        np.concatenate(places) if places else np.zeros(0, np.int64),
        None if labels.unknown is None else _stack(unknown, len(vocabulary)),
        _stack(soft, len(vocabulary)) if labels.soft else None,
    )


def _stack(matrices: Sequence[csr_matrix], width: int) -> csr_matrix:
    """The matrices below each other; each is as wide as the vocabulary was when it was made."""
    if not matrices:
        return csr_matrix((0, width), dtype=bool)
    lengths = np.concatenate([np.diff(matrix.indptr) for matrix in matrices])
    indices = np.concatenate([matrix.indices for matrix in matrices])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    data = np.concatenate([matrix.data for matrix in matrices])
    return csr_matrix((data, indices, indptr), shape=(len(lengths), width))
