"""Labels with probabilities: read from 0/1 columns, trained on as they are, counted and evaluated as 0 or 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hf_multilabel.backbones import Backbone
from hf_multilabel.data.batching import MultiLabelCollator, tokenize
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.data.remedies import apply_remedies
from hf_multilabel.errors import InputError
from hf_multilabel.losses import build_loss
from hf_multilabel.losses.registry import LOSSES
from tests.data.conftest import Write

CSV = "text,x,y,z\nA b. C d. E f.,1,0.7,0\nb,0.2,0,1e-3\nc,0,0.5,1.0\nd,true,.4999,0\n"
TARGETS = [[1, 0.7, 0], [0.2, 0, 1e-3], [0, 0.5, 1], [1, 0.4999, 0]]
HARD = [[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]]
WHOLE = {"validation_size": 0, "test_size": 0}
NAMED = {"labels": ["x", "y", "z"], "soft_labels": True}


def targets_of(data: MultiLabelData, split: str, backbone: Backbone) -> torch.Tensor:
    rows, _ = tokenize(data.splits[split], backbone.tokenizer, 16)
    collator = MultiLabelCollator(backbone.tokenizer, len(data.labels))
    return collator([rows[i] for i in range(len(rows))])["labels"]


@pytest.mark.parametrize("labels", [["x", "y", "z"], None])
def test_what_is_counted_and_what_is_trained_on(
    write: Write, tiny_backbone: Backbone, labels: list[str] | None
) -> None:
    data = load_data(write("a.csv", CSV), labels=labels, soft_labels=True, **WHOLE)
    assert data.labels.names == ("x", "y", "z")
    assert data.labels.counts == (2, 2, 1)
    assert data.label_matrix("train").toarray().astype(int).tolist() == HARD
    train = data.splits["train"]
    assert train["soft_ids"][:] == [[1], [0, 2], [1], [1]]
    np.testing.assert_allclose(np.concatenate(train["soft_values"][:]), [0.7, 0.2, 1e-3, 0.5, 0.4999], rtol=1e-6)
    assert data.statistics["soft_labels"] == {"cells": 5, "rows": 4, "cells_rounded": {}}
    torch.testing.assert_close(targets_of(data, "train", tiny_backbone), torch.tensor(TARGETS))


@pytest.mark.parametrize(
    "lines",
    [
        ['{"text": "a", "x": 0, "y": 1}', '{"text": "b", "x": 0.75, "y": 1}', '{"text": "c", "x": 1, "y": 0.25}'],
        ['{"text": "a", "x": 0.0, "y": 1}', '{"text": "b", "x": 0.75, "y": 1}', '{"text": "c", "x": 1, "y": 0.25}'],
    ],
)
def test_columns_of_numbers(write: Write, tiny_backbone: Backbone, lines: list[str]) -> None:
    data = load_data(write("a.jsonl", "\n".join(lines)), labels=["x", "y"], soft_labels=True, **WHOLE)
    assert targets_of(data, "train", tiny_backbone).tolist() == [[0, 1], [0.75, 1], [1, 0.25]]


def test_evaluation_sees_hard_labels(write: Write, tiny_backbone: Backbone) -> None:
    write("d/train.csv", CSV)
    folder = write("d/test.csv", "text,x,y,z\ne,0.5,0.4,1\nf,0,0.9,0\n").parent
    data = load_data(folder, validation_size=0, **NAMED)
    assert data.splits["test"].column_names == ["id", "text", "labels"]
    assert targets_of(data, "test", tiny_backbone).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert data.statistics["soft_labels"] == {"cells": 5, "rows": 4, "cells_rounded": {"test": 3}}


def test_splits_made_here_are_hard_but_for_training(write: Write, tiny_backbone: Backbone) -> None:
    lines = [f"t{i},{0.9 if i % 2 else 0.1},{int(i % 2 == 0)}" for i in range(40)]
    path = write("a.csv", "\n".join(["text,x,y", *lines]))
    data = load_data(path, labels=["x", "y"], soft_labels=True, validation_size=0.2, test_size=0.2)
    assert sorted(targets_of(data, "train", tiny_backbone)[:, 0].unique().tolist()) == pytest.approx([0.1, 0.9])
    for split in ("validation", "test"):
        assert targets_of(data, split, tiny_backbone)[:, 0].tolist() == [
            int(t[1:]) % 2 for t in data.splits[split]["text"]
        ]
    assert data.statistics["soft_labels"] == {
        "cells": len(data.splits["train"]),
        "rows": len(data.splits["train"]),
        "cells_rounded": {split: len(data.splits[split]) for split in ("validation", "test")},
    }


def test_without_a_soft_cell_nothing_changes(write: Write, tiny_backbone: Backbone) -> None:
    path = write("a.csv", "text,x,y\na,1,0\nb,0,1\n")
    soft, plain = (load_data(path, labels=["x", "y"], soft_labels=soft, **WHOLE) for soft in (True, False))
    assert plain.splits["train"].column_names == ["id", "text", "labels"]
    assert targets_of(soft, "train", tiny_backbone).tolist() == targets_of(plain, "train", tiny_backbone).tolist()


def test_another_probability_is_another_dataset(write: Write) -> None:
    first = load_data(write("a.csv", CSV), **NAMED, **WHOLE).splits["train"]
    second = load_data(write("b.csv", CSV.replace("0.7", "0.8")), **NAMED, **WHOLE).splits["train"]
    assert first["labels"][:] == second["labels"][:]
    assert first._fingerprint != second._fingerprint


def test_unknown_cells_stand_beside_soft_ones(write: Write, tiny_backbone: Backbone) -> None:
    data = load_data(write("a.csv", CSV.replace("1e-3", "-1")), unknown_labels=-1, **NAMED, **WHOLE)
    expected = [[1, 0.7, 0], [0.2, 0, -1], [0, 0.5, 1], [1, 0.4999, 0]]
    torch.testing.assert_close(targets_of(data, "train", tiny_backbone), torch.tensor(expected))
    assert data.known_rows() == [4, 4, 3]


@pytest.mark.parametrize("value", ["1", "0.3"])
def test_a_label_is_not_both_unknown_and_told(write: Write, value: str) -> None:
    path = write("a.jsonl", f'{{"text": "a", "x": {value}, "y": 1, "open": ["x"]}}\n')
    with pytest.raises(InputError, match=r"a.jsonl:1:labels: expected .* unknown, found both for 'x'"):
        load_data(path, labels=["x", "y"], soft_labels=True, unknown_labels="open", **WHOLE)


def test_of_columns_renamed_to_one_label_the_highest_counts(write: Write, tiny_backbone: Backbone) -> None:
    names = write("names.json", '{"y": "x", "z": "z"}')
    data = load_data(write("a.csv", CSV), label_names=names, **NAMED, **WHOLE)
    assert data.labels.names == ("x", "z")
    expected = [[1, 0], [0.2, 1e-3], [0.5, 1], [1, 0]]
    torch.testing.assert_close(targets_of(data, "train", tiny_backbone), torch.tensor(expected))


@pytest.mark.parametrize("value", ["1.2", "-0.1", "nan", "inf", "1e400", "", "yes", "0x1", "1_0"])
def test_what_is_no_probability_is_found_by_row_and_column(write: Write, value: str) -> None:
    path = write("a.csv", f"text,x,y\na,1,0.5\nb,0,{value}\n")
    message = rf"error\[L104\] \S*a.csv:3:y: expected a probability from 0 to 1, found '{value}'; fix: correct the row"
    with pytest.raises(InputError, match=message) as caught:
        load_data(path, labels=["x", "y"], soft_labels=True, **WHOLE)
    assert len(caught.value.findings) == 1


@pytest.mark.parametrize(("value", "shown"), [("1.5", "1.5"), ("-1", "-1.0"), ("null", "None")])
def test_numbers_that_are_none_too(write: Write, value: str, shown: str) -> None:
    path = write("a.jsonl", f'{{"text": "a", "x": 0.5}}\n{{"text": "b", "x": {value}}}\n')
    with pytest.raises(InputError, match=f"a.jsonl:2:x: expected a probability from 0 to 1, found {shown};"):
        load_data(path, labels=["x"], soft_labels=True, **WHOLE)


def test_without_the_key_probabilities_stay_findings_that_name_it(write: Write) -> None:
    path = write("a.csv", CSV)
    with pytest.raises(InputError, match=r"a.csv:2:y: expected 0 or 1, found '0.7'; fix: write data.soft_labels: true"):
        load_data(path, labels=["x", "y", "z"], **WHOLE)
    with pytest.raises(InputError, match=r"expected 0/1 columns, found .*data.soft_labels: true"):
        load_data(write("b.csv", "text,x\na,0.3\nb,0.4\n"), labels=None, **WHOLE)


@pytest.mark.parametrize(
    ("row", "arguments"),
    [
        ({"labels": '["x", "y"]'}, {}),
        ({"labels": '["x", "y"]'}, {"label_format": "list"}),
        ({"labels": "[0.5, 1.0]"}, {"label_format": "columns", "label_names": ["x", "y"]}),
        ({"labels": '"x|y"'}, {"label_delimiter": "|"}),
    ],
)
def test_other_label_formats_are_refused(write: Write, row: dict, arguments: dict) -> None:
    path = write("a.jsonl", f'{{"text": "a", "labels": {row["labels"]}}}\n')
    message = (
        r"a.jsonl:labels: expected 0/1 columns beside soft_labels: true, found 'labels'; fix: name the 0/1 columns"
    )
    with pytest.raises(InputError, match=message):
        load_data(path, soft_labels=True, **arguments, **WHOLE)


@pytest.mark.parametrize("method", ["lp_ros", "ml_ros"])
def test_remedies_keep_them_with_their_rows(write: Write, tiny_backbone: Backbone, method: str) -> None:
    more = "".join(f"d{i},true,.4999,0\n" for i in range(6))
    data = load_data(write("a.csv", CSV + more), **NAMED, **WHOLE)
    found = apply_remedies(
        data, {"method": "drop_sentences", "only_minority": False}, {"method": method, "rate": 1.0, "seed": 0}
    )
    texts, targets = found.splits["train"]["text"][:], targets_of(found, "train", tiny_backbone)
    assert found.statistics["balancing"]["rows_after"] > found.statistics["balancing"]["rows_before"] == 11
    told = dict(zip("Abcd", TARGETS, strict=True))  # a text made of the first one begins with one of its sentences
    expected = [told.get(text[0], TARGETS[0]) for text in texts]
    torch.testing.assert_close(targets, torch.tensor(expected))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_them(write: Write, tiny_backbone: Backbone, name: str, smoothing: float) -> None:
    data = load_data(write("a.csv", CSV), **NAMED, **WHOLE)
    loss = build_loss(name, data.labels.counts, data.known_rows(), smoothing=smoothing)
    soft, hard = targets_of(data, "train", tiny_backbone), torch.tensor(HARD, dtype=torch.float32)
    logits = torch.linspace(-3, 3, 12).view(4, 3).requires_grad_()
    rows = loss(logits, soft)
    rows.sum().backward()
    assert logits.grad.isfinite().all()
    assert not torch.isclose(rows, loss(logits, hard)).any()
