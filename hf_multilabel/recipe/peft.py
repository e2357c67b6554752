"""The section `peft`: adapters in the backbone."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from hf_multilabel.recipe.fields import Section, contract_error, number, one_of, whole
from hf_multilabel.training.adapters import PEFT_METHODS, adapter_problems


class PeftSection(Section):
    """Parameter-efficient fine-tuning: adapters in the backbone; head and pooling are always trained as a whole."""

    method: one_of(PEFT_METHODS) | None = Field(
        None, description="The adapters; they are merged into the published model. null: the weights themselves train."
    )
    r: whole(ge=1) | None = Field(None, description="Rank of the adapters; null: peft's default of the method.")
    alpha: number(gt=0) | None = Field(None, description="Scale of the adapters, as lora_alpha; null likewise.")
    dropout: number(ge=0, lt=1) | None = Field(None, description="On the input of each adapter; null likewise.")
    target_modules: str | list[str] | None = Field(
        None,
        description="Endings of module names inside the backbone, for instance [query, value]; null: its linear layers "
        "(its norms for ln_tuning; keys, values and outputs for ia3 where peft knows them).",
    )
    args: dict[str, Any] | None = Field(
        None, description="Further arguments under peft's names, for instance {init_lora_weights: gaussian}."
    )

    def arguments(self) -> dict[str, Any]:
        """The section as keyword arguments of `hf_multilabel.training.adapters.add_adapters`."""
        return self.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _goes_together(self) -> PeftSection:
        given = self.arguments()
        if self.method is None:
            problems = [("method", f"a method beside {', '.join(given)}", "null", "write lora")] if given else []
        else:
            settings = {key: value for key, value in given.items() if key in ("r", "alpha", "dropout")}
            problems = adapter_problems(self.method, settings, self.args or {})
        if problems:
            raise contract_error(*problems)
        return self
