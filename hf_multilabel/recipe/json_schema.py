"""All sections together, and the JSON Schema that editors complete and check recipes with."""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import Field

from hf_multilabel.recipe.fields import Section
from hf_multilabel.recipe.sections import (
    DataSection,
    DecisionSection,
    EvaluationSection,
    HubSection,
    LossSection,
    ModelSection,
)
from hf_multilabel.recipe.training import TrainingSection


class RecipeFile(Section):
    """A recipe of hf_multilabel: one task from data to the Hub."""

    data: DataSection
    model: ModelSection
    loss: LossSection = Field(default_factory=LossSection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    decision: DecisionSection = Field(default_factory=DecisionSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    hub: HubSection = Field(default_factory=HubSection)


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, generated from the sections; not to be changed in place."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RecipeFile.model_json_schema()}
    _drop_titles(found)
    return found


def schema_text() -> str:
    """The content of recipes/recipe.schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _drop_titles(fragment: Any) -> None:
    """Remove pydantic's titles: they repeat the key, and editors show them instead of the description."""
    if isinstance(fragment, dict):
        if isinstance(fragment.get("title"), str):
            del fragment["title"]
        for value in fragment.values():
            _drop_titles(value)
    elif isinstance(fragment, list):
        for value in fragment:
            _drop_titles(value)
