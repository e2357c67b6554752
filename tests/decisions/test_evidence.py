"""What a decision is expected to score is said of decisions of its own kind."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import logit

from hf_multilabel.decisions.evidence import fit_with_evidence
from hf_multilabel.errors import InputError
from hf_multilabel.evaluation import TopScores, as_label_sets
from hf_multilabel.publishing.card_decision import tell_decision
from hf_multilabel.studies.trial import value_of

NAMES = [f"label {number}" for number in range(4)]


def fit(rows: int, risk: dict[str, float] | None) -> dict:
    """Nearly flawless logits, in ten folds."""
    rng = np.random.default_rng(0)
    truth = rng.random((rows, len(NAMES))) < 0.4
    truth[np.arange(rows), rng.integers(0, len(NAMES), rows)] = True
    probs = np.where(truth, 0.9, 0.1) + 0.05 * rng.random(truth.shape)
    folds = np.array_split(np.arange(rows), 10)
    return fit_with_evidence(logit(probs), truth, NAMES, [folds], risk=risk, resamples=0)


@pytest.mark.parametrize(("rows", "told"), [(60, False), (200, True)])
def test_folds_too_small_for_the_guarantee_say_nothing_of_it(rows: int, told: bool) -> None:
    decision = fit(rows, {"recall": 0.95, "confidence": 0.95})
    assert decision["risk"]["controlled"]
    assert bool(decision["expected"]) == told
    if told:
        assert "expected_missing" not in decision
        return
    said = "10 of 10 decisions fitted on a part of the rows keep no promise, unlike this one"
    assert said in decision["expected_missing"]
    card = " ".join(tell_decision(decision, len(NAMES)))
    assert f"Expected on as many other rows like these: not known; {said}" in card


def test_decisions_that_promise_nothing_are_judged_by_others_that_promise_nothing() -> None:
    decision = fit(40, {"recall": 0.95, "confidence": 0.95})
    assert not decision["risk"]["controlled"]
    assert decision["expected"]["folds"] == 10
    assert fit(40, None)["expected"]["folds"] == 10


@pytest.mark.parametrize(("k", "told"), [(40, True), (3, False)])
def test_nothing_is_expected_of_label_sets_that_kept_scores_do_not_tell(k: int, told: bool) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((60, 40)) < 0.05
    probs = 0.3 * truth + 0.5 * rng.random(truth.shape)
    kept = TopScores.of(probs, as_label_sets(truth, truth.shape, "targets"), k)
    names, folds = [f"label {number}" for number in range(40)], [np.array_split(np.arange(60), 5)]
    decision = fit_with_evidence(kept, truth, names, folds, objective="recall_at_least", recall=0.9, resamples=0)
    assert bool(decision["expected"]) == told
    said = "the scores kept do not tell all labels of 60 of 60 texts"
    assert decision.get("expected_missing") == (None if told else said)


def test_a_study_of_decisions_says_that_one_has_no_honest_estimate() -> None:
    plan = SimpleNamespace(settings=SimpleNamespace(metric="macro_f1", decision="tuned"))
    model = SimpleNamespace(config=SimpleNamespace(decision=fit(60, {"recall": 0.95, "confidence": 0.95})))
    with pytest.raises(InputError, match=r"study\.decision: expected scores .* unlike this one; fix: compare at a cut"):
        value_of(plan, None, model)
