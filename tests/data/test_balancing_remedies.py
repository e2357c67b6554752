"""Remedies change the training split and nothing else, and say what they did."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hf_multilabel.data.augmentation import AUGMENTERS
from hf_multilabel.data.balancing import BALANCERS, RESAMPLERS
from hf_multilabel.data.imbalance import measure_imbalance
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.data.remedies import apply_remedies, drawn_rows, with_synthetic


@pytest.fixture(scope="module")
def data() -> MultiLabelData:
    source = Path(__file__).parents[2] / "recipes/data/quickstart"
    return load_data(source, id="id", max_rows={"train": 300, "validation": 40, "test": 40})


def content(data: MultiLabelData, split: str) -> dict:
    return data.splits[split].with_format("arrow")[:].to_pydict()


def test_imbalance_is_among_the_statistics(data: MultiLabelData) -> None:
    assert data.statistics["imbalance"] == measure_imbalance(data.label_matrix("train"))


@pytest.mark.parametrize("method", RESAMPLERS)
def test_resampling_repeats_or_leaves_out_training_rows(method: str, data: MultiLabelData) -> None:
    found = apply_remedies(data, balance={"method": method, "rate": 0.2, "seed": 3})
    rows = RESAMPLERS[method](data.label_matrix("train"), rate=0.2, seed=3)
    before = content(data, "train")
    assert content(found, "train") == {name: [values[row] for row in rows] for name, values in before.items()}
    assert found.labels.counts == tuple(data.label_matrix("train")[rows].getnnz(axis=0).tolist())
    assert found.labels.names == data.labels.names
    for split in ("validation", "test"):
        assert found.splits[split] is data.splits[split]
    said = json.loads(json.dumps(found.statistics))
    assert said["balancing"] == {"method": method, "rate": 0.2, "seed": 3, "rows_before": 300, "rows_after": len(rows)}
    assert said["trained_on"] == {"rows": len(rows), **measure_imbalance(found.label_matrix("train"))}
    assert said["rows"] == {"train": 300, "validation": 40, "test": 40}
    assert found.splits["train"]._fingerprint != data.splits["train"]._fingerprint


@pytest.mark.parametrize("method", AUGMENTERS)
def test_texts_are_added_below_with_their_labels(method: str, data: MultiLabelData) -> None:
    found = apply_remedies(data, augment={"method": method, "copies": 2, "seed": 1})
    before, after = content(data, "train"), content(found, "train")
    added = found.statistics["augmentation"]["rows_added"]
    assert added > 20
    assert {name: values[:300] for name, values in after.items()} == before
    assert len(after["id"]) == 300 + added == len(set(after["id"]))
    labels = dict(zip(before["id"], before["labels"], strict=True))
    texts = dict(zip(before["id"], before["text"], strict=True))
    for name, text, held in zip(after["id"][300:], after["text"][300:], after["labels"][300:], strict=True):
        source, _, number = name.rpartition("~")
        assert number in ("1", "2")
        assert held == labels[source]
        assert text != texts[source]
    for split in ("validation", "test"):
        assert found.splits[split] is data.splits[split]


def test_texts_are_made_before_rows_are_drawn(data: MultiLabelData) -> None:
    found = apply_remedies(
        data, augment={"method": "drop_sentences"}, balance={"method": "ml_ros", "rate": 0.5, "seed": 0}
    )
    said = found.statistics
    assert said["balancing"]["rows_before"] == 300 + said["augmentation"]["rows_added"]
    assert max(Counter(content(found, "train")["id"]).values()) > 1
    assert said["trained_on"]["mean_ir"] < said["imbalance"]["mean_ir"]


@pytest.mark.parametrize("method", sorted(set(BALANCERS) - set(RESAMPLERS)))
def test_the_others_change_no_rows(method: str, data: MultiLabelData) -> None:
    found = apply_remedies(data, balance={"method": method, "seed": 0})
    assert found.splits["train"] is data.splits["train"]
    assert found.statistics["balancing"]["rows_after"] == 300


def test_rows_of_an_epoch_are_drawn_for_class_aware_only(data: MultiLabelData) -> None:
    draw = drawn_rows(data, {"method": "class_aware", "seed": 4})
    assert np.array_equal(draw(1), BALANCERS["class_aware"](data.label_matrix("train"), (4, 1)))
    assert drawn_rows(data, {"method": "ml_ros", "seed": 4}) is None
    assert drawn_rows(data, None) is None


def test_synthetic_rows_join_the_probe_for_mlsmote_only(data: MultiLabelData) -> None:
    features = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32)
    balance = {"method": "mlsmote", "neighbors": 3, "seed": 1}
    prepared = apply_remedies(data, balance=balance)
    joined, targets, unknown = with_synthetic(features, prepared, balance)
    made, labels = BALANCERS["mlsmote"](features, data.label_matrix("train"), neighbors=3, seed=1)
    assert unknown is None
    assert np.array_equal(joined, np.concatenate([features, made]))
    assert (targets[300:] != labels).nnz == 0
    assert (targets[:300] != data.label_matrix("train")).nnz == 0
    assert prepared.statistics["balancing"]["synthetic_rows"] == len(made) > 0
    plain, targets, _ = with_synthetic(features, data, None)
    assert plain is features
    assert targets.shape[0] == 300
