"""Recipes: one YAML file a task, checked as a whole before anything runs.

    reading.py, overrides.py               YAML text -> plain values, each with its place
    data.py, model.py, peft.py, loss.py, training.py, sections.py
                                           what every key may be (fields.py); json_schema.py puts them together
    contracts.py, paths.py, secrets.py     values -> findings
    opening.py                             a recipe's name -> its file
    loading.py                             all of it -> Recipe

Nothing here loads data or weights. What keys may be is asked of the losses, heads, rules and Trainer themselves, whose
imports take seconds: so the names below are fetched when they are first used, and opening.py does without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_multilabel.assets import recipes_folder
    from hf_multilabel.recipe.json_schema import schema, schema_text
    from hf_multilabel.recipe.loading import Recipe, load_recipe

__all__ = ["Recipe", "load_recipe", "recipes_folder", "schema", "schema_text"]

_LATER = {
    "Recipe": "hf_multilabel.recipe.loading",
    "load_recipe": "hf_multilabel.recipe.loading",
    "recipes_folder": "hf_multilabel.assets",
    "schema": "hf_multilabel.recipe.json_schema",
    "schema_text": "hf_multilabel.recipe.json_schema",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
