"""A profile in sections of a page: the whole page of `hf-multilabel inspect`, and a part of every run's report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hf_multilabel.data.profile import DataProfile
from hf_multilabel.data.profile.facts import LabelPair
from hf_multilabel.reports.data_figures import DATA_FIGURES
from hf_multilabel.reports.drawing import MOST_BYTES, render
from hf_multilabel.reports.page import Block, Heading, Page, Picture, Prose, Section, Table, render_page

# Rows of the label table; the rest is in the JSON.
LABELS_SHOWN = 60
# A figure of a page of its own may be larger than those of a report, which has a dozen others.
FULL_BYTES = 120_000
# One sentence each: what is seen, for readers and for those who can't see it.
CAPTIONS = {
    "label_distribution": "How many training rows have each label.",
    "imbalance": "IRLbl of each label: training rows of the most frequent label over its own. MeanIR is their mean, "
    "CVIR their spread over that mean, SCUMBLE how much rare labels stand beside frequent ones.",
    "cooccurrence": "Of the training rows with the label of the line, the share that has that of the column, too.",
    "lengths": "Lengths of the training texts, and where the model cuts them.",
}


def render_data_report(profile: DataProfile, pngs: Mapping[str, bytes] | None = None) -> str:
    """The whole page.

    Args:
        profile: What was found.
        pngs: Its figures; None: they are drawn.

    Raises:
        InputError: If matplotlib is not installed.
    """
    sections = [*profile_sections(profile, pngs or draw_data_figures(profile)), *estimate_sections(profile)]
    facts = {
        "labels": f"{len(profile.labels):,}",
        "rows": ", ".join(f"{found.rows:,} {split}" for split, found in profile.splits.items()),
    }
    guessed = [Section("guessed", "Guessed columns", [Prose(profile.guessed)] if profile.guessed else [])]
    labels = [Section("labels", "Labels", [label_table(profile)])]
    return render_page(Page(f"Data: {profile.source}", [*guessed, *sections, *labels], facts))


def profile_blocks(profile: DataProfile) -> list[Block]:
    """All that is cheap, for one section of a report: its sections become headings."""
    found: list[Block] = []
    for section in profile_sections(profile, draw_data_figures(profile, MOST_BYTES)):
        found += [Heading(section.title), *section.blocks] if section.blocks else []
    return found


def draw_data_figures(profile: DataProfile, most: int = FULL_BYTES) -> dict[str, bytes]:
    """Name to PNG of every figure, each of at most so many bytes.

    Raises:
        InputError: If matplotlib is not installed.
    """
    return {name: render(draw(profile), most) for name, draw in DATA_FIGURES.items()}


def profile_sections(profile: DataProfile, pngs: Mapping[str, bytes]) -> list[Section]:
    """What the data hold, in the order of reading.

    Args:
        profile: What was found.
        pngs: Its figures.
    """
    shown = {name: Picture(f"data_{name}", png, CAPTIONS[name]) for name, png in pngs.items()}
    first = [findings_table(profile), *lookalike_table(profile), *near_examples(profile)]
    return [
        Section("splits", "Splits", [split_table(profile)]),
        Section("findings", "To look at before training", first),
        Section("distribution", "Label distribution", [shown["label_distribution"]]),
        Section("imbalance", "Imbalance", [imbalance_line(profile), shown["imbalance"]]),
        Section("together", "Labels that stand together", [shown["cooccurrence"], *pair_tables(profile)]),
        Section("lengths", f"Lengths in {profile.lengths.unit}", [shown["lengths"], length_table(profile)]),
        Section("shift", "Labels that shift between splits", shift_table(profile)),
    ]


def split_table(profile: DataProfile) -> Table:
    """A column a split."""
    splits = profile.splits.values()
    lines = {
        "rows": [found.rows for found in splits],
        "where from": [found.origin for found in splits],
        "labels a row (cardinality)": [found.cardinality for found in splits],
        "share of all labels (density)": [found.density for found in splits],
        "rows without labels": [found.rows_without_labels for found in splits],
        "different label sets": [found.label_sets for found in splits],
        "label sets of one row alone": [found.single_sets for found in splits],
        "labels present": [found.labels_present for found in splits],
        "labels missing": [found.labels_missing for found in splits],
    }
    rows = [(name, *values) for name, values in lines.items()]
    return Table(["", *profile.splits], rows, f"{len(profile.labels):,} labels; missing: in another split only")


def findings_table(profile: DataProfile) -> Table:
    """Copies, leakage, and labels that a split lacks; zeros are good news and are said."""
    return _without_empty(["what", "count", "for instance"], list(_findings(profile)), "Copies: the same bytes")


def _findings(profile: DataProfile) -> Iterator[tuple[str, int, str]]:
    copies, near = profile.duplicates, profile.near_duplicates
    for split, found in profile.textless.items():
        yield f"rows without text in {split}, left out here", found["count"], ", ".join(found["examples"])
    yield from _copies(copies["within_splits"], copies["between_splits"], "repeated", "also")
    if near is not None:
        yield from _copies(near.within, near.between, "nearly repeated", "nearly")
    yield from ((f"ids repeated, {place}", count, "") for place, count in copies.get("ids", {}).items() if count)
    for split, facts in profile.splits.items():
        yield f"labels not in {split} that another split has", facts.labels_missing, _some(facts.missing_examples)
    if never := profile.unseen.get("never", 0):
        yield "declared labels without a row", never, ""
    for key, count in profile.corrections.items():
        if isinstance(count, int):
            yield f"corrections: {key}", count, ""


def _copies(
    within: Mapping[str, int], between: Mapping[str, int], repeated: str, also: str
) -> Iterator[tuple[str, int, str]]:
    for split, count in within.items():
        yield f"texts {repeated} in {split}", count, ""
    for pair, count in between.items():
        first, _, second = pair.partition("/")
        yield f"texts of {second} {also} in {first}", count, ""


def lookalike_table(profile: DataProfile) -> list[Block]:
    """Labels that are probably one, written in two ways; nothing where there are none."""
    found = profile.lookalikes
    rows = [(pair.second, pair.second_rows, pair.first, pair.first_rows) for pair in found[:LABELS_SHOWN]]
    caption = f"Labels that look alike: {len(found):,}. Where two are one label, the data should give them one name"
    return [Table(["label", "rows", "looks like", "rows of that"], rows, caption)] if rows else []


def near_examples(profile: DataProfile) -> list[Block]:
    """How near duplicates were searched for, and the most similar pairs; nothing where they were not."""
    near = profile.near_duplicates
    if near is None:
        return []
    said = (
        f"Nearly: {near.threshold:.0%} of the shingles of {near.words} words in common, not the same bytes. "
        f"{near.rows:,} of {near.of:,} rows were searched."
    )
    rows = [
        (f"{pair.first}, {pair.second}", pair.similarity, f"{pair.first_text} / {pair.second_text}")
        for pair in near.examples
    ]
    return [Prose([said]), *([Table(["rows", "similarity", "texts"], rows, "The most similar")] if rows else [])]


def imbalance_line(profile: DataProfile) -> Prose:
    """What the figure of the imbalance is summed up by."""
    found = profile.imbalance
    return Prose([f"MeanIR {found['mean_ir']:,.2f}, CVIR {found['cvir']:.3f}, SCUMBLE {found['scumble']:.3f}."])


def pair_tables(profile: DataProfile) -> list[Block]:
    """The strongest pairs of labels by lift and by Jaccard similarity; nothing where none is frequent enough."""
    found = profile.cooccurrence
    named = {"lift": found.by_lift, "Jaccard similarity": found.by_jaccard}
    return [
        _pair_table(pairs, f"Strongest by {name}, of pairs in at least {found.least:,} training rows")
        for name, pairs in named.items()
        if pairs
    ]


def _pair_table(pairs: Iterable[LabelPair], caption: str) -> Table:
    rows = [(f"{pair.first} + {pair.second}", pair.together, pair.lift, pair.jaccard) for pair in pairs]
    return Table(["pair", "rows", "lift", "Jaccard"], rows, caption, folded=True)


def length_table(profile: DataProfile) -> Table:
    """How long texts are, and how many of them the model does not read to their end."""
    found = profile.lengths
    rows = [
        (split, found.measured[split], *(at[p] for p in (5, 50, 95, 99, 100)), found.truncated[split])
        for split, at in found.percentiles.items()
    ]
    heads = ["split", "texts measured", "5%", "median", "95%", "99%", "most", f"share > {found.max_length:,}"]
    return Table(heads, rows, f"Percentiles of the lengths in {found.unit}")


def shift_table(profile: DataProfile) -> list[Block]:
    """Labels whose share differs between two splits; nothing of a single split."""
    rows = []
    for pair, shift in profile.shift.items():
        surest = [f"{found.label} ({found.first:.2%}, {found.second:.2%})" for found in shift.largest]
        shown = "; ".join(surest) if shift.significant else ""
        rows.append((pair.replace("/", ", "), shift.labels, shift.significant, shift.cardinality, shown))
    heads = ["splits", "labels", "that differ", "labels a row, difference", "the surest (shares of rows)"]
    caption = "Labels that differ by more than chance: Fisher's exact test a label, 5% of false discoveries"
    return [_without_empty(heads, rows, caption)] if rows else []


def estimate_sections(profile: DataProfile) -> list[Section]:
    """What `inspect` estimates beside: memory of a run and suspected label errors."""
    memory, errors = profile.memory, profile.errors
    sections = []
    if memory is not None:
        parts = ("weights", "gradients", "optimizer", "activations", "evaluation", "libraries", "total")
        rows = [("peak, about" if part == "total" else part, round(getattr(memory, part) / 2**20)) for part in parts]
        caption = (
            f"{memory.batch_size} texts of {memory.length:,} tokens a step, {memory.parameters / 1e6:.1f} M weights"
        )
        sections.append(Section("memory", "Memory of a run", [Table(["", "MB"], rows, caption)]))
    if errors is not None:
        said = (
            f"{errors.missing:,} labels seem to be missing and {errors.wrong:,} to be wrong, of {errors.rows:,} rows "
            f"and {errors.labels:,} labels judged. The list is in {errors.file}."
        )
        sections.append(Section("errors", "Suspected label errors", [Prose([said])]))
    return sections


def label_table(profile: DataProfile) -> Table:
    """The most frequent labels, and of many the rarest: name, rows by split, IRLbl."""
    first = next(iter(profile.counts))
    order = sorted(range(len(profile.labels)), key=lambda label: -profile.counts[first][label])
    half = LABELS_SHOWN // 2
    chosen = order if len(order) <= LABELS_SHOWN else [*order[:half], *order[-half:]]
    rows: list[list[Any]] = []
    for label in chosen:
        ratio = profile.ratios[label]
        counts = (found[label] for found in profile.counts.values())
        rows.append([profile.labels[label], *counts, ratio])
    few = f"The {half} most and least frequent of {len(order):,} labels" if len(chosen) < len(order) else "All labels"
    return Table(["label", *profile.counts, "IRLbl"], rows, few)


def _without_empty(heads: list[str], rows: list[tuple[Any, ...]], caption: str) -> Table:
    """A table without its last column where that says nothing."""
    wide = len(heads) if any(row[-1] for row in rows) else len(heads) - 1
    return Table(heads[:wide], [row[:wide] for row in rows], caption)


def _some(names: Iterable[str], shown: int = 3) -> str:
    return ", ".join(name if len(name) <= 40 else f"{name[:39]}…" for name in list(names)[:shown])
