"""Labels nobody knows: read beside the others, left out of the loss, kept away from evaluation."""

from __future__ import annotations

import pytest
import torch

from hf_multilabel.backbones import Backbone
from hf_multilabel.data.batching import MultiLabelCollator, tokenize
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.data.remedies import apply_remedies
from hf_multilabel.errors import InputError
from hf_multilabel.losses import build_loss
from tests.data.conftest import Write

JSONL = """{"text": "a", "labels": ["x", "y"], "open": ["z"]}
{"text": "b", "labels": [], "open": ["y", "z"]}
{"text": "c", "labels": ["z"], "open": []}
{"text": "d", "labels": ["x"], "open": null}
"""
WHOLE = {"validation_size": 0, "test_size": 0}


def test_a_column_of_names(write: Write) -> None:
    data = load_data(write("a.jsonl", JSONL), unknown_labels="open", **WHOLE)
    assert data.labels.names == ("x", "y", "z")
    assert data.unknown_matrix("train").toarray().tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert data.label_matrix("train").toarray().astype(int).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert data.known_rows() == [4, 3, 2]
    assert data.statistics["unknown_labels"] == {"cells": 3, "rows": 2, "rows_left_out": {}}


def test_a_delimited_column(write: Write) -> None:
    data = load_data(
        write("a.csv", "text,labels,open\na,x|y,z\nb,,y|z\nc,z,\nd,x,\n"),
        unknown_labels="open",
        label_delimiter="|",
        **WHOLE,
    )
    assert data.unknown_matrix("train").toarray().tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("labels", [None, ["x", "y", "z"]])
def test_cells_of_minus_one(write: Write, labels: list[str] | None) -> None:
    path = write("a.csv", "text,x,y,z\na,1,1,-1\nb,0,-1,-1\nc,0,0,1\nd,1,0,-1\n")
    data = load_data(path, labels=labels, unknown_labels=-1, **WHOLE)
    assert data.labels.names == ("x", "y", "z")
    assert data.unknown_matrix("train").toarray().tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 1]]
    assert data.label_matrix("train").toarray().astype(int).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    with pytest.raises(InputError, match=r"a.csv:2:z: expected 0 or 1, found '-1'"):
        load_data(path, labels=["x", "y", "z"], **WHOLE)


def test_rows_with_unknown_labels_are_not_evaluated_on(write: Write) -> None:
    write("d/train.jsonl", JSONL)
    write("d/test.jsonl", '{"text": "e", "labels": ["x"], "open": ["y"]}\n{"text": "f", "labels": ["x"], "open": []}\n')
    folder = write("d/readme.txt", "").parent
    data = load_data(folder, unknown_labels="open", validation_size=0)
    assert data.splits["test"]["text"][:] == ["f"]
    assert data.splits["test"].column_names == ["id", "text", "labels"]
    assert data.unknown_matrix("test") is None
    assert data.statistics["unknown_labels"]["rows_left_out"] == {"test": 1}
    write("d/test.jsonl", '{"text": "e", "labels": ["x"], "open": ["y"]}\n')
    with pytest.raises(InputError, match="D119.*expected rows of which all labels are known in test, found none"):
        load_data(folder, unknown_labels="open", validation_size=0)


def test_splits_made_here_leave_them_to_training(write: Write) -> None:
    lines = [f'{{"text": "t{i}", "labels": ["{"xyz"[i % 3]}"], "open": {["[]", "[]"][i % 2]}}}' for i in range(60)]
    lines = [line if i % 3 else line.replace('"open": []', '"open": ["y"]') for i, line in enumerate(lines)]
    data = load_data(write("a.jsonl", "\n".join(lines)), unknown_labels="open", test_size=0.2, validation_size=0.2)
    assert data.unknown_matrix("train").nnz == 20
    assert data.statistics["unknown_labels"]["rows_left_out"] == {"validation": 0, "test": 0}
    assert sum(len(split) for split in data.splits.values()) == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unknown_labels": "opn"}, r"column 'opn', found .*fix: did you mean 'open'\? set data.unknown_labels"),
        ({"unknown_labels": -1}, r"expected 0/1 columns beside unknown_labels: -1, found 'labels'"),
        (
            {"unknown_labels": "labels"},
            r"a.jsonl:1:labels: expected a label to hold or to be unknown, found both for 'x'",
        ),
    ],
)
def test_what_is_wrong_is_said(write: Write, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_data(write("a.jsonl", JSONL), **WHOLE, **arguments)


def test_delimited_text_has_no_cells_of_minus_one(write: Write) -> None:
    path = write("a.csv", "text,labels\na,x|y\nb,-1\n")
    with pytest.raises(InputError, match="expected 0/1 columns beside unknown_labels: -1, found 'labels'"):
        load_data(path, label_delimiter="|", unknown_labels=-1, **WHOLE)


def test_they_reach_the_loss_as_minus_one(write: Write, tiny_backbone: Backbone) -> None:
    data = load_data(write("a.jsonl", JSONL), unknown_labels="open", **WHOLE)
    rows, _ = tokenize(data.splits["train"], tiny_backbone.tokenizer, 16)
    batch = MultiLabelCollator(tiny_backbone.tokenizer, 3)([rows[i] for i in range(4)])
    assert batch["labels"].tolist() == [[1, 1, -1], [0, -1, -1], [0, 0, 1], [1, 0, 0]]
    loss = build_loss("weighted_bce", data.labels.counts, data.known_rows(), pos_weight={"rule": "neg_pos_ratio"})
    assert loss.weights["pos_weight"].tolist() == [1.0, 2.0, 1.0]
    assert torch.isfinite(loss(torch.zeros(4, 3), batch["labels"])).all()


def test_remedies_carry_them_along(write: Write) -> None:
    text = JSONL.replace('"text": "a"', '"text": "A b. C d. E f."')
    data: MultiLabelData = load_data(write("a.jsonl", text), unknown_labels="open", **WHOLE)
    found = apply_remedies(
        data,
        {"method": "drop_sentences", "only_minority": False},
        {"method": "lp_ros", "rate": 0.5, "seed": 0},
    )
    assert found.unknown_matrix("train").toarray().tolist()[4] == [0, 0, 1]
    assert found.label_matrix("train").toarray().astype(int).tolist()[4] == [1, 1, 0]
