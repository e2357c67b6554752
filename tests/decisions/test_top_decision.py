"""Decisions on scores kept in part against the decision on all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.decisions import top_decision
from hf_multilabel.decisions.thresholds import THRESHOLD_RULES, fit_cuts, fit_decision, rule_options
from hf_multilabel.decisions.top_decision import decide_top
from hf_multilabel.evaluation.keeping import RankedScores, ScoreKeeper
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities, default_decision

SETTINGS = [
    {"thresholds": 0.4},
    {"thresholds": "per label"},
    {"thresholds": "per label", "empty": "at_least_one"},
    {"thresholds": 0.3, "max_labels": 2},
    {"thresholds": 0.6, "min_labels": 2, "max_labels": 4},
    {"rule": "top_k", "top_k": 3},
    {"rule": "threshold_top_k", "top_k": 3, "thresholds": 0.2},
    {"rule": "threshold_top_k", "top_k": 6, "thresholds": "per label", "min_labels": 1},
]
NEEDED = {"precision": 0.6, "recall": 0.6, "mean_labels": 2.0, "false_positive_cost": 1.0, "false_negative_cost": 2.0}


def draw(seed: int, rows: int = 80, labels: int = 30, tied: bool = False) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    probs = rng.random((rows, labels), dtype=np.float32) ** 6
    targets = rng.random((rows, labels)) < 0.9 * probs - 0.02
    return (np.round(probs * 8) / 8).astype(np.float32) if tied else probs, targets


def keep(probs: NDArray, targets: NDArray, k: int) -> RankedScores:
    keeper = ScoreKeeper(sparse.csr_array(targets), k)
    keeper.place(keeper.select(np.arange(len(probs)), torch.from_numpy(probs)))
    return keeper.finish()


def make_decision(changes: dict, labels: int) -> dict:
    decision = default_decision() | changes
    if decision["thresholds"] == "per label":
        decision["thresholds"] = np.random.default_rng(7).uniform(0.05, 0.9, labels).tolist()
    return decision


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("k", [4, 8, 16])
def test_settled_rows_get_the_sets_of_all_scores(
    changes: dict, tied: bool, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top_decision, "BLOCK", 30 * 7)
    probs, targets = draw(k, tied=tied)
    decision = make_decision(changes, probs.shape[1])
    expected = decide_probabilities(torch.from_numpy(probs), decision).numpy()
    sets, unsettled = decide_top(keep(probs, targets, k).top, decision)
    settled = np.setdiff1d(np.arange(len(probs)), unsettled)
    np.testing.assert_array_equal(sets.toarray()[settled], expected[settled])
    if k == 16 and not tied and "top_k" not in changes.get("rule", ""):
        assert len(settled) > len(probs) / 2


def test_all_kept_settles_all() -> None:
    probs, targets = draw(1)
    for changes in SETTINGS:
        decision = make_decision(changes, probs.shape[1])
        sets, unsettled = decide_top(keep(probs, targets, 90).top, decision)
        assert not len(unsettled)
        np.testing.assert_array_equal(sets.toarray(), decide_probabilities(torch.from_numpy(probs), decision).numpy())


def test_a_kept_score_below_the_floor_is_not_chosen_too_early() -> None:
    # 0.30 is a positive's; of the others only 0.9 is kept, and 0.31 is above the positive but was not
    probs, targets = np.array([[0.9, 0.31, 0.30, 0.1]], np.float32), np.array([[False, False, True, False]])
    decision = make_decision({"rule": "threshold_top_k", "top_k": 2, "thresholds": [0.5, 0.5, 0.2, 0.5]}, 4)
    sets, unsettled = decide_top(keep(probs, targets, 4).top, decision)
    assert unsettled.tolist() == [0]
    assert sets.indices.tolist() == [0, 2]  # with 0.31 as 0; all scores give label 0 alone


@pytest.mark.parametrize("objective", THRESHOLD_RULES)
def test_rules_on_kept_scores_give_the_cuts_of_all_where_they_say_so(objective: str) -> None:
    probs, targets = draw(2, rows=200, labels=20)
    options = {name: NEEDED[name] for name, needed in rule_options(objective).items() if needed}
    held = sparse.csr_array(targets)
    expected, _ = fit_cuts(probs, held, objective, **options)
    if objective == "f_star_half":
        with pytest.raises(ValueError, match="expected all scores, found a part of each row"):
            fit_cuts(keep(probs, targets, 8).top, held, objective, **options)
        return
    told = []
    for k in (4, 8, 14, 60):
        cuts, exact = fit_cuts(keep(probs, targets, k).top, held, objective, **options)
        told.append(exact)
        if exact:
            np.testing.assert_array_equal(cuts, expected, err_msg=f"{objective}, k={k}")
    assert told[-1]


def test_a_decision_from_kept_scores_is_that_of_all() -> None:
    probs, targets = draw(5, rows=300, labels=40)
    names = [f"label {i}" for i in range(40)]
    expected = fit_decision(probs, targets, names, "micro_f1")
    found = fit_decision(keep(probs, targets, 32).top, targets, names, "micro_f1")
    assert found.pop("exact")
    assert found.pop("in_sample") == pytest.approx(expected.pop("in_sample"))
    assert found == expected


def test_expected_f1_needs_all_scores() -> None:
    probs, targets = draw(0)
    with pytest.raises(ValueError, match="rule: expected one of threshold, top_k, threshold_top_k for scores kept in"):
        decide_top(keep(probs, targets, 5).top, default_decision() | {"rule": "expected_f1"})
