from __future__ import annotations

import functools
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_multilabel.data import sources
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.sources import open_source
from hf_multilabel.errors import EnvironmentFault, InputError

CSV = "text,labels\na,x\n"


def opened(source: str | Path, **options) -> dict[str, list[str]]:
    findings = Findings()
    found = open_source(source, findings, **options)
    if findings:
        raise InputError(findings)
    return {split: [Path(table.file).name for table in tables] for split, tables in found.items()}


def test_a_file_is_the_training_split(write) -> None:
    assert opened(write("whatever.csv", CSV)) == {"train": ["whatever.csv"]}
    assert opened(write("test.csv.gz", CSV), only="test") == {"test": ["test.csv.gz"]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train.csv", "validation.csv", "test.csv"], {"train": "train", "validation": "validation", "test": "test"}),
        (["trn.csv", "dev.csv", "tst.csv"], {"train": "trn", "validation": "dev", "test": "tst"}),
        (["reviews_train_v2.csv", "reviews-val.csv"], {"train": "reviews_train_v2", "validation": "reviews-val"}),
        (["train.csv", "train_small.csv"], {"train": "train"}),
        (["data.csv"], {"train": "data"}),
        (["constraint.csv"], {"train": "constraint"}),
        (["data/train.csv", "data/test.csv"], {"train": "train", "test": "test"}),
        (["train.csv", "notes.csv", ".hidden_test.csv"], {"train": "train"}),
    ],
)
def test_files_are_found_by_split_name(write, tmp_path: Path, names: list[str], expected: dict[str, str]) -> None:
    for name in names:
        write(name, CSV)
    assert opened(tmp_path) == {split: [f"{name}.csv"] for split, name in expected.items()}


def test_folders_named_by_split(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_dict({"text": ["a"]})
    datasets.DatasetDict({"train": dataset, "test": dataset}).save_to_disk(str(tmp_path / "saved"))
    shard = "data-00000-of-00001.arrow"
    assert opened(tmp_path / "saved") == {"train": [shard], "test": [shard]}


def test_shards_are_joined_in_order(tmp_path: Path) -> None:
    for number in (1, 0):
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / f"train-0000{number}-of-00002.parquet")
    assert opened(tmp_path) == {"train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]}


def test_a_missing_shard(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "train-00001-of-00002.parquet")
    with pytest.raises(InputError, match="expected 2 shards of split 'train', found 1"):
        opened(tmp_path)


def test_splits_of_other_names(write, tmp_path: Path) -> None:
    for name in ("a", "b", "test"):
        write(f"{name}.csv", CSV)
    found = opened(tmp_path, renamed={"train": "a", "validation": "b"})
    assert found == {"train": ["a.csv"], "validation": ["b.csv"], "test": ["test.csv"]}
    assert opened(tmp_path, renamed={"train": "test"}) == {"train": ["test.csv"]}


def test_an_absent_split_lists_those_found(write, tmp_path: Path) -> None:
    write("train.csv", CSV)
    write("heldout.csv", CSV)
    with pytest.raises(
        InputError, match="D104.*expected a split 'held_out', found 'heldout', 'train'.*did you mean 'heldout'"
    ):
        opened(tmp_path, renamed={"test": "held_out"})


@pytest.mark.parametrize("names", [["dev.csv", "val.csv"], ["train.csv", "train.tsv"], ["train_a.csv", "train_b.csv"]])
def test_two_candidates_for_a_split(write, tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write(name, CSV.replace(",", "\t") if name.endswith("tsv") else CSV)
    with pytest.raises(InputError, match="D116.*expected one"):
        opened(tmp_path)


def test_no_name_of_a_split(write, tmp_path: Path) -> None:
    write("a.csv", CSV)
    write("b.csv", CSV)
    with pytest.raises(InputError, match="expected splits named train, validation or test, found 'a', 'b'"):
        opened(tmp_path)


def test_missing_files_and_folders(write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="D101.*nothing.csv: expected a file, found none"):
        opened(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="D101.*expected a file, found none"):
        opened("./data/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="D101.*expected a folder with files that end in .csv"):
        opened(tmp_path / "empty")
    with pytest.raises(InputError, match="D105.*expected a file that ends in .csv.*found 'a.xlsx'"):
        opened(write("a.xlsx", "x"))


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    api = functools.partial(huggingface_hub.HfApi, endpoint="http://127.0.0.1:9")
    monkeypatch.setattr(sources, "HfApi", api)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.mark.usefixtures("no_hub")
def test_an_unreachable_hub_is_no_fault_of_the_user() -> None:
    with pytest.raises(
        EnvironmentFault, match="the Hub can't be reached.*data.source=PATH takes a local folder"
    ) as caught:
        opened("google-research-datasets/go_emotions")
    assert caught.value.exit_code == 3


def test_offline_without_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentFault, match="data.source=PATH"):
        opened("nobody/nothing-of-this-name")


def hub_of(monkeypatch: pytest.MonkeyPatch, **splits: datasets.Dataset) -> list[tuple]:
    calls: list[tuple] = []

    def load(source: str, config: str | None, revision: str | None) -> datasets.DatasetDict:
        calls.append((source, config, revision))
        return datasets.DatasetDict(splits)

    monkeypatch.setattr(sources, "_probe_hub", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def test_hub_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = datasets.Dataset.from_dict({"text": ["a"]})
    calls = hub_of(monkeypatch, train=dataset, dev=dataset)
    assert opened("owner/name", revision="abc", config="raw") == {"train": ["name[train]"], "validation": ["name[dev]"]}
    assert calls == [("owner/name", "raw", "abc")]


def test_hub_datasets_that_do_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("Dataset scripts are no longer supported\nmore")

    monkeypatch.setattr(sources, "_probe_hub", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError, match="D302.*found: Dataset scripts are no longer supported; fix"):
        opened("owner/name")
