"""Calibrations against plain loops, scipy and scikit-learn; the shipped one against the formulas of the fit."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.decisions.calibration import CALIBRATORS, fit_calibration
from hf_multilabel.decisions.fitting import fit_from_logits
from hf_multilabel.decisions.isotonic import fit_knots
from hf_multilabel.decisions.logistic import FLOOR, STRENGTH
from hf_multilabel.decisions.prior_shift import estimate_prevalence, mean_probability
from hf_multilabel.evaluation import TopScores, as_label_sets
from hf_multilabel.evaluation.calibration import brier_score, classwise_ece
from hf_multilabel.remote_code.calibration_multilabel import CALIBRATIONS, calibrate, check_calibration
from hf_multilabel.remote_code.decision_multilabel import (
    check_decision,
    decide,
    default_decision,
    hash_labels,
    probabilities,
)

METHODS = [name for name in CALIBRATORS if name != "prior_shift"]


def skewed(rows: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too steep, too high for some labels, and truths of a long tail; the last label never holds."""
    rng = np.random.default_rng(seed)
    share = 0.4 / np.arange(1, labels + 1)
    true_odds = logit(share) + rng.normal(size=(rows, labels)) * 1.5
    targets = rng.random((rows, labels)) < expit(true_odds)
    targets[:, -1] = False
    return (1.8 * true_odds + rng.normal(size=labels)).astype(np.float32), targets


def fitted(method: str, rows: int = 400, labels: int = 6, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    logits, targets = skewed(rows, labels)
    if method == "prior_shift":
        options.setdefault("unlabelled", logits[: rows // 2] + 1)
    return logits, fit_calibration(logits, targets, method, **options)


def slow(logits: np.ndarray, calibration: dict[str, Any]) -> np.ndarray:
    """The formulas, in float64 and one label at a time."""
    parameters, wide, labels = calibration["parameters"], logits.astype(np.float64), logits.shape[1]
    found, start = wide.copy(), 0
    at = lambda name, label: np.atleast_1d(parameters[name])[label if np.ndim(parameters[name]) else 0]  # noqa: E731
    for label in range(labels):
        z = wide[:, label]
        method = calibration["method"]
        if method.startswith("temperature"):
            found[:, label] = z / at("temperature", label)
        elif method == "platt":
            found[:, label] = at("slope", label) * z + at("intercept", label)
        elif method == "beta":
            p = -np.logaddexp(0, -z), -np.logaddexp(0, z)
            found[:, label] = at("a", label) * p[0] - at("b", label) * p[1] + at("c", label)
        elif method == "isotonic":
            stop = start + int(parameters["size"][label])
            x, y, slope = (
                np.array(parameters["x"][start:stop]),
                np.array(parameters["y"][start:stop]),
                at("slope", label),
            )
            found[:, label] = np.interp(z, x, y) + slope * (np.minimum(z - x[0], 0) + np.maximum(z - x[-1], 0))
            start = stop
        if "offset" in parameters:
            found[:, label] += at("offset", label)
    return found


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize("offset", [False, True])
def test_the_shipped_calibration_equals_the_formulas(method: str, offset: bool) -> None:
    logits, calibration = fitted(method, **({"unlabelled": skewed(100, 6, 1)[0]} if offset else {}))
    check_calibration(json.loads(json.dumps(calibration)), 6)
    expected = slow(logits, calibration)
    np.testing.assert_allclose(
        calibrate(torch.from_numpy(logits).double(), calibration), expected, rtol=1e-12, atol=1e-12
    )
    found = calibrate(torch.from_numpy(logits), calibration)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_every_method_is_shipped() -> None:
    assert set(CALIBRATORS) == set(CALIBRATIONS)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_the_order_of_a_label_stays_and_equal_logits_stay_equal(method: str) -> None:
    logits, calibration = fitted(method)
    grid = torch.linspace(-30, 30, 2001, dtype=torch.float64)[:, None].expand(-1, logits.shape[1])
    assert (calibrate(grid, calibration).diff(dim=0) > 0).all()
    ends = torch.tensor([-torch.inf, torch.inf, torch.nan])[:, None].expand(-1, logits.shape[1])
    found = calibrate(ends.contiguous(), calibration)
    assert (found[0] == -torch.inf).all()
    assert (found[1] == torch.inf).all()
    assert found[2].isnan().all()


@pytest.mark.parametrize("method", METHODS)
def test_calibration_helps_on_other_rows(method: str) -> None:
    logits, targets = skewed(4000, 8)
    calibration = fit_calibration(logits[:2000], targets[:2000], method)
    before, after = (expit(odds[2000:]) for odds in (logits, slow(logits, calibration)))
    assert brier_score(after, targets[2000:]) < brier_score(before, targets[2000:])
    if method not in ("temperature", "temperature_per_label"):  # these logits are off by a constant each
        assert classwise_ece(after, targets[2000:]) < 0.5 * classwise_ece(before, targets[2000:])


def objective(features: np.ndarray, held: np.ndarray, centre: np.ndarray, precision: np.ndarray) -> Callable:
    def loss(theta: np.ndarray) -> float:
        odds = features @ theta
        return np.logaddexp(0, odds).sum() - odds[held].sum() + 0.5 * (theta - centre) @ precision @ (theta - centre)

    return loss


def information(features: np.ndarray, theta: np.ndarray) -> np.ndarray:
    p = expit(features @ theta)
    weight = p * (1 - p)
    return (features * weight[:, None]).T @ features / weight.sum() + 1e-6 * np.eye(len(theta))


def slow_features(method: str, z: np.ndarray) -> tuple[np.ndarray, list[float], list[float | None]]:
    one = np.ones_like(z)
    return {
        "temperature_per_label": (z[:, None], [1.0], [FLOOR]),
        "platt": (np.stack([z, one], 1), [1.0, 0.0], [FLOOR, None]),
        "beta": (np.stack([-np.logaddexp(0, -z), np.logaddexp(0, z), one], 1), [1.0, 1.0, 0.0], [FLOOR, FLOOR, None]),
    }[method]


@pytest.mark.parametrize("method", ["temperature_per_label", "platt", "beta"])
@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_the_minimum_that_scipy_finds(method: str, seed: int) -> None:
    logits, targets = skewed(150, 4, seed)
    logits[:, 2] *= -1  # ranks backwards: the floor binds
    calibration = fit_calibration(logits, targets, method, strength=3.0)
    wide = logits.astype(np.float64)
    features, start, floor = slow_features(method, wide.ravel())
    bounds = [(low, None) for low in floor]
    prior = 3.0 * information(features, np.array(start))
    options = {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000}

    def solve(f: np.ndarray, h: np.ndarray, c: np.ndarray, p: np.ndarray) -> np.ndarray:
        return minimize(objective(f, h, c, p), c, bounds=bounds, method="L-BFGS-B", options=options).x

    common = solve(features, targets.ravel(), np.array(start), prior)
    names = {"temperature_per_label": ["temperature"], "platt": ["slope", "intercept"], "beta": ["a", "b", "c"]}[method]
    for label in range(4):
        own, held = slow_features(method, wide[:, label])[0], targets[:, label]
        weight = 3.0 * information(own, common)
        expected = solve(own, held, common, weight)
        found = np.array([calibration["parameters"][name][label] for name in names])
        found = 1 / found if names == ["temperature"] else found
        loss = objective(own, held, common, weight)
        assert loss(found) <= loss(expected) + 1e-5, (label, found, expected)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 4), st.booleans())
def test_any_rows_give_a_valid_calibration(seed: int, rows: int, labels: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, labels)) * rng.choice([1e-3, 1, 30])
    logits = np.round(logits) if tied else logits
    targets = rng.random((rows, labels)) < rng.choice([0, 0.1, 0.5, 1])
    for method in METHODS:
        calibration = fit_calibration(logits, targets, method)
        check_calibration(calibration, labels)
        assert np.isfinite(slow(logits, calibration)).all()


def test_rare_labels_stay_near_the_common_fit() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2000, 3)) * 2
    targets = rng.random((2000, 3)) < expit(0.5 * logits)
    targets[:, 1] &= np.arange(2000) < 4  # a few positives
    targets[:, 2] = False
    slope = fit_calibration(logits, targets, "platt", strength=1e6)["parameters"]["slope"]
    assert np.ptp(slope) < 1e-2
    parameters = fit_calibration(logits, targets, "platt")["parameters"]
    assert parameters["slope"][0] == pytest.approx(0.5, abs=0.1)
    # without a positive: lower, but finite and still growing
    assert parameters["intercept"][2] < parameters["intercept"][0]
    assert parameters["slope"][2] > FLOOR


def test_without_pseudo_counts_isotonic_meets_the_means_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    z = np.round(rng.normal(size=(800, 1)) * 2, 1)
    targets = rng.random((800, 1)) < expit(0.3 * z**3)
    knots = fit_knots(z, as_label_sets(targets, z.shape, "targets"), np.ones(1), np.zeros(1), 0.0)
    steps = np.unique(IsotonicRegression(out_of_bounds="clip").fit_transform(z[:, 0], targets[:, 0]))
    inner = (steps > 0) & (steps < 1)
    found = expit(knots["y"])
    np.testing.assert_allclose(found[(found > 1e-6) & (found < 1 - 1e-6)], steps[inner], atol=0.02)


def test_isotonic_is_platt_where_pseudo_counts_are_many() -> None:
    logits, targets = skewed(300, 4)
    held = as_label_sets(targets, logits.shape, "targets")
    slope, intercept = np.full(4, 0.5), np.full(4, 0.1)
    knots = fit_knots(logits, held, slope, intercept, 1e9)
    label = np.repeat(np.arange(4), knots["size"].astype(int))
    np.testing.assert_allclose(knots["y"], slope[label] * knots["x"] + intercept[label], atol=1e-5)


def test_given_prevalence_is_reached_where_only_the_prior_changed() -> None:
    rng = np.random.default_rng(0)

    def draw(share: np.ndarray, rows: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
        targets = rng.random((rows, 2)) < share
        return rng.normal(size=(rows, 2)) + 2.0 * targets - 1 + logit(np.array([0.3, 0.1])), targets

    logits, targets = draw(np.array([0.3, 0.1]))
    there, truth = draw(np.array([0.1, 0.4]))
    for options in (
        {"prevalence": {"a": 0.1, "b": 0.4}, "labels": ["a", "b"]},
        {"unlabelled": there},
    ):
        calibration = fit_calibration(logits, targets, "platt", **options)
        probs = expit(slow(there, calibration))
        np.testing.assert_allclose(probs.mean(axis=0), truth.mean(axis=0), atol=0.01)
        assert classwise_ece(probs, truth) < 0.02
    only = fit_calibration(logits, targets, "prior_shift", prevalence={"b": 0.4}, labels=["a", "b"])
    assert only["parameters"]["offset"][0] == 0
    assert only["parameters"]["offset"][1] > 1


def test_estimated_prevalence_is_what_expectation_maximisation_tends_to() -> None:
    rng = np.random.default_rng(1)
    here, there = rng.normal(size=(500, 3)) * 2, rng.normal(size=(300, 3)) * 2 + [1.0, -2.0, 0.0]
    prior = mean_probability(here)
    share = prior.copy()
    for _ in range(3000):
        p = expit(there)
        top, rest = p * share / prior, (1 - p) * (1 - share) / (1 - prior)
        share = (top / (top + rest)).mean(axis=0)
    np.testing.assert_allclose(estimate_prevalence(here, there), share, atol=1e-4)


def test_thousands_of_labels_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    rows, labels = 60, 4271
    targets = np.zeros((rows, labels), bool)
    targets[np.repeat(np.arange(rows), 5), rng.integers(0, labels, 5 * rows)] = True
    logits = (rng.normal(size=(rows, labels)) - 6 + 5 * targets).astype(np.float32)
    for method in ("platt", "isotonic"):
        calibration = fit_calibration(logits, targets, method)
        check_calibration(calibration, labels)
        assert calibrate(torch.from_numpy(logits), calibration).isfinite().all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"method": "magic"}, r"method: expected one of temperature, .* found 'magic'"),
        ({"strength": -1.0}, r"strength: expected a number of at least 0, found -1.0"),
        ({"method": "prior_shift"}, r"prevalence: expected label: share, or unlabelled logits, found neither"),
        ({"prevalence": {"z": 0.1}, "labels": ["a", "b"]}, r"prevalence: expected names among the labels, found 'z'"),
        ({"prevalence": {"a": 0.0}, "labels": ["a", "b"]}, r"prevalence.a: expected a number between 0 and 1"),
        ({"prevalence": {"a": 0.1}, "unlabelled": [[0.0, 0.0]]}, r"prevalence: expected null beside unlabelled"),
        ({"unlabelled": [[0.0]]}, r"unlabelled: expected 2 labels, found 1"),
        ({"prevalence": {"a": 0.1}}, "labels: expected the names of all labels beside prevalence, found None"),
        ({"method": "plat"}, r"method: expected one of temperature, .* found 'plat'. Did you mean platt"),
        ({"logits": [[0.0, np.nan]]}, r"logits: expected finite numbers, found nan at row 0, label 1"),
        (
            {"logits": TopScores.of(np.eye(2), np.eye(2), 1)},
            "logits: expected an array or tensor of all scores, found TopScores",
        ),
        ({"logits": [0.0, 1.0]}, r"logits: expected shape \(N, L\)"),
        ({"targets": [[1]]}, r"targets: expected shape \(1, 2\)"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fit_calibration(**{"logits": [[0.0, 1.0]], "targets": [[1, 0]], **change})


@pytest.mark.parametrize("fit", [fit_calibration, lambda *rows: fit_from_logits(*rows, ["a", "b"])])
def test_probabilities_in_the_place_of_logits_are_noticed(fit: Callable[..., Any]) -> None:
    probs = np.random.default_rng(0).random((60, 2))
    with pytest.warns(UserWarning, match="found 120 numbers in .* Pass log") as said:
        fit(probs, probs > 0.5)
    assert [warning.filename for warning in said] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(probs[:50], probs[:50] > 0.5)  # few may lie there by chance
        fit(np.zeros((60, 2)), probs > 0.5)
        fit(4 * probs - 2, probs > 0.5)


KNOTS = {"size": [2, 1], "x": [0.0, 1.0, 0.0], "y": [0.0, 1.0, 0.0], "slope": 1.0}


@pytest.mark.parametrize(
    ("method", "parameters", "match"),
    [
        ("magic", {}, r"calibration: expected null or .* with a method of temperature, "),
        ("platt", {"slope": 1.0}, r"parameters: expected slope, intercept for platt, found \['slope'\]"),
        ("platt", {"slope": 1.0, "intercept": 0.0, "more": 1}, r"parameters: expected slope, intercept"),
        (
            "platt",
            {"slope": [1.0], "intercept": 0.0},
            r"slope: expected one number or 2, one a label, found 'shape \(1,\)'",
        ),
        ("platt", {"slope": [1.0, 0.0], "intercept": 0.0}, r"slope: expected numbers above 0, found 0.0"),
        ("platt", {"slope": 1.0, "intercept": "0"}, r"intercept: expected finite numbers, found '0'"),
        (
            "platt",
            {"slope": 1.0, "intercept": [0.0, float("inf")]},
            r"intercept: expected finite numbers, found 'others'",
        ),
        ("prior_shift", {"offset": None}, r"offset: expected finite numbers, found None"),
        ("isotonic", KNOTS | {"x": [0.0, 0.0, 0.0]}, r"x: expected ascending numbers within each label"),
        ("isotonic", KNOTS | {"y": [1.0, 0.0, 0.0]}, r"y: expected ascending numbers within each label"),
        ("isotonic", KNOTS | {"size": [2, 2]}, r"expected 2 sizes of at least 1, .* found '2 sizes, 3 x, 3 y'"),
    ],
)
def test_a_stored_calibration_that_fits_no_labels_is_refused(method: str, parameters: dict, match: str) -> None:
    check_calibration({"method": "isotonic", "parameters": KNOTS}, 2)
    with pytest.raises(ValueError, match=match):
        check_calibration({"method": method, "parameters": parameters}, 2)


def test_calibrations_per_label_need_the_hash_of_the_labels() -> None:
    calibration = {"method": "platt", "parameters": {"slope": [1.0, 2.0], "intercept": 0.0}}
    decision = {**default_decision(), "calibration": calibration}
    with pytest.raises(
        ValueError, match=r"labels_sha256: expected [0-9a-f]{64} beside 2 calibrated labels, found None"
    ):
        check_decision(decision, ["a", "b"])
    check_decision({**decision, "labels_sha256": hash_labels(["a", "b"])}, ["a", "b"])


def test_every_calibration_decides_alike_without_the_package(
    tiny_backbone: Backbone,
    tiny_label_names: list[str],
    tmp_path: Path,
    blocked_package_run: Callable[..., CompletedProcess],
) -> None:
    code = """
import json, sys
import torch
from transformers import AutoModelForSequenceClassification
logits, decisions = torch.tensor(json.loads(sys.argv[2])), json.loads(sys.argv[3])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
found = {"stored": model.decide(logits).tolist()}
for method, decision in decisions.items():
    model.config.decision = decision
    found[method] = {"sets": model.decide(logits).tolist(), "probs": model.probabilities(logits).tolist()}
print("RESULT" + json.dumps(found))
"""
    sample = torch.from_numpy(skewed(20, len(tiny_label_names), 3)[0])
    sha256, labels = hash_labels(tiny_label_names), len(tiny_label_names)
    decisions = {
        method: {
            **default_decision(),
            "calibration": fitted(method, labels=labels)[1],
            "thresholds": 0.4,
            "labels_sha256": sha256,
        }
        for method in CALIBRATORS
    }
    model = build_model(tiny_backbone, tiny_label_names, decision=decisions["isotonic"])
    model.save_pretrained(tmp_path)
    done = blocked_package_run(code, tmp_path, json.dumps(sample.tolist()), json.dumps(decisions))
    found = json.loads(done.stdout.split("RESULT")[1])
    assert found.pop("stored") == found["isotonic"]["sets"]
    assert found == {
        method: {"sets": decide(sample, decision).tolist(), "probs": probabilities(sample, decision).tolist()}
        for method, decision in decisions.items()
    }


def test_default_strength_is_the_documented_one() -> None:
    assert STRENGTH == 10
