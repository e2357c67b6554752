"""Threshold rules against brute force over every cut point, on random and tied scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import f1_score

from hf_multilabel.decisions import THRESHOLD_RULES, fit_decision, fit_thresholds
from hf_multilabel.decisions.plug_in import expected_cuts
from hf_multilabel.decisions.rare_labels import SHRINKAGE
from hf_multilabel.decisions.thresholds import NEED_POSITIVE
from hf_multilabel.evaluation import TopScores
from tests.decisions.brute_force import all_cuts, f_beta, scored


def best_cut(scores: np.ndarray, truth: np.ndarray) -> float:
    """The highest of the F1-optimal cuts."""
    cuts = all_cuts(scores)
    values = [f_beta(scores.astype(float) >= cut, truth) for cut in cuts]
    return cuts[values.index(max(values))]


FITTED = [
    "micro_f1",
    "macro_f1",
    "balanced",
    "samples_f1",
    "micro_f1_per_label",
    "precision_at_least",
    "recall_at_least",
    "cost",
    "cardinality",
]
NEEDED = {"precision_at_least": {"precision": 0.5}, "recall_at_least": {"recall": 0.5}}


def fit(probs: np.ndarray, targets: np.ndarray, rule: str, **options: float) -> np.ndarray:
    return fit_thresholds(probs, targets, rule, **NEEDED.get(rule, {}), **options)


def micro_cut(probs: np.ndarray, targets: np.ndarray) -> float:
    return best_cut(probs, targets) if targets.any() else 0.5


@settings(deadline=None, max_examples=200)
@given(scored() | scored(dtype=np.float64))
def test_micro_f1_equals_brute_force(case: tuple[np.ndarray, np.ndarray]) -> None:
    probs, targets = case
    np.testing.assert_array_equal(fit_thresholds(probs, targets, "micro_f1"), [micro_cut(*case)] * probs.shape[1])


@settings(deadline=None, max_examples=200)
@given(scored() | scored(dtype=np.float64))
def test_macro_f1_equals_brute_force(case: tuple[np.ndarray, np.ndarray]) -> None:
    probs, targets = case
    expected = [
        best_cut(scores, truth) if truth.any() else micro_cut(*case)
        for scores, truth in zip(probs.T, targets.T, strict=True)
    ]
    np.testing.assert_array_equal(fit_thresholds(probs, targets, "macro_f1"), expected)


def slow_balanced(probs: np.ndarray, targets: np.ndarray, shrinkage: float) -> np.ndarray:
    """`balanced` by its description, from each label's own cut, before cuts keep their distance."""
    shared, own = micro_cut(probs, targets), expected_cuts(probs, sparse.csr_array(targets))
    own = [shared if cut == 1 else cut for cut in own]
    cuts = []
    for label, positives in enumerate(targets.sum(axis=0)):
        far, near = (math.log(p / (1 - p)) for p in np.clip([own[label], shared], 1e-7, 1 - 1e-7))
        weight = positives / (positives + shrinkage)
        cuts.append(1 / (1 + math.exp(-(weight * far + (1 - weight) * near))) if positives else shared)
    return np.array(cuts)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("tied", [False, True])
def test_balanced_equals_its_slow_twin(seed: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, labels = rng.integers(5, 60), rng.integers(1, 9)
    targets = rng.random((rows, labels)) < rng.random(labels) * 0.5
    targets[0, 0] = True
    probs = np.clip(rng.random((rows, labels)) * 0.7 + 0.2 * targets, 0, 1).astype(np.float32)
    probs = np.round(probs, 1).astype(np.float32) if tied else probs
    shrinkage = float(rng.choice([0.5, 2, 50]))
    cuts = fit_thresholds(probs, targets, "balanced", shrinkage=shrinkage)
    expected = slow_balanced(probs, targets, shrinkage)
    np.testing.assert_allclose(cuts, expected, atol=1.001e-4)
    np.testing.assert_array_equal(probs.astype(float) >= cuts, probs.astype(float) >= expected)


def realistic(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A long tail of labels that a model ranks better the more frequent they are, its scores too low for rare ones."""
    rng = np.random.default_rng(seed)
    share = 0.5 / np.arange(1, labels + 1)
    targets = rng.random((rows, labels)) < share
    strength = np.linspace(3, 1, labels)
    logits = np.log(share / (1 - share)) + strength * (targets - 0.3) + rng.normal(size=(rows, labels))
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


def both(probs: np.ndarray, targets: np.ndarray, cuts: np.ndarray) -> tuple[float, float]:
    decided = probs >= cuts
    return tuple(f1_score(targets, decided, average=average, zero_division=0) for average in ("micro", "macro"))


def test_balanced_loses_neither_micro_nor_macro_on_other_rows() -> None:
    scores = {rule: [] for rule in ("micro_f1", "macro_f1", "balanced")}
    for seed in range(6):
        probs, targets = realistic(600, 40, seed)
        for rule, found in scores.items():
            cuts = fit(probs[:200], targets[:200], rule)
            found.append(both(probs[200:], targets[200:], cuts))
    micro, macro = ({rule: np.mean([pair[i] for pair in found]) for rule, found in scores.items()} for i in (0, 1))
    assert micro["balanced"] > micro["micro_f1"] > micro["macro_f1"]
    assert macro["balanced"] > macro["micro_f1"] + 0.05
    assert micro["balanced"] + macro["balanced"] > max(micro[rule] + macro[rule] for rule in ("micro_f1", "macro_f1"))


@settings(deadline=None)
@given(scored(), st.sampled_from(sorted(THRESHOLD_RULES)))
def test_cuts_lie_in_the_unit_interval(case: tuple[np.ndarray, np.ndarray], rule: str) -> None:
    cuts = fit(*case, rule)
    assert cuts.shape == (case[0].shape[1],)
    assert cuts.dtype == np.float64
    assert ((cuts >= 0) & (cuts <= 1)).all()


@settings(deadline=None)
@given(scored(), st.sampled_from(FITTED))
def test_rounding_flips_no_fitted_row(case: tuple[np.ndarray, np.ndarray], rule: str) -> None:
    probs, targets = case
    if not targets.any():
        return
    cuts = fit(probs, targets, rule)
    gaps = [np.diff(np.unique(np.append(scores, [0.0, 1.0]))) for scores in probs.T.astype(float)]
    room = [min(2e-5, gap.min() / 4) for gap in gaps]
    # a cut of 1 says that no cut is allowed: nothing keeps a distance from it, but only these rules may say so
    none = (cuts == 1) & (rule in ("precision_at_least", "cost", "cardinality"))
    assert ((np.abs(probs - cuts) >= room) | (probs.max() == 0) | (probs == 0) | none).all()


@pytest.mark.parametrize("rule", THRESHOLD_RULES)
def test_degenerate_labels(rule: str) -> None:
    probs = np.array([[0.1, 0.2, 1.0], [0.2, 0.4, 1.0], [0.6, 0.3, 1.0]], np.float32)
    targets = np.array([[0, 1, 1], [0, 1, 1], [0, 1, 1]])
    cuts = fit(probs, targets, rule)
    if rule in ("micro_f1", "macro_f1", "micro_f1_per_label", "balanced"):
        assert cuts[0] == pytest.approx(fit_thresholds(probs, targets, "micro_f1")[0], abs=1e-4)
    if rule != "fixed":
        assert (probs[:, 2] >= cuts[2]).all()
    if rule == "macro_f1":
        np.testing.assert_allclose(cuts[1:], [0.1, 0.5], rtol=1e-6)


@pytest.mark.parametrize("rule", ["fixed", *NEED_POSITIVE])
def test_without_any_positive_a_rule_that_needs_one_leaves_the_threshold(rule: str) -> None:
    assert fit([[0.1, 0.9]], [[0, 0]], rule, threshold=0.3).tolist() == [0.3, 0.3]
    decision = fit_decision([[0.1, 0.9]], [[0, 0]], ["a", "b"], rule, threshold=0.3, **NEEDED.get(rule, {}))
    assert decision["fitted_on"] is None


WITHOUT_POSITIVES = [
    ("precision_at_least", {"precision": 0.5}, [1, 1]),
    ("precision_at_least", {"precision": 0.5, "scope": "overall"}, [1, 1]),
    ("cost", {}, [1, 1]),
    ("cost", {"scope": "overall"}, [1, 1]),
    ("cost_plug_in", {"false_positive_cost": 9.0, "false_negative_cost": 1.0}, [0.9, 0.9]),
    ("cardinality", {}, [1, 1]),
    ("cardinality", {"mean_labels": 1.0}, [0.375, 0.375]),
    ("scut_fbr", {"fbr_fallback": "never"}, [1, 1]),
    ("scut_fbr", {"fbr_fallback": "highest"}, [0.1875, 0.625]),
]


@pytest.mark.parametrize(("rule", "options", "expected"), WITHOUT_POSITIVES)
@pytest.mark.parametrize("kept_in_part", [False, True])
def test_without_any_positive_a_rule_that_needs_none_answers(
    rule: str, options: dict, expected: list[float], kept_in_part: bool
) -> None:
    probs, none = np.array([[0.25, 0.75], [0.125, 0.5]], np.float32), sparse.csr_array((2, 2), dtype=bool)
    scores = TopScores.of(probs, none, 2) if kept_in_part else probs
    np.testing.assert_allclose(fit_thresholds(scores, none, rule, threshold=0.3, **options), expected)
    decision = fit_decision(scores, none, ["a", "b"], rule, **options)
    assert decision["fitted_on"] == (None if rule == "cost_plug_in" else "validation")
    assert {rule for rule, _, _ in WITHOUT_POSITIVES} | {"fixed", "f_star_half", *NEED_POSITIVE} == {*THRESHOLD_RULES}


def test_f_star_half_looks_at_no_label() -> None:
    probs, _ = realistic(30, 5, 0)
    none, some = np.zeros(probs.shape, bool), np.eye(30, 5, dtype=bool)
    np.testing.assert_array_equal(
        fit_thresholds(probs, none, "f_star_half"), fit_thresholds(probs, some, "f_star_half")
    )


@pytest.mark.parametrize("rule", THRESHOLD_RULES)
def test_arrays_tensors_and_sparse_targets_agree(rule: str) -> None:
    probs, targets = realistic(50, 6, 0)
    expected = fit(probs, targets, rule)
    np.testing.assert_array_equal(fit(probs, sparse.csr_matrix(targets), rule), expected)
    np.testing.assert_array_equal(fit(np.asfortranarray(probs), targets.astype(float), rule), expected)
    found = fit(torch.from_numpy(probs), torch.from_numpy(targets).float(), rule)
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.float64
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("rule", THRESHOLD_RULES)
def test_order_of_labels_and_rows_changes_nothing(rule: str) -> None:
    probs, targets = realistic(60, 7, 1)
    rows, labels = np.random.default_rng(0).permutation(60), np.random.default_rng(1).permutation(7)
    shuffled = fit(probs[rows][:, labels], targets[rows][:, labels], rule)
    np.testing.assert_allclose(shuffled, fit(probs, targets, rule)[labels], rtol=1e-12)


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    probs, targets = realistic(60, 7, 2)
    expected = {rule: fit(probs, targets, rule) for rule in THRESHOLD_RULES}
    monkeypatch.setattr("hf_multilabel.evaluation.ranks.CHUNK", 50)
    for rule, cuts in expected.items():
        np.testing.assert_array_equal(fit(probs, targets, rule), cuts)


def test_shrinkage_moves_rare_labels_to_the_global_cut() -> None:
    probs, targets = realistic(150, 8, 3)
    shared = fit_thresholds(probs, targets, "micro_f1")
    near, default, far = (fit_thresholds(probs, targets, shrinkage=c) for c in (1e9, None, 0.0))
    np.testing.assert_allclose(near, shared, atol=2e-4)
    np.testing.assert_array_equal(default, fit_thresholds(probs, targets, "balanced", shrinkage=SHRINKAGE))
    assert (np.abs(far - shared) >= np.abs(default - shared) - 2e-4).all()
    assert np.abs(far - shared).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "macro"}, "objective: expected one of fixed, micro_f1, macro_f1, balanced, .* found 'macro'"),
        ({"objective": "balansed"}, "found 'balansed'. Did you mean balanced"),
        ({"objective": "macro-f1"}, "found 'macro-f1'. Did you mean macro_f1"),
        ({"objective": "top_k"}, "found 'top_k'. It is a rule: pass rule='top_k' to fit_decision"),
        ({"objective": "expected_f1"}, "It is a rule: pass rule='expected_f1' beside objective='fixed'"),
        ({"threshold": 1.5}, r"threshold: expected a number in \[0, 1\], found 1.5"),
        ({"threshold": math.nan}, "threshold: expected"),
        ({"shrinkage": -1.0}, "shrinkage: expected a number of at least 0"),
        ({"shrinkage": math.nan}, "shrinkage: expected a number of at least 0"),
        ({"shrinkage": 1.0, "objective": "micro_f1"}, "shrinkage: expected the objective balanced, found 'micro_f1'"),
        ({"probs": [[1.5, 0.0]]}, r"probs: expected values in \[0, 1\]"),
        (
            {"probs": sparse.csr_array([[0.5, 0.1]])},
            "probs: expected an array .* found a sparse matrix .* TopScores",
        ),
        ({"targets": [[1]]}, r"targets: expected shape \(1, 2\), found \(1, 1\)"),
        ({"targets": [[1, 3]]}, "targets: expected 0 or 1"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_thresholds(**{"probs": [[0.5, 0.1]], "targets": [[1, 0]]} | arguments)
