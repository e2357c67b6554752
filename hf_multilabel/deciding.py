"""From a trained model to its decision: score the held-out splits, fit on validation rows or on rows of the folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from hf_multilabel.backbones import Backbone
from hf_multilabel.console import note
from hf_multilabel.data.batching import MultiLabelCollator
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.decisions.evidence import WITHOUT_CUTS, decide_scores
from hf_multilabel.decisions.fitting import check_promises
from hf_multilabel.evaluation.curves import ALL_SCORES
from hf_multilabel.evaluation.keeping import RankedScores, is_kept_in_part
from hf_multilabel.evaluation.metrics import evaluate_outcome
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.folds import HeldOut, fit_held_out, validation_scores
from hf_multilabel.recipe import Recipe
from hf_multilabel.recipe.loading import blame
from hf_multilabel.remote_code.decision_multilabel import SETTINGS, check_settings, default_decision
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.scoring import score_split


def score_splits(
    recipe: Recipe,
    model: MultiLabelForSequenceClassification,
    backbone: Backbone,
    data: MultiLabelData,
    splits: Mapping[str, Dataset],
    args: MultiLabelTrainingArguments,
) -> dict[str, np.ndarray | RankedScores]:
    """Scores of the validation and test splits: logits, (N, L), or what is kept of a large label set.

    What reads all scores is refused before, by `check_kept`.
    """
    collator = MultiLabelCollator(backbone.tokenizer, model.config.num_labels)
    found = {
        split: score_split(
            model,
            dataset,
            collator,
            data.label_matrix(split),
            recipe.evaluation.keep_scores,
            batch_size=args.eval_batch_size,
            description=f"scoring {split}",
        )
        for split, dataset in splits.items()
        if split != "train"
    }
    if any(isinstance(scores, RankedScores) for scores in found.values()):
        left_out = ", ".join(ALL_SCORES)
        note(f"{len(data.labels):,} labels: the highest scores of each text are kept; left out: {left_out}")
    return found


def check_fit(recipe: Recipe, data: MultiLabelData) -> None:
    """Refuse a decision that can't be fitted on the validation rows, before anything is trained or scored.

    Raises:
        InputError: If settings do not fit the labels, need scores that are not kept, or promise too much.
    """
    with blame(recipe, "decision"):
        counted = recipe.decision.model_dump(include=set(SETTINGS) - {"calibration"})
        check_settings({**default_decision(), **counted}, len(data.labels))
        check_kept(recipe, len(data.labels))
        check_promises(
            data.label_matrix("validation"),
            data.labels.names,
            **recipe.decision.model_dump(include={"calibration", "prevalence", "risk"}),
        )


def check_kept(recipe: Recipe, labels: int) -> None:
    """Refuse what needs all scores where they are to be kept in part, before anything is trained.

    Raises:
        ValueError: If the decision is fitted with a calibration, a guarantee or expectations over all labels.
    """
    decision = recipe.decision
    given = {"calibration": decision.calibration, "prevalence": decision.prevalence, "risk": decision.risk}
    given |= {"objective": decision.objective if decision.objective == "f_star_half" else None}
    given |= {"rule": decision.rule if decision.rule == "expected_f1" else None}
    wrong = [key for key, value in given.items() if value is not None]
    if wrong and is_kept_in_part(labels, recipe.evaluation.keep_scores):
        found = decision.model_dump(exclude_none=True)[wrong[0]]
        raise ValueError(
            f"{wrong[0]}: expected none that needs all scores, for of {labels:,} labels only the highest scores of a "
            f"text are kept, found {found!r}. Set evaluation.keep_scores to {labels} to keep all."
        )


def fit_the_decision(
    recipe: Recipe,
    data: MultiLabelData,
    scores: dict[str, np.ndarray | RankedScores],
    held: HeldOut | None = None,
) -> dict[str, Any]:
    """The decision of the recipe's objective; it sees scores of rows that the model giving them was not trained on.

    Args:
        recipe: With the settings.
        data: With the validation split.
        scores: Of the validation split.
        held: Other scores to fit on; None: those.
    """
    with blame(recipe, "decision"):
        held = held or validation_scores(data, scores["validation"])
        decision = fit_held_out(recipe, held, data.labels.names)
    if not decision.get("exact", True) and decision["rule"] not in WITHOUT_CUTS:
        kept = f"evaluation.keep_scores={len(data.labels.names)} keeps all scores"
        note(f"the cuts are fitted as if scores that are not kept were as high as they may be; {kept}")
    if "risk" in decision:
        note(decision["risk"]["sentence"])
    if found := decision["expected"]:
        note(tell_expected(found))
        if said := tell_no_better(decision, held):
            note(said)
    elif missing := decision.get("expected_missing"):
        note(f"expected on as many other rows: not known; {missing}")
    for line in prevalence_notes(recipe.decision.prevalence, data.labels.names):
        note(line)
    return decision


def tell_no_better(decision: Mapping[str, Any], held: HeldOut) -> str | None:
    """That a balanced decision is expected to score no more than a cut of 0.5 on the fitted rows, if that is so."""
    if decision["objective"] != "balanced" or decision["rule"] in WITHOUT_CUTS or not decision["expected"]:
        return None
    sets = decide_scores(held.scores, default_decision())
    fixed = evaluate_outcome(Outcome(None, sets, held.targets), metrics=["micro_f1", "macro_f1"])
    of_cuts, of_half = ((found["micro_f1"] + found["macro_f1"]) / 2 for found in (decision["expected"], fixed))
    if of_cuts > of_half:
        return None
    return (
        f"on these {held.targets.shape[0]:,} rows the fitted cuts are expected to be no better than 0.5 "
        f"({of_cuts:.3f} against {of_half:.3f}, mean of micro-F1 and macro-F1): more rows would help"
    )


def tell_expected(expected: Mapping[str, Any]) -> str:
    """What a decision will score, in words.

    Example:
        >>> tell_expected({"micro_f1": 1.0, "macro_f1": 0.425, "intervals": {"macro_f1": [0.143, 0.676]}})[32:]
        'micro-F1 1.000 (no interval: the rows are all alike in it), macro-F1 0.425 (95%: 0.143 to 0.676)'
    """
    scores = []
    for name, shown in (("micro_f1", "micro-F1"), ("macro_f1", "macro-F1")):
        ends = expected["intervals"].get(name)
        span = f"95%: {ends[0]:.3f} to {ends[1]:.3f}" if ends else "no interval: the rows are all alike in it"
        scores.append(f"{shown} {expected[name]:.3f} ({span})")
    return f"expected on as many other rows: {', '.join(scores)}"


def prevalence_notes(prevalence: Mapping[str, float] | None, labels: Sequence[str]) -> list[str]:
    """What is to be known of results where probabilities are shifted to given or estimated prevalences.

    Example:
        >>> prevalence_notes({"sport": 0.1}, ["sport", "news"])[0]
        '1 of 2 labels are not in decision.prevalence and keep the share of the fitted rows'
    """
    if not prevalence:
        return []
    kept = sum(label not in prevalence for label in labels)
    which = f"{kept:,} of {len(labels):,} labels are not in decision.prevalence and keep the share of the fitted rows"
    measured = "in expected scores, results and reliability, labels are as frequent as they were labelled"
    return [*([which] if kept else []), f"{measured}, not as given or estimated in decision.prevalence"]
