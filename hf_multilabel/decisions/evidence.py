"""A decision with what it is worth: fitted on all rows, judged by fits that lacked the rows they judge.

`fitting` and `thresholds` fit; here the same is fitted again on folds and on resampled rows, for `expected` and
`threshold_intervals`. Calibration, guarantee and chosen shrinkage are part of what is fitted anew, so that none of them
has seen the rows it is judged on.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from hf_multilabel.decisions.calibration import as_logits
from hf_multilabel.decisions.cross_validation import Rows, average_cuts, check_ways, cross_fit, take_rows
from hf_multilabel.decisions.fitting import fit_from_logits
from hf_multilabel.decisions.rare_labels import choose_shrinkage
from hf_multilabel.decisions.thresholds import UNFITTED, fit_cuts, fit_decision
from hf_multilabel.decisions.top_decision import decide_top
from hf_multilabel.decisions.uncertainty import errors_of_fits, expected_scores, resample_cuts
from hf_multilabel.evaluation import as_label_sets
from hf_multilabel.evaluation.scores import Scores, TopScores
from hf_multilabel.remote_code.decision_multilabel import decide, probabilities

# what only `fit_from_logits` takes, for it needs all logits
OF_LOGITS = ("calibration", "prevalence", "risk")
WITHOUT_CUTS = ("top_k", "expected_f1")
# Share of the rows whose labels kept scores may leave open before nothing is expected of them.
TOLERATED = 0.01


def fit_with_evidence(
    scores: ArrayLike | torch.Tensor | TopScores,
    targets: Any,
    labels: Sequence[str],
    folds: Sequence[Sequence[Rows]],
    *,
    average: bool = False,
    resamples: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> dict[str, Any]:
    """Fit a decision, and estimate without optimism what it scores and how far its cuts are chance.

    Args:
        scores: Logits of held-out rows, (N, L), or the probabilities that `TopScores` keeps.
        targets: 1 where the label holds, else 0, (N, L), dense or CSR.
        labels: Label names in the order of their ids.
        folds: Ways to draw folds, each the rows held out, fold by fold, for instance one way of five folds:
            `[[held_out for _, held_out in kfold(targets, 5)]]`; none leaves `expected` empty.
        average: Store the mean of the folds' cuts instead of those fitted on all rows.
        resamples: Of the rows, for `threshold_intervals`, see `resample_cuts`; 0 leaves them out.
        seed: Of the resamples.
        **settings: See `fit_from_logits`.

    Returns:
        What `fit_from_logits` returns, with `expected` (`expected_scores`, and `folds` and `repeats`), where cuts are
        fitted `threshold_intervals` (`resample_cuts`), and under `shrinkage: auto` the chosen `shrinkage`. Where a
        guarantee is kept by this decision and not by one of the folds', or the other way round, `expected` would be
        that of another decision; where kept scores do not tell all labels of more than `TOLERATED` of the rows, it
        would be too good. It then stays empty, and `expected_missing` says why.

    Raises:
        ValueError: If shapes, values or settings are wrong, or cuts are averaged that are not on one scale.

    Warns:
        UserWarning: If probabilities seem to be given, not logits. That scores kept in part make the cuts cautious is
            said by `exact` alone.

    Cost: one fit a fold and a resample, and a decision of all rows a fold.

    Example:
        >>> logits = np.tile([[-2.0, 1.0], [1.0, -3.0], [2.0, -1.0], [-1.0, 2.0]], (5, 1))
        >>> folds = np.array_split(np.arange(20), 5)
        >>> fit_with_evidence(logits, logits > 0, ["sport", "news"], [folds])["expected"]["micro_f1"]
        1.0
    """
    check_ways(folds)
    found = scores if isinstance(scores, TopScores) else as_logits(scores)
    held = as_label_sets(targets, found.shape, "targets")
    ids = settings.pop("row_ids", None)
    decision = _fit(found, held, labels, {**settings, "row_ids": ids})
    runs = []
    errors: list[dict[str, float]] = []
    fitted: list[dict[str, Any]] = []
    for parts in folds:
        decisions, sets = cross_fit(
            lambda rows: _fit(take_rows(found, rows), held[rows], labels, settings),
            lambda rule, rows: decide_scores(take_rows(found, rows), rule),
            parts,
        )
        fitted += decisions
        runs.append(sets)
        errors.append(errors_of_fits([decide_scores(found, rule) for rule in decisions], held))
    if average:
        check_averaged(settings, len(runs))
        own = isinstance(decision["thresholds"], list)
        each = np.array([np.broadcast_to(rule["thresholds"], found.shape[1]) for rule in fitted])
        cuts = average_cuts(each, _probabilities(found, decision) if own else None)
        decision = _fit(found, held, labels, {**settings, "row_ids": ids, "cuts": cuts})
        if "exact" in decision:
            decision["exact"] &= all(rule["exact"] for rule in fitted)
    if missing := _other_kinds(decision, fitted) or _hidden(found, decision):
        decision["expected_missing"] = missing
    elif runs:
        mean = {name: float(np.mean([error[name] for error in errors])) for name in errors[0]}
        estimate = expected_scores(runs, held, errors=mean, seed=seed)
        decision["expected"] = {**estimate, "folds": len(folds[0]), "repeats": len(runs)}
    return decision | _spread_of_cuts(found, held, decision, settings, resamples, seed)


def check_averaged(settings: Mapping[str, Any], runs: int = 1) -> None:
    """Refuse to average cuts that lie on different scales, or that nobody fits.

    Raises:
        ValueError: If there are no folds, probabilities are calibrated fold by fold, or the cuts are not fitted.
    """
    wrong = [(key, settings.get(key), "null") for key in OF_LOGITS if settings.get(key)]
    if settings.get("objective") in UNFITTED:
        wrong.append(("objective", settings["objective"], "one that fits cuts"))
    if not runs:
        wrong.append(("folds", 0, "1 or more ways to draw them"))
    for key, value, expected in wrong:
        raise ValueError(f"{key}: expected {expected} beside averaged cuts, found {value!r}. Change one of the two.")


def _fit(scores: Scores, held: sparse.csr_array, labels: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The decision of some rows."""
    with warnings.catch_warnings():  # said once of all rows, and by `exact`: not again of every fold
        warnings.filterwarnings("ignore", "(logits|probs): expected", UserWarning)
        if isinstance(scores, TopScores):
            return fit_decision(scores, held, labels, **{k: v for k, v in settings.items() if k not in OF_LOGITS})
        return fit_from_logits(scores, held, labels, **settings)


def _other_kinds(decision: Mapping[str, Any], fitted: Sequence[Mapping[str, Any]]) -> str:
    """That folds decide otherwise than the whole: with fewer rows they keep no promise, or by chance they do."""
    kept = decision.get("risk", {}).get("controlled")
    others = sum(rule.get("risk", {}).get("controlled") != kept for rule in fitted)
    what = "keep no promise" if kept else "keep the promise"
    return f"{others} of {len(fitted)} decisions fitted on a part of the rows {what}, unlike this one" if others else ""


def _hidden(scores: Scores, decision: dict[str, Any]) -> str:
    """That kept scores do not tell all labels of the texts: counted would be the right ones of all, and few wrong."""
    unsettled = len(decide_top(scores, decision)[1]) if isinstance(scores, TopScores) else 0
    if unsettled <= TOLERATED * scores.shape[0]:
        return ""
    return f"the scores kept do not tell all labels of {unsettled:,} of {scores.shape[0]:,} texts"


def decide_scores(scores: Scores, decision: dict[str, Any]) -> sparse.csr_array:
    """Label sets of rows by their logits or kept probabilities, CSR (N, L)."""
    if isinstance(scores, TopScores):
        return decide_top(scores, decision)[0]
    return sparse.csr_array(decide(_tensor(scores), decision).numpy())


def _spread_of_cuts(
    scores: Scores,
    held: sparse.csr_array,
    decision: Mapping[str, Any],
    settings: Mapping[str, Any],
    resamples: int | None,
    seed: int,
) -> dict[str, Any]:
    """`threshold_intervals`, and the shrinkage chosen; empty where no cut is fitted. The calibration stays as it is."""
    objective, options = decision["objective"], dict(decision.get("options", {}))
    if objective in (*UNFITTED, "risk") or decision["rule"] in WITHOUT_CUTS:
        return {}
    probs = _probabilities(scores, decision)
    found: dict[str, Any] = {}
    if options.get("shrinkage") == "auto":
        # chosen once: a choice a resample would cost twenty times as much; from the counts the cuts were fitted with
        counted = probs
        if isinstance(probs, TopScores) and not decision["exact"]:
            counted = replace(probs, unstored_at_floor=True)
        found["shrinkage"] = options["shrinkage"] = choose_shrinkage(counted, held)
    if resamples == 0:
        return found

    def refit(some: Scores, truth: sparse.csr_array) -> NDArray[np.float64]:
        return fit_cuts(some, truth, objective, threshold=settings.get("threshold", 0.5), **options)[0]

    return found | {"threshold_intervals": resample_cuts(probs, held, refit, resamples=resamples, seed=seed)}


def _probabilities(scores: Scores, decision: Mapping[str, Any]) -> Scores:
    """As the decision compares them with its cuts."""
    return scores if isinstance(scores, TopScores) else probabilities(_tensor(scores), dict(decision)).numpy()


def _tensor(scores: NDArray[np.floating]) -> torch.Tensor:
    return torch.from_numpy(np.require(scores, requirements=["C", "W"]))
