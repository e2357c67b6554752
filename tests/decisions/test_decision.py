"""The fitted decision: its evidence, its agreement with the shipped implementation, its refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import sparse

from hf_multilabel.decisions import THRESHOLD_RULES, fit_decision, fit_thresholds, hash_rows
from hf_multilabel.decisions.thresholds import rule_options
from hf_multilabel.evaluation import evaluate_predictions
from hf_multilabel.remote_code.decision_multilabel import (
    check_decision,
    decide_probabilities,
    default_decision,
    hash_labels,
)

LABELS = ["a", "b", "c"]


@pytest.fixture
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    targets = rng.random((40, 3)) < [0.5, 0.3, 0.1]
    return np.clip(0.3 * targets + 0.6 * rng.random((40, 3)), 0, 1).astype(np.float32), targets


@pytest.mark.parametrize("objective", THRESHOLD_RULES)
def test_decision_survives_json_and_decides_as_its_cuts(objective: str, scored) -> None:
    probs, targets = scored
    options = {name: 0.5 for name, needed in rule_options(objective).items() if needed}
    decision = json.loads(json.dumps(fit_decision(probs, sparse.csr_matrix(targets), LABELS, objective, **options)))
    check_decision(decision, LABELS)
    decided = decide_probabilities(torch.from_numpy(probs), decision).numpy()
    np.testing.assert_array_equal(decided, probs.astype(float) >= fit_thresholds(probs, targets, objective, **options))
    measured = evaluate_predictions(probs, decided, targets)
    assert decision["in_sample"] == {name: measured[name] for name in ("micro_f1", "macro_f1", "macro_f1_present")}


def test_decision_states_its_evidence(scored) -> None:
    decision = fit_decision(*scored, LABELS)
    assert set(decision) == {*default_decision(), "rows_sha256", "in_sample"}
    assert (decision["objective"], decision["fitted_on"], decision["rows"]) == ("balanced", "validation", 40)
    assert decision["labels_sha256"] == hash_labels(LABELS)
    assert decision["expected"] == {}


def test_fixed_and_global_cuts_are_one_number_and_fixed_is_not_fitted(scored) -> None:
    fixed = fit_decision(*scored, LABELS, "fixed", threshold=0.3)
    assert (fixed["thresholds"], fixed["fitted_on"]) == (0.3, None)
    assert isinstance(fit_decision(*scored, LABELS, "micro_f1")["thresholds"], float)


def test_label_sets_of_counted_labels_rest_on_no_fitted_number(scored) -> None:
    assert fit_decision(*scored, LABELS, "macro_f1", rule="top_k", top_k=1)["fitted_on"] is None
    assert fit_decision(*scored, LABELS, "macro_f1", rule="threshold_top_k", top_k=1)["fitted_on"] == "validation"


def test_a_rule_that_was_added_takes_options_of_its_own(scored, monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(scores, held, *, height: float = 0.1) -> np.ndarray:
        return np.full(scores.shape[1], height)

    monkeypatch.setitem(THRESHOLD_RULES, "mine", mine)
    assert set(fit_thresholds(*scored, "mine", height=0.7)) == {0.7}


def test_options_are_evidence_and_common_cuts_one_number(scored) -> None:
    decision = fit_decision(*scored, LABELS, "recall_at_least", recall=0.8, scope="overall")
    assert decision["options"] == {"recall": 0.8, "scope": "overall"}
    assert isinstance(decision["thresholds"], float)


def test_sets_of_the_highest_expected_f1_are_decided_without_cuts(scored) -> None:
    decision = fit_decision(*scored, LABELS, "fixed", rule="expected_f1")
    assert decision["in_sample"]["micro_f1"] > 0
    with pytest.raises(ValueError, match="found 'balanced', the default. Pass objective='fixed'"):
        fit_decision(*scored, LABELS, rule="expected_f1")
    with pytest.raises(ValueError, match="found 'micro_f1'. Pass objective='fixed'"):
        fit_decision(*scored, LABELS, "micro_f1", rule="expected_f1")


def test_given_cuts_are_stored_as_they_are_or_refused(scored) -> None:
    assert fit_decision(*scored, LABELS, "macro_f1", cuts=[0.2, 0.3, 0.4])["thresholds"] == [0.2, 0.3, 0.4]
    assert fit_decision(*scored, LABELS, "micro_f1", cuts=np.full(3, 0.2))["thresholds"] == 0.2
    for settings in ({"objective": "fixed"}, {"objective": "micro_f1"}, {"objective": "cost", "scope": "overall"}):
        with pytest.raises(ValueError, match="cuts: expected equal numbers where one is stored .* found 0.2 to 0.4"):
            fit_decision(*scored, LABELS, cuts=[0.2, 0.3, 0.4], **settings)
    with pytest.raises(ValueError, match=r"cuts: expected 3 numbers, one a label, found shape \(2, 3\)"):
        fit_decision(*scored, LABELS, cuts=np.full((2, 3), 0.5))
    with pytest.raises(ValueError, match="options: expected beta or threshold under micro_f1, found 'betta'"):
        fit_decision(*scored, LABELS, "micro_f1", cuts=np.full(3, 0.2), betta=2)


def test_rows_are_known_by_ids_in_any_order(scored) -> None:
    ids = [f"row {row}" for row in range(40)]
    stored = fit_decision(*scored, LABELS, row_ids=ids)["rows_sha256"]
    assert stored == hash_rows(ids[::-1])
    assert stored != hash_rows(ids[1:])
    probs, targets = scored
    unnamed = fit_decision(probs, targets, LABELS)["rows_sha256"]
    assert unnamed == fit_decision(probs[::-1], targets[::-1], LABELS)["rows_sha256"]
    assert unnamed != fit_decision(probs[1:], targets[1:], LABELS)["rows_sha256"]


def test_limits_reach_the_label_sets(scored) -> None:
    probs, targets = scored
    decision = fit_decision(probs, targets, LABELS, empty="at_least_one", max_labels=1)
    assert (decide_probabilities(torch.from_numpy(probs), decision).sum(1) == 1).all()
    decision = fit_decision(probs, targets, LABELS, "fixed", rule="top_k", top_k=2)
    assert (decide_probabilities(torch.from_numpy(probs), decision).sum(1) == 2).all()


def test_read_only_and_tensor_scores_are_taken(scored) -> None:
    probs, targets = scored
    expected = fit_decision(probs, targets, LABELS)
    probs.flags.writeable = False
    assert fit_decision(probs, targets, LABELS) == expected
    assert fit_decision(torch.tensor(probs), torch.tensor(targets), LABELS) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["a", "b"]}, "labels: expected 3 entries, found 2"),
        ({"row_ids": ["x"]}, "row_ids: expected 40 entries, found 1"),
        ({"labels": ["a", "b", "a"]}, "labels: expected unique names, found 'a' twice"),
        ({"labels": "abc"}, "labels: expected a list of names, found 'abc'"),
        ({"labels": None}, "labels: expected a list of names, found None"),
        ({"top_k": 2}, "decision.top_k: expected null under the rule threshold, found 2"),
        ({"rule": "top_k"}, "top_k"),
        ({"empty": "never"}, "empty"),
        ({"min_labels": 2, "max_labels": 1}, "min_labels"),
        ({"fitted_on": "test"}, "fitted_on"),
    ],
)
def test_wrong_settings_are_named(arguments: dict, message: str, scored) -> None:
    probs, targets = scored
    with pytest.raises(ValueError, match=message):
        fit_decision(**{"probs": probs, "targets": targets, "labels": LABELS} | arguments)
