from __future__ import annotations

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_multilabel.data.columnar import open_arrow, open_dataset, open_parquet
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.tables import Table


def rows_of(table: Table | None, *columns: str) -> tuple[list[tuple], list[int], Findings]:
    findings = Findings()
    rows: list[tuple] = []
    places: list[int] = []
    for batch in table.read(columns, findings) if table else ():
        rows += zip(*(batch.columns[name].to_pylist() for name in columns), strict=True)
        places += batch.places.tolist()
    return rows, places, findings


TABLE = pa.table({"text": ["a", "b"], "labels": [["x"], []], "n": [0, 1]})
EXPECTED = [("a", ["x"], 0), ("b", [], 1)]


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    rows, places, findings = rows_of(open_parquet(tmp_path / "a.parquet", Findings()), "text", "labels", "n")
    assert (rows, places, findings) == (EXPECTED, [1, 2], [])


@pytest.mark.parametrize("writer", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_in_both_formats(tmp_path: Path, writer) -> None:
    with writer(str(tmp_path / "a.arrow"), TABLE.schema) as out:
        out.write_table(TABLE)
    rows, places, _ = rows_of(open_arrow(tmp_path / "a.arrow", Findings()), "text", "labels", "n")
    assert (rows, places) == (EXPECTED, [1, 2])


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", "b"]).dictionary_encode(),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"], pa.string_view()),
    ],
)
def test_every_kind_of_text(column: pa.Array) -> None:
    table = open_dataset(datasets.Dataset(pa.table({"text": column})), "x")
    assert table.types["text"] == pa.large_string()
    assert rows_of(table, "text")[0] == [("a",), ("b",)]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.string(), 1), pa.large_list(pa.string()), pa.list_(pa.dictionary(pa.int8(), pa.string()))]
)
def test_every_kind_of_list(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"labels": pa.array([["a"], ["b"]], pa.list_(pa.string())).cast(kind)})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as out:
        out.write_table(table)
    assert rows_of(open_arrow(tmp_path / "a.arrow", Findings()), "labels")[0] == [(["a"],), (["b"],)]


def test_long_files_come_in_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": range(20_000)}), tmp_path / "a.parquet", row_group_size=7000)
    rows, places, _ = rows_of(open_parquet(tmp_path / "a.parquet", Findings()), "n")
    assert [row[0] + 1 for row in rows] == places == list(range(1, 20_001))


@pytest.mark.parametrize("length", [0, 10, -1, -20])
def test_damaged_parquet_names_the_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    path.write_bytes(path.read_bytes()[:length])
    findings = Findings()
    assert open_parquet(path, findings) is None
    assert findings[0].where == str(path)
    assert "expected a whole Parquet file" in findings[0].what


def test_damaged_data_behind_a_good_footer(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"text": [f"text {i}" for i in range(1000)]}), path, compression="zstd", use_dictionary=False
    )
    content = bytearray(path.read_bytes())
    content[60:200] = bytes(140)
    path.write_bytes(content)
    _, _, findings = rows_of(open_parquet(path, Findings()), "text")
    assert "expected a whole Parquet file" in findings[0].what


def test_damaged_arrow_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(b"ARROW1\0\0 and no more")
    findings = Findings()
    assert open_arrow(tmp_path / "a.arrow", findings) is None
    assert "expected a whole Arrow file" in findings[0].what


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    binary = pa.array([b"fine", b"caf\xe9"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 2, binary.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    _, _, findings = rows_of(open_parquet(tmp_path / "a.parquet", Findings()), "text")
    assert findings[0].where == f"{tmp_path / 'a.parquet'}:2:text"


def test_class_names_of_hub_features(tmp_path: Path) -> None:
    features = datasets.Features(
        {"labels": datasets.Sequence(datasets.ClassLabel(names=["no", "0010"])), "text": datasets.Value("string")}
    )
    dataset = datasets.Dataset.from_dict({"labels": [[1], [0, 1]], "text": ["a", "b"]}, features=features)
    assert open_dataset(dataset, "x").class_names == {"labels": ["no", "0010"]}
    dataset.to_parquet(tmp_path / "a.parquet")
    assert open_parquet(tmp_path / "a.parquet", Findings()).class_names == {"labels": ["no", "0010"]}
