"""Measure a finished model on a dataset, alone or beside another; its recipe says how the data are read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.data.remedies import apply_remedies
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.evaluation.comparison import compare_labels, compare_runs
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.inference import FinishedModel
from hf_multilabel.judging import COUNTS, TrainingCounts
from hf_multilabel.overlap import check_new, fingerprints, fitted_share, warn_of_fitted_rows, warn_of_trained_rows
from hf_multilabel.preparing import balance_of
from hf_multilabel.recipe import Recipe, load_recipe
from hf_multilabel.recipe.opening import find_data
from hf_multilabel.request import check_read
from hf_multilabel.runs import known_sources

# How texts are prepared, which belongs to a model; the other keys of `data` say what the files hold.
PREPARATION = ("text_separator", "strip_html")
SHOWN = 5
# Where a message is about a key of the section `decision`.
DECISION_KEY = re.compile(r" (decision\.[a-z_]+)$")
# A key of the section `data` in a message, and the value that it should get.
KEY = re.compile(r"\b(data\.[a-z_]+)\b(?:: (\w+))?")


def evaluate(
    model: str, source: str | None = None, overrides: Sequence[str] = (), *, split: str = "test", batch_size: int = 32
) -> dict[str, dict[str, Any]]:
    """Measure a finished model on a dataset, at 0.5 and at its own decision.

    Args:
        model: Folder or Hub id.
        source: File, folder or Hub dataset; None takes the one of the model's recipe.
        overrides: Changes to `data` and `evaluation` of the model's recipe, for instance other column names.
        split: The rows to measure.
        batch_size: Texts of one forward pass.

    Returns:
        `fixed` and `tuned`, each from metric name to value; `tuned` may have `intervals`, from name to [low, high].

    Raises:
        InputError: If model or data are not as expected, or a change is to a key that is not read here.
    """
    check_read(overrides, "evaluate")
    return evaluate_finished(FinishedModel.load(model), source, overrides, split=split, batch_size=batch_size)


def evaluate_finished(
    finished: FinishedModel,
    source: str | None = None,
    overrides: Sequence[str] = (),
    *,
    split: str = "test",
    batch_size: int = 32,
) -> dict[str, dict[str, Any]]:
    """`evaluate` of a model that is loaded."""
    recipe, data = load_rows(finished, source, overrides)
    check_split(recipe, data, split)
    note(f"measuring {len(data.splits[split]):,} rows of {split}")
    found = finished.evaluate(
        data, split, batch_size, recipe.evaluation.k, recipe.evaluation.intervals, recipe.evaluation.keep_scores,
        training_counts(finished, recipe, data),
    )  # fmt: skip
    texts = data.splits[split]["text"][:]
    warn_of_trained_rows(finished, texts)
    share = fitted_share(finished, texts)
    if warn_of_fitted_rows(share, "its scores here are optimistic, and not shown"):
        del found["tuned"]
    return found


def training_counts(finished: FinishedModel, recipe: Recipe, data: MultiLabelData) -> TrainingCounts:
    """Training rows of each label, and of all, as the run counted them.

    They stand beside the model; of runs of older versions they are counted again where the data hold the very rows.
    None where neither is so, which is said.
    """
    known = finished.training_counts()
    if known[0] is not None:
        return known
    own = fingerprints(finished.stored("metrics.json", {}))
    if "train" not in data.splits or data.splits["train"]._fingerprint != own.get("train"):
        note(f"no {COUNTS} beside the model, as training writes it: left out are PSP@k, PSnDCG@k and head, torso, tail")
        return None, None
    augment = recipe.data.augment
    data = apply_remedies(data, augment and augment.model_dump(), balance_of(recipe))
    return data.label_matrix("train").getnnz(axis=0).tolist(), int(np.max(data.known_rows()))


def compare(
    model: str,
    other: str,
    source: str | None,
    overrides: Sequence[str] = (),
    *,
    split: str = "test",
    batch_size: int = 32,
) -> dict[str, Any]:
    """Compare two finished models on the same rows, each with its own decision; labels are matched by name.

    Args:
        model: Folder or Hub id; its recipe says how the data are read.
        other: The model that may be better.
        source: As for `evaluate`.
        overrides: As for `evaluate`.
        split: The rows to compare on.
        batch_size: Texts of one forward pass.

    Returns:
        `rows`; `decisions`, what kind both are; `metrics`, from name to the values of a `Difference`; `labels`, the
        lines of `compare_labels`.

    Raises:
        InputError: If models or data are not as expected, the label sets differ, or one of the models was trained, or
            its decision fitted, on these rows.
    """
    pair = score_pair(model, other, source, overrides, split=split, batch_size=batch_size)
    decisions = [decision_kind(finished.model.config.decision) for finished in pair.models]
    return {"rows": pair.outcomes[0].rows, "decisions": decisions, **describe_differences(pair)}


def decision_kind(decision: Mapping[str, Any]) -> str:
    """What a decision is in a word: its objective, or its rule where that uses no cuts.

    Example:
        >>> decision_kind({"rule": "threshold", "objective": "balanced"})
        'balanced'
    """
    rule, objective = decision["rule"], decision["objective"]
    return {"threshold": objective, "threshold_top_k": f"{objective} and top_k"}.get(rule, rule)


@dataclass(frozen=True)
class ScoredPair:
    """Two finished models on the same rows, labels in one order.

    Args:
        recipe: Of the first model.
        data: As the first model reads them.
        models: Both.
        outcomes: Of both, each with its own decision, and the training counts of the first.
    """

    recipe: Recipe
    data: MultiLabelData
    models: tuple[FinishedModel, FinishedModel]
    outcomes: tuple[Outcome, Outcome]


def describe_differences(pair: ScoredPair) -> dict[str, Any]:
    """`metrics`, from name to the values of a `Difference`, and `labels`, the lines of `compare_labels`."""
    metrics = compare_runs(*pair.outcomes, k=tuple(pair.recipe.evaluation.k))
    return {
        "metrics": {name: asdict(difference) for name, difference in metrics.items()},
        "labels": compare_labels(*pair.outcomes, pair.data.labels.names),
    }


def score_pair(
    model: str,
    other: str,
    source: str | None,
    overrides: Sequence[str] = (),
    *,
    split: str = "test",
    batch_size: int = 32,
) -> ScoredPair:
    """Score two finished models on the same rows; arguments and errors as of `compare`."""
    check_read(overrides, "evaluate")
    first, second = FinishedModel.load(model), FinishedModel.load(other)
    check_same_labels(first, second)
    recipe, data = load_rows(first, source, overrides)
    check_split(recipe, data, split)
    theirs = recipe_of(second, ["data.source=."]).data
    prepared = {key: getattr(theirs, key) for key in PREPARATION}
    as_read = prepared == {key: getattr(recipe.data, key) for key in PREPARATION}
    read = data if as_read else load_rows(first, source, overrides, **prepared)[1]
    for finished, rows in ((first, data), (second, read)):
        check_new(finished, rows.splits[split]["text"][:], f"{recipe.data.source}:{split}", split)
    note(f"comparing on {len(data.splits[split]):,} rows of {split}")
    keep = recipe.evaluation.keep_scores
    # a weight of both: what is rare must not depend on whose outcome it is
    counts = training_counts(first, recipe, data)
    outcomes = (
        first.outcome(data.splits[split], data.label_matrix(split), keep, batch_size, first.name, counts),
        outcome_in_order(second, read, split, keep, batch_size, counts),
    )
    return ScoredPair(recipe, data, (first, second), outcomes)


def check_same_labels(first: FinishedModel, second: FinishedModel) -> None:
    """Refuse models of different labels.

    Raises:
        InputError: Naming labels that only one of them has.
    """
    ours, theirs = first.labels.names, second.labels.names
    findings = []
    for finished, only in ((first, sorted(set(ours) - set(theirs))), (second, sorted(set(theirs) - set(ours)))):
        if only:
            more = f" and {len(only) - SHOWN} more" if len(only) > SHOWN else ""
            what = f"expected labels of both models, found {', '.join(map(repr, only[:SHOWN]))}{more} in this one alone"
            findings.append(Finding("C110", finished.name, what, "compare models of the same labels"))
    if findings:
        raise InputError(findings)


def outcome_in_order(
    finished: FinishedModel,
    data: MultiLabelData,
    split: str,
    keep: int | None,
    batch_size: int,
    counts: TrainingCounts = (None, None),
) -> Outcome:
    """The outcome of a model with its columns in the label order of the data, whatever its own is; so are `counts`."""
    targets, rows = data.label_matrix(split), data.splits[split]
    ids = {name: number for number, name in enumerate(data.labels.names)}
    order = np.array([ids[name] for name in finished.labels.names])  # its column -> that of the data
    if (order == np.arange(len(order))).all():
        return finished.outcome(rows, targets, keep, batch_size, finished.name, counts)
    # scores kept in part would have to be sorted anew: all of them are kept
    found = finished.outcome(rows, targets[:, order], len(order), batch_size, finished.name)
    back = np.argsort(order)
    return Outcome(found.probs[:, back], found.predictions[:, back], targets, *counts)


def load_rows(
    finished: FinishedModel, source: str | None, overrides: Sequence[str] = (), **arguments: Any
) -> tuple[Recipe, MultiLabelData]:
    """A model's recipe with overrides, and the data it describes or others in their form, labels matched by name.

    Args:
        finished: The model.
        source: As for `evaluate`.
        overrides: As for `evaluate`.
        **arguments: Of `load_data`, before those of the recipe.

    Raises:
        InputError: If the data are not as expected.
    """
    named = [] if source is None else [f"data.source={json.dumps(find_data(source))}"]
    try:
        recipe = recipe_of(finished, [*named, *overrides])
    except InputError as error:
        raise InputError(as_typed(finding) for finding in error.findings) from None
    given = recipe.data.load_arguments() | {"known_labels": finished.labels, "single_file": "train"} | arguments
    if source is not None:
        # the run's own data are split as for training; what was brought is used whole, unless it was said otherwise
        given["single_file"] = "test"
        whole = {"max_rows": None, "validation_size": 0, "test_size": 0, "corrections": None}
        given |= {key: v for key, v in whole.items() if not any(o.startswith(f"data.{key}") for o in overrides)}
    try:
        return recipe, load_data(**given)
    except InputError as error:
        raise InputError(as_typed(finding) for finding in error.findings) from None


def as_typed(finding: Finding) -> Finding:
    """The same finding where no recipe is at hand: a key of `data` that its fix names is typed behind the command.

    Example:
        >>> as_typed(Finding("D116", "a.csv", "expected ...", "set data.duplicates: warn")).fix
        'set data.duplicates: warn (add data.duplicates=warn to the command)'
    """
    if (wanted := DECISION_KEY.search(finding.where)) and finding.fix.startswith("write "):
        value = "null" if finding.what.startswith("expected null") else "VALUE"
        return replace(finding, fix=f"add {wanted[1]}={value} to the command")
    keys = [key for key in KEY.finditer(finding.fix) if not finding.fix[key.end() :].startswith("=")]
    typed = " ".join(f"{key[1]}={key[2] or 'VALUE'}" for key in keys)
    return replace(finding, fix=f"{finding.fix} (add {typed} to the command)") if typed else finding


def check_split(recipe: Recipe, data: MultiLabelData, split: str) -> None:
    """Refuse a split that the data do not have.

    Raises:
        InputError: Naming those that they have.
    """
    if split not in data.splits:
        found = f"expected a {split} split, found {', '.join(data.splits)}"
        fix = f"give --split {' or --split '.join(data.splits)}"
        raise InputError(Finding("C106", recipe.data.source, found, fix))


def recipe_of(finished: FinishedModel, overrides: Sequence[str]) -> Recipe:
    """The recipe a model was trained with, its data where they lay on this machine if nothing else is said."""
    # what only training needs may be on another machine by now
    settled = {"data.label_names": "null", "data.corrections": "null"}
    settled |= {"model.backbone": "scratch", "model.revision": "null"}
    settled |= {"model.backbone_sha256": "null", **known_sources(Path(finished.name))}
    unused = [f"{key}={value}" for key, value in settled.items() if not any(o.startswith(f"{key}=") for o in overrides)]
    return load_recipe(finished.file("recipe.yaml"), [*unused, *overrides])


def reading_of(finished: FinishedModel) -> dict[str, Any]:
    """How a model's texts are read: arguments of `read_texts`, plain values."""
    read = recipe_of(finished, ["data.source=."]).data
    return {"text": list(read.text) if not isinstance(read.text, str) else read.text} | {
        key: getattr(read, key) for key in PREPARATION
    }
