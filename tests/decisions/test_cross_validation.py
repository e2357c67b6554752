"""Folds, averages, expected scores and resampled cuts against loops; honesty on simulated rows."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from scipy import sparse

from hf_multilabel.data.splitting import kfold
from hf_multilabel.deciding import tell_expected
from hf_multilabel.decisions.cross_validation import average_cuts, cross_fit, pool_scores, take_rows
from hf_multilabel.decisions.evidence import fit_with_evidence
from hf_multilabel.decisions.rare_labels import SHRINKAGE, STRENGTHS, balanced, choose_shrinkage
from hf_multilabel.decisions.thresholds import fit_cuts, fit_decision, fit_thresholds
from hf_multilabel.decisions.uncertainty import expected_scores, resample_cuts
from hf_multilabel.evaluation import evaluate_predictions
from hf_multilabel.evaluation.scores import TopScores
from hf_multilabel.remote_code.decision_multilabel import check_decision

LABELS = ["a", "b", "c", "d"]


def draw(rows: int, rng: np.random.Generator, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits and label sets of a model that ranks moderately well; the last labels are rare."""
    targets = rng.random((rows, labels)) < np.geomspace(0.4, 0.04, labels)
    return (1.5 * rng.normal(size=(rows, labels)) + 2 * targets - 2).astype(np.float32), targets


def random_folds(rows: int, k: int, seed: int = 0) -> list[np.ndarray]:
    part = np.random.default_rng(seed).permutation(rows) % k
    return [np.flatnonzero(part == number) for number in range(k)]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("kept_in_part", [False, True])
def test_pooled_scores_lie_in_the_order_of_the_rows(kept_in_part: bool) -> None:
    logits, targets = draw(30, np.random.default_rng(0))
    probs, folds = sigmoid(logits), random_folds(30, 3)
    if not kept_in_part:
        np.testing.assert_array_equal(pool_scores([probs[fold] for fold in folds], folds), probs)
        return
    whole = TopScores.of(probs, sparse.csr_array(targets), 2)
    found = pool_scores([TopScores.of(probs[fold], sparse.csr_array(targets[fold]), 2) for fold in folds], folds)
    np.testing.assert_array_equal(found.stored.toarray(), whole.stored.toarray())
    np.testing.assert_array_equal(found.floor, whole.floor)


def test_averages_are_taken_of_log_odds() -> None:
    cuts = np.array([[0.1, 0.5, 1.0], [0.3, 0.5, 0.2]])
    twin = [np.mean([np.log(cut / (1 - cut)) for cut in np.clip(column, 1e-7, 1 - 1e-7)]) for column in cuts.T]
    np.testing.assert_allclose(average_cuts(cuts), sigmoid(np.array(twin)))


@pytest.mark.parametrize("kept_in_part", [None, False, True])
def test_a_label_no_fold_found_a_cut_for_stays_at_one(kept_in_part: bool | None) -> None:
    probs, each = np.array([[0.3, 0.6, 0.2]]), np.full((5, 3), 0.5)
    each[:, 0], each[0, 1] = 1, 1
    scores = TopScores.of(probs, sparse.csr_array(probs > 0.5), 2) if kept_in_part else probs
    found = average_cuts(each, None if kept_in_part is None else scores)
    # one fold of five: 16.1 / 5 log-odds
    np.testing.assert_allclose(found, [1, 0.962, 0.5], atol=1e-3)
    assert found[0] == 1
    assert average_cuts(np.ones((5, 1)), probs[:, :1]).tolist() == [1.0]


def test_every_row_is_judged_by_a_fit_without_it() -> None:
    seen: list[tuple[set, set]] = []

    def decide(decision: dict, rows: np.ndarray) -> sparse.csr_array:
        seen.append((set(decision["rows"]), set(rows.tolist())))
        return sparse.csr_array(np.eye(7, dtype=bool)[rows])

    decisions, sets = cross_fit(lambda rows: {"rows": rows.tolist()}, decide, random_folds(7, 3))
    assert len(decisions) == 3
    assert all(not fitted & judged and fitted | judged == set(range(7)) for fitted, judged in seen)
    np.testing.assert_array_equal(sets.toarray(), np.eye(7, dtype=bool))
    with pytest.raises(ValueError, match="folds: expected 2 or more that hold each of 6 rows once"):
        cross_fit(lambda rows: {}, decide, [np.array([0, 1, 2]), np.array([2, 3, 4])])


def test_expected_scores_are_those_of_a_loop_over_the_folds() -> None:
    logits, targets = draw(80, np.random.default_rng(1))
    ways = [random_folds(80, 4, seed) for seed in (0, 1)]
    decision = fit_with_evidence(logits, targets, LABELS, ways, resamples=0)
    values = []
    for folds in ways:
        decided = np.zeros_like(targets)
        for fold in folds:
            rest = np.setdiff1d(np.arange(80), fold)
            cuts = fit_thresholds(sigmoid(logits[rest]), targets[rest])
            decided[fold] = sigmoid(logits[fold]) >= cuts
        values.append(evaluate_predictions(sigmoid(logits), decided, targets)["macro_f1"])
    assert decision["expected"]["macro_f1"] == pytest.approx(np.mean(values), abs=1e-12)
    assert (decision["expected"]["folds"], decision["expected"]["repeats"]) == (4, 2)
    low, high = decision["expected"]["intervals"]["macro_f1"]
    assert low < decision["expected"]["macro_f1"] < high
    check_decision(json.loads(json.dumps(decision)), LABELS)


def test_averaged_cuts_are_those_of_the_folds() -> None:
    logits, targets = draw(80, np.random.default_rng(2))
    folds = random_folds(80, 4)
    rest = [np.setdiff1d(np.arange(80), fold) for fold in folds]
    for objective in ("micro_f1", "macro_f1"):
        decision = fit_with_evidence(logits, targets, LABELS, [folds], average=True, objective=objective, resamples=0)
        each = np.array([fit_thresholds(sigmoid(logits[rows]), targets[rows], objective) for rows in rest])
        np.testing.assert_allclose(
            decision["thresholds"], average_cuts(each)[: np.size(decision["thresholds"])], atol=2e-4
        )
    assert isinstance(decision["thresholds"], list)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"calibration": "platt"}, "calibration: expected null beside averaged cuts, found 'platt'"),
        ({"objective": "fixed"}, "objective: expected one that fits cuts"),
        ({"folds": []}, "folds: expected 1 or more ways"),
    ],
)
def test_cuts_that_share_no_scale_are_not_averaged(settings: dict, match: str) -> None:
    logits, targets = draw(40, np.random.default_rng(0))
    with pytest.raises(ValueError, match=match):
        fit_with_evidence(logits, targets, LABELS, **{"folds": [random_folds(40, 2)], "average": True, **settings})


def test_resampled_cuts_are_those_of_a_brute_bootstrap() -> None:
    logits, targets = draw(60, np.random.default_rng(3))
    probs, held = sigmoid(logits), sparse.csr_array(targets)
    found = resample_cuts(probs, held, fit_thresholds, resamples=41, seed=5)
    rng, cuts = np.random.default_rng(5), []
    for _ in range(41):
        rows = np.sort(rng.integers(0, 60, 60))
        cuts.append(fit_thresholds(probs[rows], targets[rows]))
    ordered = np.sort(cuts, axis=0)
    np.testing.assert_allclose(found["low"], ordered[1], rtol=1e-3)
    np.testing.assert_allclose(found["high"], ordered[-2], rtol=1e-3)
    kept = TopScores.of(probs, held, 4)
    assert resample_cuts(kept, held, fit_thresholds, resamples=41, seed=5) == found


def test_rare_labels_have_the_widest_intervals() -> None:
    rng = np.random.default_rng(4)
    targets = rng.random((1000, 4)) < [0.5, 0.3, 0.1, 0.01]
    logits = rng.normal(size=(1000, 4)) + 2 * targets
    spread = fit_with_evidence(logits, targets, LABELS, [], objective="macro_f1")["threshold_intervals"]
    low, high = (np.array(spread[end]) for end in ("low", "high"))
    width = np.log(high / (1 - high)) - np.log(low / (1 - low))
    assert spread["resamples"] == 100
    assert width[-1] > width[0]


def test_nothing_fitted_has_no_spread_and_no_optimism() -> None:
    logits, targets = draw(50, np.random.default_rng(0))
    decision = fit_with_evidence(logits, targets, LABELS, [random_folds(50, 5)], objective="fixed")
    assert "threshold_intervals" not in decision
    assert decision["expected"]["micro_f1"] == decision["in_sample"]["micro_f1"]


def test_shrinkage_is_chosen_for_other_rows() -> None:
    rng = np.random.default_rng(0)
    logits, targets = draw(120, rng, 40)
    held = sparse.csr_array(targets)
    strength = choose_shrinkage(sigmoid(logits), held)
    assert strength in STRENGTHS
    np.testing.assert_array_equal(
        fit_thresholds(sigmoid(logits), targets, shrinkage="auto"), balanced(sigmoid(logits), held, shrinkage=strength)
    )
    # noise, where own cuts only lose; too few rows to choose
    noise = rng.random((200, 40)).astype(np.float32)
    assert choose_shrinkage(noise, sparse.csr_array(rng.random((200, 40)) < 0.05)) >= SHRINKAGE
    assert choose_shrinkage(noise[:8], sparse.csr_array(rng.random((8, 40)) < 0.5)) == SHRINKAGE
    decision = fit_with_evidence(logits, targets, [str(i) for i in range(40)], [], shrinkage="auto", resamples=0)
    assert decision["shrinkage"] == strength
    assert decision["options"] == {"shrinkage": "auto"}


def f1(decided: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    right, both = (decided & targets).sum(0), decided.sum(0) + targets.sum(0)
    return {"micro_f1": 2 * right.sum() / both.sum(), "macro_f1": (2 * right / np.maximum(both, 1)).mean()}


@pytest.mark.parametrize("draws", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_what_is_expected_is_what_other_rows_give(draws: int) -> None:
    """Without bias, and the interval holds the score of as many fresh rows in at least 90% of the draws."""
    rng, rows = np.random.default_rng(0), 150
    fresh_logits, fresh = draw(20_000, rng)
    hits, gaps, optimism = {"micro_f1": 0, "macro_f1": 0}, [], {"balanced": [], "macro_f1": []}
    widths, scores = {name: [] for name in hits}, {name: [] for name in hits}
    for seed in range(draws):
        logits, targets = draw(rows, rng)
        decision = fit_with_evidence(logits, targets, LABELS, [random_folds(rows, 5, seed)], resamples=0)
        decided = sigmoid(fresh_logits) >= np.array(decision["thresholds"])
        as_many = rng.integers(0, len(fresh), rows)
        for name, value in f1(decided[as_many], fresh[as_many]).items():
            low, high = decision["expected"]["intervals"][name]
            hits[name] += low <= value <= high
            widths[name].append(high - low)
            scores[name].append(value - decision["expected"][name])
        truth = f1(decided, fresh)["macro_f1"]
        gaps.append(decision["expected"]["macro_f1"] - truth)
        optimism["balanced"].append(decision["in_sample"]["macro_f1"] - truth)
        plain = fit_decision(sigmoid(logits), targets, LABELS, "macro_f1")
        decided = sigmoid(fresh_logits) >= np.array(plain["thresholds"])
        optimism["macro_f1"].append(plain["in_sample"]["macro_f1"] - f1(decided, fresh)["macro_f1"])
    assert min(hits.values()) >= 0.9 * draws
    for name, width in widths.items():  # and it is no wider than it has to be, by a third at most
        assert np.mean(width) < 1.35 * 2 * 1.96 * np.std(scores[name])
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / np.sqrt(draws)
    assert np.mean(optimism["macro_f1"]) > 0.03  # cuts that follow the rows promise too much there
    assert abs(np.mean(optimism["balanced"])) < 0.02


def test_rows_that_are_all_alike_do_not_tell_what_others_hold() -> None:
    right, nothing = sparse.csr_array(np.eye(6, dtype=bool)), sparse.csr_array((6, 6), dtype=bool)
    errors = {"micro_f1": 0.1, "macro_f1": 0.1, "macro_f1_present": 0.1}
    for sets in (right, nothing):
        found = expected_scores([sets], sets, errors=errors)
        assert found["micro_f1"] == (sets is right)
        assert "micro_f1" not in found["intervals"]
        assert "no interval" in tell_expected(found)


def test_expected_scores_refuse_what_is_no_confidence() -> None:
    sets = sparse.csr_array(np.eye(3, dtype=bool))
    assert expected_scores([sets], sets)["micro_f1"] == 1
    with pytest.raises(ValueError, match="level: expected a confidence"):
        expected_scores([sets], sets, level=95)


def test_scores_kept_in_part_give_the_same_evidence() -> None:
    logits, targets = draw(100, np.random.default_rng(6))
    probs, folds = sigmoid(logits), [random_folds(100, 4)]
    kept = TopScores.of(probs, sparse.csr_array(targets), 4)
    found = fit_with_evidence(kept, targets, LABELS, folds, calibration=None)
    whole = fit_with_evidence(logits, targets, LABELS, folds)
    assert found["expected"] == whole["expected"]
    np.testing.assert_allclose(found["threshold_intervals"]["low"], whole["threshold_intervals"]["low"], rtol=1e-3)
    assert fit_decision(kept, targets, LABELS)["thresholds"] == found["thresholds"]


def test_that_cuts_are_cautious_is_said_by_the_decision_not_of_every_fold() -> None:
    logits, targets = draw(100, np.random.default_rng(6))
    kept = TopScores.of(sigmoid(logits), targets, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_with_evidence(kept, targets, LABELS, [random_folds(100, 4)], objective="macro_f1", resamples=0)
    assert found["exact"] is False


def test_probabilities_in_the_place_of_logits_are_noticed_once() -> None:
    logits, targets = draw(100, np.random.default_rng(6))
    folds = [random_folds(100, 4)]
    with pytest.warns(UserWarning, match="logits: expected log-odds .* found 400 numbers in") as said:
        fit_with_evidence(sigmoid(logits), targets, LABELS, folds, calibration="platt", resamples=0)
    assert [warning.filename for warning in said] == [__file__]


def test_folds_that_are_not_nested_are_named() -> None:
    logits, targets = draw(20, np.random.default_rng(6))
    pairs = kfold(targets, 2)
    held_out = [rows for _, rows in pairs]
    assert fit_with_evidence(logits, targets, LABELS, [held_out], resamples=0)["expected"]["folds"] == 2
    for folds in (held_out, pairs, [pairs], [np.arange(20)], 2):
        with pytest.raises(ValueError, match=r"folds: expected a list of ways, .* found others. \[\[held_out for"):
            fit_with_evidence(logits, targets, LABELS, folds, resamples=0)


def test_an_average_is_exact_only_where_the_cuts_of_all_folds_are() -> None:
    told = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        probs = rng.random((40, 6)) ** 2
        held = sparse.csr_array(rng.random(probs.shape) < probs)
        kept, folds = TopScores.of(probs, held, 3), random_folds(40, 2)
        decision = fit_with_evidence(
            kept, held, list("abcdef"), [folds], average=True, objective="micro_f1", resamples=0
        )
        alone = [
            fit_cuts(take_rows(kept, rows), held[rows], "micro_f1")[1]
            for rows in (np.setdiff1d(np.arange(40), fold) for fold in folds)
        ]
        assert decision["exact"] <= all(alone)
        told.append(all(alone))
    assert 0 < sum(told) < len(told)
