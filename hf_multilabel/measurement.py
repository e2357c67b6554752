"""Measure a finished model on a dataset; its recipe says how the data are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hf_multilabel.console import note
from hf_multilabel.data.loading import load_data
from hf_multilabel.decisions.thresholds import hash_rows
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.recipe import Recipe, load_recipe
from hf_multilabel.runs import known_sources


def evaluate(
    model: str, source: str | None, overrides: Sequence[str] = (), *, split: str = "test", batch_size: int = 32
) -> dict[str, dict[str, float]]:
    """Measure a finished model on a dataset, at 0.5 and at its own decision.

    Args:
        model: Folder or Hub id.
        source: File, folder or Hub dataset; None takes the one of the model's recipe.
        overrides: Changes to the model's recipe, for instance other column names.
        split: The rows to measure.
        batch_size: Texts of one forward pass.

    Returns:
        `fixed` and `tuned`, each from metric name to value.

    Raises:
        InputError: If model or data are not as expected.
    """
    finished = FinishedModel.load(model)
    recipe = recipe_of(finished, [*([] if source is None else [f"data.source={json.dumps(source)}"]), *overrides])
    arguments = recipe.data.load_arguments() | {"known_labels": finished.labels}
    if source is not None:
        # what was brought is measured whole, unless it was said otherwise
        whole = {"max_rows": None, "validation_size": 0, "test_size": 0}
        arguments |= {key: v for key, v in whole.items() if not any(o.startswith(f"data.{key}") for o in overrides)}
    data = load_data(**arguments)
    if split not in data.splits:
        found = f"expected a {split} split, found {', '.join(data.splits)}"
        raise InputError(Finding("C106", recipe.data.source, found, "give --split"))
    note(f"measuring {len(data.splits[split]):,} rows of {split}")
    found = finished.evaluate(data, split, batch_size, recipe.evaluation.k)
    decision = finished.model.config.decision
    if decision["fitted_on"] and decision.get("rows_sha256") == hash_rows(data.splits[split]["text"]):
        note("warning: the decision was fitted on these very rows: its scores here are optimistic, and not shown")
        del found["tuned"]
    return found


def recipe_of(finished: FinishedModel, overrides: Sequence[str]) -> Recipe:
    """The recipe a model was trained with, its data where they lay on this machine if nothing else is said."""
    # what only training needs may be on another machine by now
    settled = {"data.label_names": "null", "model.backbone": "scratch", "model.revision": "null"}
    settled |= {"model.backbone_sha256": "null", **known_sources(Path(finished.name))}
    unused = [f"{key}={value}" for key, value in settled.items() if not any(o.startswith(f"{key}=") for o in overrides)]
    return load_recipe(finished.file("recipe.yaml"), [*unused, *overrides])
