"""Parquet and Arrow files, and the tables of Hub datasets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.tables import BATCH_ROWS, Batch, Table, is_list, is_text

Read = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]


def open_parquet(path: Path, findings: Findings) -> Table | None:
    """Open a Parquet file; the footer is read, rows are not.

    Args:
        path: The file.
        findings: Receives what is wrong; None is returned then.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        _broken(path, "Parquet", error, findings)
        return None

    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=list(columns))

    return _table(path, schema, batches, "Parquet")


def open_arrow(path: Path, findings: Findings) -> Table | None:
    """Open an Arrow file in the file or the streaming format (`Dataset.save_to_disk` writes the latter).

    Args:
        path: The file.
        findings: Receives what is wrong; None is returned then.
    """
    try:
        with pa.memory_map(str(path)) as source, _arrow_reader(source) as reader:
            schema = reader.schema
    except (pa.ArrowException, OSError) as error:
        _broken(path, "Arrow", error, findings)
        return None

    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(path)) as source, _arrow_reader(source) as reader:
            if isinstance(reader, pa.RecordBatchStreamReader):
                whole: Iterator[pa.RecordBatch] = iter(reader)
            else:
                whole = (reader.get_batch(i) for i in range(reader.num_record_batches))
            for batch in whole:
                yield from _cut(batch.select(list(columns)))

    return _table(path, schema, batches, "Arrow")


def open_dataset(dataset: Dataset, name: str) -> Table:
    """A split of a Hub dataset as a table."""

    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in dataset.data.table.select(list(columns)).to_batches():
            yield from _cut(batch)

    return _table(name, dataset.features.arrow_schema, batches, "Arrow")


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(batch), BATCH_ROWS):
        yield batch.slice(start, BATCH_ROWS)


def _arrow_reader(source: pa.NativeFile) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    try:
        return pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return pa.ipc.open_stream(source)


def _table(file: Path | str, schema: pa.Schema, batches: Read, kind: str) -> Table:
    def read(columns: Sequence[str], findings: Findings) -> Iterator[Batch]:
        row = 1
        try:
            for batch in batches(columns):
                places = np.arange(row, row + len(batch), dtype=np.int64)
                found = {name: _plain(batch.column(name)) for name in columns}
                checked = Batch(found, places, str(file))
                yield Batch({name: _unicode(checked, name, findings) for name in columns}, places, str(file))
                row += len(batch)
        except (pa.ArrowException, OSError) as error:
            _broken(file, kind, error, findings)

    types = {field.name: _plain(pa.array([], field.type)).type for field in schema}
    return Table(str(file), types, read, _class_names(schema))


def _plain(array: pa.Array) -> pa.Array:
    """The array with dictionaries decoded, and one kind of text and list."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        array = array.cast(pa.large_list(kind.value_type))
    if is_list(array.type) and pa.types.is_dictionary(array.type.value_type):
        array = array.cast(pa.large_list(array.type.value_type.value_type))
    return array


def _unicode(batch: Batch, name: str, findings: Findings) -> pa.Array:
    """The column, with bytes that are no UTF-8 reported and replaced: Arrow itself does not look at them."""
    array = batch.columns[name]
    text = array.flatten() if is_list(array.type) else array
    if not is_text(text.type):
        return array
    try:
        array.validate(full=True)
        return array
    except pa.ArrowInvalid:
        binary = pa.list_(pa.binary()) if is_list(array.type) else pa.large_binary()
        rows = array.cast(binary).to_pylist()
        for row, value in enumerate(rows):
            parts = value if isinstance(value, list) else [value]
            if any(part is not None and not _is_utf8(part) for part in parts):
                what = f"expected UTF-8 text, found the bytes {shown(value)}"
                findings.add("D106", batch.where(row, name), what, "write the column as UTF-8")
        return pa.nulls(len(array), array.type)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Label names of columns of class numbers, which `datasets` notes in a file's schema."""
    try:
        features = Features.from_arrow_schema(schema)
    except (ValueError, TypeError, KeyError, json.JSONDecodeError):
        # a schema written by another program: no names, and the columns are judged by their Arrow types
        return {}
    inner = {name: getattr(feature, "feature", feature) for name, feature in features.items()}
    return {name: list(kind.names) for name, kind in inner.items() if isinstance(kind, ClassLabel) and kind.names}


def _broken(file: Path | str, kind: str, error: Exception, findings: Findings) -> None:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    what = f"expected a whole {kind} file, found one that breaks off or is damaged ({reason})"
    findings.add("D110", str(file), what, "fetch or write the file again")
