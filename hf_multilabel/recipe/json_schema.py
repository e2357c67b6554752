"""All sections together, and the JSON Schema that editors complete and check recipes with."""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import Field, model_validator

from hf_multilabel.recipe.data import DataSection
from hf_multilabel.recipe.fields import Section, contract_error
from hf_multilabel.recipe.loss import LossSection
from hf_multilabel.recipe.model import ModelSection
from hf_multilabel.recipe.peft import PeftSection
from hf_multilabel.recipe.secrets import show
from hf_multilabel.recipe.sections import DecisionSection, EvaluationSection, HubSection, ReportSection
from hf_multilabel.recipe.training import TrainingSection


class RecipeFile(Section):
    """A recipe of hf_multilabel: one task from data to the Hub."""

    data: DataSection
    model: ModelSection
    peft: PeftSection = Field(default_factory=PeftSection)
    loss: LossSection = Field(default_factory=LossSection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    decision: DecisionSection = Field(default_factory=DecisionSection)
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    report: ReportSection = Field(default_factory=ReportSection)
    hub: HubSection = Field(default_factory=HubSection)

    @model_validator(mode="after")
    def _head_can_start(self) -> RecipeFile:
        if self.training.head_init == "probe" and not self.model.head_on_paper().solvable:
            expected = (
                f"random or prior beside model.head {self.model.head} with these head_kwargs, which no probe solves"
            )
            raise contract_error(("training.head_init", expected, "probe", "write head_init: prior"))
        return self

    @model_validator(mode="after")
    def _windows_slide(self) -> RecipeFile:
        windows = self.model.windows
        if windows is not None and self.data.max_length <= windows.length:
            expected = f"more than model.windows.length {windows.length}, or no window would ever slide"
            fix = "raise it to the tokens to read of a text, or remove model.windows"
            raise contract_error(("data.max_length", expected, show(self.data.max_length), fix))
        return self

    @model_validator(mode="after")
    def _balance_can_work(self) -> RecipeFile:
        method = None if self.data.balance is None else self.data.balance.method
        problems = []
        if method == "mlsmote" and self.training.head_init != "probe":
            expected = "probe beside data.balance.method mlsmote, which only feeds the probe"
            problems.append(("training.head_init", expected, show(self.training.head_init), "write head_init: probe"))
        strategy = self.training.train_sampling_strategy
        if method == "class_aware" and strategy not in ("random", "group_by_length"):
            expected = "random or group_by_length beside data.balance.method class_aware, which draws the rows"
            problems.append(("training.train_sampling_strategy", expected, show(strategy), "change one of the two"))
        if problems:
            raise contract_error(*problems)
        return self

    @model_validator(mode="after")
    def _saves_are_pushed(self) -> RecipeFile:
        strategy = self.hub.strategy
        if strategy != "end" and self.training.save_strategy == "no":
            expected = "end beside training.save_strategy no, for pushes during training are of its saves"
            raise contract_error(("hub.strategy", expected, show(strategy), "write save_strategy: epoch"))
        return self

    @model_validator(mode="after")
    def _folds_can_be_drawn(self) -> RecipeFile:
        asked = self.decision.cross_validation
        problems = []
        if asked is not None and asked.mode == "head":
            why = "beside decision.cross_validation.mode head, which"
            made = {"data.augment": self.data.augment, "data.balance": self.data.balance}
            problems += [
                (key, f"null {why} needs each row once", show(value.model_dump()), "write mode: retrain")
                for key, value in made.items()
                if value is not None
            ]
            if self.peft.method:
                expected = f"null {why} ships another last layer than the adapter files"
                problems.append(("peft.method", expected, show(self.peft.method), "write mode: retrain"))
            if not self.model.head_on_paper().solvable:
                expected = f"a head that can be solved {why} solves its last layer"
                problems.append(("model.head", expected, show(self.model.head), "write mode: retrain"))
        if asked is not None and asked.mode == "retrain" and self.training.load_best_model_at_end:
            expected = "false beside mode retrain: a fold would choose its model on the rows it is judged on"
            problems.append(("training.load_best_model_at_end", expected, "true", "write mode: head, or set it false"))
        if problems:
            raise contract_error(*problems)
        return self


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
