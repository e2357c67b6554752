"""Risk control against loops over all cuts, MAPIE, and the promise itself on fresh texts."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binom

from hf_multilabel.decisions.bounds import STAKES, bentkus, hoeffding, hoeffding_bentkus, passes_betting
from hf_multilabel.decisions.fitting import check_promises, fit_from_logits, halves
from hf_multilabel.decisions.risk_control import (
    STARTS,
    describe_risk,
    fit_risk,
    least_rows,
    precision_cut,
    precision_path,
    recall_cut,
)
from hf_multilabel.evaluation import as_label_sets
from hf_multilabel.remote_code.decision_multilabel import decide, probabilities

SPLITS = 200
POPULATION = 20_000


def texts(rows: int, labels: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too low, and label sets of at least one label."""
    rng = np.random.default_rng(seed)
    share = 0.4 / np.arange(1, labels + 1)
    targets = rng.random((rows, labels)) < share
    targets[np.arange(rows), rng.integers(0, labels, rows)] = True
    odds = logit(share) + 3.5 * targets + rng.normal(size=(rows, labels)) - 0.5
    return expit(odds).astype(np.float32), targets


def recalls(probs: np.ndarray, targets: np.ndarray, cut: float) -> np.ndarray:
    taken = probs.astype(np.float64) >= cut
    return (taken & targets).sum(1) / targets.sum(1)


def precisions(probs: np.ndarray, targets: np.ndarray, cut: float) -> np.ndarray:
    """Of the rows that get a label."""
    taken = probs.astype(np.float64) >= cut
    size = taken.sum(1)
    return (taken & targets).sum(1)[size > 0] / size[size > 0]


@st.composite
def few_rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 5))
    probs, targets = rng.random(shape), rng.random(shape) < 0.4
    return np.round(probs, draw(st.sampled_from([1, 8]))), targets


def all_scores(probs: np.ndarray) -> list[float]:
    return sorted({float(score) for score in probs.ravel()})


@settings(deadline=None, max_examples=40)
@given(few_rows(), st.sampled_from([0.02, 0.1, 0.3, 0.6]), st.sampled_from([None, 0.05, 0.3]))
def test_recall_cut_is_the_highest_that_a_loop_finds(
    case: tuple[np.ndarray, np.ndarray], alpha: float, delta: float | None
) -> None:
    probs, targets = case
    kept = targets.any(1)
    found = recall_cut(probs, as_label_sets(targets, probs.shape, "targets"), alpha, delta)
    if not kept.any():
        assert found is None
        return
    order = np.random.default_rng(0).permutation(kept.sum())
    promised = []
    for cut in [0.0, *all_scores(probs[targets]), 2.0]:
        losses = np.empty(kept.sum())
        losses[order] = 1 - recalls(probs[kept], targets[kept], cut)
        n = len(losses)
        holds = (
            (losses.sum() + 1) / (n + 1) <= alpha + 1e-12 if delta is None else wealth(losses, alpha, delta) > 1 / delta
        )
        if not holds:
            break
        promised.append(cut)
    if not promised:
        assert found is None
    else:
        assert found == min(max(promised[-1], probs[targets].min()), probs[targets].max())


def wealth(losses: np.ndarray, alpha: float, delta: float) -> float:
    """The mean stake of the gamblers of `passes_betting` at its highest, one row after the other."""
    n = len(losses)
    bets = [min(m * np.sqrt(2 * np.log(1 / delta) / (n * alpha * (1 - alpha))), 0.999 / (1 - alpha)) for m in STAKES]
    stakes, best = [1.0] * len(bets), 0.0
    for loss in losses:
        stakes = [stake * (1 + bet * (alpha - loss)) for stake, bet in zip(stakes, bets, strict=True)]
        best = max(best, sum(stakes) / len(stakes))
    return best


def test_bets_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    losses = rng.random((30, 80)) * rng.random((30, 1)) ** 2 * 0.4
    expected = [wealth(row, 0.1, 0.1) > 10 for row in losses]
    assert 0 < sum(expected) < 30
    assert [passes_betting(row, 0.1, 0.1) for row in losses] == expected


def test_a_loss_that_grows_passes_no_test() -> None:
    """What the search by halves rests on."""
    rng = np.random.default_rng(0)
    losses, passed = np.zeros(200), []
    for row in rng.permutation(200):
        losses[row] = rng.random()
        passed.append(passes_betting(losses, 0.1, 0.1))
    assert passed[0]
    assert not passed[-1]
    assert passed == sorted(passed, reverse=True)


@pytest.mark.parametrize(("spread", "least"), [("all or nothing", 0.1), ("little", 0.01)])
def test_a_bet_is_lost_no_more_often_than_allowed(spread: str, least: float) -> None:
    """At a mean loss of exactly alpha; the least favourable of all risks that must not pass."""
    rng = np.random.default_rng(0)
    losses = rng.random((2000, 300)) < 0.1 if spread == "all or nothing" else 0.2 * rng.random((2000, 300))
    share = np.mean([passes_betting(row, 0.1, 0.2) for row in losses])
    assert least < share <= 0.2 + 2 * np.sqrt(0.2 * 0.8 / 2000)


def test_hoeffding_bentkus_is_the_lower_of_two_p_values() -> None:
    risk, rows = np.array([0.0, 0.05, 0.08, 0.1, 0.3]), np.array([50, 200, 1000, 100, 100])
    low = np.minimum(hoeffding(risk, rows, 0.1), bentkus(risk, rows, 0.1))
    for r, n, p in zip(risk, rows, low, strict=True):
        expected = np.e * binom.cdf(np.ceil(n * r - 1e-9), n, 0.1)
        if r < 0.1:
            entropy = (r * np.log(r / 0.1) if r else 0) + (1 - r) * np.log((1 - r) / 0.9)
            assert p == pytest.approx(min(np.exp(-n * entropy), expected))
    for delta in (0.5, 0.1, 0.01):
        assert hoeffding_bentkus(risk, rows, 0.1, delta)[:4].tolist() == (low <= delta)[:4].tolist()


@settings(deadline=None, max_examples=25)
@given(few_rows(), st.sampled_from(["left_out", "wrong"]))
def test_precision_path_equals_a_loop(case: tuple[np.ndarray, np.ndarray], empty: str) -> None:
    probs, targets = case
    score, risk, rows = precision_path(probs, as_label_sets(targets, probs.shape, "targets"), 0.25, empty)
    assert score.tolist() == [value for value in reversed(all_scores(probs)) if value >= 0.25]
    for cut, found, count in zip(score, risk, rows, strict=True):
        losses = 1 - precisions(probs, targets, cut)
        n = len(losses) if empty == "left_out" else len(probs)
        assert count == n
        assert found == pytest.approx((losses.sum() + (n - len(losses))) / n)


@pytest.mark.parametrize("seed", range(4))
def test_precision_cut_equals_walks_over_every_cut(seed: int) -> None:
    probs, targets = texts(120, labels=8, seed=seed)
    probs = probs / (1 + 9 * (seed == 3))  # all far below the lowest start but one
    held = as_label_sets(targets, probs.shape, "targets")
    alpha, level = 0.4, 0.5 / len(STARTS)
    reached = []
    for start in STARTS:
        for cut in sorted({start, *(value for value in all_scores(probs) if value < start)}, reverse=True):
            losses = 1 - precisions(probs, targets, cut)
            if (
                not len(losses)
                or not hoeffding_bentkus(losses.mean(keepdims=True), np.array([len(losses)]), alpha, level)[0]
            ):
                break
            reached.append(min(probs[probs >= cut]))
    found = precision_cut(probs, held, alpha, 0.5)
    assert found == (min(reached) if reached else None)


@pytest.fixture(scope="module")
def population() -> tuple[np.ndarray, np.ndarray]:
    return texts(POPULATION)


@pytest.fixture(scope="module")
def true_risk(population: tuple[np.ndarray, np.ndarray]) -> dict[str, Callable[[float], float]]:
    """Metric to the risk of a cut among all texts, looked up."""
    probs, targets = population
    row, column = targets.nonzero()
    order = np.argsort(probs[row, column])
    missed = np.concatenate([[0], np.cumsum(1 / targets.sum(1)[row[order]])]) / POPULATION
    score, wrong, _ = precision_path(probs, as_label_sets(targets, probs.shape, "targets"), 0.0)

    def recall(cut: float) -> float:
        return missed[np.searchsorted(probs[row, column][order], cut)]

    def precision(cut: float) -> float:
        return wrong[np.searchsorted(-score, -cut, side="right") - 1]

    assert recall(0.2) == pytest.approx(1 - recalls(probs, targets, 0.2).mean())
    assert precision(0.5) == pytest.approx(1 - precisions(probs, targets, 0.5).mean())
    return {"recall": recall, "precision": precision}


PROMISES = [
    {"recall": 0.9},
    {"recall": 0.9, "confidence": 0.8},
    {"precision": 0.8, "confidence": 0.8},
]


@pytest.mark.parametrize("risk", PROMISES, ids=str)
def test_the_promise_holds_over_random_splits(
    risk: dict[str, float],
    population: tuple[np.ndarray, np.ndarray],
    true_risk: dict[str, Callable[[float], float]],
) -> None:
    probs, targets = population
    metric, target = next(iter(risk.items()))
    found, cuts = [], 0
    for split in range(SPLITS):
        rows = np.random.default_rng(split).choice(POPULATION, 250, replace=False)
        cut, evidence = fit_risk(probs[rows], targets[rows], risk)
        cuts += cut is not None
        assert evidence["controlled"] == (cut is not None)
        # where nothing is promised, nothing is broken
        found.append(true_risk[metric](cut) if cut is not None else 0.0)
    risks, alpha = np.array(found), 1 - target
    assert cuts > 0.9 * SPLITS
    if "confidence" not in risk:
        assert risks.mean() <= alpha + 2 * risks.std() / np.sqrt(SPLITS)
        assert risks.mean() >= alpha - 0.02  # and is not bought with large sets
    else:
        allowed = 1 - risk["confidence"]
        assert (risks > alpha).mean() <= allowed + 2 * np.sqrt(allowed * (1 - allowed) / SPLITS)
        assert risks.mean() >= alpha / 2


@pytest.fixture(scope="module")
def mapie() -> Any:
    return pytest.importorskip("mapie.risk_control", reason="the oracle is not installed: pip install mapie")


def mapie_cut(mapie: Any, probs: np.ndarray, targets: np.ndarray, metric: str, target: float, **options: Any) -> float:
    controller = mapie.MultiLabelClassificationController(
        predict_function=lambda x: x, risk=metric, target_level=target, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controller.calibrate(probs.astype(np.float64), targets.astype(int))
    return float(controller.best_predict_param[0])


@pytest.mark.parametrize(
    ("risk", "options"),
    [
        ({"recall": 0.9}, {"method": "crc"}),
        ({"recall": 0.9, "confidence": 0.9}, {"method": "rcps", "rcps_bound": "hoeffding", "confidence_level": 0.9}),
        ({"recall": 0.9, "confidence": 0.9}, {"method": "rcps", "rcps_bound": "wsr", "confidence_level": 0.9}),
    ],
    ids=["crc", "hoeffding", "wsr"],
)
def test_sets_are_no_larger_than_those_of_mapie(mapie: Any, risk: dict, options: dict) -> None:
    probs, targets = texts(300)
    fresh, _ = texts(2000, seed=1)
    cut, _ = fit_risk(probs, targets, risk)
    theirs = mapie_cut(mapie, probs, targets, "recall", 0.9, **options)
    ours = (fresh >= cut).sum(1).mean()
    assert ours <= 1.1 * (fresh > theirs).sum(1).mean()
    if options["method"] == "crc":  # the same rule; theirs looks at every hundredth only
        assert theirs - 1e-3 <= cut < theirs + 0.01 + 1e-3


def test_precision_finds_no_fewer_labels_than_mapie(mapie: Any) -> None:
    probs, targets = texts(400)
    fresh, _ = texts(2000, seed=1)
    cut, _ = fit_risk(probs, targets, {"precision": 0.7, "confidence": 0.9})
    theirs = mapie_cut(mapie, probs, targets, "precision", 0.7, method="ltt", confidence_level=0.9)
    taken = 0.0 if np.isnan(theirs) else (fresh > theirs).sum(1).mean()
    assert cut is not None
    assert (fresh >= cut).sum(1).mean() >= 0.9 * taken
    # with their convention, an empty set is all wrong, ours keeps up too
    strict = precision_cut(probs, as_label_sets(targets, probs.shape, "targets"), 0.3, 0.1, "wrong")
    assert np.isnan(theirs) or (strict is not None and (fresh >= strict).sum(1).mean() >= 0.9 * taken)


def test_rows_without_labels_are_left_out_of_recall() -> None:
    probs, targets = texts(200)
    more = np.concatenate([probs, np.full((50, 20), 0.99, np.float32)])
    with_empty = np.concatenate([targets, np.zeros((50, 20), bool)])
    alone, evidence = fit_risk(probs, targets, {"recall": 0.9}), fit_risk(more, with_empty, {"recall": 0.9})
    assert evidence[0] == alone[0]
    assert (evidence[1]["rows"], evidence[1]["rows_left_out"]) == (200, 50)


@pytest.mark.parametrize(
    "risk",
    [
        *PROMISES,
        {"recall": 0.95, "confidence": 0.95},
        {"recall": 0.5, "confidence": 0.5},
        {"precision": 0.9, "confidence": 0.9},
        {"precision": 0.95, "confidence": 0.95},
        {"precision": 0.5, "confidence": 0.5},
    ],
    ids=str,
)
def test_the_least_rows_are_those_at_which_flawless_rows_are_first_promised_something(risk: dict[str, float]) -> None:
    flawless = np.array([[0.9, 0.1]], np.float32).repeat(150, 0)
    truth = flawless > 0.5
    rows = next(rows for rows in range(1, 150) if fit_risk(flawless[:rows], truth[:rows], risk)[0] is not None)
    assert least_rows(risk) == rows
    if rows > 1:
        _, evidence = fit_risk(flawless[: rows - 1], truth[: rows - 1], risk)
        assert evidence["sentence"].startswith("Not guaranteed: that at least")


def test_the_evidence_says_what_is_guaranteed() -> None:
    probs, targets = texts(400)
    _, evidence = fit_risk(probs, targets, {"recall": 0.95, "confidence": 0.9})
    assert evidence["sentence"] == (
        "Guaranteed for texts like these, with 90% confidence: at least 0.95 of a text's labels are found, "
        f"on average over texts that have a label, by the cut {evidence['lambda']:.4g} for all labels, chosen on 400 "
        "held-out rows (risk-controlling prediction sets, betting bound)."
    )


@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ({"recall": 0.9, "confidence": 0.995}, "with 99.5% confidence: at least 0.9 of"),
        ({"recall": 0.9, "confidence": 0.999}, "with 99.9% confidence"),
        ({"recall": 0.9, "confidence": 0.975}, "with 97.5% confidence"),
        ({"recall": 0.9, "confidence": 0.57}, "with 57% confidence"),
        ({"recall": 0.99999, "confidence": 0.07}, "with 7% confidence: at least 0.99999 of"),
        ({"recall": 0.00001, "confidence": 0.5}, "at least 0.00001 of"),
    ],
)
def test_the_sentence_rounds_neither_target_nor_confidence(risk: dict[str, float], said: str) -> None:
    evidence = {"metric": "recall", "target": risk["recall"], "confidence": risk["confidence"], "method": "betting"}
    sentence = describe_risk({**evidence, "rows": 5, "rows_left_out": 0, "lambda": 0.5, "controlled": True})
    assert said in sentence


NAMES = [f"label {number}" for number in range(20)]


@pytest.mark.parametrize("calibration", [None, "temperature", "platt", "isotonic"])
def test_a_decision_keeps_its_promise_through_calibration(calibration: str | None) -> None:
    probs, targets = texts(600)
    logits = logit(probs).astype(np.float32)
    decision = fit_from_logits(logits, targets, NAMES, calibration=calibration, risk={"recall": 0.9}, shrinkage=3.0)
    fresh, truth = texts(4000, seed=1)
    decided = decide(torch.from_numpy(logit(fresh).astype(np.float32)), decision).numpy()
    assert ((decided & truth).sum(1) / truth.sum(1)).mean() > 0.88
    assert decision["objective"] == "risk"
    assert decision["fitted_on"] == "validation"
    assert decision["risk"]["rows"] == (600 if calibration in (None, "temperature") else 300)
    assert decision["thresholds"] == decision["risk"]["lambda"]


@pytest.mark.parametrize("calibration", [None, "temperature", "platt"])
def test_the_starts_of_a_precision_guarantee_know_no_row_that_tests_it(calibration: str | None) -> None:
    probs, targets = texts(600)
    risk = {"precision": 0.7, "confidence": 0.9}
    decision = fit_from_logits(logit(probs).astype(np.float32), targets, NAMES, calibration=calibration, risk=risk)
    found, judged = decision["risk"], 600 if calibration is None else 300
    assert found["controlled"]
    assert found["rows"] + found["rows_left_out"] == judged
    assert (decision["calibration"] or {}).get("rows") == (None if calibration is None else 300)


def test_a_precision_guarantee_rests_on_the_rows_that_get_a_label() -> None:
    probs, targets = texts(400)
    more = np.concatenate([probs, np.full((50, 20), 0.001, np.float32)])
    truth = np.concatenate([targets, np.zeros((50, 20), bool)])
    cut, evidence = fit_risk(more, truth, {"precision": 0.7, "confidence": 0.9})
    rows = len(precisions(more, truth, cut))
    assert rows < 400
    assert (evidence["rows"], evidence["rows_left_out"]) == (rows, 450 - rows)
    assert f"chosen on {rows:,} held-out rows that get a label, of 450 (Learn-then-Test" in evidence["sentence"]


@pytest.mark.parametrize("calibration", [None, "temperature", "platt"])
@pytest.mark.parametrize("risk", [{"recall": 0.9}, {"precision": 0.9, "confidence": 0.9}], ids=str)
def test_rows_are_counted_before_training_as_the_fit_counts_them(risk: dict, calibration: str | None) -> None:
    """Flawless logits, every fifth row without a label."""
    for rows in range(2, 130):
        truth = np.zeros((rows, 2), bool)
        truth[np.arange(rows) % 5 > 0, 0] = True
        held = as_label_sets(truth, truth.shape, "targets")
        try:
            check_promises(held, NAMES[:2], calibration, None, risk)
        except ValueError:
            allowed = False
        else:
            allowed = True
        if "recall" in risk and calibration != "platt":
            assert allowed == (truth.any(1).sum() >= least_rows(risk))
        if allowed and "recall" in risk:
            logits = np.where(truth, 6.0, -6.0).astype(np.float32)
            assert fit_from_logits(logits, truth, NAMES[:2], calibration=calibration, risk=risk)["risk"]["controlled"]
        if "precision" in risk:
            assert allowed == ((rows if calibration is None else rows - rows // 2) >= 44)


def test_no_row_both_calibrates_a_label_and_judges_the_cut() -> None:
    fitted, judged = halves(101)
    assert not set(fitted) & set(judged)
    assert len(fitted) + len(judged) == 101


def test_where_nothing_can_be_promised_the_objective_decides_and_says_so() -> None:
    probs, targets = texts(200)
    shuffled = np.random.default_rng(0).permuted(targets, axis=1)
    decision = fit_from_logits(logit(probs), shuffled, NAMES, "balanced", risk={"precision": 0.99, "confidence": 0.99})
    assert decision["risk"]["controlled"] is False
    assert decision["objective"] == "balanced"
    assert len(decision["thresholds"]) == 20


def test_a_calibrated_decision_is_fitted_on_what_the_model_returns() -> None:
    probs, targets = texts(600)
    logits = logit(probs).astype(np.float32)
    decision = fit_from_logits(logits, targets, NAMES, "macro_f1", calibration="platt")
    errors = decision["calibration"]["in_sample"]["classwise_ece"]
    assert errors["after"] < errors["before"]
    again = fit_from_logits(logits, targets, NAMES, "macro_f1")
    assert (decide(torch.from_numpy(logits), decision) == decide(torch.from_numpy(logits), again)).all()
    fixed = fit_from_logits(logits, targets, NAMES, "fixed", prevalence={NAMES[0]: 0.9})
    assert fixed["fitted_on"] == "validation"
    assert probabilities(torch.from_numpy(logits), fixed)[:, 0].mean() > 0.7


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"risk": {}}, r"risk: expected recall or precision, and perhaps confidence, found neither"),
        ({"risk": {"recall": 0.9, "precision": 0.9}}, r"risk: expected recall or precision"),
        ({"risk": {"recall": 1.0}}, r"risk.recall: expected a number between 0 and 1, found 1.0"),
        ({"risk": {"precision": 0.9}}, r"risk.confidence: expected a number beside precision, found none"),
        ({"risk": {"recall": 0.9}, "max_labels": 2}, r"max_labels: expected null beside risk, found 2"),
        (
            {"risk": {"recall": 0.9}, "rule": "top_k", "top_k": 2},
            r"rule: expected threshold beside risk, found 'top_k'",
        ),
        ({"risk": {"recall": 0.9}, "prevalence": {"label 0": 0.1}}, r"prevalence: expected null: the promise"),
        ({"risk": {"recall": 0.9}, "objective": "macro"}, r"objective: expected one of .* found 'macro'"),
        ({"risk": {"recall": 0.9}, "betta": 3}, r"options: expected .* under balanced, found 'betta'"),
        ({"prevalence": {"label 0": 0.1}}, r"objective: expected fixed or cost_plug_in beside prevalence.*'balanced'"),
        (
            {"risk": {"precision": 0.9, "confidence": 0.9}, "empty": "at_least_one"},
            r"empty: expected allow or abstain beside risk, found 'at_least_one'",
        ),
    ],
)
def test_what_a_promise_does_not_go_with_is_refused(options: dict[str, Any], match: str) -> None:
    probs, targets = texts(100)
    with pytest.raises(ValueError, match=match):
        fit_from_logits(logit(probs), targets, NAMES, **options)


def test_rows_and_names_are_checked_before_training() -> None:
    held = as_label_sets(texts(100)[1], (100, 20), "targets")
    check_promises(held, NAMES, "platt", None, {"recall": 0.97})
    with pytest.raises(ValueError, match=r"risk: expected at least 99 validation rows .* found 50 \(half of them"):
        check_promises(held, NAMES, "platt", None, {"recall": 0.99})
    precision = {"precision": 0.95, "confidence": 0.95}
    with pytest.raises(ValueError, match=r"at least 104 validation rows for this guarantee, found 100\. Label more"):
        check_promises(held, NAMES, None, None, precision)
    with pytest.raises(ValueError, match=r"at least 104 .* found 50 \(half of them fit the calibration\)\. Label"):
        check_promises(held, NAMES, "temperature", None, precision)
    few = as_label_sets(np.eye(100, 20, dtype=bool), (100, 20), "targets")
    with pytest.raises(ValueError, match=r"found 20 \(those without a label do not count\)\. Label"):
        check_promises(few, NAMES, None, None, {"recall": 0.97})
    with pytest.raises(ValueError, match=r"prevalence: expected names among the labels, found 'other'"):
        check_promises(held, NAMES, None, {"other": 0.1}, None)
