"""The section `loss`: the objective, its weights and its options."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from hf_multilabel.losses.registry import LOSSES, loss_options, loss_weights
from hf_multilabel.losses.weights import CLASS_WEIGHTS
from hf_multilabel.recipe.fields import Section, contract_error, number, one_of, parameters
from hf_multilabel.recipe.secrets import show


class WeightsSection(Section):
    """A rule that turns label frequencies of the training split into weights."""

    rule: one_of(CLASS_WEIGHTS) = Field(description="How a label's weight follows from its frequency.")
    normalize: bool = Field(False, description="Scale the weights to a mean of 1: the loss keeps its size.")
    cap: number(gt=0) | None = Field(None, description="Largest weight the rule may give.")
    beta: number(ge=0, lt=1) | None = Field(None, description="Of effective_number only; null: its own default.")

    @model_validator(mode="after")
    def _beta_has_a_rule(self) -> WeightsSection:
        if self.beta is not None and "beta" not in parameters(CLASS_WEIGHTS[self.rule]):
            raise contract_error(("beta", f"null under the rule {self.rule}", show(self.beta), "remove it"))
        return self


class LossSection(Section):
    """The training objective, its weights and its options; an option left null has the loss's own default."""

    name: one_of(LOSSES) = Field("bce", description="What is minimised; each loss takes its own options.")
    pos_weight: WeightsSection | None = Field(None, description="Weight of each label's positive term.")
    class_weights: WeightsSection | None = Field(None, description="Weight of each label's whole term.")
    smoothing: number(ge=0, lt=1) | None = Field(
        None,
        description="Of all losses: targets of 1 and 0 become 1 - smoothing / 2 and smoothing / 2, soft ones y become "
        "y * (1 - smoothing) + smoothing / 2.",
    )
    gamma: number(ge=0) | None = Field(
        None, description="Of focal, class_balanced, distribution_balanced: how much less a well-decided label weighs."
    )
    alpha: number(gt=0, lt=1) | None = Field(
        None, description="Of focal: weight of positives, 1 - alpha that of negatives; null weighs neither."
    )
    gamma_pos: number(ge=0) | None = Field(None, description="Of asymmetric: gamma of positives.")
    gamma_neg: number(ge=0) | None = Field(None, description="Of asymmetric: gamma of negatives.")
    clip: number(ge=0, lt=1) | None = Field(
        None, description="Of asymmetric: probability up to which a negative costs nothing."
    )
    beta: number(ge=0, lt=1) | None = Field(
        None, description="Of class_balanced: weights are (1 - beta) / (1 - beta ** positives), scaled to a mean of 1."
    )
    map_alpha: number(ge=0) | None = Field(None, description="Of distribution_balanced: smallest rebalancing weight.")
    map_beta: number(ge=0) | None = Field(
        None, description="Of distribution_balanced: how steeply rebalancing weights rise."
    )
    map_mu: number() | None = Field(
        None, description="Of distribution_balanced: in the middle of the rise; lower where rows have many labels."
    )
    neg_scale: number(gt=0) | None = Field(
        None, description="Of distribution_balanced: lambda, how fast the gradient of negatives fades."
    )
    kappa: number(ge=0) | None = Field(
        None, description="Of distribution_balanced: how far the logits of rare labels are lowered in training."
    )

    def arguments(self) -> dict[str, Any]:
        """The section as keyword arguments of `hf_multilabel.losses.build_loss`."""
        return self.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _takes_what_is_given(self) -> LossSection:
        given = self.model_dump(exclude_none=True, exclude={"name"})
        options, weights = loss_options(self.name), loss_weights(self.name)
        refused = [key for key in given if key not in (*options, *weights)]
        problems = []
        if rules := [key for key in refused if key in ("pos_weight", "class_weights")]:
            taking = [name for name in LOSSES if set(rules) <= set(loss_weights(name))]
            expected = f"a loss that takes {' and '.join(rules)}"
            problems.append(("name", expected, show(self.name), f"write {' or '.join(taking)}, or remove the weights"))
        for key in refused:
            if key not in rules:
                expected = f"an option of {self.name} ({', '.join(options)})"
                taking = [name for name in LOSSES if key in loss_options(name)]
                problems.append((key, expected, show(key), f"remove it, or write name: {' or '.join(taking)}"))
        if problems:
            raise contract_error(*problems)
        return self
