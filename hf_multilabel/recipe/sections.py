"""The sections after training: `decision`, `evaluation` and `hub`."""

from __future__ import annotations

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import Field, field_validator, model_validator

from hf_multilabel.decisions.thresholds import THRESHOLD_RULES
from hf_multilabel.recipe.fields import POSITIVE, Section, contract_error, number, one_of
from hf_multilabel.recipe.secrets import show
from hf_multilabel.remote_code.decision_multilabel import EMPTY, RULES


class DecisionSection(Section):
    """How probabilities become label sets; the cuts are fitted on the validation split only."""

    objective: one_of(THRESHOLD_RULES) = Field("balanced", description="What the cuts are chosen for.")
    threshold: number(gt=0, lt=1) = Field(0.5, description="The cut of every label under the objective fixed.")
    shrinkage: number(ge=0) | None = Field(
        None,
        description="Of balanced: with n validation positives, a label's own cut counts n / (n + shrinkage), "
        "the common one the rest; null: the measured default.",
    )
    rule: one_of(RULES) = Field("threshold", description="Labels above their cut, the k most probable, or both.")
    top_k: POSITIVE | None = Field(None, description="k of the rules top_k and threshold_top_k.")
    empty: one_of(EMPTY) = Field(
        "allow", description="A text above no cut: no label, the best one (at_least_one), or abstain."
    )
    min_labels: POSITIVE | None = Field(None, description="Fewest labels a text gets.")
    max_labels: POSITIVE | None = Field(None, description="Most labels a text gets.")

    @model_validator(mode="after")
    def _goes_together(self) -> DecisionSection:
        problems = []
        if ("top_k" in self.rule) != (self.top_k is not None):
            expected = f"a number under the rule {self.rule}" if self.top_k is None else "null under the rule threshold"
            problems.append(("top_k", expected, show(self.top_k), "change top_k or rule"))
        if self.min_labels and self.max_labels and self.min_labels > self.max_labels:
            problems.append(("min_labels", f"at most max_labels {self.max_labels}", show(self.min_labels), "lower it"))
        if self.min_labels and self.empty == "abstain":
            problems.append(
                ("min_labels", "null beside empty: abstain", show(self.min_labels), "change one of the two")
            )
        if self.threshold != 0.5 and self.objective != "fixed":
            problems.append(("threshold", f"no cut: {self.objective} fits it", show(self.threshold), "remove it"))
        if self.shrinkage is not None and self.objective != "balanced":
            problems.append(("shrinkage", f"null under {self.objective}", self.shrinkage, "write objective: balanced"))
        if problems:
            raise contract_error(*problems)
        return self


class EvaluationSection(Section):
    """What is measured on the validation and test splits."""

    k: list[POSITIVE] = Field([1, 3, 5], min_length=1, description="Cut-offs of P@k, R@k and nDCG@k.")


class HubSection(Section):
    """Where the run's folder is pushed to, and what its model card says. The token comes from HF_TOKEN."""

    repo_id: str | None = Field(None, description="OWNER/NAME on the Hub; null: nothing is pushed.")
    private: bool = Field(False, description="Create the repo as a private one.")
    revision: str | None = Field(None, description="Branch to push to; null: main.")
    commit_message: str | None = Field(None, description="Message of the commit; null: one with the main metrics.")
    language: list[str] | str | None = Field(None, description="Language codes of the texts, for the card.")
    license: str | None = Field(None, description="Licence of the model, as the Hub spells it, for the card.")
    datasets: list[str] = Field([], description="Hub ids of the training data, for the card.")
    tags: list[str] = Field([], description="More tags of the card.")
    examples: list[str] = Field(
        [], description="Texts the card and its widget try the model on; none are taken from the data."
    )

    @field_validator("repo_id")
    @classmethod
    def _is_repo_id(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                validate_repo_id(value)
        except HFValidationError:
            expected = "OWNER/NAME of letters, digits and - _ ."
            raise contract_error(("", expected, show(value), "name the repo as on the Hub")) from None
        return value
