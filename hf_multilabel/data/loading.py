"""A source to checked splits with one label space."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset
from scipy.sparse import csr_matrix

from hf_multilabel.data.checks import (
    count_labels,
    find_duplicates,
    find_unseen,
    leave_out_textless,
    leave_out_unknown,
    round_evaluation,
    text_digests,
)
from hf_multilabel.data.columns import TextColumns, as_tuple
from hf_multilabel.data.corrections import apply_corrections
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.imbalance import measure_imbalance
from hf_multilabel.data.label_format import LabelRequest
from hf_multilabel.data.label_mapping import Declared, collect_space, find_label_columns, map_labels
from hf_multilabel.data.labels import LabelSpace
from hf_multilabel.data.rows import Rows, read_rows
from hf_multilabel.data.sources import Splits, open_source
from hf_multilabel.data.splitting import balance_report, split_rows
from hf_multilabel.data.texts import read_texts
from hf_multilabel.data.vocabulary import Vocabulary
from hf_multilabel.decisions.row_sketch import KEPT_OF_TRAINING, sketch_rows
from hf_multilabel.errors import Finding, raise_findings

__all__ = ["MultiLabelData", "load_data", "read_texts"]

SPLITS = ("train", "validation", "test")
logger = logging.getLogger(__name__)


@dataclass
class MultiLabelData:
    """The splits of one dataset with their label space.

    Args:
        splits: "train", "validation" and "test", or some of them; columns `id`, `text` and `labels` (sorted ids),
            and `unknown` (the same of labels nobody knows) where the data have such. Under `soft_labels` "train" also
            has `soft_ids` and `soft_values`: the labels of a probability above 0 and below 1, and that.
        labels: Names and training support.
        statistics: What was counted, for metrics.json.
    """

    splits: dict[str, Dataset]
    labels: LabelSpace
    statistics: dict[str, Any]

    def label_matrix(self, split: str) -> csr_matrix:
        """Where a label holds, bool, shape (N, L)."""
        return self._matrix(split, "labels")

    def unknown_matrix(self, split: str) -> csr_matrix | None:
        """Where nobody knows whether a label holds, bool, shape (N, L); None where all is known."""
        return self._matrix(split, "unknown") if "unknown" in self.splits[split].column_names else None

    def known_rows(self) -> int | list[int]:
        """Training rows on which each label is known, shape (L,); one number where all is known."""
        unknown, rows = self.unknown_matrix("train"), len(self.splits["train"])
        return rows if unknown is None else (rows - unknown.getnnz(axis=0)).tolist()

    def _matrix(self, split: str, column: str) -> csr_matrix:
        lists = self.splits[split].with_format("arrow")[:].column(column).combine_chunks()
        indptr = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))])
        indices = lists.flatten().to_numpy(zero_copy_only=False)
        return csr_matrix((np.ones(len(indices), dtype=bool), indices, indptr), shape=(len(lists), len(self.labels)))


def load_data(
    source: str | Path,
    *,
    text: str | Sequence[str] = "text",
    text_separator: str = " ",
    strip_html: bool = False,
    labels: str | Sequence[str] | None = "labels",
    label_format: str = "auto",
    label_delimiter: str | None = None,
    label_names: str | Path | Sequence[str] | None = None,
    unknown_labels: str | int | None = None,
    soft_labels: bool = False,
    corrections: str | Path | None = None,
    id: str | None = None,
    splits: Mapping[str, str] | None = None,
    validation_size: float = 0.1,
    test_size: float = 0.1,
    split_seed: int = 0,
    duplicates: Literal["error", "warn"] = "error",
    unseen_labels: Literal["error", "keep"] = "error",
    textless: Literal["error", "leave_out"] = "error",
    max_rows: Mapping[str, int] | int | None = None,
    known_labels: LabelSpace | None = None,
    single_file: Literal["train", "test"] | None = None,
    revision: str | None = None,
    config: str | None = None,
) -> MultiLabelData:
    """Read, check and split a dataset.

    Args:
        source: A file or folder (CSV, TSV, JSON Lines, also .gz; Parquet, Arrow, XMC format) or a Hub id OWNER/NAME.
            A folder's files are named by split.
        text: The column of the text, or several that are joined.
        text_separator: Stands between joined columns.
        strip_html: Replace markup by the text a reader sees.
        labels: The label column, the 0/1 columns, or None for all 0/1 columns.
        label_format: "list", "delimited", "columns", or "auto": the column's type decides. "columns" with a list column
            means one 0/1 value a label, in the order of `label_names`.
        label_delimiter: Between the names of a delimited column.
        label_names: All labels in their order, or a file of them: one a line, a JSON list, or a JSON object from what
            the data hold to names. None: those that occur, in alphabetical order.
        unknown_labels: The column that lists the labels of which nobody knows whether they hold, in the form of the
            label column; or -1: the cells of 0/1 columns with that value. Training leaves them out of the loss. Rows
            of other splits that have any are left out and counted: no metric is defined on them.
        soft_labels: Whether 0/1 columns may hold probabilities, such as a teacher's scores. A label of at least 0.5
            holds: so it is counted, split, balanced and evaluated; the loss of training rows sees the probability.
        corrections: A list of (row, label) pairs that a person corrected, as `inspect --label-errors` writes them.
        id: The column that names a row; None: rows are numbered.
        splits: Our split names to the source's, where they differ.
        validation_size: Share of all rows for a missing validation split; 0 makes none.
        test_size: The same for a missing test split.
        split_seed: Seed of the splits made here, and of the choice of `max_rows`.
        duplicates: Texts or ids shared between splits: stop, or warn.
        unseen_labels: Labels that only occur outside training: stop, or keep them.
        textless: Rows without text: stop, or leave them out and count them.
        max_rows: At most so many rows of every split, or of those named; chosen by chance, after all checks.
        known_labels: Those of a finished model: labels go by name into this space, and other names are findings.
        single_file: The split that a single file is; None: train, with `known_labels` test.
        revision: Branch, tag or commit of a Hub dataset.
        config: Configuration of a Hub dataset.

    Returns:
        The splits, the label space and the statistics.

    Raises:
        InputError: With all findings about the files, or all about the splits.
        EnvironmentFault: If the Hub can't be reached.

    Cost: The texts once, as Arrow (a second time while a missing split is made); labels as CSR.

    Example:
        >>> data = load_data("recipes/data/quickstart", id="id")
        >>> data.splits["train"].column_names, len(data.labels)
        (['id', 'text', 'labels'], 8)
    """
    opened = _open(source, splits, revision, config, known_labels, single_file or ("test" if known_labels else "train"))
    columns = TextColumns(as_tuple(text), text_separator, strip_html, id, textless == "leave_out")
    request = LabelRequest(labels, label_format, label_delimiter, unknown=unknown_labels, soft=soft_labels)
    rows, space = _read(opened, columns, request, label_names, known_labels, str(source))
    rows, left_out = _drop_textless(rows, columns, textless)
    rows, corrected = _correct(rows, space, corrections)
    rows, statistics = _complete(rows, {"validation": validation_size, "test": test_size}, split_seed)
    rows, settled = _settle(rows, unknown_labels is not None, soft_labels)
    names = space.names if known_labels is None else None
    checked = _check(rows, names, id, duplicates, unseen_labels)
    rows, chosen = _choose(rows, max_rows, split_seed)
    if known_labels is None:
        space = replace(space, counts=tuple(rows["train"].labels.getnnz(axis=0).tolist()))
    return _finish(rows, space, statistics | left_out | corrected | settled | checked | chosen)


def _open(
    source: str | Path,
    renamed: Mapping[str, str] | None,
    revision: str | None,
    config: str | None,
    known: LabelSpace | None,
    only: str,
) -> Splits:
    """The splits of a source, among them train, unless a finished model's labels are known."""
    findings = Findings()
    opened = open_source(source, findings, renamed=renamed, revision=revision, config=config, only=only)
    # a file that can't be read has said so
    if known is None and "train" not in opened and (opened or not findings):
        found = ", ".join(map(repr, opened)) or "none"
        findings.add("D104", f"{source}:train", f"expected a train split, found {found}", "name it in data.splits")
    raise_findings(findings)
    return opened


def _drop_textless(
    rows: dict[str, Rows], columns: TextColumns, textless: str
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """The rows that have a text, and which have none; where these are an error, reading has ended before."""
    if textless != "leave_out":
        return rows, {}
    rows, counts = leave_out_textless(rows, columns)
    return rows, {"rows_without_text": counts}


def _correct(
    rows: dict[str, Rows], space: LabelSpace, corrections: str | Path | None
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """The labels as a person corrected them, and how many were."""
    if corrections is None:
        return rows, {}
    rows, counts = apply_corrections(rows, space, Path(corrections))
    return rows, {"corrections": counts}


def _settle(rows: dict[str, Rows], unknown: bool, soft: bool) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Rows that can be judged: evaluation knows neither unknown nor soft labels."""
    statistics: dict[str, Any] = {}
    if unknown:
        rows, statistics["unknown_labels"] = leave_out_unknown(rows)
        raise_findings([_nothing_known(split, found) for split, found in rows.items() if not len(found)])
    if soft:
        rows, statistics["soft_labels"] = round_evaluation(rows)
    return rows, statistics


def _check(
    rows: dict[str, Rows], names: Sequence[str] | None, id: str | None, duplicates: str, unseen_labels: str
) -> dict[str, Any]:
    """Count what splits share and what training never sees: stop where the caller says so, else warn."""
    shared, unseen = Findings(), Findings()
    statistics: dict[str, Any] = {"duplicates": find_duplicates(rows, id, shared)}
    if names is not None:
        statistics["unseen_labels"] = find_unseen(names, rows, unseen)
    raise_findings([*(shared if duplicates == "error" else ()), *(unseen if unseen_labels == "error" else ())])
    _warn(shared, statistics.get("unseen_labels", {}))
    return statistics


def _warn(shared: Findings, labels: Mapping[str, Any]) -> None:
    for finding in shared:
        logger.warning("%s", finding.what)
    if labels.get("count"):
        logger.warning("%d labels occur only outside training and can't be learned", labels["count"])
    if labels.get("never"):
        examples = ", ".join(map(repr, labels["never_examples"]))
        logger.warning("%d declared labels hold in no row, such as %s", labels["never"], examples)


def _read(
    opened: Splits,
    columns: TextColumns,
    request: LabelRequest,
    label_names: str | Path | Sequence[str] | None,
    known: LabelSpace | None,
    source: str,
) -> tuple[dict[str, Rows], LabelSpace]:
    """Read all splits, and bring their labels into one label space."""
    findings = Findings()
    first = next(tables[0] for tables in opened.values() if tables)
    declared = Declared.read(label_names).or_classes(first, request.columns)
    request = replace(request, order=declared.names or (known.names if known else ()))
    guessed = request.columns is None
    request = find_label_columns(request, first, columns.names, known, findings)
    vocabulary = Vocabulary(declared.renames)
    read = {split: read_rows(split, tables, columns, request, vocabulary, findings) for split, tables in opened.items()}
    raise_findings(findings)
    if known is not None:
        space = known
    elif declared.names:
        space = LabelSpace.from_names(declared.names, where=declared.where)
    else:
        space = collect_space(vocabulary, not isinstance(request.columns, str), f"{source}:labels")
    mapped = map_labels(read, vocabulary, space, findings, known=known is not None, guessed=guessed)
    raise_findings(findings)
    return mapped, space


def _complete(rows: dict[str, Rows], sizes: Mapping[str, float], seed: int) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Make the missing splits from the training rows, and say which were made."""
    missing = {split: size for split, size in sizes.items() if split not in rows and size > 0 and "train" in rows}
    statistics: dict[str, Any] = {"splits": {split: "stratified" if split in missing else "given" for split in SPLITS}}
    statistics["splits"] = {split: how for split, how in statistics["splits"].items() if split in {*rows, *missing}}
    if missing:
        train = rows["train"]
        _, same_text = np.unique(text_digests(train.text), return_inverse=True)
        unknown = None if train.unknown is None else train.unknown.getnnz(axis=1) > 0
        parts = split_rows(train.labels, [1 - sum(missing.values()), *missing.values()], seed, same_text, unknown)
        empty = [split for split, part in zip(("train", *missing), parts, strict=True) if not len(part)]
        raise_findings([_too_few(train, split) for split in empty])
        rows = {**rows, **{split: train.take(part) for split, part in zip(("train", *missing), parts, strict=True)}}
        statistics["split_seed"] = seed
        statistics["balance"] = balance_report(train.labels, parts)
    return {split: rows[split] for split in SPLITS if split in rows}, statistics


def _nothing_known(split: str, rows: Rows) -> Finding:
    what = f"expected rows of which all labels are known in {split}, found none"
    return Finding("D119", f"{rows.files[0]}:{split}", what, "bring some, or leave the split out")


def _too_few(train: Rows, split: str) -> Finding:
    what = f"expected enough rows for a {split} split, found {len(train)} rows in all"
    return Finding("D118", f"{train.files[0]}:{split}", what, f"bring more rows, a {split} split, or another size")


def _choose(
    rows: dict[str, Rows], max_rows: Mapping[str, int] | int | None, seed: int
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """At most so many rows of each split, drawn without order and kept in theirs, and how many there were."""
    if max_rows is None:
        return rows, {}
    chosen = {}
    for number, (split, found) in enumerate(rows.items()):
        most = max_rows if isinstance(max_rows, int) else max_rows.get(split, len(found))
        kept = np.random.default_rng([seed, number]).permutation(len(found))[:most]
        chosen[split] = found if most >= len(found) else found.take(np.sort(kept))
    return chosen, {"rows_in_source": {split: len(found) for split, found in rows.items()}}


def _finish(rows: Mapping[str, Rows], space: LabelSpace, statistics: dict[str, Any]) -> MultiLabelData:
    """Datasets and counts of the rows that are used."""
    splits = {split: _to_dataset(found) for split, found in rows.items()}
    counted = {split: count_labels(found, len(space)) for split, found in rows.items()}
    statistics = {
        "rows": {split: len(found) for split, found in rows.items()},
        "labels": len(space),
        **{
            key: {split: counts[key] for split, counts in counted.items()}
            for key in ("cardinality", "density", "rows_without_labels")
        },
        **statistics,
        **({"imbalance": measure_imbalance(rows["train"].labels)} if "train" in rows else {}),
        "fingerprints": {split: dataset._fingerprint for split, dataset in splits.items()},
    }
    if "train" in rows:
        texts = (text.as_py() for text in rows["train"].text)
        statistics["train_sketch"] = sketch_rows(texts, KEPT_OF_TRAINING)
    return MultiLabelData(splits, space, statistics)


def _to_dataset(rows: Rows) -> Dataset:
    columns = {"id": rows.ids, "text": rows.text, "labels": _lists(rows.labels)}
    # content decides, so that a file changed under its old name is never mistaken for what it was
    content = hashlib.sha256(text_digests(rows.text).tobytes())
    content.update(rows.labels.indptr.astype(np.int64).tobytes())
    content.update(rows.labels.indices.astype(np.int64).tobytes())
    if rows.unknown is not None:
        columns["unknown"] = _lists(rows.unknown)
        content.update(rows.unknown.indptr.astype(np.int64).tobytes())
        content.update(rows.unknown.indices.astype(np.int64).tobytes())
    if rows.soft is not None:
        columns["soft_ids"] = _lists(rows.soft)
        columns["soft_values"] = pa.ListArray.from_arrays(columns["soft_ids"].offsets, pa.array(rows.soft.data))
        content.update(rows.soft.indptr.astype(np.int64).tobytes())
        content.update(rows.soft.indices.astype(np.int64).tobytes())
        content.update(rows.soft.data.tobytes())
    return Dataset(pa.table(columns), fingerprint=content.hexdigest()[:16])


def _lists(matrix: csr_matrix) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(matrix.indptr.astype(np.int32)), pa.array(matrix.indices.astype(np.int32)))
