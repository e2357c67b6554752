"""Recipes: one YAML file a task, checked as a whole before anything runs.

    reading.py, overrides.py               YAML text -> plain values, each with its place
    data.py, model.py, peft.py, loss.py, training.py, sections.py
                                           what every key may be (fields.py); json_schema.py puts them together
    contracts.py, paths.py, secrets.py     values -> findings
    loading.py                             all of it -> Recipe

Nothing here loads data or weights: a recipe is right or wrong within a second.
"""

from hf_multilabel.assets import recipes_folder
from hf_multilabel.recipe.json_schema import schema, schema_text
from hf_multilabel.recipe.loading import Recipe, load_recipe

__all__ = ["Recipe", "load_recipe", "recipes_folder", "schema", "schema_text"]
