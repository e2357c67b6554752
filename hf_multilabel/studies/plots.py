"""Figures of a study: curves by step for each group, the best of each group compared, values over what was varied."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_multilabel.studies.definition import StudyPlan
from hf_multilabel.studies.results import Tried, best_of_groups

# A search of hundreds: one panel with its best is read, a hundred panels are not.
MOST_PANELS, MOST_LINES, COLUMNS = 12, 8, 3
# Losses are drawn up to so many times the first one of most runs.
LOSSES = 1.25
# Lines that lie on each other are drawn from broad to fine, so that each is seen.
FINE, BROADER, BROADEST = 1.2, 0.9, 6.0


def draw_figures(plan: StudyPlan, tried: Sequence[Tried], folder: Path) -> dict[str, str]:
    """Draw everything that these results can show.

    Args:
        plan: The study.
        tried: Its combinations, best first.
        folder: Where the PNG files go.

    Returns:
        File name to what it shows, in the order in which they are read.
    """
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    metric, found = plan.settings.metric, {}
    measures = [f"{split}_{metric}" for split in ("validation", *plan.settings.report)]
    best = best_of_groups(tried)
    curves = {"train_loss": "training loss", **{name: name.replace("_", " ", 1) for name in measures}}
    for measure, words in curves.items():
        figure = _compared(best, measure, words)
        if figure is not None:
            found[f"best_{measure}.png"] = f"Best of each group: {words} by step"
            _save(figure, folder / f"best_{measure}.png")
        if len(best) <= MOST_PANELS and len(tried) > len(best):
            figure = _panels(tried, measure, words)
            if figure is not None:
                found[f"{measure}.png"] = f"All values: {words} by step"
                _save(figure, folder / f"{measure}.png")
    for key in _numeric(tried):
        figure = _over(tried, key, metric, ("validation", *plan.settings.report), plan.is_grid)
        found[f"over_{_safe(key)}.png"] = f"{metric} over {key}"
        _save(figure, folder / f"over_{_safe(key)}.png")
    return found


def _points(entry: Tried, measure: str) -> dict[int, list[float]]:
    """Step to the value of each seed."""
    points: dict[int, list[float]] = {}
    for run in entry.runs:
        if measure == "train_loss":
            pairs = [(step, value) for step, value in run["losses"]]
        else:
            pairs = [(look["step"], look.get(measure)) for look in run["curve"]]
        for step, value in pairs:
            if value is not None and math.isfinite(value):
                points.setdefault(step, []).append(value)
    return dict(sorted(points.items()))


def _widths(lines: int) -> list[float]:
    """Of lines in the order in which they are drawn."""
    return [min(FINE + BROADER * later, BROADEST) for later in reversed(range(lines))]


def _line(axes: Any, entry: Tried, measure: str, label: str, colour: Any, width: float) -> bool:
    points = _points(entry, measure)
    if not points:
        return False
    steps, means = list(points), [statistics.fmean(values) for values in points.values()]
    diverged = any(run["outcome"] == "diverged" for run in entry.runs)
    marker, label = "" if measure == "train_loss" else "o", f"{label} (diverged)" if diverged else label
    axes.plot(steps, means, label=label, color=colour, marker=marker, markersize=width + 2, linewidth=width)
    if max(map(len, points.values())) > 1:
        low, high = [min(values) for values in points.values()], [max(values) for values in points.values()]
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    if diverged:
        axes.plot(steps[-1], means[-1], marker="x", color=colour, markersize=8)
    return True


def _compared(best: Sequence[Tried], measure: str, words: str) -> Any | None:
    figure, axes = _figure(1)
    lines = zip(best[:10], _widths(len(best[:10])), strict=True)
    drawn = [_line(axes[0], entry, measure, entry.name, f"C{i}", width) for i, (entry, width) in enumerate(lines)]
    return _finished(figure, axes, words, ["best of each group"]) if any(drawn) else None


def _panels(tried: Sequence[Tried], measure: str, words: str) -> Any | None:
    """One panel a group, the lines in the order of what varies, coloured from dark to light."""
    import matplotlib

    groups: dict[str, list[Tried]] = {}
    for entry in tried:
        groups.setdefault(entry.group, []).append(entry)
    figure, axes = _figure(len(groups))
    colours, drawn = matplotlib.colormaps["viridis"], False
    for panel, entries in zip(axes, groups.values(), strict=False):
        shown = sorted(entries[:MOST_LINES], key=_order)
        for number, (entry, width) in enumerate(zip(shown, _widths(len(shown)), strict=True)):
            label = entry.name.partition(", ")[2] or entry.name
            drawn |= _line(panel, entry, measure, label, colours(0.9 * number / max(len(shown) - 1, 1)), width)
    return _finished(figure, axes, words, list(groups)) if drawn else None


def _over(tried: Sequence[Tried], key: str, metric: str, splits: Sequence[str], joined: bool) -> Any:
    """The metric over one number that varies, a dot a run; in a grid a line a group through the means.

    In a search the runs differ in all other values, too: a line through them would show what nobody tried.
    """
    figure, axes = _figure(len(splits))
    by_group = joined and next(iter(tried[0].labels)) != key
    groups: dict[str, list[Tried]] = {}
    for entry in tried:
        if _is_number(entry.labels.get(key)):
            groups.setdefault(entry.group if by_group else "", []).append(entry)
    for panel, split in zip(axes, splits, strict=False):
        for number, (group, width) in enumerate(zip(groups, _widths(len(groups)), strict=True)):
            _dots(panel, groups[group], key, split, f"C{number % 10}", width)
            if joined:
                _join(panel, groups[group], key, split, f"C{number % 10}", group, width)
        panel.set_xlabel(key)
        panel.set_ylabel(metric)
        panel.set_title(split, fontsize=10)
        panel.grid(alpha=0.25)
        _scale(panel, tried, key)
        _legend(panel)
    figure.tight_layout()
    return figure


def _dots(panel: Any, entries: Sequence[Tried], key: str, split: str, colour: str, width: float) -> None:
    for entry in entries:
        found = entry.values[split] if entry.mean(split) is not None else []
        panel.plot([entry.labels[key]] * len(found), found, "o", color=colour, markersize=width + 2)


def _join(panel: Any, entries: Sequence[Tried], key: str, split: str, colour: str, label: str, width: float) -> None:
    finished = sorted((entry for entry in entries if entry.mean(split) is not None), key=lambda e: e.labels[key])
    numbers = [entry.labels[key] for entry in finished]
    if finished:
        # several combinations at one number differ in something else, too: no line joins them
        style = "-" if len(set(numbers)) == len(numbers) else ""
        means = [entry.mean(split) for entry in finished]
        panel.plot(numbers, means, style, color=colour, label=label or None, linewidth=width)


def _figure(panels: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(panels, COLUMNS)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(7.5 if panels == 1 else 4.6 * columns, 5.2 if panels == 1 else 4.3 * rows), dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for empty in axes[panels:]:
        empty.set_visible(False)
    return figure, axes[:panels]


def _finished(figure: Any, axes: Sequence[Any], words: str, titles: Sequence[str]) -> Any:
    limits = [axis.get_ylim() for axis in axes if axis.lines]
    if "loss" in words:  # one run that diverges would press all others into one line
        lines = [line.get_ydata() for axis in axes for line in axis.lines]
        top = LOSSES * statistics.median(float(values[0]) for values in lines)
        shown = [float(value) for values in lines for value in values if value <= top]
        edge = 0.05 * (max(shown) - min(shown)) or 0.05 * top
        limits = [(min(shown) - edge, max(shown) + edge)]
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title if len(title) <= 44 else f"{title[:43]}…", fontsize=10)
        axis.set_xlabel("optimizer step")
        axis.set_ylabel(words)
        axis.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        axis.grid(alpha=0.25)
        _legend(axis)
    figure.tight_layout()
    return figure


def _legend(axis: Any) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        shown = [label if len(label) <= 48 else f"{label[:47]}…" for label in labels]
        columns = 1 if max(map(len, shown)) > 24 else 2
        axis.legend(handles, shown, fontsize=7, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def _numeric(tried: Sequence[Tried]) -> list[str]:
    """Labels with at least two different numbers."""
    keys = dict.fromkeys(key for entry in tried for key in entry.labels)
    return [
        key
        for key in keys
        if len({entry.labels[key] for entry in tried if key in entry.labels and _is_number(entry.labels[key])}) > 1
        and any(entry.mean() is not None for entry in tried)
    ]


def _scale(panel: Any, tried: Sequence[Tried], key: str) -> None:
    """A logarithmic axis for numbers that span orders of magnitude, linear below the least if 0 is one of them."""
    numbers = {entry.labels[key] for entry in tried if key in entry.labels and _is_number(entry.labels[key])}
    least = min((number for number in numbers if number > 0), default=0)
    if min(numbers) < 0 or max(numbers) < 20 * least:
        return
    if 0 in numbers:
        panel.set_xscale("symlog", linthresh=least)
    else:
        panel.set_xscale("log")


def _order(entry: Tried) -> tuple[Any, ...]:
    return tuple((0, value, "") if _is_number(value) else (1, 0.0, str(value)) for value in entry.labels.values())


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _save(figure: Any, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    figure.savefig(part, format="png")
    part.replace(path)
