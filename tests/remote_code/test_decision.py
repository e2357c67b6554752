"""The vectorised decision against a loop over rows written from its description."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
import torch

from hf_multilabel.remote_code.decision_multilabel import (
    RULES,
    check_decision,
    decide,
    decide_probabilities,
    default_decision,
    hash_labels,
    probabilities,
)

NAMES = ["a", "b", "c", "d", "e"]


def make(**changes: Any) -> dict[str, Any]:
    return {**default_decision(), **changes}


def decide_row(probs: list[float], decision: dict[str, Any]) -> list[bool]:
    """The slow twin: one row, plain Python."""
    labels = range(len(probs))
    cuts = decision["thresholds"] if isinstance(decision["thresholds"], list) else [decision["thresholds"]] * len(probs)
    by_probability = sorted(labels, key=lambda label: (-probs[label], label))
    chosen = set(labels)
    if decision["rule"] != "top_k":
        chosen = {label for label in labels if probs[label] >= cuts[label]}
    if decision["rule"] != "threshold":
        chosen &= set(by_probability[: decision["top_k"]])
    margin = [probs[label] - (0 if decision["rule"] == "top_k" else cuts[label]) for label in labels]
    best = sorted(labels, key=lambda label: (-margin[label], label))
    least = max(decision["min_labels"] or 0, 1 if decision["empty"] == "at_least_one" else 0)
    for label in best:
        if len(chosen) < least:
            chosen.add(label)
    if decision["max_labels"] is not None:
        chosen = set([label for label in best if label in chosen][: decision["max_labels"]])
    return [label in chosen for label in labels]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "expected_f1"])  # its twin: test_expected_f1
@pytest.mark.parametrize("empty", ["allow", "at_least_one", "abstain"])
def test_decision_equals_the_loop(rule: str, empty: str) -> None:
    # a coarse grid of probabilities, so that ties and p == threshold are frequent
    probs = torch.randint(0, 9, (200, 5)).double() / 8
    per_label = [0.5, 0.25, 0.875, 0.0, 1.0]
    for thresholds, most, top_k in itertools.product([0.5, 0.875, per_label], [None, 1, 3], [1, 2, 5]):
        for least in [None] if empty == "abstain" else [None, 1]:
            top_k = top_k if "top_k" in rule else None
            decision = make(
                rule=rule, empty=empty, thresholds=thresholds, min_labels=least, max_labels=most, top_k=top_k
            )
            expected = [decide_row(row, decision) for row in probs.tolist()]
            assert decide_probabilities(probs, decision).tolist() == expected, decision


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    probs, decision = torch.rand(50, 5), make(empty="at_least_one", max_labels=2)
    whole = decide_probabilities(probs, decision)
    monkeypatch.setattr("hf_multilabel.remote_code.decision_multilabel.BLOCK", 7)
    assert torch.equal(decide_probabilities(probs, decision), whole)


def test_probability_equal_to_its_threshold_is_predicted_in_any_precision() -> None:
    for dtype in (torch.float32, torch.float64):
        probs = torch.rand(1, 5, dtype=dtype)
        assert decide_probabilities(probs, make(thresholds=probs[0].tolist())).all()


def test_of_equals_the_lower_ids_win() -> None:
    probs = torch.full((2, 5), 0.75)
    assert decide_probabilities(probs, make(rule="top_k", top_k=2)).tolist() == [[True, True, False, False, False]] * 2
    assert decide_probabilities(probs, make(max_labels=1)).tolist() == [[True, False, False, False, False]] * 2


def test_at_least_one_takes_the_largest_margin_not_the_largest_probability() -> None:
    decision = make(thresholds=[0.9, 0.2, 0.9, 0.9, 0.9], empty="at_least_one")
    decided = decide_probabilities(torch.tensor([[0.4, 0.15, 0.1, 0.1, 0.1]]), decision)
    assert decided.tolist() == [[False, True, False, False, False]]


def test_temperature_divides_logits() -> None:
    calibration = {"method": "temperature", "parameters": {"temperature": 2.0}}
    logits = torch.randn(4, 5)
    assert torch.equal(probabilities(logits, make(calibration=calibration)), torch.sigmoid(logits / 2))
    assert torch.equal(decide(logits, make(calibration=calibration)), logits >= 0)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_probabilities_are_float32_at_least(given: torch.dtype, kept: torch.dtype) -> None:
    assert probabilities(torch.zeros(1, 5, dtype=given), make()).dtype == kept


def test_many_labels_are_decided_quickly() -> None:
    probs, decision = torch.rand(3000, 4271), make(empty="at_least_one", max_labels=20, thresholds=[0.99] * 4271)
    started = time.perf_counter()
    assert decide_probabilities(probs, decision).sum(1).max() <= 20
    assert time.perf_counter() - started < 5


def test_empty_batch_and_no_row_is_no_problem() -> None:
    decision = make(empty="at_least_one", max_labels=1, rule="threshold_top_k", top_k=2)
    assert decide_probabilities(torch.zeros(0, 5), decision).shape == (0, 5)


def test_numpy_arrays_are_taken() -> None:
    assert decide_probabilities(torch.rand(3, 5).numpy(), make(thresholds=0.0)).all()


@pytest.mark.parametrize("bad", [float("nan"), 1.5, -0.1, float("inf")])
def test_logits_or_nan_are_refused_as_probabilities(bad: float) -> None:
    with pytest.raises(ValueError, match=r"probs: expected values in \[0, 1\]"):
        decide_probabilities(torch.tensor([[0.5, bad]]), make())


def test_one_row_without_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected shape \(N, L\), found \(5,\)"):
        decide_probabilities(torch.rand(5), make())


def fitted(**changes: Any) -> dict[str, Any]:
    return make(thresholds=[0.5] * 5, labels_sha256=hash_labels(NAMES), fitted_on="validation", **changes)


def test_fitted_decision_with_further_evidence_passes() -> None:
    check_decision(fitted(expected={"micro_f1": 0.8}, folds=5), NAMES)
    check_decision(default_decision(), NAMES)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"thresholds": [0.5] * 4}, r"thresholds: expected .* or 5, one a label, found '4 numbers'"),
        ({"thresholds": [0.5] * 6}, r"found '6 numbers'"),
        ({"thresholds": [0.5, 0.5, float("nan"), 0.5, 0.5]}, r"thresholds\[2\]: .* found nan"),
        ({"thresholds": [0.5, 0.5, 0.5, 1.01, 0.5]}, r"thresholds\[3\]: .* found 1.01"),
        ({"thresholds": None}, r"thresholds: .* found None"),
        ({"thresholds": True}, r"thresholds: .* found True"),
        ({"labels_sha256": "0" * 64}, r"labels_sha256: expected [0-9a-f]{64} of the model's 5 labels, found '0000"),
        ({"labels_sha256": None}, r"labels_sha256: expected [0-9a-f]{64} beside 5 thresholds, found None"),
        ({"fitted_on": "test"}, r"fitted_on: expected one of .* found 'test'"),
        ({"rule": "magic"}, r"rule: expected one of .* found 'magic'"),
        ({"empty": "never"}, r"empty: expected one of .* found 'never'"),
        ({"rule": "top_k"}, r"top_k: expected a whole number from 1 to 5 labels, found None"),
        ({"top_k": 2}, r"top_k: expected null under the rule threshold, found 2"),
        ({"rule": "top_k", "top_k": 6}, r"top_k: .* found 6"),
        ({"max_labels": 0}, r"max_labels: .* found 0"),
        ({"min_labels": 3, "max_labels": 2}, r"min_labels: expected at most max_labels=2, found 3"),
        ({"min_labels": 1, "empty": "abstain"}, r"min_labels: expected null or 0 beside empty: abstain, found 1"),
        ({"calibration": {"method": "magic"}}, r"calibration: expected null or .* found"),
        (
            {"calibration": {"method": "temperature", "parameters": {"temperature": 0}}},
            r"calibration\.parameters\.temperature: expected numbers above 0, found 0",
        ),
        ({"calibration": {"method": "temperature"}}, r"calibration\.parameters: expected temperature for temperature"),
    ],
)
def test_wrong_decision_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        check_decision({**fitted(), **change}, NAMES)


@pytest.mark.parametrize("key", ["rule", "thresholds", "empty", "min_labels", "max_labels", "top_k", "calibration"])
def test_missing_setting_is_refused_instead_of_guessed(key: str) -> None:
    decision = fitted()
    del decision[key]
    with pytest.raises(ValueError, match=rf"decision.{key}: expected a value, found 'no such key'"):
        check_decision(decision, NAMES)
    with pytest.raises(ValueError, match=key):
        decide_probabilities(torch.rand(1, 5), decision)


def test_what_is_no_whole_decision_is_named_before_it_is_applied() -> None:
    with pytest.raises(ValueError, match="decision.rule: .* The decision lacks rule, empty, min_labels, max_labels"):
        decide(torch.rand(1, 5), {"thresholds": [0.5] * 5})
    with pytest.raises(ValueError, match=r"decision: expected a mapping, found '.*. Read it with json.loads\(\)"):
        decide(torch.rand(1, 5), json.dumps(fitted()))


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (NAMES[::-1], "If the same labels stand in another order, reorder the columns; else fit the decision again"),
        (["a", "b", "c", "d", "a"], "labels: expected unique names, found 'a' twice"),
        ("abcde", "labels: expected a list of names, found 'abcde'"),
        (None, "labels: expected a list of names, found None"),
    ],
)
def test_other_labels_are_refused(labels: list[str] | str | None, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        check_decision(fitted(), labels)


def test_hash_depends_on_order_names_and_borders() -> None:
    assert len({hash_labels(names) for names in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ["ä", "b"])}) == 5
    assert hash_labels(["\ud800"]) != hash_labels(["?"])  # a lone surrogate has no UTF-8 form
