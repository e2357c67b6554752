"""Figures of a dataset: each takes a `DataProfile` and returns a matplotlib figure, readable for 6 and 4,271 labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_multilabel.data.profile import DataProfile
from hf_multilabel.reports.drawing import COLORS, GREY, HEAT, log_ticks, new_figure, shorten, styled, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Up to so many labels each gets a bar with its name; more are drawn by rank.
NAMED = 40
MAPPED = 25
NUMBERED = 12
NAME_WIDTH = 26
BLUE, ORANGE = COLORS[:2]


def draw_label_distribution(profile: DataProfile) -> Figure:
    """Rows of every label: bars with names, or for many labels rows by rank on logarithmic axes."""
    counts, rows = _train_counts(profile)
    order = np.argsort(-counts, kind="stable")
    if len(counts) <= NAMED:
        figure, axes = _bars(len(counts))
        _draw_bars(
            axes, [profile.labels[label] for label in order], counts[order], lambda n: f"{n:,.0f} ({n / rows:.1%})"
        )
        axes.set_xlabel("training rows (share)")
        whole_ticks(axes.xaxis)
    else:
        figure, axes = _new(7.2, 3.8)
        held = counts[order][counts[order] > 0]
        axes.loglog(np.arange(1, len(held) + 1), held, color=BLUE, linewidth=2)
        axes.set(xlabel="labels, from the most frequent (log)", ylabel="training rows (log)", ylim=(0.8, held[0] * 2))
        log_ticks(axes.xaxis)
        log_ticks(axes.yaxis)
        _mark_levels(axes, counts, held)
        _name_ends(axes, profile, order, held)
    axes.set_title(f"Label distribution: {len(counts):,} labels, {rows:,} training rows")
    return figure


def draw_cooccurrence(profile: DataProfile) -> Figure:
    """Share of the rows of one label that have another, for the most frequent labels."""
    found = profile.cooccurrence
    size = min(len(found.labels), MAPPED)
    counts = np.array(found.counts, float)[:size, :size]
    own = np.maximum(np.diag(counts), 1)[:, None]
    share = np.where(np.eye(size, dtype=bool), np.nan, counts / own)
    side = max(3.6, 0.24 * size)
    figure, axes = _new(side + 3.0, side + 1.6)
    image = axes.imshow(share, cmap=HEAT, vmin=0, vmax=max(0.05, float(np.nanmax(share)) if size > 1 else 1))
    axes.set_facecolor("#edf2f7")  # the diagonal
    axes.grid(False)
    names = [_short(name) for name in found.labels[:size]]
    axes.set_xticks(range(size), names, rotation=90, fontsize=8)
    axes.set_yticks(range(size), names, fontsize=8)
    if size <= NUMBERED:
        _number_cells(axes, share)
    bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.03)
    bar.set_label("share of the row's texts\nthat have the column's label", fontsize=8)
    more = f", the {size} most frequent of {len(profile.labels):,} labels" if size < len(profile.labels) else ""
    axes.set_title(f"Labels that stand together{more}")
    return figure


def draw_lengths(profile: DataProfile) -> Figure:
    """Lengths of the training texts, with the cut of the recipe."""
    found = profile.lengths
    edges, counts = np.array(found.edges), np.array(found.counts, float)
    figure, axes = _new(7.2, 3.4)
    above = edges[:-1] >= found.max_length
    axes.set_ylim(0, max(1.0, float(counts.max(initial=0))) * 1.3)  # room for what is written at the cut
    for part, color, name in ((~above, BLUE, "read whole"), (above, ORANGE, "cut")):
        if part.any():
            axes.bar(edges[:-1][part], counts[part], np.diff(edges)[part], align="edge", color=color, label=name)
    axes.set_xlim(0, edges[-1])
    share = found.truncated.get("train", 0.0)
    place = min(found.max_length, float(edges[-1]))
    if place < edges[-1]:
        axes.axvline(place, color=ORANGE, linewidth=2)
    left = place > 0.6 * edges[-1]
    axes.annotate(
        f"max_length {found.max_length:,}\n{share:.1%} of the texts are longer",
        (place, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=ORANGE,
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )
    measured = found.measured.get("train", 0)
    whole_ticks(axes.xaxis)
    whole_ticks(axes.yaxis)
    axes.set(xlabel=f"{found.unit} a text (the last bar: and more)", ylabel="training texts")
    axes.set_title(f"Text lengths: {measured:,} training texts measured")
    return figure


def draw_imbalance(profile: DataProfile) -> Figure:
    """IRLbl of every label: how many times rarer it is than the most frequent one."""
    held = np.array([ratio is not None for ratio in profile.ratios])
    ratios = np.array([ratio for ratio in profile.ratios if ratio is not None])
    names = [name for name, kept in zip(profile.labels, held, strict=True) if kept]
    order = np.argsort(ratios, kind="stable")
    mean = profile.imbalance["mean_ir"]
    if len(ratios) <= NAMED:
        figure, axes = _bars(len(ratios))
        _draw_bars(axes, [names[label] for label in order], ratios[order], lambda n: f"{n:,.1f}")
        axes.axvline(mean, color=ORANGE, linewidth=1.5, linestyle="--", zorder=2)
        axes.set_xlabel("IRLbl: rows of the most frequent label over those of the label")
    else:
        figure, axes = _new(7.2, 3.8)
        axes.semilogy(np.arange(1, len(ratios) + 1), ratios[order], color=BLUE, linewidth=2)
        axes.axhline(mean, color=ORANGE, linewidth=1.5, linestyle="--")
        axes.annotate(f"MeanIR {mean:,.1f}", (0.02, mean), xycoords=("axes fraction", "data"), **_above(ORANGE))
        axes.set(xlabel="labels, from the most frequent", ylabel="IRLbl (log)")
        log_ticks(axes.yaxis)
        whole_ticks(axes.xaxis)
    found = profile.imbalance
    title = f"Imbalance: MeanIR {mean:,.1f} (dashed), CVIR {found['cvir']:.2f}, SCUMBLE {found['scumble']:.3f}"
    axes.set_title(title)
    return figure


def _train_counts(profile: DataProfile) -> tuple[np.ndarray, int]:
    split = "train" if "train" in profile.counts else next(iter(profile.counts))
    return np.array(profile.counts[split]), profile.splits[split].rows


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    figure = new_figure(width, height)
    return figure, figure.subplots()


def _bars(count: int) -> tuple[Figure, Axes]:
    return _new(7.2, 1.2 + 0.24 * count)


def _draw_bars(axes: Axes, names: list[str], values: np.ndarray, text: Callable[[float], str]) -> None:
    """One horizontal bar a label, the first on top, its value beside it."""
    places = np.arange(len(names))
    axes.barh(places, values, color=BLUE, height=0.72)
    axes.set_yticks(places, [_short(name) for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    for place, value in zip(places, values, strict=True):
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
        axes.annotate(
            text(value), (value, place), (4, 0), textcoords="offset points", va="center", fontsize=7.5, bbox=box
        )
    axes.set_xlim(0, float(np.max(values, initial=1)) * 1.2)


def _mark_levels(axes: Axes, counts: np.ndarray, held: np.ndarray) -> None:
    """How many labels have at most so many rows."""
    for level in (10, 100):
        if (counts < level).sum() > 0 and held[0] > level:
            axes.axhline(level, color=GREY, linewidth=1, linestyle=":")
            axes.annotate(
                f"{(counts < level).sum():,} labels have fewer than {level} rows",
                (0.02, level),
                xycoords=("axes fraction", "data"),
                **_above(GREY),
            )


def _name_ends(axes: Axes, profile: DataProfile, order: np.ndarray, held: np.ndarray) -> None:
    """The most frequent label by name."""
    text = f"{_short(profile.labels[order[0]])}: {held[0]:,}"
    axes.annotate(text, (1, held[0]), (8, 6), textcoords="offset points", fontsize=8, va="bottom")


def _number_cells(axes: Axes, share: np.ndarray) -> None:
    middle = float(np.nanmax(share)) * 0.6 if np.isfinite(share).any() else 1
    for (row, column), value in np.ndenumerate(share):
        if np.isfinite(value):
            color = "white" if value > middle else "black"
            axes.annotate(
                f"{value:.2f}"[1:] if value < 1 else "1",
                (column, row),
                ha="center",
                va="center",
                fontsize=7,
                color=color,
            )


def _above(color: str) -> dict[str, Any]:
    return {"xytext": (0, 3), "textcoords": "offset points", "color": color, "fontsize": 8, "va": "bottom"}


def _short(name: str) -> str:
    return shorten(name, NAME_WIDTH)


DATA_FIGURES: dict[str, Callable[[DataProfile], Figure]] = {
    "label_distribution": styled(draw_label_distribution),
    "imbalance": styled(draw_imbalance),
    "cooccurrence": styled(draw_cooccurrence),
    "lengths": styled(draw_lengths),
}
