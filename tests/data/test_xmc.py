from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.errors import InputError

TEXTS = ["red fruit", "yellow fruit", "long vegetable", "green leaf"]
NUMBERS = [[0, 2], [0], [], [1]]
NAMES = ["fruit", "leaf", "red"]
EXPECTED = [["fruit", "red"], ["fruit"], [], ["leaf"]]
SMALL = {"validation_size": 0, "test_size": 0}


def lines(*parts: object) -> str:
    return "".join(f"{part}\n" for part in parts)


def sparse(rows: list[list[int]] = NUMBERS, width: int = 3) -> str:
    return lines(f"{len(rows)} {width}", *(" ".join(f"{n}:1.0" for n in row) for row in rows))


def features(rows: list[list[int]] = NUMBERS) -> str:
    return lines(f"{len(rows)} 9 3", *(",".join(map(str, row)) + " 0:0.5 7:1" for row in rows))


def names_of(data: MultiLabelData, split: str = "train") -> list[list[str]]:
    return [data.labels.decode(row) for row in data.splits[split]["labels"]]


FORMS = {
    "raw": {"trn.raw.txt": lines(*TEXTS), "trn_X_Y.txt": sparse(), "Y.txt": lines(*NAMES)},
    "repository": {"trn_X.txt": lines(*TEXTS), "trn_X_Y.txt": sparse(), "lbl.raw.txt": lines(*NAMES)},
    "features": {"train.raw.txt": lines(*TEXTS), "train.txt": features(), "Y.txt": lines(*NAMES)},
    "x-transformer": {"train_raw_texts.txt": lines(*TEXTS), "train.txt": features(), "output-items.txt": lines(*NAMES)},
    "json": {
        "trn.json.gz": lines(
            *(json.dumps({"title": t, "content": "", "target_ind": n}) for t, n in zip(TEXTS, NUMBERS, strict=True))
        ),
        "lbl.json.gz": lines(*(json.dumps({"uid": f"u{i}", "title": name}) for i, name in enumerate(NAMES))),
    },
    "json, names apart": {
        "trn.json": lines(*(json.dumps({"title": t, "target_ind": n}) for t, n in zip(TEXTS, NUMBERS, strict=True))),
        "Y.txt": lines(*NAMES),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_spelling_of_the_format(write, tmp_path: Path, form: str) -> None:
    for name, content in FORMS[form].items():
        write(name, content)
    data = load_data(tmp_path, **SMALL)
    assert data.labels.names == tuple(NAMES)
    assert data.splits["train"]["text"][:] == TEXTS
    assert names_of(data) == EXPECTED
    assert data.statistics["rows_without_labels"] == {"train": 1}


def test_pecos_matrices(write, tmp_path: Path) -> None:
    matrix = scipy.sparse.csr_matrix(np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]], dtype=np.float32))
    for short, rows in (("trn", slice(0, 3)), ("tst", slice(3, 4))):
        write(f"X.{short}.txt", lines(*TEXTS[rows]))
        scipy.sparse.save_npz(tmp_path / f"Y.{short}.npz", matrix[rows])
    write("output-items.txt", lines(*NAMES))
    data = load_data(tmp_path, validation_size=0, unseen_labels="keep")
    assert names_of(data) + names_of(data, "test") == EXPECTED


def test_title_and_content_are_the_text(write, tmp_path: Path) -> None:
    write("trn.json", lines(json.dumps({"title": "a", "content": "b", "target_ind": [0]})))
    write("Y.txt", "x\n")
    assert load_data(tmp_path, **SMALL).splits["train"]["text"][:] == ["a b"]
    assert load_data(tmp_path, text="title", **SMALL).splits["train"]["text"][:] == ["a"]


def test_labels_of_one_name_keep_their_number(write, tmp_path: Path) -> None:
    write("trn.raw.txt", lines("a", "b"))
    write("trn_X_Y.txt", sparse([[0], [1, 2]]))
    write("Y.txt", lines("Poems", "Maps", "poems"))
    data = load_data(tmp_path, **SMALL)
    assert data.labels.names == ("Poems [0]", "Maps", "poems [2]")
    write("lbl.json", lines(*(json.dumps({"uid": f"u{i}", "title": "x"}) for i in range(3))))
    assert load_data(tmp_path, **SMALL).labels.names == ("x [u0]", "x [u1]", "x [u2]")


def test_without_names_labels_are_their_numbers(write, tmp_path: Path) -> None:
    write("trn.raw.txt", lines("a", "b"))
    write("trn_X_Y.txt", sparse([[2], [0]]))
    assert names_of(load_data(tmp_path, **SMALL)) == [["2"], ["0"]]


def test_features_without_texts(write, tmp_path: Path) -> None:
    write("train.txt", features())
    with pytest.raises(InputError, match="D117.*expected raw texts, one a line.*found features only"):
        load_data(tmp_path)


def test_a_train_txt_of_another_kind_is_no_xmc(write, tmp_path: Path) -> None:
    write("train.txt", "some text\n")
    write("train.csv", "text,labels\na,x\n")
    assert load_data(tmp_path, label_delimiter="|", **SMALL).labels.names == ("x",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trn_X_Y.txt", sparse([[0], [1], [2], [3]]), r"trn_X_Y.txt:5: expected label numbers from 0 to 2, found 3"),
        ("trn_X_Y.txt", sparse([[0], [-1], [2], [0]]), r"trn_X_Y.txt:3: expected label numbers from 0 to 2, found -1"),
        ("trn_X_Y.txt", sparse().replace("1:1.0", "x:1.0"), r"trn_X_Y.txt:5: expected label numbers, found 'x:1.0'"),
        ("trn_X_Y.txt", sparse().replace("4 3", "5 3"), r"expected 5 rows as in the header, found 4"),
        ("trn_X_Y.txt", sparse().replace("4 3", "4 x"), r"expected a header of two or three numbers, found '4 x'"),
        ("trn_X_Y.txt", sparse(NUMBERS[:3]), r"expected as many rows as trn.raw.txt has, found fewer, 3"),
        ("trn.raw.txt", lines(*TEXTS[:2]), r"expected as many rows as trn_X_Y.txt has, found fewer, 2"),
        ("trn.raw.txt", lines("a", "", "c", "d"), r"trn.raw.txt:2:text: expected text, found ''"),
        ("Y.txt", lines("a", "b"), r"expected 3 label names, found 2"),
    ],
)
def test_files_that_do_not_fit_together(write, tmp_path: Path, name: str, content: str, message: str) -> None:
    for part, usual in {**FORMS["raw"], name: content}.items():
        write(part, usual)
    with pytest.raises(InputError, match=message):
        load_data(tmp_path)


def test_a_damaged_matrix(write, tmp_path: Path) -> None:
    write("X.trn.txt", "a\n")
    write("Y.trn.npz", "no archive")
    with pytest.raises(InputError, match="D110.*expected a sparse matrix saved by SciPy"):
        load_data(tmp_path)


def test_pickled_matrices_are_not_executed(tmp_path: Path, write) -> None:
    write("X.trn.txt", "a\n")
    np.savez(tmp_path / "Y.trn.npz", data=np.array([{"a": 1}], dtype=object), format=np.array("csr"))
    with pytest.raises(InputError, match="D110"):
        load_data(tmp_path)
