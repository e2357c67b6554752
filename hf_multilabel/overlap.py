"""Which rows at hand are those of a run: trained on, reported on, or what its decision was fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.decisions.row_sketch import shared_rows
from hf_multilabel.decisions.thresholds import hash_rows
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.recipe import Recipe

# Share of rows that may have been seen already: texts that splits have in common are few.
TOLERATED = 0.1


def fitted_share(finished: FinishedModel, texts: Sequence[str]) -> float:
    """The share of some rows that a model's decision was fitted on: its scores there are optimistic.

    Sets of rows are told by their hash; parts of them and more than them by a sketch, which older decisions lack.
    """
    decision = finished.model.config.decision
    if not decision["fitted_on"] or not len(texts):
        return 0.0
    if hash_rows(texts) in {decision.get("rows_sha256"), *decision.get("splits_sha256", {}).values()}:
        return 1.0
    return shared_rows(decision["rows_sketch"], texts) if "rows_sketch" in decision else 0.0


def trained_share(finished: FinishedModel, texts: Sequence[str]) -> float:
    """The share of some rows that a model was trained on, as its metrics.json knows it; 0 where nothing is known."""
    return _share_of_sketch(finished.stored("metrics.json", {}), texts)


def _share_of_sketch(metrics: Mapping[str, Any], texts: Sequence[str]) -> float:
    counted = metrics.get("data", {})
    return shared_rows(counted["train_sketch"], texts) if "train_sketch" in counted and len(texts) else 0.0


def warn_of_trained_rows(finished: FinishedModel, texts: Sequence[str]) -> None:
    """Say what share of the rows at hand a model was trained on, if it is more than splits have in common."""
    if (share := trained_share(finished, texts)) > TOLERATED:
        known = f"{finished.name} was trained on {rows_of(share)}"
        note(f"warning: the model {known}: its scores here say nothing of new texts")


def check_new(finished: FinishedModel, texts: Sequence[str], where: str, split: str) -> None:
    """Refuse to compare a model on rows that it was trained on, or that its decision was fitted on.

    Args:
        finished: The model.
        texts: Of the rows.
        where: Names them.
        split: Theirs.

    Raises:
        InputError: If more than `TOLERATED` of them are such.
    """
    for share, who in (
        (trained_share(finished, texts), "neither model was trained"),
        (fitted_share(finished, texts), "no decision was fitted"),
    ):
        if share > TOLERATED:
            part = "those" if share == 1 else f"{share:.0%} of them among those"
            what = f"expected rows that {who} on, found {part} of {finished.name}"
            fix = "give rows that neither model was trained or fitted on" + (", or --split test" * (split != "test"))
            raise InputError(Finding("C111", where, what, fix))


def warn_of_fitted_rows(share: float, consequence: str) -> bool:
    """Say what share of the rows at hand a decision was fitted on; whether that is too many for a headline.

    Args:
        share: As of `fitted_share`.
        consequence: What follows if they are too many.
    """
    if share > TOLERATED:
        note(f"warning: the decision was fitted on {rows_of(share)}: {consequence}")
    elif share:
        note(f"the decision was fitted on {rows_of(share)}: its scores are a little optimistic")
    return share > TOLERATED


def rows_of(share: float) -> str:
    """A share of the rows at hand in words.

    Example:
        >>> rows_of(1.0), rows_of(0.25), rows_of(0.001)
        ('these very rows', '25% of these rows', '1% of these rows')
    """
    return "these very rows" if share == 1 else f"{max(share, 0.01):.0%} of these rows"


def fingerprints(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What tells the rows of the run's splits from others, by split."""
    return metrics.get("data", {}).get("fingerprints", {})


def check_unseen(recipe: Recipe, data: MultiLabelData, split: str, metrics: Mapping[str, Any]) -> None:
    """Refuse the rows the model was trained on, and those its results are reported on.

    Raises:
        InputError: If the rows are the training or the test rows of the run.
    """
    known = fingerprints(metrics)
    for name, why in (("train", "it knows their labels"), ("test", "its results on them would be worth nothing")):
        if known.get(name) == data.splits[split]._fingerprint:
            what = f"expected rows apart from those of the run, found its {name} rows: {why}"
            raise InputError(Finding("C115", f"{recipe.data.source}:{split}", what, "give rows it has not seen"))


def check_apart(
    recipe: Recipe, data: MultiLabelData, split: str, own: MultiLabelData | None, metrics: Mapping[str, Any]
) -> None:
    """Refuse rows of which many are among those of `check_unseen`, told by their texts; say it if a few are.

    Args:
        recipe: Names the source.
        data: Holds the rows.
        split: Theirs.
        own: The run's own data, None where they are not here.
        metrics: Content of metrics.json, whose sketch tells the training rows where the data are gone.

    Raises:
        InputError: If more than `TOLERATED` of them are.
    """
    given = data.splits[split]["text"][:]
    for name in ("train", "test"):
        if own is not None and name in own.splits:
            known = set(own.splits[name]["text"][:])
            share = sum(text in known for text in given) / max(len(given), 1)
        else:
            share = _share_of_sketch(metrics, given) if name == "train" else 0.0
        if share > TOLERATED:
            what = f"expected rows apart from those of the run, found {share:.0%} of them among its {name} rows"
            raise InputError(Finding("C115", f"{recipe.data.source}:{split}", what, "give rows it has not seen"))
        if share:
            note(f"warning: {max(share, 0.01):.0%} of the rows are among the run's {name} rows")
