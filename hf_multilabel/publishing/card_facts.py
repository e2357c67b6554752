"""What a card says, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CardFacts:
    """What a card says. Plain values only; empty ones leave their line or section out.

    Args:
        name: Name of the model, for the heading and the model-index.
        labels: Label names by id.
        metrics: As metrics.json: split -> `fixed` and `tuned` -> metric -> value.
        decision: As stored in config.json.
        max_length: Tokens kept of a text.
        text: Columns of the text in the training data.
        per_label: Lines of `evaluation.metrics.label_table` for the reported split.
        repo_id: Where it is pushed to, OWNER/NAME; None names the folder instead.
        folder: The local folder.
        base_model: Hub id of the encoder it was fine-tuned from.
        architecture: Encoder, pooling and head in a few words.
        dataset: Name of the training data.
        dataset_id: Its Hub id, where it has one.
        license: Identifier of the licence, as the Hub spells them.
        languages: ISO codes.
        tags: Tags beyond `card_metadata.TAGS`.
        examples: Texts for the widget and the lines that show how to use it.
        answers: The label set of each example, label to probability, most probable first.
        figures: Path in the repository, such as figures/labels.png, to what is seen there.
        data: Statistics of the data, nested as they are in metrics.json.
        training: What metrics.json says of the training.
        shortened: Sentences on what cut the run short.
        changes: Where the run differs from a shipped recipe: key, value here, value there.
        recipe: The resolved recipe, YAML.
        limits: Sentences beyond those that hold for every model.
    """

    name: str
    labels: Sequence[str]
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]
    decision: Mapping[str, Any]
    max_length: int
    text: Sequence[str] = ("text",)
    per_label: Sequence[Mapping[str, Any]] = ()
    repo_id: str | None = None
    folder: str | None = None
    base_model: str | None = None
    architecture: str | None = None
    dataset: str | None = None
    dataset_id: str | None = None
    license: str | None = None
    languages: Sequence[str] = ()
    tags: Sequence[str] = ()
    examples: Sequence[str] = ()
    answers: Sequence[Mapping[str, float]] = ()
    figures: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    shortened: Sequence[str] = ()
    changes: Sequence[tuple[str, str, str]] = ()
    recipe: str = ""
    limits: Sequence[str] = ()

    @property
    def split(self) -> str | None:
        """The split whose numbers the card reports: test, or the nearest thing to it."""
        return next((name for name in ("test", "validation") if name in self.metrics), None)

    @property
    def fixed(self) -> Mapping[str, Any]:
        """Metrics of the reported split at a threshold of 0.5."""
        return self.metrics[self.split].get("fixed", {}) if self.split else {}

    @property
    def tuned(self) -> Mapping[str, Any]:
        """Metrics of the reported split with the stored decision."""
        return self.metrics[self.split].get("tuned", {}) if self.split else {}
