"""Two models on the same rows: labels by name, whatever their order."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.sparse import csr_matrix

from hf_multilabel import default_decision, hash_labels
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.data.labels import LabelSpace
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.errors import InputError
from hf_multilabel.evaluation.metrics import evaluate_outcome
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import check_same_labels, outcome_in_order


def small_model(backbone: Backbone, names: list[str], order: list[int], cuts: list[float]) -> FinishedModel:
    """A model with random weights; its labels, rows of the head and cuts in another order."""
    model = build_model(backbone, [names[i] for i in order], pooling="mean", head="linear", head_kwargs={}).eval()
    rows = torch.randn(len(names), model.head.output.in_features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.head.output.weight.copy_(rows[order])
    thresholds, labels = [cuts[i] for i in order], hash_labels([names[i] for i in order])
    model.config.decision = default_decision() | {"thresholds": thresholds, "labels_sha256": labels}
    return FinishedModel("tiny", model, backbone.tokenizer)


@pytest.mark.parametrize("keep", [None, 3])
def test_labels_in_another_order_change_nothing(
    tiny_backbone: Backbone,
    tiny_texts: list[str],
    tiny_label_names: list[str],
    tiny_targets: np.ndarray,
    keep: int | None,
) -> None:
    cuts = [0.2, 0.4, 0.5, 0.6, 0.3]
    labels = [np.flatnonzero(row).tolist() for row in tiny_targets]
    rows = Dataset.from_dict({"id": list(map(str, range(12))), "text": tiny_texts, "labels": labels})
    data = MultiLabelData({"test": rows}, LabelSpace.from_names(tiny_label_names, where="here"), {})
    counts = ([9, 7, 1, 4, 2], 20)
    same = small_model(tiny_backbone, tiny_label_names, [0, 1, 2, 3, 4], cuts).outcome(
        rows, csr_matrix(tiny_targets), None, 4, "test", counts
    )
    other = small_model(tiny_backbone, tiny_label_names, [3, 1, 4, 0, 2], cuts)
    found = outcome_in_order(other, data, "test", keep, 4, counts)
    assert found.probs == pytest.approx(same.probs, abs=1e-6)
    assert (found.predictions != same.predictions).nnz == 0
    assert (found.targets != same.targets).nnz == 0
    assert evaluate_outcome(found, metrics=["psp_at_k"]) == evaluate_outcome(same, metrics=["psp_at_k"])
    assert same.predictions.nnz not in (0, 60)


def test_other_labels_are_named_on_both_sides() -> None:
    first, second = (
        SimpleNamespace(name=name, labels=SimpleNamespace(names=names))
        for name, names in (("runs/a", ["x", "y"]), ("runs/b", ["y", *"bcdefgh"]))
    )
    with pytest.raises(InputError, match=r"C110") as caught:
        check_same_labels(first, second)
    lines = str(caught.value).splitlines()
    assert "runs/a: expected labels of both models, found 'x' in this one alone" in lines[0]
    assert "runs/b: expected labels of both models, found 'b', 'c', 'd', 'e', 'f' and 2 more" in lines[1]
    check_same_labels(first, first)
