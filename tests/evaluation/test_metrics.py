"""Every metric against scikit-learn or a loop over its definition, with ties, empty rows and one-class labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn import metrics as sk

from hf_multilabel.evaluation import (
    LOWER_IS_BETTER,
    METRICS,
    Outcome,
    TopScores,
    evaluate_predictions,
    metric_calls,
    per_label_table,
)
from hf_multilabel.evaluation.frequency import split_by_frequency

K = 3
BETA = 2.0
KEPT = TopScores(sparse.csr_array([[0.5, 0.0]]), np.array([0.1]))
ROWS = 1000


def training_counts(labels: int) -> np.ndarray:
    """Of any L labels: some never seen, some as frequent as others."""
    return np.array([0, 400, 150, 150, 30, 9, 1, 0] * labels)[:labels]


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


def from_sklearn(function: Callable, average: str, present: bool = False, **arguments) -> Callable:
    def value(p, y, t):
        labels = np.flatnonzero(t.any(0)) if present else None
        if present and not len(labels):
            return None
        return function(t, y, average=average, zero_division=0, labels=labels, **arguments)

    return value


def f_score(average: str, present: bool = False) -> Callable:
    return from_sklearn(sk.f1_score, average, present)


def f_beta_score(average: str) -> Callable:
    return from_sklearn(sk.fbeta_score, average, beta=BETA)


def f_score_of_part(part: str, average: str, present: bool = False) -> Callable:
    def value(p, y, t):
        labels = split_by_frequency(training_counts(t.shape[1]))[part]
        labels = [label for label in labels if t[:, label].any()] if present else labels
        return sk.f1_score(t, y, labels=labels, average=average, zero_division=0) if len(labels) else None

    return value


def labels_of_part(part: str) -> Callable:
    return lambda p, y, t: len(split_by_frequency(training_counts(t.shape[1]))[part])


def in_places(scores: np.ndarray, truth: np.ndarray) -> list[float]:
    """The truth from the highest score down, each place of a tied group holding the group's mean truth."""
    places = []
    for score in sorted(set(scores), reverse=True):
        group = truth[scores == score]
        places += [group.mean()] * len(group)
    return places


def gain(scores: np.ndarray, truth: np.ndarray) -> float:
    """True labels among the top K."""
    return sum(in_places(scores, truth)[:K])


def discounted(places: list[float]) -> float:
    return sum(value / np.log2(place + 2) for place, value in enumerate(places[:K]))


def inverse_propensity(count: int) -> float:
    c = (np.log(ROWS) - 1) * (1.5 + 1) ** 0.55
    return 1 + c * np.exp(-0.55 * np.log(count + 1.5))


def propensity_scored(score: Callable) -> Callable:
    """The definition of Jain et al., normalised as in the Extreme Classification Repository."""

    def value(p, y, t):
        weights = np.array([inverse_propensity(count) for count in training_counts(t.shape[1])])
        reached = sum(score(in_places(scores, weights * truth), truth) for scores, truth in zip(p, t, strict=True))
        best = sum(score(sorted(weights * truth, reverse=True), truth) for truth in t)
        return reached / best if best else 0

    return value


def ndcg(places: list[float], truth: np.ndarray) -> float:
    return discounted(places) / discounted([1.0] * truth.sum()) if truth.any() else 0


def r_precision(p, y, t):
    return np.mean([gain(*row) / max(min(K, row[1].sum()), 1) for row in zip(p, t, strict=True)])


def top_shares(p):
    """How much of one of the top K places each label has, ties in equal parts."""
    shares = np.zeros(p.shape)
    for row, scores in enumerate(p):
        for label, score in enumerate(scores):
            above, tied = (scores > score).sum(), (scores == score).sum()
            shares[row, label] = min(max(min(K, len(scores)) - above, 0), tied) / tied
    return shares


def macro_at_k(top: Callable, bottom: Callable) -> Callable:
    def value(p, y, t):
        shares = top_shares(p)
        found = []
        for given, truth in zip(shares.T, t.T, strict=True):
            counts = (given * truth).sum(), given.sum(), truth.sum()
            found.append(top(*counts) / bottom(*counts) if bottom(*counts) else 0)
        return np.mean(found)

    return value


def average_precision(p, y, t):
    return [
        sk.average_precision_score(t[:, label], p[:, label]) if t[:, label].any() else None
        for label in range(t.shape[1])
    ]


def present(values):
    values = [value for value in values if value is not None]
    return np.mean(values) if values else None


def precision(p, y, t):
    return np.mean([gain(*row) / min(K, len(row[0])) for row in zip(p, t, strict=True)])


def recall(p, y, t):
    return np.mean([gain(*row) / max(row[1].sum(), 1) for row in zip(p, t, strict=True)])


def macro_auc(p, y, t):
    two_class = [label for label in range(t.shape[1]) if 0 < t[:, label].sum() < len(t)]
    return np.mean([sk.roc_auc_score(t[:, label], p[:, label]) for label in two_class]) if two_class else None


def binned_error(probs: np.ndarray, truth: np.ndarray) -> float:
    """Rows of a bin of width 1/15 weigh |mean probability - share of positives|."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for prob, held in zip(probs.tolist(), truth.tolist(), strict=True):
        bins.setdefault(min(int(prob * 15), 14), []).append((prob, held))
    return sum(abs(sum(prob - held for prob, held in rows)) for rows in bins.values()) / len(probs)


ORACLES: dict[str, Callable] = {
    "micro_f1": f_score("micro"),
    "macro_f1": f_score("macro"),
    "macro_f1_present": f_score("macro", present=True),
    "weighted_f1": f_score("weighted"),
    "samples_f1": f_score("samples"),
    "micro_f_beta": f_beta_score("micro"),
    "macro_f_beta": f_beta_score("macro"),
    "weighted_f_beta": f_beta_score("weighted"),
    "samples_f_beta": f_beta_score("samples"),
    "micro_precision": from_sklearn(sk.precision_score, "micro"),
    "macro_precision": from_sklearn(sk.precision_score, "macro"),
    "macro_precision_present": from_sklearn(sk.precision_score, "macro", present=True),
    "weighted_precision": from_sklearn(sk.precision_score, "weighted"),
    "samples_precision": from_sklearn(sk.precision_score, "samples"),
    "micro_recall": from_sklearn(sk.recall_score, "micro"),
    "macro_recall": from_sklearn(sk.recall_score, "macro"),
    "macro_recall_present": from_sklearn(sk.recall_score, "macro", present=True),
    "weighted_recall": from_sklearn(sk.recall_score, "weighted"),
    "samples_recall": from_sklearn(sk.recall_score, "samples"),
    "samples_precision_present": lambda p, y, t: present(
        [np.mean(true[given]) for given, true in zip(y, t, strict=True) if given.any()]
    ),
    "samples_recall_present": lambda p, y, t: present(
        [np.mean(given[true]) for given, true in zip(y, t, strict=True) if true.any()]
    ),
    "micro_jaccard": from_sklearn(sk.jaccard_score, "micro"),
    "macro_jaccard": from_sklearn(sk.jaccard_score, "macro"),
    "macro_jaccard_present": from_sklearn(sk.jaccard_score, "macro", present=True),
    "samples_jaccard": from_sklearn(sk.jaccard_score, "samples"),
    "macro_auc": macro_auc,
    "macro_auc_skipped": lambda p, y, t: sum(len(set(column)) == 1 for column in t.T.tolist()),
    "micro_auc": lambda p, y, t: sk.roc_auc_score(t.ravel(), p.ravel()) if 0 < t.mean() < 1 else None,
    "macro_ap": lambda p, y, t: np.mean([value or 0 for value in average_precision(p, y, t)]),
    "macro_ap_present": lambda p, y, t: present(average_precision(p, y, t)),
    "micro_ap": lambda p, y, t: sk.average_precision_score(t.ravel(), p.ravel()) if t.any() else None,
    "classwise_ece": lambda p, y, t: np.mean([binned_error(*column) for column in zip(p.T, t.T, strict=True)]),
    "brier_score": lambda p, y, t: np.mean(
        [sk.brier_score_loss(*column) for column in zip(t.T, p.T.astype(float), strict=True)]
    ),
    "coverage_error": lambda p, y, t: sk.coverage_error(t, p),
    "ranking_loss": lambda p, y, t: sk.label_ranking_loss(t, p),
    "one_error": lambda p, y, t: np.mean([1 - in_places(*row)[0] for row in zip(p, t, strict=True)]),
    "lrap": lambda p, y, t: sk.label_ranking_average_precision_score(t, p),
    "subset_accuracy": lambda p, y, t: sk.accuracy_score(t, y),
    "hamming_loss": lambda p, y, t: sk.hamming_loss(t, y),
    "precision_at_k": precision,
    "recall_at_k": recall,
    "ndcg_at_k": lambda p, y, t: sk.ndcg_score(t, p, k=K),
    "r_precision_at_k": r_precision,
    "psp_at_k": propensity_scored(lambda places, truth: sum(places[:K])),
    "psndcg_at_k": propensity_scored(ndcg),
    "macro_precision_at_k": macro_at_k(lambda found, given, true: found, lambda found, given, true: given),
    "macro_recall_at_k": macro_at_k(lambda found, given, true: found, lambda found, given, true: true),
    "macro_f1_at_k": macro_at_k(lambda found, given, true: 2 * found, lambda found, given, true: given + true),
    "predicted_per_row": lambda p, y, t: y.sum() / len(y),
    "rows": lambda p, y, t: len(t),
    "rows_without_labels": lambda p, y, t: sum(not row.any() for row in t),
    "labels_without_positives": lambda p, y, t: sum(not column.any() for column in t.T),
}
for part in ("head", "torso", "tail"):
    ORACLES[f"{part}_labels"] = labels_of_part(part)
    ORACLES[f"{part}_micro_f1"] = f_score_of_part(part, "micro")
    ORACLES[f"{part}_macro_f1"] = f_score_of_part(part, "macro")
    ORACLES[f"{part}_macro_f1_present"] = f_score_of_part(part, "macro", present=True)


def with_counts(probs: np.ndarray, predictions: np.ndarray, targets: np.ndarray) -> Outcome:
    return Outcome(probs, predictions, targets, training_counts(probs.shape[1]), ROWS)


def value_of(name: str, outcome: Outcome) -> float | None:
    ((_, _, parameters),) = metric_calls([name], [K], [BETA])
    return METRICS[name](outcome, *parameters)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("case", CASES)
def test_metric_equals_its_oracle(name: str, case: str) -> None:
    found = value_of(name, with_counts(*CASES[case]))
    expected = ORACLES[name](*CASES[case])
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


@pytest.mark.parametrize("case", CASES)
def test_order_of_labels_changes_nothing(case: str) -> None:
    probs, predictions, targets = CASES[case]
    order = np.random.default_rng(0).permutation(probs.shape[1])
    counts = training_counts(len(order))
    shuffled = evaluate_predictions(
        probs[:, order], predictions[:, order], targets[:, order], label_counts=counts[order], rows=ROWS
    )
    expected = evaluate_predictions(probs, predictions, targets, label_counts=counts, rows=ROWS)
    assert "psp_at_5" in shuffled
    assert shuffled == pytest.approx(expected, abs=1e-12)


def test_sparse_dense_and_tensor_inputs_agree() -> None:
    probs, predictions, targets = CASES["tied"]
    expected = evaluate_predictions(probs, predictions, targets)
    assert evaluate_predictions(probs, sparse.csr_matrix(predictions), sparse.csr_array(targets)) == expected
    assert evaluate_predictions(probs, predictions.astype(int), sparse.coo_matrix(targets.astype(float))) == expected
    tensors = torch.from_numpy(probs), torch.from_numpy(predictions), torch.from_numpy(targets).float()
    assert evaluate_predictions(*tensors) == expected
    for truth in (tensors[2].bfloat16(), tensors[2].to_sparse()):
        assert evaluate_predictions(*tensors[:2], truth) == expected


def test_stored_zeros_and_repeats_are_no_labels() -> None:
    probs = np.array([[0.9, 0.1, 0.6]], np.float32)
    messy = sparse.csr_matrix(([1, 0, 1], [2, 1, 2], [0, 3]), shape=(1, 3), dtype=np.int64)
    clean = np.array([[False, False, True]])
    assert evaluate_predictions(probs, clean, messy) == evaluate_predictions(probs, clean, clean)
    assert messy.nnz == 3  # the caller's matrix stays as it is


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [evaluate_predictions(*case) for case in CASES.values()]
    monkeypatch.setattr("hf_multilabel.evaluation.ranks.CHUNK", 10)
    for found, whole in zip([evaluate_predictions(*case) for case in CASES.values()], expected, strict=True):
        for name in ("classwise_ece", "brier_score"):  # sums of fractions: their order shows in the last digit
            assert found.pop(name) == pytest.approx(whole.pop(name), abs=1e-14)
        assert found == whole


def test_k_beyond_the_labels_means_all_labels() -> None:
    found = evaluate_predictions(*CASES["few_labels"], k=(2, 50))
    for name in ("precision", "recall", "ndcg", "r_precision", "macro_precision", "macro_recall", "macro_f1"):
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
        ({"probs": [[np.nan, 0.0]]}, r"probs: expected values in \[0, 1\], found nan at row 0, label 0"),
        ({"probs": [[0.5, 3.0]]}, r"found 0.5 to 3.0, the first outside at row 0, label 1"),
        ({"probs": [["a", "b"]]}, r"probs: expected numbers of shape \(N, L\), found <U1"),
        ({"probs": [[0.5], [0.1, 0.2]]}, r"probs: expected numbers .*, found rows of different lengths"),
        ({"probs": KEPT}, "probs: expected an array or tensor of all scores, found TopScores, which keep a part"),
        (
            {"probs": sparse.csr_array([[0.5, 0.0]])},
            r"probs: expected an array or tensor of all scores, found a sparse matrix of shape \(1, 2\). "
            r"Pass probs.toarray\(\)",
        ),
        ({"predictions": [[1, 0, 0]]}, r"predictions: expected shape \(1, 2\), found \(1, 3\)"),
        ({"targets": [[0, 0.5]]}, "targets: expected 0 or 1, found 0.5 at row 0, label 1"),
        ({"targets": np.array([[2, 0]])}, "targets: expected 0 or 1, found 2 at row 0, label 0"),
        ({"targets": sparse.csr_matrix([[0, 2]])}, "targets: expected 0 or 1, found 2 at row 0, label 1"),
        ({"targets": [["a"], ["a", "b"]]}, r"targets: expected 0 or 1 of shape \(1, 2\), .* MultiLabelBinarizer"),
        (
            {"targets": np.ma.masked_array([[1, 0]], [[True, False]])},
            "targets: expected 0 or 1 everywhere, found masked values",
        ),
        ({"metrics": ["micro_f"]}, "metrics: expected keys of METRICS, found 'micro_f'. Did you mean micro_f1?"),
        ({"metrics": ["macro-f1"]}, "found 'macro-f1'. Did you mean macro_f1?"),
        ({"metrics": ["auc"]}, "found 'auc'. Did you mean macro_auc, macro_auc_skipped, micro_auc?"),
        ({"metrics": ["micro_f2"]}, r"found 'micro_f2'. Write micro_f_beta with betas=\[2\]"),
        ({"metrics": ["precision_at_3"]}, r"found 'precision_at_3'. Write precision_at_k with k=\[3\]"),
        ({"metrics": ["nonsense"]}, "found 'nonsense'. Choose among those of hf_multilabel.evaluation.METRICS"),
        ({"metrics": "micro_f1"}, r"metrics: expected a list of names, found 'micro_f1'. Write \['micro_f1'\]"),
        ({"metrics": ["micro_f_beta"]}, "betas: expected numbers above 0, which micro_f_beta needs, found none"),
        ({"k": 3}, r"k: expected a list of whole numbers above 0, found 3. Write \[3\]"),
        ({"k": [0]}, r"k: expected whole numbers above 0, found \[0\]"),
        ({"k": [2.5]}, r"k: expected whole numbers above 0, found \[2.5\]"),
        ({"betas": [float("inf")]}, r"betas: expected numbers above 0, found \[inf\]"),
        ({"betas": [0.0]}, r"betas: expected numbers above 0, found \[0.0\]"),
        ({"metrics": ["psp_at_k"]}, "label_counts: expected the training texts .* psp_at_k needs, found None"),
        ({"metrics": ["tail_labels"]}, "label_counts: expected the training texts .* tail_labels needs, found None"),
        ({"label_counts": [1]}, r"label_counts: expected 2 whole numbers >= 0, found int64 of shape \(1,\)"),
        ({"label_counts": [1, 0.5]}, "label_counts: expected 2 whole numbers >= 0, found float64"),
        ({"label_counts": [1, -1]}, "label_counts: expected 2 whole numbers >= 0"),
        ({"label_counts": [1, 9], "rows": 5}, "rows: expected the number of training texts, at least 9, found 5"),
        ({"label_counts": [1, 9]}, "rows: expected the number of training texts, at least 9, found None"),
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
        assert list(line) == [
            *("label", "support", "predicted", "true_positive", "threshold"),
            *("precision", "recall", "f1", "auc", "ap"),
        ]
        assert (line["predicted"], line["true_positive"]) == (
            predictions[:, label].sum(),
            (predictions & targets)[:, label].sum(),
        )
        expected_ap = pytest.approx(sk.average_precision_score(targets[:, label], probs[:, label])) if label else None
        assert line["ap"] == expected_ap
        assert (line["label"], line["support"], line["threshold"]) == (names[label], support[label], label / 8)
        expected = (precision[label], recall[label], f1[label])
        assert (line["precision"], line["recall"], line["f1"]) == pytest.approx(expected)
        expected_auc = None if label < 2 else pytest.approx(sk.roc_auc_score(targets[:, label], probs[:, label]))
        assert line["auc"] == expected_auc


def test_per_label_table_takes_one_threshold_and_counts_entries() -> None:
    assert [line["threshold"] for line in per_label_table("ab", [[0.5, 0.1]], [[1, 0]], [[1, 0]], 0.5)] == [0.5, 0.5]
    with pytest.raises(ValueError, match="names: expected 2 entries, found 1"):
        per_label_table("a", [[0.5, 0.1]], [[1, 0]], [[1, 0]], 0.5)
    assert [line["training"] for line in per_label_table("ab", [[0.5, 0.1]], [[1, 0]], [[1, 0]], 0.5, [7, 0])] == [7, 0]
    with pytest.raises(ValueError, match="label_counts: expected 2 entries, found 1"):
        per_label_table("ab", [[0.5, 0.1]], [[1, 0]], [[1, 0]], 0.5, [7])
    with pytest.raises(ValueError, match="thresholds: expected 2 entries, found 3"):
        per_label_table("ab", [[0.5, 0.1]], [[1, 0]], [[1, 0]], [0.5, 0.5, 0.5])


def test_counts_of_training_bring_the_metrics_that_need_them() -> None:
    case, counts = CASES["tied"], training_counts(7)
    without = evaluate_predictions(*case)
    found = evaluate_predictions(*case, label_counts=counts.tolist(), rows=ROWS)
    assert {name: found[name] for name in without} == without
    added = found.keys() - without.keys()
    assert {"psp_at_1", "psndcg_at_5", "head_labels", "torso_micro_f1", "tail_macro_f1_present"} <= added
    assert all(name.startswith(("psp", "psndcg", "head", "torso", "tail")) for name in added)
    assert found["head_labels"] + found["torso_labels"] + found["tail_labels"] == 7


def test_betas_are_reported_by_name() -> None:
    found = evaluate_predictions(*CASES["tied"], betas=[0.5, 2])
    assert {"micro_f0.5", "micro_f2", "samples_f2", "weighted_f0.5"} <= found.keys()
    assert not [name for name in found if "beta" in name]
    assert evaluate_predictions(*CASES["tied"], betas=[1])["macro_f1"] == found["macro_f1"]


def test_decisions_alone_have_no_ranking_metrics() -> None:
    _, predictions, targets = CASES["tied"]
    outcome = Outcome(None, predictions, targets)
    assert METRICS["macro_f1"](outcome) == METRICS["macro_f1"](Outcome(*CASES["tied"]))
    with pytest.raises(ValueError, match="probs: expected probabilities of shape"):
        METRICS["lrap"](outcome)
    with pytest.raises(ValueError, match=r"targets: expected shape \(N, L\), not empty, found \(3,\)"):
        Outcome(None, [1, 0, 1], [1, 0, 1])


def test_what_is_lower_for_right_than_for_wrong_scores_is_said_to_be() -> None:
    truth = np.eye(6, dtype=bool)
    right, wrong = np.where(truth, 0.9, 0.1), np.where(np.roll(truth, 1, axis=1), 0.9, 0.1)
    good, bad = (evaluate_predictions(probs, probs > 0.5, truth, k=(1,)) for probs in (right, wrong))
    assert {name for name in good if good[name] is not None and good[name] < bad[name]} == set(LOWER_IS_BETTER)
