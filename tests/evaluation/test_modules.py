"""The modules for `evaluate`: the same values as `evaluate_predictions`, in both forms, without a network."""

from __future__ import annotations

import sys

import evaluate
import numpy as np
import pytest

from hf_multilabel.evaluation import evaluate_predictions, modules
from hf_multilabel.evaluation.modules import MODULES, MultiLabelAtK, MultiLabelAUC, MultiLabelF1, MultiLabelMetric

CLASSES = [getattr(modules, name) for name in modules.__all__ if name not in ("MODULES", "MultiLabelMetric")]
COUNTS, ROWS = [50, 20, 5, 1], 60


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = rng.random((20, 4)) < [0.6, 0.3, 0.2, 0.0]
    probs = np.round(0.4 * targets + 0.6 * rng.random((20, 4)), 1)
    return probs, probs >= 0.5, targets


def as_ids(sets: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in sets]


@pytest.mark.parametrize("form", ["ids", "multi_hot"])
@pytest.mark.parametrize("kind", CLASSES)
def test_module_equals_the_metrics(kind: type[MultiLabelMetric], form: str, case) -> None:
    probs, predictions, targets = case
    convert = as_ids if form == "ids" else (lambda sets: sets.astype(int).tolist())
    module = kind(form, num_labels=4, k=[2], betas=[2], label_counts=COUNTS, rows=ROWS)
    given = {"prediction_scores": probs} if kind.takes_scores else {"predictions": convert(predictions)}
    found = module.compute(references=convert(targets), **given)
    expected = evaluate_predictions(*case, [2], module.reported, [2], COUNTS, ROWS)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found.keys() == expected.keys()


def test_batches_and_single_rows_add_up(case) -> None:
    _, predictions, targets = case
    module = MultiLabelF1(num_labels=4)
    module.add_batch(predictions=as_ids(predictions[:12]), references=as_ids(targets[:12]))
    for row in range(12, 20):
        module.add(prediction=as_ids(predictions)[row], reference=as_ids(targets)[row])
    expected = MultiLabelF1("multi_hot").compute(predictions=predictions, references=targets)
    assert module.compute() == expected


def test_modules_combine(case) -> None:
    probs, predictions, targets = case
    together = evaluate.combine(
        [MultiLabelF1("multi_hot"), MultiLabelAUC("multi_hot"), MultiLabelAtK("multi_hot", k=[1])]
    )
    found = together.compute(predictions=predictions, references=targets, prediction_scores=probs)
    expected = evaluate_predictions(*case, [1])
    assert {"micro_f1", "macro_auc", "precision_at_1"} <= found.keys()
    assert found == pytest.approx({name: expected[name] for name in found})


@pytest.mark.parametrize("path", sorted(path for path in MODULES.glob("*.py") if path.stem not in ("__init__", "base")))
def test_every_file_holds_one_module(path) -> None:
    assert sum(path.stem == kind.__module__.split(".")[-1] for kind in CLASSES) == 1


def test_a_module_loads_from_its_file_without_a_network(tmp_path, monkeypatch) -> None:
    def refuse(*args, **kwargs) -> None:
        raise AssertionError("the network was asked")

    for name in ("socket.socket.connect", "socket.create_connection", "socket.getaddrinfo"):
        monkeypatch.setattr(name, refuse)
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])
    module = evaluate.load(str(MODULES / "f1.py"), num_labels=3)
    found = module.compute(predictions=[[0], [1]], references=[[0], [1, 2]])
    assert (found["micro_f1"], found["macro_f1"]) == pytest.approx((0.8, 2 / 3))


@pytest.mark.parametrize(
    ("form", "wrong", "match"),
    [
        ("multi_hot", [[0.7, 0.2], [0.9, 0.6]], "predictions: expected 0 or 1, found 0.7"),
        ("ids", [[0.7], [1]], "predictions: expected label ids, found 0.7"),
    ],
)
def test_scores_are_not_taken_for_label_sets(form: str, wrong: list, match: str) -> None:
    """A cast to whole numbers made 0 of each, and F1 of 0."""
    right = [[1, 0], [1, 1]] if form == "multi_hot" else [[0], [0, 1]]
    with pytest.raises(ValueError, match=match):
        MultiLabelF1(form, num_labels=2).compute(predictions=wrong, references=right)
    with pytest.raises(ValueError, match=match.replace("predictions", "references")):
        MultiLabelF1(form, num_labels=2).compute(predictions=right, references=wrong)


@pytest.mark.parametrize("kind", [MultiLabelF1, MultiLabelAtK])
def test_another_number_of_labels_than_there_are_is_refused(kind: type[MultiLabelMetric]) -> None:
    sets = [[1, 0], [1, 1]]
    given = {"prediction_scores": [[0.9, 0.1], [0.8, 0.7]]} if kind.takes_scores else {"predictions": sets}
    with pytest.raises(ValueError, match="num_labels: expected 2, as .* have it, found 7"):
        kind("multi_hot", num_labels=7).compute(references=sets, **given)


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="config_name: expected one of ids, multi_hot, found 'dense'"):
        MultiLabelF1("dense")
    with pytest.raises(ValueError, match=r"num_labels: expected .*MultiLabelF1\(num_labels"):
        MultiLabelF1().compute(predictions=[[0]], references=[[0]])
    with pytest.raises(ValueError, match="predictions: expected label ids from 0 to 2, found 3"):
        MultiLabelF1(num_labels=3).compute(predictions=[[3]], references=[[0]])
    with pytest.raises(ValueError, match="references: expected 0 or 1, found .*2"):
        MultiLabelF1("multi_hot").compute(predictions=[[0, 1]], references=[[0, 2]])
