"""What the keys of a study file may be."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from hf_multilabel.recipe.fields import POSITIVE, Section, contract_error, number, one_of, whole
from hf_multilabel.recipe.secrets import show

SEED = whole(ge=0, le=2**32 - 1)


class RangeSection(Section):
    """Numbers that a search draws from."""

    type: one_of(("float", "int")) = Field(description="Kind of the number.")
    low: number() = Field(description="Smallest.")
    high: number() = Field(description="Largest.")
    log: bool = Field(False, description="Draw the logarithm evenly: for rates, whose size matters by factors.")
    step: number(gt=0) | None = Field(None, description="Distance of the numbers; null: any, or 1 for int.")

    @model_validator(mode="after")
    def _goes_together(self) -> RangeSection:
        problems = []
        if self.low >= self.high:
            problems.append(("high", f"more than low {self.low:g}", show(self.high), "raise it"))
        if self.log and self.low <= 0:
            problems.append(("low", "a number > 0 beside log: true", show(self.low), "raise it"))
        if self.log and self.step is not None:
            problems.append(("step", "null beside log: true", show(self.step), "remove one of the two"))
        numbers = {"low": self.low, "high": self.high, "step": self.step}
        if self.type == "int":
            problems += [
                (key, "a whole number beside type: int", show(value), "write type: float")
                for key, value in numbers.items()
                if value is not None and not float(value).is_integer()
            ]
        if problems:
            raise contract_error(*problems)
        return self


class BudgetSection(Section):
    """When a study ends; what is not done by then, the same command goes on with."""

    trials: POSITIVE | None = Field(
        None, description="Trials in all, over every start of the study; null: the whole grid, and 20 of a search."
    )
    hours: number(gt=0) | None = Field(None, description="No trial starts after so many hours of this start.")


class PrunerSection(Section):
    """Ends trials early that lag behind others at the same point of their training."""

    name: one_of(("median", "successive_halving")) = Field(
        "median", description="median: worse than half of the others; successive_halving: worse than most of them."
    )
    first_trials: whole(ge=0) = Field(4, description="So many trials run to their end before any is ended early.")
    first_points: whole(ge=0) = Field(1, description="Points of a trial's curve before it can be ended.")


class SamplerSection(Section):
    """How a search chooses the next values."""

    name: one_of(("tpe", "random")) = Field("tpe", description="tpe learns from the trials so far (Bergstra 2011).")
    seed: SEED = Field(0, description="Of its choices; with several processes their order is not repeatable.")


class CurveSection(Section):
    """Measurements during a trial: what curves show and pruning reads."""

    points: POSITIVE = Field(5, description="Measurements, evenly spaced over the steps, the last at the end.")
    rows: POSITIVE = Field(256, description="Rows of a split that are scored at each, evenly spaced.")


class StudyFile(Section):
    """A study of hf_multilabel: one recipe, many values."""

    recipe: str = Field(min_length=1, description="The base: a path relative to this file, or a shipped recipe's name.")
    overrides: dict[str, Any] = Field({}, description="section.key: value, changes of the base for all trials.")
    grid: dict[str, Any] | None = Field(
        None,
        description="section.key: list of its values; or NAME: {CHOICE: {section.key: value or list}}, keys that vary "
        "together. Every combination is tried with every seed.",
    )
    space: dict[str, Any] | None = Field(
        None,
        description="section.key: list of choices or {type: float | int, low, high, log, step}; or "
        "NAME: {CHOICE: {section.key: value, list or range}}.",
    )
    seeds: list[SEED] = Field([0], min_length=1, description="training.seed of the runs of each combination.")
    metric: str = Field("macro_f1", description="Of metrics.json, or loss, on the validation split.")
    direction: Literal["maximize", "minimize"] = Field("maximize", description="Which values are better.")
    decision: one_of(("fixed", "tuned")) = Field(
        "fixed",
        description="fixed: at a cut of 0.5; tuned: what the fitted decision is expected to reach on other rows, of "
        "micro_f1 or macro_f1 (cross-fitted on the validation rows).",
    )
    report: list[one_of(("test",))] = Field(
        [], description="Splits that are measured and drawn too; nothing is ever chosen by them."
    )
    curve: CurveSection = Field(CurveSection(), description="Measurements during a trial.")
    budget: BudgetSection = Field(BudgetSection(), description="When the study ends.")
    pruner: PrunerSection | None = Field(None, description="Ends hopeless trials early; null: none is.")
    sampler: SamplerSection = Field(SamplerSection(), description="How a search chooses the next values.")
    keep: one_of(("none", "best")) = Field(
        "none", description="best: the best trial so far is left in FOLDER/best as a finished, proved model."
    )
    output_dir: str | None = Field(
        None, min_length=1, description="The study's folder, relative to the working folder; null: runs/studies/NAME."
    )

    @model_validator(mode="after")
    def _goes_together(self) -> StudyFile:
        problems = []
        if (self.grid is None) == (self.space is None):
            found = "neither" if self.grid is None else "both"
            problems.append(("", "either grid or space", found, "write one of the two"))
        for key in ("grid", "space"):
            if getattr(self, key) == {}:
                problems.append((key, "at least one key", "none", "write what varies"))
        if len(set(self.seeds)) < len(self.seeds):
            problems.append(("seeds", "different seeds", show(self.seeds), "remove the repeated ones"))
        if self.decision == "tuned" and self.metric not in ("micro_f1", "macro_f1"):
            problems.append(("metric", "micro_f1 or macro_f1 beside decision: tuned", show(self.metric), "change one"))
        if self.metric == "loss" and self.direction == "maximize":
            problems.append(("direction", "minimize beside metric: loss", "'maximize'", "write direction: minimize"))
        if problems:
            raise contract_error(*problems)
        return self
