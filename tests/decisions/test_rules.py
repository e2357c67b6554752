"""Each rule against brute force over all cuts, on random and on tied scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_multilabel.decisions import fit_thresholds
from tests.decisions.brute_force import all_cuts, best, cuts_and_none, f_beta, scored, vectors

CASES = scored(positive=True) | scored(np.float64, positive=True)
SMALL = scored(max_rows=5, max_labels=3, positive=True)
BETAS = st.sampled_from([0.5, 1.0, 2.0])
COSTS = st.sampled_from([0.25, 1.0, 3.0])


def decide(probs: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    return probs.astype(float) >= cuts


def check_each(probs: np.ndarray, targets: np.ndarray, cuts: np.ndarray, value, scope: str) -> None:
    """Every label with a positive reaches its best value, every other one has the best common cut."""
    total, shared = best(probs, targets, value)
    if scope == "overall":
        assert value(decide(probs, cuts), targets) == pytest.approx(total)
        assert len(set(cuts)) == 1
        return
    for scores, truth, cut in zip(probs.T, targets.T, cuts, strict=True):
        if truth.any():
            assert value(decide(scores, cut), truth) == pytest.approx(best(scores, truth, value)[0])
        else:
            np.testing.assert_array_equal(decide(scores, cut), decide(scores, shared))


@settings(deadline=None, max_examples=100)
@given(CASES, BETAS)
def test_f_beta_overall_and_per_label(case: tuple, beta: float) -> None:
    for objective, scope in (("micro_f1", "overall"), ("macro_f1", "label")):
        cuts = fit_thresholds(*case, objective, beta=beta)
        check_each(*case, cuts, lambda decided, truth: f_beta(decided, truth, beta), scope)


@settings(deadline=None, max_examples=100)
@given(CASES, BETAS)
def test_samples_f1(case: tuple, beta: float) -> None:
    probs, targets = case

    def mean(decided: np.ndarray, truth: np.ndarray) -> float:
        return float(np.mean([f_beta(row, true, beta) for row, true in zip(decided, truth, strict=True)]))

    cuts = fit_thresholds(probs, targets, "samples_f1", beta=beta)
    assert len(set(cuts)) == 1
    assert mean(decide(probs, cuts), targets) == pytest.approx(best(probs, targets, mean)[0])


@settings(deadline=None, max_examples=100)
@given(SMALL, BETAS)
def test_micro_f1_per_label_is_the_best_of_all_vectors_of_cuts(case: tuple, beta: float) -> None:
    probs, targets = case
    shared = fit_thresholds(probs, targets, "micro_f1", beta=beta)
    cuts = fit_thresholds(probs, targets, "micro_f1_per_label", beta=beta)
    choices = [
        cuts_and_none(scores) if truth.any() else [one]
        for scores, truth, one in zip(probs.T, targets.T, shared, strict=True)
    ]
    expected = max(f_beta(decided, targets, beta) for decided in vectors(probs, choices))
    found = f_beta(decide(probs, cuts), targets, beta)
    assert found == pytest.approx(expected)
    assert found >= f_beta(decide(probs, shared), targets, beta) - 1e-12


@settings(deadline=None, max_examples=100)
@given(CASES, st.sampled_from([0.3, 0.5, 2 / 3, 0.9, 1.0]), st.sampled_from(["label", "overall"]))
def test_precision_at_least(case: tuple, precision: float, scope: str) -> None:
    def recall_if_allowed(decided: np.ndarray, truth: np.ndarray) -> float:
        caught, taken = (decided & truth).sum(), decided.sum()
        # where nothing is allowed, 1 is the cut, whatever it takes
        return float(caught) if caught and caught / taken >= precision else -1.0

    cuts = fit_thresholds(*case, "precision_at_least", precision=precision, scope=scope)
    check_each(*case, cuts, recall_if_allowed, scope)


@settings(deadline=None, max_examples=100)
@given(CASES, st.sampled_from([0.1, 0.5, 2 / 3, 0.9, 1.0]), st.sampled_from(["label", "overall"]))
def test_recall_at_least(case: tuple, recall: float, scope: str) -> None:
    def precision_if_allowed(decided: np.ndarray, truth: np.ndarray) -> float:
        caught = (decided & truth).sum()
        return caught / decided.sum() if caught and caught / truth.sum() >= recall else -1.0

    cuts = fit_thresholds(*case, "recall_at_least", recall=recall, scope=scope)
    check_each(*case, cuts, precision_if_allowed, scope)


@settings(deadline=None, max_examples=100)
@given(CASES, COSTS, COSTS, st.sampled_from(["label", "overall"]))
def test_cost(case: tuple, false_positive: float, false_negative: float, scope: str) -> None:
    def saved(decided: np.ndarray, truth: np.ndarray) -> float:
        return -false_positive * (decided & ~truth).sum() - false_negative * (truth & ~decided).sum()

    costs = {"false_positive_cost": false_positive, "false_negative_cost": false_negative}
    check_each(*case, fit_thresholds(*case, "cost", scope=scope, **costs), saved, scope)
    plug_in = fit_thresholds(*case, "cost_plug_in", **costs)
    assert (plug_in == false_positive / (false_positive + false_negative)).all()


@settings(deadline=None, max_examples=200)
@given(CASES, st.sampled_from([None, 0.1, 0.5, 1.0, 2.5, 4.0, 100.0]))
def test_cardinality(case: tuple, mean_labels: float | None) -> None:
    probs, targets = case
    wanted = targets.sum() if mean_labels is None else mean_labels * len(probs)

    def near(decided: np.ndarray, truth: np.ndarray) -> float:
        return -abs(decided.sum() - wanted)

    cuts = fit_thresholds(probs, targets, "cardinality", mean_labels=mean_labels)
    expected, cut = best(probs, targets, near)
    assert near(decide(probs, cuts), targets) == pytest.approx(expected)
    np.testing.assert_array_equal(decide(probs, cuts), decide(probs, cut))


@settings(deadline=None, max_examples=100)
@given(CASES, st.sampled_from([0.0, 0.5, 0.8, 1.0]), st.sampled_from(["never", "highest"]))
def test_scut_fbr(case: tuple, floor: float, fallback: str) -> None:
    probs, targets = case
    cuts = fit_thresholds(probs, targets, "scut_fbr", fbr_floor=floor, fbr_fallback=fallback)
    for scores, truth, cut in zip(probs.T, targets.T, cuts, strict=True):
        value, own = best(scores, truth, f_beta)
        expected = own if truth.any() and value >= floor else 1.0 if fallback == "never" else all_cuts(scores)[0]
        np.testing.assert_array_equal(decide(scores, cut), decide(scores, expected))


@settings(deadline=None, max_examples=100)
@given(CASES, st.sampled_from(["label", "overall"]))
def test_f_star_half_promises_as_much_as_any_cut(case: tuple, scope: str) -> None:
    probs, targets = case

    def promised(decided: np.ndarray, scores: np.ndarray) -> float:
        return 2 * scores[decided].sum() / (decided.sum() + scores.sum()) if scores.sum() else 0.0

    wide = probs.astype(float)
    cuts = fit_thresholds(probs, targets, "f_star_half", scope=scope)
    parts = [(wide, cuts[0])] if scope == "overall" else zip(wide.T, cuts, strict=True)
    for scores, cut in parts:
        expected, _ = best(scores, scores, promised)
        assert promised(scores >= cut, scores) == pytest.approx(expected, abs=1e-9)
        assert cut == pytest.approx(expected / 2 if scores.sum() else 1.0, abs=1e-9)


def test_levels_that_hold_many_scores_are_sorted_out() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((300, 20)) < 0.1
    # all of a few coarse levels: what bounds the search is no help there
    probs = (0.5 + 1e-4 * (rng.random((300, 20)) + 0.5 * targets)).astype(np.float32)
    for objective, options in (
        ("micro_f1", {}),
        ("precision_at_least", {"precision": 0.6, "scope": "overall"}),
        ("cardinality", {}),
    ):
        found = fit_thresholds(probs, targets, objective, **options)
        far = fit_thresholds((probs.astype(float) - 0.5) * 5000, targets, objective, **options)
        np.testing.assert_array_equal(decide(probs, found), (probs.astype(float) - 0.5) * 5000 >= far)


@pytest.mark.parametrize(
    ("objective", "options", "message"),
    [
        ("precision_at_least", {}, "precision: expected a number above 0, at most 1, found None. precision_at_least"),
        ("precision_at_least", {"precision": 1.5}, "precision: expected a number above 0, at most 1, found 1.5"),
        ("recall_at_least", {"recall": 0.0}, "recall: expected"),
        ("cost", {"scope": "micro"}, "scope: expected one of label, overall, found 'micro'"),
        ("cost", {"false_positive_cost": 0}, "false_positive_cost: expected a number above 0"),
        ("cardinality", {"mean_labels": -1}, "mean_labels: expected a number above 0"),
        ("scut_fbr", {"fbr_fallback": "top"}, "fbr_fallback: expected one of never, highest"),
        ("micro_f1", {"beta": 0}, "beta: expected a number above 0, at most a million, found 0"),
        ("balanced", {"beta": 2}, "beta: expected the objective micro_f1 or macro_f1 or samples_f1"),
        (
            "macro_f1",
            {"betta": 2},
            "options: expected beta or threshold under macro_f1, found 'betta'. Did you mean beta",
        ),
        ("precision_at_least", {"precison": 0.8}, "options: .* found 'precison'. Did you mean precision?"),
        ("fixed", {"nonsense": 1}, "options: expected threshold under fixed, found 'nonsense'. Leave it out"),
        ("balanced", {"shrinkage": "aut"}, "shrinkage: expected a number of at least 0, or auto, found 'aut'"),
        ("precision_at_least", {"precision": "0.8"}, "precision: expected a number above 0, at most 1, found '0.8'"),
        ("fixed", {"threshold": [0.1] * 6}, r"threshold: expected a number in \[0, 1\], found \[0.1, "),
        ("cost", {"false_negative_cost": np.ones(3)}, "false_negative_cost: expected a number above 0, found array"),
    ],
)
def test_wrong_options_are_named(objective: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_thresholds([[0.5, 0.1]], [[1, 0]], objective, **options)
