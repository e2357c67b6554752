"""Another decision at prediction time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from hf_multilabel.decisions.overrides import lost_guarantee, override_decision
from hf_multilabel.remote_code.decision_multilabel import (
    check_decision,
    decide_probabilities,
    default_decision,
    hash_labels,
)

LABELS = ["sport", "news", "opera"]
PROBS = torch.tensor([[0.9, 0.4, 0.35], [0.2, 0.1, 0.05], [0.6, 0.55, 0.7]])
FITTED = {
    "thresholds": [0.8, 0.5, 0.3],
    "objective": "macro_f1",
    "fitted_on": "validation",
    "rows": 7,
    "rows_sha256": "a",
    "in_sample": {"micro_f1": 1.0},
    "labels_sha256": hash_labels(LABELS),
}


def sets(given: dict[str, Any], **stored: Any) -> list[str]:
    decision = override_decision({**default_decision(), **FITTED, **stored}, LABELS, **given)
    check_decision(decision, LABELS)
    return [
        "".join(name[0] for name, chosen in zip(LABELS, row, strict=True) if chosen)
        for row in decide_probabilities(PROBS, decision)
    ]


@pytest.mark.parametrize(
    ("given", "stored", "expected"),
    [
        ({}, {}, ["so", "", "no"]),
        ({"threshold": 0.5}, {}, ["s", "", "sno"]),
        ({"threshold": 0.5}, {"empty": "at_least_one"}, ["s", "s", "sno"]),
        ({"threshold": 0.5}, {"rule": "top_k", "top_k": 1}, ["s", "", "sno"]),
        ({"threshold": 0.5}, {"rule": "expected_f1"}, ["s", "", "sno"]),
        ({"rule": "expected_f1"}, {}, ["s", "", "sno"]),
        ({"rule": "expected_f1"}, {"rule": "top_k", "top_k": 1}, ["s", "", "sno"]),
        ({"rule": "expected_f1", "max_labels": 1, "min_labels": 1}, {}, ["s", "s", "o"]),
        ({"threshold": 0.5}, {"rule": "threshold_top_k", "top_k": 1}, ["s", "", "o"]),
        ({"label_thresholds": {"sport": 0.1}}, {}, ["so", "s", "sno"]),
        ({"threshold": 0.99, "label_thresholds": {"sport": 0.1}}, {}, ["s", "s", "s"]),
        ({"label_thresholds": {"sport": 0.95}}, {"thresholds": 0.5}, ["", "", "no"]),
        ({"top_k": 2}, {}, ["sn", "sn", "so"]),
        ({"top_k": 2}, {"max_labels": 1, "empty": "abstain"}, ["sn", "sn", "so"]),
        ({"top_k": 2, "threshold": 0.5}, {}, ["s", "", "so"]),
        ({"top_k": 2, "threshold": 0.5, "empty": "abstain"}, {}, ["s", "", "so"]),
        ({"top_k": 2}, {"rule": "threshold_top_k", "top_k": 1}, ["s", "", "o"]),
        ({"min_labels": 1}, {"empty": "abstain"}, ["so", "o", "no"]),
        ({"max_labels": 1}, {}, ["s", "", "o"]),
    ],
)
def test_what_people_ask_for(given: dict[str, Any], stored: dict[str, Any], expected: list[str]) -> None:
    assert sets(given, **stored) == expected


def test_numbers_of_numpy_are_numbers() -> None:
    names = ["a", "b"]
    assert override_decision(default_decision(), names, threshold=np.float32(0.25))["thresholds"] == 0.25
    found = override_decision(default_decision(), names, label_thresholds={"b": np.float32(0.25)})
    assert json.dumps(found["thresholds"]) == "[0.5, 0.25]"


def test_evidence_goes_with_the_cuts_it_is_about_and_the_calibration_stays() -> None:
    stored = {
        **default_decision(),
        **FITTED,
        "calibration": {"method": "temperature", "parameters": {"temperature": 2.0}},
    }
    changed = override_decision(stored, LABELS, threshold=0.3)
    assert changed["calibration"] == stored["calibration"]
    assert (changed["objective"], changed["fitted_on"], "rows_sha256" in changed) == ("fixed", None, False)
    assert stored["thresholds"] == FITTED["thresholds"]
    assert override_decision(stored, LABELS, min_labels=1)["fitted_on"] == "validation"


RISK = {
    **default_decision(),
    **FITTED,
    "thresholds": 0.4,
    "objective": "risk",
    "risk": {"metric": "recall", "target": 0.9, "controlled": True, "sentence": "Guaranteed ..."},
    "expected": {"micro_f1": 0.8},
}


@pytest.mark.parametrize(
    "given", [{"max_labels": 1}, {"min_labels": 1}, {"empty": "at_least_one"}, {"threshold": 0.3}, {"top_k": 1}]
)
def test_no_promise_stands_beside_other_label_sets(given: dict[str, Any]) -> None:
    before = {**RISK, "risk": dict(RISK["risk"])}
    changed = override_decision(RISK, LABELS, **given)
    check_decision(changed, LABELS)
    assert (changed["objective"], changed["fitted_on"], changed["expected"]) == ("fixed", None, {})
    assert not {"risk", "in_sample", "rows_sha256"} & set(changed)
    assert before == RISK


def test_a_promise_is_lost_where_nothing_takes_its_place() -> None:
    promise = {"metric": "precision", "target": 0.9, "confidence": 0.95, "controlled": True}
    assert lost_guarantee({"risk": promise}, default_decision()) == "precision 0.9, confidence 0.95"
    assert lost_guarantee({"risk": promise}, {"risk": {**promise, "controlled": False}}) is not None
    assert lost_guarantee({"risk": promise}, {"risk": promise}) is None
    assert lost_guarantee({"risk": {**promise, "controlled": False}}, {}) is None
    assert lost_guarantee(default_decision(), default_decision()) is None


def test_other_label_sets_have_no_scores_that_were_measured_on_those_before() -> None:
    unkept = {**RISK, "objective": "balanced", "risk": {"controlled": False, "sentence": "Not guaranteed ..."}}
    changed = override_decision({**unkept, "expected_missing": "..."}, LABELS, max_labels=1)
    assert not {"risk", "in_sample", "expected_missing"} & set(changed)
    assert (changed["objective"], changed["fitted_on"], changed["expected"]) == ("balanced", "validation", {})
    same = override_decision(RISK, LABELS, empty="allow")
    assert same == RISK


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"label_thresholds": {"sprot": 0.3}}, r"expected a label of the model, found 'sprot'. Write sport"),
        ({"threshold": 1.5}, r"thresholds: expected one number in \[0, 1\]"),
        ({"threshold": float("nan")}, r"thresholds: expected one number in \[0, 1\]"),
        ({"threshold": "0.3"}, r"thresholds: expected one number in \[0, 1\] .*found '0.3'"),
        ({"threshold": 0.9, "top_k": 1, "min_labels": 3}, r"min_labels: expected at most top_k=1, found 3"),
        ({"rule": "top_k"}, r"rule: expected expected_f1, .* found 'top_k'\. Give top_k"),
        ({"rule": "expected_f1", "top_k": 2}, r"top_k: expected none beside the rule expected_f1"),
        ({"rule": "expected_f1", "threshold": 0.2}, r"threshold: expected none beside the rule expected_f1"),
        (
            {"top_k": 2, "empty": "abstain"},
            r"empty: expected none .* beside top_k=2 alone.*\. Add a threshold",
        ),
        ({"top_k": 4}, r"top_k: expected a whole number from 1 to 3"),
        ({"min_labels": 3, "max_labels": 2}, r"min_labels: expected at most max_labels=2"),
        ({"empty": "abstain", "min_labels": 1}, r"min_labels: expected null or 0 beside empty: abstain"),
    ],
)
def test_what_can_not_be_is_refused(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        override_decision({**default_decision(), **FITTED}, LABELS, **given)
