"""What is looked for across the splits: shared texts and ids, labels seen only in evaluation; and what is counted."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hf_multilabel.data.columns import TextColumns
from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.rows import Rows
from hf_multilabel.errors import Finding, InputError

EXAMPLES = 5
DIGEST = 16


def text_digests(text: pa.ChunkedArray) -> np.ndarray:
    """One hash a text, equal for equal texts, shape (N,).

    Cost: 16 bytes a text; the texts themselves are not copied.
    """
    digests = bytearray()
    for chunk in text.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        view = memoryview(data) if data is not None else memoryview(b"")
        for start, end in itertools.pairwise(ends):
            digests += hashlib.blake2b(view[start:end], digest_size=DIGEST).digest()
    return np.frombuffer(bytes(digests), dtype=f"V{DIGEST}")


def find_duplicates(splits: Mapping[str, Rows], id: str | None, findings: Findings) -> dict[str, Any]:
    """Count texts shared between splits and inside them, and ids used twice.

    Args:
        splits: All splits, training first.
        id: Column of the ids; None: rows are named by their numbers.
        findings: Receives one finding a pair of splits that share texts or ids, and a split that repeats ids.

    Returns:
        `between_splits`: rows of the second split whose text the first one has, by "first/second"; `within_splits`:
        rows whose text stood in the same split before; `ids`: the same for ids, where there are.
    """
    digests = {split: text_digests(rows.text) for split, rows in splits.items()}
    statistics: dict[str, Any] = {
        "between_splits": {},
        "within_splits": {split: len(found) - len(np.unique(found)) for split, found in digests.items()},
    }
    for first, second in itertools.combinations(splits, 2):
        shared = np.flatnonzero(np.isin(digests[second], digests[first]))
        statistics["between_splits"][f"{first}/{second}"] = len(shared)
        if len(shared):
            examples = ", ".join(splits[second].where(row) for row in shared[:EXAMPLES])
            what = (
                f"expected no text of {first} in {second}, found {_rows(len(shared))} of {second}, such as {examples}"
            )
            findings.add("D114", f"{splits[second].files[0]}:text", what, _fix("remove them from one of the two"))
    if id is not None:
        statistics["ids"] = _find_ids(splits, id, findings)
    return statistics


def _find_ids(splits: Mapping[str, Rows], id: str, findings: Findings) -> dict[str, int]:
    counts: dict[str, int] = {}
    fix = _fix("give every row an id of its own, or leave data.id out: rows are then named by their numbers")
    for split, rows in splits.items():
        repeated = [value["values"] for value in pc.value_counts(rows.ids).to_pylist() if value["counts"] > 1]
        counts[split] = len(repeated)
        if repeated:
            found = [(value, *_places(rows, value)[:2]) for value in repeated[:EXAMPLES]]
            what = f"expected every id once, found {len(repeated)} used again, such as {_some_ids(found)}"
            findings.add("D113", f"{found[0][-1]}:{id}", what, fix)
    for first, second in itertools.combinations(splits, 2):
        one, other = splits[first], splits[second]
        shared = other.ids.filter(pc.is_in(other.ids, one.ids.combine_chunks()))
        counts[f"{first}/{second}"] = len(shared)
        if len(shared):
            values = shared[:EXAMPLES].to_pylist()
            found = [(value, _places(one, value)[0], _places(other, value)[0]) for value in values]
            what = f"expected no id of {first} in {second}, found {len(shared)}, such as {_some_ids(found)}"
            findings.add("D113", f"{found[0][-1]}:{id}", what, fix)
    return counts


def _places(rows: Rows, id: str) -> list[str]:
    """Where the rows of an id stand."""
    return [rows.where(row) for row in np.flatnonzero(pc.equal(rows.ids, id).to_numpy())]


def _some_ids(found: Sequence[tuple[str, str, str]]) -> str:
    return ", ".join(f"{shown(id)} ({first} and {again})" for id, first, again in found)


def find_unseen(names: Sequence[str], splits: Mapping[str, Rows], findings: Findings) -> dict[str, Any]:
    """Labels that no training row has.

    Args:
        names: Of all labels.
        splits: All splits, with `train`; labels are ids into `names`.
        findings: Receives labels that occur outside training only, with the first row that has each.

    Returns:
        `count` and `examples` of labels that occur in evaluation only, their number `by_split`, and `never` for labels
        that were declared but occur nowhere.
    """
    counts = {split: rows.labels.getnnz(axis=0) for split, rows in splits.items()}
    unseen = counts["train"] == 0
    others = {split: unseen & (found > 0) for split, found in counts.items() if split != "train"}
    outside = np.flatnonzero(np.any(list(others.values()), axis=0)).tolist() if others else []
    first = {split: _first_rows(splits[split]) for split in others}
    for label in outside:
        held = [split for split in others if others[split][label]]
        found = " and ".join(f"{_rows(int(counts[split][label]))} of {split}" for split in held)
        what = f"expected every label in training too, found {shown(names[label])} only in {found}"
        where = splits[held[0]].where(first[held[0]][label])
        fix = "give it training rows, or set data.unseen_labels: keep (it can't be learned)"
        findings.append(Finding("D115", f"{where}:labels", what, fix))
    never = np.flatnonzero(np.sum(list(counts.values()), axis=0) == 0).tolist()
    return {
        "count": len(outside),
        "examples": [names[label] for label in outside[:EXAMPLES]],
        "by_split": {split: int(found.sum()) for split, found in others.items()},
        "never": len(never),
        "never_examples": [names[label] for label in never[:EXAMPLES]],
    }


def _first_rows(rows: Rows) -> dict[int, int]:
    by_label = rows.labels.tocoo()
    labels, first = np.unique(by_label.col, return_index=True)
    return dict(zip(labels.tolist(), by_label.row[first].tolist(), strict=True))


def leave_out_textless(splits: Mapping[str, Rows], columns: TextColumns) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Leave out the rows that have no text.

    Returns:
        The other rows, and by split the `count` of those without text and `examples` of where they stand; only splits
        that have such.

    Raises:
        InputError: If nothing is left of a split.
    """
    kept: dict[str, Rows] = {}
    counts: dict[str, Any] = {}
    for split, rows in splits.items():
        without = columns.lacking(rows.text)
        if len(without) == len(rows):
            what = f"expected texts in {split}, found {_rows(len(rows))} without"
            raise InputError(Finding("D102", rows.files[0], what, "set data.text to the column of the text"))
        kept[split] = rows.take(np.setdiff1d(np.arange(len(rows)), without)) if len(without) else rows
        if len(without):
            counts[split] = {"count": len(without), "examples": [rows.where(row) for row in without[:EXAMPLES]]}
    return kept, counts


def leave_out_unknown(splits: Mapping[str, Rows]) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Keep rows with unknown labels for training, and leave them out elsewhere: no metric is defined on them.

    Returns:
        The splits, only `train` with unknown labels, and the counts: `cells` and `rows` of training that are unknown or
        have such, `rows_left_out` by split.
    """
    kept: dict[str, Rows] = {}
    counts: dict[str, Any] = {"cells": 0, "rows": 0, "rows_left_out": {}}
    for split, rows in splits.items():
        unknown = np.zeros(len(rows), np.int64) if rows.unknown is None else rows.unknown.getnnz(axis=1)
        if split == "train":
            counts["cells"], counts["rows"] = int(unknown.sum()), int((unknown > 0).sum())
            kept[split] = rows
        else:
            kept[split] = replace(rows.take(np.flatnonzero(unknown == 0)), unknown=None)
            counts["rows_left_out"][split] = int((unknown > 0).sum())
    return kept, counts


def round_evaluation(splits: Mapping[str, Rows]) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Keep probabilities for training, and judge all other rows by the labels that hold, those of at least 0.5.

    Returns:
        The splits, only `train` with soft labels, and the counts: `cells` and `rows` of training that are soft or have
        such, `cells_rounded` by split.
    """
    kept: dict[str, Rows] = {}
    counts: dict[str, Any] = {"cells": 0, "rows": 0, "cells_rounded": {}}
    for split, rows in splits.items():
        soft = np.zeros(len(rows), np.int64) if rows.soft is None else rows.soft.getnnz(axis=1)
        if split == "train":
            counts["cells"], counts["rows"] = int(soft.sum()), int((soft > 0).sum())
            kept[split] = rows
        else:
            kept[split] = replace(rows, soft=None)
            counts["cells_rounded"][split] = int(soft.sum())
    return kept, counts


def count_labels(rows: Rows, labels: int) -> dict[str, float | int]:
    """How many labels rows have.

    Returns:
        `cardinality` (labels a row), `density` (that divided by the number of labels), `rows_without_labels`.
    """
    held = np.diff(rows.labels.indptr)
    cardinality = float(held.mean()) if len(held) else 0.0
    return {
        "cardinality": round(cardinality, 4),
        "density": round(cardinality / labels, 8),
        "rows_without_labels": int((held == 0).sum()),
    }


def _rows(count: int) -> str:
    return f"{count} row{'s'[: count != 1]}"


def _fix(remedy: str) -> str:
    return f"{remedy}, or set data.duplicates: warn"
