"""Training and validation curves: loss, metrics, and the learning rate of every group, from a run's log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_multilabel.reports.drawing import COLORS, GREY, log_ticks, new_figure, shorten, whole_ticks
from hf_multilabel.reports.evidence import RunEvidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RATE = "learning_rate/"
METRICS_SHOWN = ("eval_micro_f1", "eval_macro_f1", "eval_macro_auc", "eval_ndcg_at_5", "eval_precision_at_1")
MOST_METRICS = 3
# Points above which the loss is too ragged to read and a mean is drawn over it.
RAGGED, WINDOW = 60, 20
Series = tuple[list[float], list[float]]


def read_series(history: Sequence[Mapping[str, Any]], key: str) -> Series:
    """Steps and values of one key of the log.

    Example:
        >>> read_series([{"step": 5, "loss": 0.5}, {"step": 5, "eval_loss": 0.4}, {"step": 10, "loss": 0.3}], "loss")
        ([5, 10], [0.5, 0.3])
    """
    found = [(entry["step"], entry[key]) for entry in history if entry.get(key) is not None and "step" in entry]
    return [step for step, _ in found], [value for _, value in found]


def read_rates(history: Sequence[Mapping[str, Any]]) -> dict[str, Series]:
    """The learning rate of each group, groups of one and the same rate together; older logs have a single one.

    Example:
        >>> log = [{"step": 1, "learning_rate/layer 0": 0.1, "learning_rate/layer 1": 0.1, "learning_rate/head": 0.2}]
        >>> read_rates(log)
        {'head': ([1], [0.2]), 'layer 0 to layer 1': ([1], [0.1])}
    """
    keys = [key for entry in history for key in entry if key.startswith(RATE)]
    groups: dict[tuple[float, ...], list[str]] = {}
    series: dict[tuple[float, ...], Series] = {}
    for key in dict.fromkeys(keys):
        found = read_series(history, key)
        groups.setdefault(tuple(found[1]), []).append(key.removeprefix(RATE))
        series[tuple(found[1])] = found
    if not groups and (all_alike := read_series(history, "learning_rate"))[0]:
        return {"all": all_alike}
    named = {values: names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" for values, names in groups.items()}
    return {named[values]: series[values] for values in sorted(groups, key=lambda values: -max(values, default=0))}


def draw_curves(evidence: RunEvidence) -> Figure | None:
    """Loss, metrics and learning rates over the optimizer steps; None for a run without a log."""
    history = evidence.history
    loss, validation = read_series(history, "loss"), read_series(history, "eval_loss")
    metrics = {key: read_series(history, key) for key in METRICS_SHOWN}
    metrics = dict([(key, found) for key, found in metrics.items() if found[0]][:MOST_METRICS])
    rates = read_rates(history)
    panels = [
        name for name, there in (("loss", loss[0] or validation[0]), ("metric", metrics), ("rate", rates)) if there
    ]
    if not panels:
        return None
    figure = new_figure(3.6 * max(2, len(panels)), 3.1)
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axes.set_xlabel("optimizer step")
        whole_ticks(axes.xaxis)
        if panel == "loss":
            draw_loss(axes, loss, validation)
        elif panel == "metric":
            draw_metrics(axes, metrics)
        else:
            draw_rates(axes, rates)
    return figure


def draw_loss(axes: Axes, loss: Series, validation: Series) -> None:
    """Training loss, smoothed where it is ragged, and validation loss."""
    steps, values = loss
    ragged = len(steps) > RAGGED
    if steps:
        marker = "o" if len(steps) < 3 else None
        label = None if ragged else "training"
        axes.plot(steps, values, color=COLORS[0], alpha=0.25 if ragged else 1, marker=marker, label=label)
    if ragged:
        mean = np.convolve(values, np.full(WINDOW, 1 / WINDOW), mode="valid")
        axes.plot(steps[WINDOW - 1 :], mean, color=COLORS[0], label=f"training, mean of {WINDOW} logs")
    if validation[0]:
        axes.plot(*validation, color=COLORS[1], marker="o", markersize=4, label="validation")
    axes.set_title("Loss")
    axes.set_ylabel("mean loss of a text")
    axes.set_ylim(bottom=0)
    axes.legend()


def draw_metrics(axes: Axes, metrics: Mapping[str, Series]) -> None:
    """Metrics of the evaluations during training, which all use a cut of 0.5."""
    for color, (key, found) in zip(COLORS, metrics.items(), strict=False):
        name = key.removeprefix("eval_").replace("_at_", "@").replace("_", " ")
        axes.plot(*found, color=color, marker="o", markersize=4, label=name)
    axes.set_title("Validation, at a cut of 0.5")
    axes.set_ylabel("metric, 0 to 1")
    axes.set_ylim(0, 1)
    axes.legend()


def draw_rates(axes: Axes, rates: Mapping[str, Series]) -> None:
    """Learning rates, those above 0 on a logarithmic scale."""
    from matplotlib import colormaps

    # the yellow end is pale on white, and dark on black once a page turns its figures around; the dark end turns white
    shades = colormaps["viridis"](np.linspace(0.1, 0.7, len(rates)))
    for shade, (name, (steps, values)) in zip(shades, rates.items(), strict=True):
        above = [value if value > 0 else np.nan for value in values]
        axes.plot(steps, above, color=GREY if len(rates) == 1 else shade, label=shorten(name, 32), marker=".")
    axes.set_yscale("log")
    log_ticks(axes.yaxis)
    axes.set_title("Learning rate of each group")
    axes.set_ylabel("learning rate (log scale)")
    axes.legend(fontsize=7 if len(rates) < 8 else 5.5)
