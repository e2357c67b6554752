from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_multilabel.data.labels import LabelSpace
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.errors import InputError

WHOLE = {"validation_size": 0, "test_size": 0}


def jsonl(*rows: tuple[str, list]) -> str:
    return "".join(json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in rows)


def names_of(data: MultiLabelData, split: str = "train") -> list[list[str]]:
    return [data.labels.decode(row) for row in data.splits[split]["labels"]]


def error_of(source: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_data(source, **options)
    return str(caught.value)


@pytest.fixture
def folder(write, tmp_path: Path) -> Path:
    """Three splits of names that YAML or pandas would take for something else."""
    write("train.jsonl", jsonl(("a", ["no", "0010"]), ("b", ["10"]), ("c", []), ("d", ["null"])))
    write("validation.jsonl", jsonl(("e", ["no"])))
    write("test.jsonl", jsonl(("f", ["0010", "10"])))
    return tmp_path


def test_splits_label_space_and_statistics(folder: Path) -> None:
    data = load_data(folder)
    assert data.labels.names == ("10", "0010", "no", "null")
    assert data.labels.counts == (1, 1, 1, 1)
    assert list(data.splits) == ["train", "validation", "test"]
    assert data.splits["train"].column_names == ["id", "text", "labels"]
    assert data.splits["train"].features["labels"] == datasets.List(datasets.Value("int32"))
    assert data.splits["train"]["id"][:] == ["train-1", "train-2", "train-3", "train-4"]
    assert names_of(data) == [["0010", "no"], ["10"], [], ["null"]]
    assert names_of(data, "test") == [["10", "0010"]]
    statistics = json.loads(json.dumps(data.statistics))
    assert statistics["rows"] == {"train": 4, "validation": 1, "test": 1}
    assert statistics["labels"] == 4
    assert statistics["cardinality"] == {"train": 1.0, "validation": 1.0, "test": 2.0}
    assert statistics["density"]["train"] == 0.25
    assert statistics["rows_without_labels"] == {"train": 1, "validation": 0, "test": 0}
    assert statistics["splits"] == dict.fromkeys(data.splits, "given")


def test_the_label_matrix(folder: Path) -> None:
    matrix = load_data(folder).label_matrix("train")
    assert matrix.dtype == bool
    assert matrix.toarray().tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_the_order_of_rows_does_not_order_the_labels(write) -> None:
    rows = [("a", ["z", "b"]), ("b", ["10"]), ("c", ["9"])]
    spaces = [load_data(write("a.jsonl", jsonl(*order)), **WHOLE).labels for order in (rows, rows[::-1])]
    assert spaces[0].names == spaces[1].names == ("9", "10", "b", "z")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.csv", "text,labels\na,y|x\nb,\n", {"label_delimiter": "|"}),
        ("a.csv.gz", "text,y,x\na,1,1\nb,0,0\n", {"labels": None}),
        ("a.tsv", "text\ty\tx\na\t1\t1\nb\t0\t0\n", {"labels": ["x", "y"]}),
        ("a.csv", 'text,labels\na,"[""y"", ""x""]"\nb,[]\n', {"label_format": "list"}),
        ("a.jsonl", jsonl(("a", ["x", "y"]), ("b", [])), {}),
        ("a.jsonl.gz", jsonl(("a", [1, 1]), ("b", [0, 0])), {"label_format": "columns", "label_names": ["x", "y"]}),
        ("a.ndjson", '{"text": "a", "x": true, "y": 1}\n{"text": "b", "x": false, "y": 0}\n', {"labels": None}),
    ],
)
def test_one_dataset_in_many_forms(write, name: str, content: str, options: dict) -> None:
    data = load_data(write(name, content), **WHOLE, **options)
    assert [sorted(row) for row in names_of(data)] == [["x", "y"], []]
    assert data.splits["train"]["text"][:] == ["a", "b"]


def test_parquet_arrow_and_hub_features(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.Sequence(datasets.ClassLabel(names=["x", "no", "y"]))}
    )
    dataset = datasets.Dataset.from_dict({"text": ["a", "b"], "labels": [[2, 0], []]}, features=features)
    dataset.to_parquet(tmp_path / "a.parquet")
    datasets.DatasetDict({"train": dataset}).save_to_disk(str(tmp_path / "saved"))
    for source in (tmp_path / "a.parquet", tmp_path / "saved"):
        data = load_data(source, **WHOLE)
        assert data.labels.names == ("x", "no", "y")
        assert names_of(data) == [["x", "y"], []]
        assert data.statistics["unseen_labels"]["never_examples"] == ["no"]


def test_missing_splits_are_stratified_off_training(write) -> None:
    rows = [(f"text {i}", ["even" if i % 2 == 0 else "odd", *(["rare"] if i == 7 else [])]) for i in range(200)]
    path = write("a.jsonl", jsonl(*rows))
    data = load_data(path, split_seed=3)
    assert data.statistics["rows"] == {"train": 160, "validation": 20, "test": 20}
    assert data.statistics["splits"] == {"train": "given", "validation": "stratified", "test": "stratified"}
    assert data.statistics["split_seed"] == 3
    assert data.statistics["balance"]["labels_missing"][0] == 0
    assert "rare" in sum(names_of(data), [])
    assert abs(data.label_matrix("test").getnnz(axis=0)[0] - 10) <= 1
    texts = [set(data.splits[split]["text"]) for split in data.splits]
    assert set.union(*texts) == {text for text, _ in rows}
    again, other = load_data(path, split_seed=3), load_data(path, split_seed=4)
    assert data.statistics["fingerprints"] == again.statistics["fingerprints"]
    assert data.statistics["fingerprints"] != other.statistics["fingerprints"]


def test_only_what_is_missing_is_made(write, tmp_path: Path) -> None:
    write("train.jsonl", jsonl(*((f"{i}", ["a"]) for i in range(50))))
    write("test.jsonl", jsonl(("t", ["a"])))
    data = load_data(tmp_path, validation_size=0.2)
    assert data.statistics["rows"] == {"train": 40, "validation": 10, "test": 1}
    assert data.statistics["splits"] == {"train": "given", "validation": "stratified", "test": "given"}
    assert list(load_data(tmp_path, validation_size=0).splits) == ["train", "test"]


def test_rows_of_one_text_go_to_one_side_of_a_made_split(write) -> None:
    rows = [(f"text {i % 30}", ["a"]) for i in range(300)]
    data = load_data(write("a.jsonl", jsonl(*rows)))
    assert set(data.statistics["duplicates"]["between_splits"].values()) == {0}


def test_too_few_rows_to_split(write) -> None:
    assert "D118" in error_of(write("a.jsonl", jsonl(("a", ["x"]), ("b", ["x"]))))


def test_texts_shared_between_splits(folder: Path, write, caplog: pytest.LogCaptureFixture) -> None:
    write("test.jsonl", jsonl(("a", ["no"]), ("x", ["10"])))
    message = error_of(folder)
    assert "error[D114]" in message
    assert "found 1 row of test, such as" in message
    assert "test.jsonl:1" in message
    data = load_data(folder, duplicates="warn")
    assert data.statistics["duplicates"]["between_splits"] == {
        "train/validation": 0,
        "train/test": 1,
        "validation/test": 0,
    }
    assert "found 1 row of test" in caplog.text


def test_ids_used_twice(write) -> None:
    path = write("a.csv", "id,text,labels\n1,a,x\n1,b,x\n")
    options = {"id": "id", "label_delimiter": "|", **WHOLE}
    assert "expected every id once, found 1 used again, such as '1'" in error_of(path, **options)
    assert load_data(path, duplicates="warn", **options).statistics["duplicates"]["ids"] == {"train": 1}


def test_labels_seen_only_outside_training(folder: Path, write, caplog: pytest.LogCaptureFixture) -> None:
    write("test.jsonl", jsonl(("f", ["new"])))
    message = error_of(folder)
    assert "error[D115]" in message
    assert "test.jsonl:1:labels: expected every label in training too, found 'new' only in 1 row of test" in message
    data = load_data(folder, unseen_labels="keep")
    assert data.labels.names[-1] == "null"
    assert data.labels.counts[data.labels.id_of["new"]] == 0
    assert data.statistics["unseen_labels"]["count"] == 1
    assert "1 labels occur only outside training" in caplog.text


def test_declared_labels_keep_their_order_and_never_seen_ones(
    folder: Path, write, caplog: pytest.LogCaptureFixture
) -> None:
    data = load_data(folder, label_names=write("names.txt", "null\nno\n10\n0010\nspare\n"))
    assert data.labels.names == ("null", "no", "10", "0010", "spare")
    assert names_of(data) == [["no", "0010"], ["10"], [], ["null"]]
    assert data.statistics["unseen_labels"]["never_examples"] == ["spare"]
    assert "1 declared labels hold in no row, such as 'spare'" in caplog.text


def test_labels_that_were_not_declared(folder: Path) -> None:
    message = error_of(folder, label_names=["nul", "no", "10"])
    assert (
        "train.jsonl:1:labels: expected one of the 3 labels, found '0010' in 2 rows; fix: did you mean '10'?" in message
    )
    assert (
        "train.jsonl:4:labels: expected one of the 3 labels, found 'null' in 1 row; fix: did you mean 'nul'?" in message
    )


def test_keys_become_the_names_they_stand_for(write) -> None:
    path = write("train.jsonl", jsonl(("a", ["2457", "10"]), ("b", ["10"])))
    names = write("concepts.json", json.dumps({"10": "trade", "2457": "transport", "9": "law"}))
    data = load_data(path, label_names=names, **WHOLE)
    assert data.labels.names == ("trade", "transport", "law")
    assert names_of(data) == [["trade", "transport"], ["trade"]]
    assert "found '11' in 1 row" in error_of(write("b.jsonl", jsonl(("a", ["11"]))), label_names=names)


def test_names_people_take_for_the_same(write) -> None:
    assert "L102" in error_of(write("a.jsonl", jsonl(("a", ["Sport"]), ("b", ["sport"]))), **WHOLE)


def test_label_columns_are_mapped_by_name(write, tmp_path: Path) -> None:
    write("train.csv", "text,toxic,mild\na,1,0\nb,0,1\n")
    write("validation.csv", "mild,toxic,text\n0,1,c\n")
    write("test.csv", "toxic,other,text,mild\n1,x,d,0\n")
    data = load_data(tmp_path, labels=None)
    assert data.labels.names == ("toxic", "mild")
    assert names_of(data, "validation") == names_of(data, "test") == [["toxic"]]


def test_a_label_column_that_is_missing_in_test(write, tmp_path: Path) -> None:
    write("train.csv", "text,toxic,mild\na,1,0\nb,0,1\n")
    write("validation.csv", "text,toxic,mild\nc,1,0\n")
    write("test.csv", "text,toxic,Mild\nd,1,0\n")
    message = error_of(tmp_path, labels=None)
    assert "test.csv:mild: expected a column 'mild', found the columns 'text', 'toxic', 'Mild'" in message


def test_labels_of_a_finished_model_go_by_name(write) -> None:
    known = LabelSpace.from_names(["b", "never", "a"], counts=[5, 6, 7])
    data = load_data(write("new.jsonl", jsonl(("x", ["a"]), ("y", ["b", "a"]))), known_labels=known)
    assert data.labels is known
    assert list(data.splits) == ["test"]
    assert data.splits["test"]["labels"][:] == [[2], [0, 2]]
    message = error_of(write("bad.jsonl", jsonl(("x", ["a"]), ("y", ["nevr"]))), known_labels=known)
    assert (
        "bad.jsonl:2:labels: expected one of the 3 labels, found 'nevr' in 1 row; fix: did you mean 'never'?" in message
    )


def test_label_columns_of_a_finished_model(write) -> None:
    known = LabelSpace.from_names(["b", "a"])
    options = {"known_labels": known, "labels": None}
    data = load_data(write("new.csv", "text,a,b\nx,1,0\ny,0,0\n"), **options)
    assert data.splits["test"]["labels"][:] == [[1], []]
    assert "expected a column 'b', found the columns 'text', 'a'" in error_of(
        write("less.csv", "text,a\nx,1\n"), **options
    )
    message = error_of(write("more.csv", "text,a,b,c\nx,1,0,1\ny,0,1,0\n"), **options)
    assert "found 'c' in 1 row; fix: add 'data.labels=[\"b\", \"a\"]' to the command if it is no label; else" in message
    assert "data.labels=[" not in error_of(write("bad.jsonl", jsonl(("x", ["c"]))), known_labels=known)


def test_many_labels_of_a_finished_model_are_shortened(write) -> None:
    known = LabelSpace.from_names([f"l{number}" for number in range(20)])
    cells = ",".join("1" * 21)
    message = error_of(
        write("a.csv", f"text,{','.join(known.names)},reviewed\nx,{cells}\n"), known_labels=known, labels=None
    )
    assert '"l8", "l9", ...]' in message


@pytest.mark.parametrize("labels", [None, ["toxic", "mild", "rude", "mean"], "tags"])
def test_texts_without_labels_are_said_to_be_for_predict(write, labels: list[str] | str | None) -> None:
    known = LabelSpace.from_names(["toxic", "mild", "rude", "mean"])
    message = error_of(write("a.csv", "text,author\nx,me\n"), known_labels=known, labels=labels)
    wanted = "column 'tags'" if labels == "tags" else "columns 'toxic', 'mild', 'rude' and 1 more"
    assert f"a.csv:labels: expected labels in the {wanted}, found the columns 'text', 'author'; fix:" in message
    assert "texts without labels are for `hf-multilabel predict`" in message
    assert len(message.splitlines()) == 1


def test_columns_of_like_names_are_offered(write) -> None:
    path = write("a.csv", "comment_text,Toxic,mild\nx,1,0\n")
    message = error_of(path, known_labels=LabelSpace.from_names(["toxic", "mild"]), labels=None, text="comment")
    assert (
        "found the columns 'comment_text', 'Toxic', 'mild'; fix: did you mean 'comment_text'? set data.text" in message
    )
    assert "a.csv:toxic: expected a column 'toxic'" in message
    assert "fix: did you mean 'Toxic'? set data.labels" in message


def test_a_finished_model_on_its_own_source_gets_the_same_splits(write) -> None:
    path = write("train.jsonl", jsonl(*((f"text {i}", ["a" if i % 3 else "b"]) for i in range(100)))).parent
    trained = load_data(path)
    again = load_data(path, known_labels=trained.labels)
    assert again.statistics["fingerprints"] == trained.statistics["fingerprints"]


def test_max_rows(folder: Path) -> None:
    data = load_data(folder, max_rows={"train": 2})
    assert data.statistics["rows"] == {"train": 2, "validation": 1, "test": 1}
    assert data.statistics["rows_in_source"]["train"] == 4
    assert data.labels.names == ("10", "0010", "no", "null")
    assert sum(data.labels.counts) == data.label_matrix("train").nnz
    assert load_data(folder, max_rows=1).statistics["rows"] == {"train": 1, "validation": 1, "test": 1}


def test_several_text_columns_and_markup(write) -> None:
    path = write("a.csv", "title,body,labels\nA &amp; B,<p>one</p><p>two</p>,x\n")
    data = load_data(path, text=["title", "body"], strip_html=True, label_delimiter=" ", **WHOLE)
    assert data.splits["train"]["text"][:] == ["A & B one two"]


@pytest.mark.parametrize("content", ["", "text|labels\na|x\n", "a,a\nb,x\n"])
def test_a_file_that_can_not_be_read_is_one_finding(write, content: str) -> None:
    assert len(error_of(write("a.csv", content)).splitlines()) == 1


def test_findings_of_all_files_come_together(write, tmp_path: Path) -> None:
    write("train.csv", "text,labels\na,x\n,y\nc\n")
    write("test.csv", 'text,labels\n"open,x\n')
    message = error_of(tmp_path, label_delimiter="|")
    assert "train.csv:3:text: expected text, found ''" in message
    assert "train.csv:4: expected 2 fields as in the header, found 1" in message
    assert "test.csv:2: expected the quote opened on this line" in message


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz"])
def test_header_only(write, name: str) -> None:
    content = "text,labels\n".replace(",", "\t" if "tsv" in name else ",")
    assert "D102" in error_of(write(name, content), label_delimiter="|")


def test_an_empty_split_is_found_with_the_rest(write, tmp_path: Path) -> None:
    write("train.csv", "text,labels\n,x\n")
    write("test.csv", "text,labels\n")
    message = error_of(tmp_path, label_delimiter="|")
    assert "train.csv:2:text" in message
    assert "test.csv: expected rows, found none below the column names" in message


def test_an_empty_parquet_file(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "labels": pa.array([], pa.list_(pa.string()))}),
        tmp_path / "a.parquet",
    )
    assert "D102" in error_of(tmp_path / "a.parquet")


def test_no_train_split(write, tmp_path: Path) -> None:
    write("test.jsonl", jsonl(("a", ["x"])))
    assert "expected a train split, found 'test'" in error_of(tmp_path)


def test_labels_that_never_hold(write) -> None:
    assert "expected at least one label, found none" in error_of(write("a.jsonl", jsonl(("a", []))), **WHOLE)


def test_missing_columns_list_those_found(write) -> None:
    message = error_of(write("a.jsonl", jsonl(("a", ["x"]))), text="body", labels="tags")
    assert "expected a column 'body', found the columns 'text', 'labels'; fix: set data.text" in message
    assert "expected a column 'tags', found the columns 'text', 'labels'; fix: set data.labels" in message


def test_a_file_changed_under_its_name_is_read_anew(write) -> None:
    path = write("a.jsonl", jsonl(("a", ["x"])))
    first = load_data(path, **WHOLE)
    when = path.stat()
    write("a.jsonl", jsonl(("b", ["x"])))
    os.utime(path, ns=(when.st_atime_ns, when.st_mtime_ns))
    second = load_data(path, **WHOLE)
    assert second.splits["train"]["text"][:] == ["b"]
    assert first.statistics["fingerprints"] != second.statistics["fingerprints"]


PIECES = [
    "text",
    "labels",
    ",",
    '"',
    "\n",
    "\r",
    "a",
    "x|y",
    "\t",
    ";",
    "{",
    "}",
    "[",
    "]",
    ":",
    "1",
    "0",
    "null",
    "\\ud800",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.arrow", "a.csv.gz"]),
    st.one_of(
        st.binary(max_size=40), st.lists(st.sampled_from(PIECES), max_size=30).map(lambda p: "".join(p).encode())
    ),
    st.sampled_from(["labels", None, ["labels"]]),
)
def test_any_bytes_load_or_are_explained(write, name: str, content: bytes, labels: object) -> None:
    for start in (b"", b"text,labels\n", b'{"text": "a", "labels": ["x"]}\n'):
        path = write(name, start + content)
        # anything but a dataset or an InputError with findings that can be printed fails the test
        with contextlib.suppress(InputError):
            load_data(path, labels=labels, label_delimiter="|", **WHOLE)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 3), st.floats(), st.text(max_size=3), st.just(2**70)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({"text": VALUES}, optional={"labels": VALUES}), max_size=5), st.booleans())
def test_any_json_loads_or_is_explained(write, rows: list[dict], one_column: bool) -> None:
    path = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in [{"text": "a", "labels": ["x"]}, *rows]))
    for form in ("auto", "list", "delimited", "columns"):
        labels = "labels" if one_column else None
        with contextlib.suppress(InputError):
            load_data(path, labels=labels, label_format=form, label_delimiter=" ", label_names=["x"], **WHOLE)
