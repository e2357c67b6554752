"""What a card says of the data and the training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from hf_multilabel.progress import duration
from hf_multilabel.publishing.card_facts import CardFacts
from hf_multilabel.publishing.card_text import flatten, number, plural

SPLITS = ("train", "validation", "test")
# Statistics that programs read.
HASHES = ("fingerprints", "train_sketch")
# Those that have a place of their own, or that say nothing to a reader.
TOLD = (
    *HASHES,
    "rows", "rows_in_source", "labels", "cardinality", "density", "rows_without_labels", "splits", "split_seed",
    "balance", "duplicates", "unseen_labels", "imbalance", "truncated_share",
)  # fmt: skip


def split_table(data: Mapping[str, Any], max_length: int) -> list[list[str]]:
    """A line a split with its heading line first; empty where nothing is known. Columns that nobody counted are left
    out.
    """
    columns = {
        "rows": data.get("rows"),
        "of": data.get("rows_in_source"),
        "labels a text": data.get("cardinality"),
        "texts without labels": data.get("rows_without_labels"),
        f"cut at {max_length:,} tokens": data.get("truncated_share"),
    }
    known = {name: values for name, values in columns.items() if values}
    splits = [split for split in SPLITS if split in data.get("rows", {})]
    if not splits:
        return []
    lines = [[split, *(_cell(name, values.get(split)) for name, values in known.items())] for split in splits]
    return [["split", *known], *lines]


def data_notes(data: Mapping[str, Any]) -> Iterator[str]:
    """How the splits came about and what is wrong with them."""
    if made := [split for split, how in data.get("splits", {}).items() if how == "stratified"]:
        noun = "split was" if len(made) == 1 else "splits were"
        yield f"The {' and '.join(made)} {noun} drawn from the training rows, stratified by label."
    if shared := data.get("duplicates", {}).get("between_splits"):
        found = [f"{count:,} of {pair.replace('/', ' and ')}" for pair, count in shared.items() if count]
        yield f"Texts that stand in two splits: {', '.join(found) or 'none'}."
    unseen = data.get("unseen_labels", {})
    if unseen.get("count"):
        yield f"{plural(unseen['count'], 'label')} occur only outside training: they can't be predicted."
    if unseen.get("never"):
        yield f"{plural(unseen['never'], 'label')} hold in no row at all."
    ratio = data.get("imbalance", {}).get("max_ir")
    if ratio is not None and math.isfinite(ratio):
        yield f"The most frequent label holds {ratio:,.1f} times as often as the rarest."


def more_counts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was counted beyond that: windows, soft labels, remedies against imbalance."""
    return list(flatten({key: value for key, value in data.items() if key not in TOLD}))


def training_notes(training: Mapping[str, Any]) -> Iterator[str]:
    """Size, time and machine of the training."""
    if "steps" in training:
        yield f"{plural(training['steps'], 'step')}, {plural_epochs(training.get('epochs', 0.0))}."
    if "seconds" in training:
        precision = f" in {training['precision']}" if "precision" in training else ""
        yield f"{duration(training['seconds'])} on {hardware(training)}{precision}."
    if "parameters" in training:
        trained = training.get("trained_parameters", training["parameters"])
        part = "all" if trained == training["parameters"] else f"{trained:,}"
        yield f"{training['parameters']:,} parameters, {part} of them trained."


def hardware(training: Mapping[str, Any]) -> str:
    """The machine of a training, as far as it was noted."""
    processes = training.get("num_processes", 1)
    machine = training.get("hardware") or {"cpu": "a CPU", "cuda": "a GPU"}.get(training.get("device", ""), "a device")
    return machine if processes == 1 else f"{processes} processes, each on {machine}"


def plural_epochs(epochs: float) -> str:
    """Passes over the training rows.

    Example:
        >>> plural_epochs(2.0), plural_epochs(0.2711)
        ('2 epochs', '0.271 epochs')
    """
    return f"{epochs:.3g} epoch{'' if epochs == 1 else 's'}"


def libraries(facts: CardFacts) -> str:
    """Python and the libraries with their versions, on one line."""
    versions = {"Python": facts.training.get("python"), **facts.training.get("libraries", {})}
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.startswith("cut at"):
        return f"{value:.1%}"
    return f"{value:.2f}" if name == "labels a text" else number(value)
