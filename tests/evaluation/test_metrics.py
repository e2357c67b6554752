"""Every metric against scikit-learn or a loop over its definition, with ties, empty rows and one-class labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import metrics as sk

from hf_multilabel.evaluation import METRICS, Outcome, evaluate_predictions, per_label_table

K = 3


def make_case(
    rows: int, labels: int, density: float, tied: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, decisions, truths; from three labels on, label 0 never holds and label 1 always."""
    rng = np.random.default_rng(seed)
    targets = rng.random((rows, labels)) < density
    if labels > 2:
        targets[:, 0], targets[:, 1] = False, True
    probs = np.clip(0.25 * targets + rng.random((rows, labels)) * 0.8, 0, 1).astype(np.float32)
    probs = np.round(probs, 1) if tied else probs
    return probs, probs >= 0.5, targets


CASES = {
    "tied": make_case(40, 7, 0.3, True, 0),
    "distinct": make_case(40, 7, 0.3, False, 1),
    "sparse": make_case(30, 60, 0.03, True, 2),
    "rows_without_labels": make_case(40, 2, 0.2, True, 6),
    "dense": make_case(25, 4, 0.9, True, 3),
    "few_labels": make_case(20, 2, 0.5, True, 4),
    "one_row": make_case(1, 5, 0.5, False, 5),
    "no_truth": (np.full((3, 4), 0.5, np.float32), np.ones((3, 4), bool), np.zeros((3, 4), bool)),
    "all_true_none_predicted": (np.full((3, 4), 0.5, np.float32), np.zeros((3, 4), bool), np.ones((3, 4), bool)),
}


def f_score(average: str) -> Callable:
    return lambda p, y, t: sk.f1_score(t, y, average=average, zero_division=0)


def gain(scores: np.ndarray, truth: np.ndarray) -> float:
    """True labels among the top K, each place of a tied group holding the group's mean truth."""
    places = []
    for score in sorted(set(scores), reverse=True):
        group = truth[scores == score]
        places += [group.mean()] * len(group)
    return sum(places[:K])


def precision(p, y, t):
    return np.mean([gain(*row) / min(K, len(row[0])) for row in zip(p, t, strict=True)])


def recall(p, y, t):
    return np.mean([gain(*row) / max(row[1].sum(), 1) for row in zip(p, t, strict=True)])


def macro_auc(p, y, t):
    two_class = [label for label in range(t.shape[1]) if 0 < t[:, label].sum() < len(t)]
    return np.mean([sk.roc_auc_score(t[:, label], p[:, label]) for label in two_class]) if two_class else None


ORACLES: dict[str, Callable] = {
    "micro_f1": f_score("micro"),
    "macro_f1": f_score("macro"),
    "macro_f1_present": lambda p, y, t: (
        sk.f1_score(t, y, average="macro", zero_division=0, labels=np.flatnonzero(t.any(0))) if t.any() else None
    ),
    "weighted_f1": f_score("weighted"),
    "samples_f1": f_score("samples"),
    "micro_precision": lambda p, y, t: sk.precision_score(t, y, average="micro", zero_division=0),
    "micro_recall": lambda p, y, t: sk.recall_score(t, y, average="micro", zero_division=0),
    "macro_precision": lambda p, y, t: sk.precision_score(t, y, average="macro", zero_division=0),
    "macro_recall": lambda p, y, t: sk.recall_score(t, y, average="macro", zero_division=0),
    "macro_auc": macro_auc,
    "macro_auc_skipped": lambda p, y, t: sum(len(set(column)) == 1 for column in t.T.tolist()),
    "micro_auc": lambda p, y, t: sk.roc_auc_score(t.ravel(), p.ravel()) if 0 < t.mean() < 1 else None,
    "lrap": lambda p, y, t: sk.label_ranking_average_precision_score(t, p),
    "subset_accuracy": lambda p, y, t: sk.accuracy_score(t, y),
    "hamming_loss": lambda p, y, t: sk.hamming_loss(t, y),
    "precision_at_k": precision,
    "recall_at_k": recall,
    "ndcg_at_k": lambda p, y, t: sk.ndcg_score(t, p, k=K),
    "predicted_per_row": lambda p, y, t: y.sum() / len(y),
    "rows": lambda p, y, t: len(t),
    "rows_without_labels": lambda p, y, t: sum(not row.any() for row in t),
    "labels_without_positives": lambda p, y, t: sum(not column.any() for column in t.T),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("case", CASES)
def test_metric_equals_its_oracle(name: str, case: str) -> None:
    outcome = Outcome(*CASES[case])
    found = METRICS[name](outcome, K) if name.endswith("_at_k") else METRICS[name](outcome)
    expected = ORACLES[name](*CASES[case])
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize("case", CASES)
def test_order_of_labels_changes_nothing(case: str) -> None:
    probs, predictions, targets = CASES[case]
    order = np.random.default_rng(0).permutation(probs.shape[1])
    shuffled = evaluate_predictions(probs[:, order], predictions[:, order], targets[:, order])
    assert shuffled == pytest.approx(evaluate_predictions(probs, predictions, targets), abs=1e-12)


def test_sparse_dense_and_tensor_inputs_agree() -> None:
    probs, predictions, targets = CASES["tied"]
    expected = evaluate_predictions(probs, predictions, targets)
    assert evaluate_predictions(probs, sparse.csr_matrix(predictions), sparse.csr_array(targets)) == expected
    assert evaluate_predictions(probs, predictions.astype(int), sparse.coo_matrix(targets.astype(float))) == expected
    tensors = torch.from_numpy(probs), torch.from_numpy(predictions), torch.from_numpy(targets).float()
    assert evaluate_predictions(*tensors) == expected


def test_stored_zeros_and_repeats_are_no_labels() -> None:
    probs = np.array([[0.9, 0.1, 0.6]], np.float32)
    messy = sparse.csr_matrix(([1, 0, 1], [2, 1, 2], [0, 3]), shape=(1, 3), dtype=np.int64)
    clean = np.array([[False, False, True]])
    assert evaluate_predictions(probs, clean, messy) == evaluate_predictions(probs, clean, clean)
    assert messy.nnz == 3  # the caller's matrix stays as it is


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [evaluate_predictions(*case) for case in CASES.values()]
    monkeypatch.setattr("hf_multilabel.evaluation.ranks.CHUNK", 10)
    assert [evaluate_predictions(*case) for case in CASES.values()] == expected


def test_k_beyond_the_labels_means_all_labels() -> None:
    found = evaluate_predictions(*CASES["few_labels"], k=(2, 50))
    for name in ("precision", "recall", "ndcg"):
        assert found[f"{name}_at_50"] == found[f"{name}_at_2"]


def test_values_are_plain_and_undefined_ones_left_out() -> None:
    found = evaluate_predictions(*CASES["no_truth"], k=[1])
    assert not {"macro_auc", "micro_auc", "macro_f1_present"} & set(found)
    assert found["macro_auc_skipped"] == 4
    assert {type(value) for value in found.values()} == {int, float}
    assert list(evaluate_predictions(*CASES["tied"], metrics=["lrap"])) == ["lrap"]


def test_half_precision_tensors_are_read_as_float32() -> None:
    probs, predictions, targets = CASES["tied"]
    halved = torch.from_numpy(probs).bfloat16()
    assert evaluate_predictions(halved, predictions, targets) == evaluate_predictions(
        halved.float(), predictions, targets
    )


def test_inputs_are_left_alone() -> None:
    case = [np.array(part) for part in CASES["tied"]]
    evaluate_predictions(*case)
    for part, before in zip(case, CASES["tied"], strict=True):
        np.testing.assert_array_equal(part, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probs": np.zeros(3)}, r"probs: expected shape \(N, L\), not empty, found \(3,\)"),
        ({"probs": np.zeros((0, 3))}, "probs: expected shape"),
        ({"probs": [[2.0, 0.0]]}, r"probs: expected values in \[0, 1\], found 0.0 to 2.0"),
        ({"probs": [[np.nan, 0.0]]}, r"probs: expected values in \[0, 1\], found nan"),
        ({"predictions": [[1, 0, 0]]}, r"predictions: expected shape \(1, 2\), found \(1, 3\)"),
        ({"targets": [[0.5, 0]]}, "targets: expected 0 or 1, found .*0.5"),
        ({"targets": sparse.csr_matrix([[2, 0]])}, "targets: expected 0 or 1, found .*2"),
        ({"metrics": ["micro_f"]}, "metrics: expected some of micro_f1, .* found 'micro_f'"),
        ({"k": [0]}, r"k: expected whole numbers above 0, found \[0\]"),
    ],
)
def test_wrong_arguments_are_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_predictions(**{"probs": [[0.5, 0.1]], "predictions": [[1, 0]], "targets": [[1, 0]]} | change)


def test_per_label_table_equals_scikit_learn() -> None:
    probs, predictions, targets = CASES["tied"]
    names = [f"label {label}" for label in range(7)]
    table = per_label_table(names, probs, predictions, sparse.csr_matrix(targets), np.arange(7) / 8)
    precision, recall, f1, support = sk.precision_recall_fscore_support(targets, predictions, zero_division=0)
    for label, line in enumerate(table):
        assert list(line) == ["label", "support", "threshold", "precision", "recall", "f1", "auc"]
        assert (line["label"], line["support"], line["threshold"]) == (names[label], support[label], label / 8)
        expected = (precision[label], recall[label], f1[label])
        assert (line["precision"], line["recall"], line["f1"]) == pytest.approx(expected)
        expected_auc = None if label < 2 else pytest.approx(sk.roc_auc_score(targets[:, label], probs[:, label]))
        assert line["auc"] == expected_auc


def test_per_label_table_takes_one_threshold_and_counts_entries() -> None:
    assert [line["threshold"] for line in per_label_table("ab", [[0.5, 0.1]], [[1, 0]], [[1, 0]], 0.5)] == [0.5, 0.5]
    with pytest.raises(ValueError, match="names: expected 2 entries, found 1"):
        per_label_table("a", [[0.5, 0.1]], [[1, 0]], [[1, 0]], 0.5)
    with pytest.raises(ValueError, match="thresholds: expected 2 entries, found 3"):
        per_label_table("ab", [[0.5, 0.1]], [[1, 0]], [[1, 0]], [0.5, 0.5, 0.5])
