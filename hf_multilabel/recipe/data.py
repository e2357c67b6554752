"""The section `data`: where texts and labels come from, and the remedies against imbalance."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hf_multilabel.data.augmentation import AUGMENTERS
from hf_multilabel.data.balancing import BALANCERS
from hf_multilabel.recipe.fields import POSITIVE, Section, contract_error, number, one_of, parameters, whole
from hf_multilabel.recipe.secrets import show

SPLITS = ("train", "validation", "test")
SHARE = number(gt=0, lt=1)
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
    soft_labels: bool = Field(
        False,
        description="0/1 columns may hold probabilities, such as a teacher's scores, which the loss then trains on. "
        "From 0.5 on a label holds: for counts, splits, balance, and for validation and test.",
    )
    corrections: str | None = Field(
        None,
        description="List of (row, label) pairs that a person corrected, as inspect --label-errors writes it; those "
        "with the action fix are applied as the rows are read.",
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
    max_length: whole(ge=8) = Field(
        256,
        description="Tokens a text is cut to; the share cut is in metrics.json. With model.windows it may exceed what "
        "the backbone reads at once.",
    )
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

    @model_validator(mode="after")
    def _softens_columns(self) -> DataSection:
        named = self.label_format == "columns" or (self.label_format == "auto" and not isinstance(self.labels, str))
        if self.soft_labels and not named:
            expected = f"false beside labels: {show(self.labels)} and label_format: {self.label_format}, no 0/1 columns"
            fix = "list the 0/1 columns in data.labels (null: all), or remove soft_labels"
            raise contract_error(("soft_labels", expected, "true", fix))
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
