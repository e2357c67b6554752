"""What the terminal shows of a profile; every table is readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.cells import cell_len
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from hf_multilabel.data.profile import DataProfile
from hf_multilabel.data.profile.facts import LabelPair

WIDEST_BAR, NARROWEST_BAR = 24, 10
NAME_WIDTH = 34
NUMBERS = ("rows", "share", "IRLbl")
# Of a table of five columns: its lines, and a space on both sides of each cell.
BORDERS = 16
PAIRS = 8
WIDTH = 78


def profile_tables(profile: DataProfile, shown: int = 20) -> Iterator[RenderableType]:
    """All tables, in the order of reading.

    Args:
        profile: What was found.
        shown: Labels listed, half of them the most and half the least frequent.
    """
    yield split_table(profile)
    yield label_table(profile, shown)
    if profile.cooccurrence.by_lift:
        yield pair_table(profile)
    yield length_table(profile)
    yield findings_table(profile)
    if profile.lookalikes:
        yield lookalike_table(profile)
    if profile.memory is not None:
        yield memory_table(profile)
    if profile.errors is not None:
        yield errors_table(profile)


def split_table(profile: DataProfile) -> Table:
    """One column a split."""
    title = f"{escape(profile.source)}: {len(profile.labels):,} labels"
    table = _titled(title)
    table.add_column("")
    for split in profile.splits:
        table.add_column(split, justify="right")
    lines = {
        "rows": [f"{facts.rows:,}" for facts in profile.splits.values()],
        "where from": [facts.origin for facts in profile.splits.values()],
        "labels a row (cardinality)": [f"{facts.cardinality:.2f}" for facts in profile.splits.values()],
        "share of all labels (density)": [f"{facts.density:.4f}" for facts in profile.splits.values()],
        "rows without labels": [f"{facts.rows_without_labels:,}" for facts in profile.splits.values()],
        "different label sets": [f"{facts.label_sets:,}" for facts in profile.splits.values()],
        "of one row alone": [f"{facts.single_sets:,}" for facts in profile.splits.values()],
        "labels present": [f"{facts.labels_present:,}" for facts in profile.splits.values()],
        "labels only elsewhere": [f"{facts.labels_missing:,}" for facts in profile.splits.values()],
    }
    for name, cells in lines.items():
        table.add_row(name, *cells)
    return table


def label_table(profile: DataProfile, shown: int) -> Table:
    """The most and the least frequent labels with their share of the training rows and their imbalance."""
    counts = np.array(profile.counts.get("train", next(iter(profile.counts.values()))))
    rows = profile.splits.get("train", next(iter(profile.splits.values()))).rows
    order = np.argsort(-counts, kind="stable")
    found = profile.imbalance
    title = (
        f"Labels by training rows; imbalance: MeanIR {found['mean_ir']:,.1f}, CVIR {found['cvir']:.2f}, "
        f"SCUMBLE {found['scumble']:.3f}"
    )
    most, least = shown - shown // 2, shown // 2
    cut = len(order) > shown
    listed = [*order[:most], *order[-least:]] if cut else list(order)
    cells = [_label_numbers(counts[label], rows, profile.ratios[label]) for label in listed]
    more = f"... {len(order) - shown:,} more" if cut else ""
    name_width, bar = _label_widths([more, *(profile.labels[label] for label in listed)], cells)
    table = _titled(title)
    table.add_column("label", max_width=name_width, overflow="ellipsis", no_wrap=True)
    for heading in NUMBERS:
        table.add_column(heading, justify="right", no_wrap=True)
    # thousands of labels differ by powers of ten
    scale = np.log1p if len(counts) > 100 else np.asarray
    table.add_column("log scale" if len(counts) > 100 else "", max_width=bar, no_wrap=True)
    heights = scale(counts) / max(1e-9, float(scale(counts.max(initial=1))))
    for position, (label, numbers) in enumerate(zip(listed, cells, strict=True)):
        if cut and position == most:
            table.add_row(more, "", "", "", "")
        table.add_row(escape(profile.labels[label]), *numbers, "#" * round(bar * heights[label]))
    return table


def _label_numbers(count: int, rows: int, ratio: float | None) -> tuple[str, str, str]:
    return f"{count:,}", f"{count / rows:.2%}", "-" if ratio is None else f"{ratio:,.1f}"


def _label_widths(names: Sequence[str], cells: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Columns for the names and the bars, so that the numbers between them are never cut."""
    numbers = sum(max(map(len, column)) for column in zip(NUMBERS, *cells, strict=True))
    free = WIDTH - BORDERS - numbers
    name = min(NAME_WIDTH, max(map(cell_len, names)), free - NARROWEST_BAR)
    return name, min(WIDEST_BAR, free - name)


def pair_table(profile: DataProfile) -> Table:
    """The strongest pairs of labels by lift and by Jaccard similarity."""
    found = profile.cooccurrence
    title = f"Labels that stand together, in {found.least:,} training rows at least"
    table = _titled(title)
    table.add_column("pair", max_width=44, overflow="ellipsis", no_wrap=True)
    for heading in ("rows", "lift", "Jaccard"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, pairs in (("strongest by lift", found.by_lift), ("strongest by Jaccard", found.by_jaccard)):
        table.add_row(f"[italic]{name}[/italic]", "", "", "")
        _add_pairs(table, pairs[:PAIRS])
    return table


def _add_pairs(table: Table, pairs: Sequence[LabelPair]) -> None:
    for pair in pairs:
        # half of the width each, so that a long first name does not hide the second
        names = " + ".join(_short(name, 20) for name in (pair.first, pair.second))
        table.add_row(escape(names), f"{pair.together:,}", f"{pair.lift:,.2f}", f"{pair.jaccard:.3f}")


def length_table(profile: DataProfile) -> Table:
    """Lengths of the texts, and what the recipe's length cuts."""
    found = profile.lengths
    table = _titled(f"Lengths in {found.unit}")
    table.add_column("split")
    for heading in ("texts", "5%", "median", "95%", "99%", "most", f"> {found.max_length:,}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for split, values in found.percentiles.items():
        lengths = (f"{values[p]:,}" for p in (5, 50, 95, 99, 100))
        table.add_row(split, f"{found.measured[split]:,}", *lengths, f"{found.truncated[split]:.1%}")
    longer = ", ".join(f"{share:.0%} > {size:,}" for size, share in found.cut_at.items() if 0.001 < share < 0.999)
    if longer:
        table.caption = f"training texts that are longer: {longer}"
        table.caption_justify = "left"
    return table


def findings_table(profile: DataProfile) -> Table:
    """What should not be: repeated texts, labels that are missing, shares that shift."""
    table = _titled("To look at before training")
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_column("for instance", overflow="fold")
    for split, found in profile.textless.items():
        places = ", ".join(Path(place).name for place in found["examples"][:2])
        table.add_row(f"rows without text in {split}", f"{found['count']:,}", escape(places))
    _add_repeated(table, profile)
    _add_near(table, profile)
    for split, facts in profile.splits.items():
        if facts.labels_missing:
            table.add_row(f"labels not in {split}", f"{facts.labels_missing:,}", escape(_some(facts.missing_examples)))
    count, never = profile.unseen.get("count", 0), profile.unseen.get("never", 0)
    table.add_row("labels only outside training", f"{count:,}", escape(_some(profile.unseen.get("examples", ()))))
    if never:
        table.add_row("declared labels without a row", f"{never:,}")
    for pair, shift in profile.shift.items():
        largest = shift.largest[0] if shift.largest and shift.significant else None
        shown = f"{_short(largest.label, 20)} {largest.first:.2%}, {largest.second:.2%}" if largest else ""
        table.add_row(f"labels that shift, {pair}", f"{shift.significant:,} of {shift.labels:,}", escape(shown))
    for key, count in profile.corrections.items():
        if isinstance(count, int):
            table.add_row(f"corrections: {key}", f"{count:,}")
    return table


def _add_repeated(table: Table, profile: DataProfile) -> None:
    """Texts that are the same byte for byte, and ids that come twice; one line where there are none."""
    found = {f"texts repeated in {split}": count for split, count in profile.duplicates["within_splits"].items()}
    for pair, count in profile.duplicates["between_splits"].items():
        first, _, second = pair.partition("/")
        found[f"texts of {second} also in {first}"] = count
    found |= {f"ids repeated, {place}": count for place, count in profile.duplicates.get("ids", {}).items()}
    for what, count in found.items():
        if count:
            table.add_row(what, f"{count:,}")
    if not any(found.values()):
        table.add_row("texts or ids repeated", "0")


def _add_near(table: Table, profile: DataProfile) -> None:
    near = profile.near_duplicates
    if near is None:
        return
    example = near.examples[0] if near.examples else None
    shown = f"{example.first}, {example.second}" if example else ""
    part = "" if near.rows == near.of else f" (of {near.rows:,} rows drawn from {near.of:,})"
    if not near.examples:
        table.add_row(f"near duplicates{part}", "0")
    for split, count in ((split, count) for split, count in near.within.items() if count):
        table.add_row(f"near duplicates in {split}{part}", f"{count:,}")
    for pair, count in ((pair, count) for pair, count in near.between.items() if count):
        first, _, second = pair.partition("/")
        here = example is not None and example.first.startswith(first) and example.second.startswith(second)
        table.add_row(f"near duplicates of {second} in {first}", f"{count:,}", escape(shown) if here else "")


def lookalike_table(profile: DataProfile) -> Table:
    """Labels that are probably one, written in two ways."""
    found = profile.lookalikes
    caption = "if two are one label, give them one name in the data: now each is learned alone"
    table = _titled(f"Labels that look alike: {len(found):,}", caption=caption, caption_justify="left")
    for heading in ("label", "looks like"):
        table.add_column(heading, max_width=NAME_WIDTH - 6, overflow="ellipsis", no_wrap=True)
        table.add_column("rows", justify="right", no_wrap=True)
    for pair in found[:PAIRS]:
        table.add_row(escape(pair.second), f"{pair.second_rows:,}", escape(pair.first), f"{pair.first_rows:,}")
    if len(found) > PAIRS:
        table.add_row(f"... {len(found) - PAIRS:,} more", "", "", "")
    return table


def memory_table(profile: DataProfile) -> Table:
    """Memory of a run."""
    found = profile.memory
    assert found is not None
    title = (
        f"Memory of a run: {found.batch_size} texts of {found.length:,} tokens, {found.parameters / 1e6:.1f} M weights"
    )
    table = _titled(title, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for name in ("weights", "gradients", "optimizer", "activations", "evaluation", "libraries"):
        table.add_row(name, _bytes(getattr(found, name)))
    table.add_row("peak, about", _bytes(found.total))
    return table


def errors_table(profile: DataProfile) -> Table:
    """Suspected label errors by label."""
    found = profile.errors
    assert found is not None
    title = f"Suspected label errors in {escape(found.file)}: {found.missing:,} missing, {found.wrong:,} wrong"
    judged = f"{found.labels:,} of {len(profile.labels):,} labels judged: {found.method}"
    table = _titled(title, caption=escape(judged), caption_justify="left")
    table.add_column("label", max_width=50, overflow="ellipsis", no_wrap=True)
    table.add_column("pairs", justify="right")
    for label, count in found.by_label.items():
        table.add_row(escape(label), f"{count:,}")
    return table


def _titled(title: str, **options: Any) -> Table:
    """A table as wide as its title, which would be broken above a narrow one."""
    return Table(title=title, title_justify="left", min_width=min(WIDTH, len(title)), **options)


def _bytes(size: int) -> str:
    return f"{size / 2**30:.2f} GB" if size >= 2**29 else f"{size / 2**20:.0f} MB"


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _some(names: Sequence[str], shown: int = 2) -> str:
    return ", ".join(_short(name, 24) for name in names[:shown])
