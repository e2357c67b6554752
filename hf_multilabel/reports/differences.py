"""Two runs on the same rows: figures of their differences, and the texts whose labels changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.comparison import SIGNIFICANT, tell_difference
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.reports.drawing import (
    COLORS,
    GREY,
    PALE,
    name_points,
    new_figure,
    render,
    shorten,
    styled,
    whole_ticks,
)
from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.page import Block, Picture, Prose, Section, Table, Texts, Tiles
from hf_multilabel.reports.sections import HEADLINE, pretty
from hf_multilabel.reports.worst import ShownLabel, ShownText, name_of, probabilities_at, surprise_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 24
TEXTS_SHOWN = 12
Line = Mapping[str, Any]


def pair_sections(
    first: RunEvidence, second: RunEvidence, metrics: Mapping[str, Mapping[str, float]], labels: Sequence[Line]
) -> list[Section]:
    """All sections of a comparison.

    Args:
        first: The run to compare with.
        second: The run that may be better, on the same rows, labels in the same order.
        metrics: Metric to the values of a `Difference`.
        labels: Lines of `evaluation.comparison.compare_labels`.
    """
    drawn = {
        "difference_metrics": (
            draw_metric_differences(metrics),
            "Second run minus first, with the 95% interval on rows like these; one that crosses 0 settles nothing.",
        ),
        "difference_labels": (
            draw_label_differences(labels),
            "F1 of each label in both runs. Filled: the texts that only one run decided rightly fall to one side "
            f"(McNemar's exact test, corrected for the number of labels, below {SIGNIFICANT}).",
        ),
        "difference_texts": (draw_changed_labels(first, second), "Labels that texts gained or lost, rightly or not."),
    }
    pictures = {name: [Picture(name, render(figure), said)] if figure else [] for name, (figure, said) in drawn.items()}
    return [
        Section("results", "Results", [*headline(metrics), *pictures["difference_metrics"], metrics_table(metrics)]),
        Section("labels", "Labels", [*label_words(labels), *pictures["difference_labels"], labels_table(labels)]),
        Section("texts", "Texts that changed", [*pictures["difference_texts"], *changed_texts(first, second)]),
    ]


def headline(metrics: Mapping[str, Mapping[str, float]]) -> list[Block]:
    """The first differences, in large, and which run is better."""
    tiles = []
    for name in [name for name in HEADLINE if name in metrics][:3]:
        found = metrics[name]
        span = f"{found['low']:+.3f} to {found['high']:+.3f}, p = {found['p_value']:.3f}"
        tiles.append((f"{pretty(name)}, second - first", f"{found['difference']:+.3f}", span))
    verdicts = [
        tell_difference(pretty(name), metrics[name], "the first run", "the second run")
        for name in ("micro_f1", "macro_f1")
        if name in metrics
    ]
    return [Tiles(tiles), Prose([f"{'; '.join(verdicts)}."])]


def metrics_table(metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """All metrics of both runs; p-values are of one test each, not corrected for their number."""
    names = dict.fromkeys([*(name for name in HEADLINE if name in metrics), *metrics])
    rows = [
        [pretty(name), *(metrics[name][key] for key in ("first", "second", "difference", "low", "high", "p_value"))]
        for name in names
    ]
    columns = ["metric", "first", "second", "difference", "low", "high", "p"]
    caption = "Paired differences with 95% bootstrap intervals; p-values one by one, not corrected"
    return Table(columns, rows, caption, sortable=True)


def label_words(labels: Sequence[Line]) -> list[Block]:
    """How many labels differ, in words."""
    differing = sum(bool(line["only_first"] or line["only_second"]) for line in labels)
    better = sum(line["p_corrected"] < SIGNIFICANT and line["difference"] > 0 for line in labels)
    worse = sum(line["p_corrected"] < SIGNIFICANT and line["difference"] < 0 for line in labels)
    said = (
        f"{differing:,} of {len(labels):,} labels are decided differently on some text. With Holm's correction for "
        f"{len(labels):,} tests the second run is surely better on {better:,} and surely worse on {worse:,} of them."
    )
    return [Prose([said])]


def labels_table(labels: Sequence[Line]) -> Table:
    """All labels, the surest differences first."""
    keys = ("label", "support", "first_f1", "second_f1", "difference", "only_first", "only_second", "p_corrected")
    columns = [
        "label",
        "texts",
        "F1 first",
        "F1 second",
        "difference",
        "right only first",
        "only second",
        "p, corrected",
    ]
    ordered = sorted(labels, key=lambda line: (line["p_value"], -abs(line["difference"])))
    return Table(columns, [[line[key] for key in keys] for line in ordered], "Label by label", sortable=True)


@styled
def draw_metric_differences(metrics: Mapping[str, Mapping[str, float]]) -> Figure:
    """A difference a line, with its interval."""
    names = [name for name in HEADLINE if name in metrics]
    figure = new_figure(7.0, 0.9 + 0.36 * len(names))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1)
    for place, name in enumerate(names):
        found = metrics[name]
        sure = found["low"] > 0 or found["high"] < 0
        color = GREY if not sure else COLORS[2] if found["difference"] > 0 else COLORS[1]
        axes.plot([found["low"], found["high"]], [place, place], color=color, linewidth=2)
        axes.plot(found["difference"], place, "o", color=color)
    axes.set_yticks(range(len(names)), [pretty(name) for name in names])
    axes.invert_yaxis()
    axes.set(xlabel="second run minus first (95% interval)", ylabel="metric")
    axes.set_title("Differences")
    return figure


@styled
def draw_label_differences(labels: Sequence[Line]) -> Figure | None:
    """F1 of the first run against that of the second, a point a label with a positive; the surest ones named."""
    tested = [line for line in labels if line["support"]]
    if not tested:
        return None
    figure = new_figure(5.6, 5.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    size = np.sqrt([line["support"] for line in tested])
    size = 8 + 90 * size / size.max()
    for sure, name in ((False, "not sure"), (True, f"p below {SIGNIFICANT}, corrected")):
        chosen = [i for i, line in enumerate(tested) if (line["p_corrected"] < SIGNIFICANT) == sure]
        if not chosen:
            continue
        x, y = ([tested[i][key] for i in chosen] for key in ("first_f1", "second_f1"))
        face = [COLORS[2] if b > a else COLORS[1] for a, b in zip(x, y, strict=True)] if sure else "none"
        axes.scatter(x, y, s=size[chosen], facecolors=face, edgecolors=GREY, linewidths=0.7, alpha=0.8, label=name)
    surest = sorted(tested, key=lambda line: (line["p_value"], -abs(line["difference"])))[:6]
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="F1 of the first run", ylabel="F1 of the second run")
    dots = [(line["first_f1"], line["second_f1"]) for line in tested]
    points = [(line["first_f1"], line["second_f1"], line["label"]) for line in surest]
    name_points(axes, points, others=[*dots, *((place, place) for place in np.linspace(0, 1, 60).tolist())])
    axes.set_title("Labels (size: texts that have them)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def count_changes(first: RunEvidence | Outcome, second: RunEvidence | Outcome) -> dict[str, NDArray[np.int64]]:
    """Pairs that changed, label by label, (L,) each; to lose a label that does not hold is `lost_right`.

    Example:
        >>> runs = [Outcome(None, said, [[1, 0, 1]]) for said in ([[0, 1, 1]], [[1, 0, 0]])]
        >>> {kind: found.tolist() for kind, found in count_changes(*runs).items()}
        {'gained_right': [1, 0, 0], 'gained_wrong': [0, 0, 0], 'lost_right': [0, 1, 0], 'lost_wrong': [0, 0, 1]}
    """
    before, after, held = (m.astype(np.int8) for m in (first.predictions, second.predictions, first.targets))
    both = before.multiply(after)
    found = {}
    for kind, changed in (("gained", sparse.csr_array(after - both)), ("lost", sparse.csr_array(before - both))):
        true = np.asarray(changed.multiply(held).sum(axis=0)).ravel().astype(np.int64)
        other = np.asarray(changed.sum(axis=0)).ravel().astype(np.int64) - true
        # to lose a label that does not hold is right
        found |= {
            f"{kind}_right": true if kind == "gained" else other,
            f"{kind}_wrong": other if kind == "gained" else true,
        }
    return found


@styled
def draw_changed_labels(first: RunEvidence, second: RunEvidence) -> Figure | None:
    """Pairs that changed for the better to the right, for the worse to the left; the labels with most changes."""
    found = count_changes(first, second)
    total = sum(found.values())
    ids = np.argsort(-total, kind="stable")[:NAMED]
    ids = ids[total[ids] > 0]
    if not len(ids):
        return None
    figure = new_figure(7.4, 1.3 + 0.26 * len(ids))
    axes = figure.subplots()
    places = np.arange(len(ids))
    for kind, color, offset, sign in (
        ("gained_right", COLORS[2], 0, 1), ("lost_right", COLORS[5], "gained_right", 1),
        ("gained_wrong", COLORS[1], 0, -1), ("lost_wrong", COLORS[4], "gained_wrong", -1),
    ):  # fmt: skip
        left = 0 if offset == 0 else sign * found[offset][ids]
        axes.barh(places, sign * found[kind][ids], left=left, color=color, label=kind.replace("_", ", ") + "ly")
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(places, [shorten(first.labels[label], 30) for label in ids])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    whole_ticks(axes.xaxis)
    axes.set(xlabel="texts changed for the worse (left) and for the better (right)", ylabel="label")
    rest = int(total.sum() - total[ids].sum())
    axes.set_title("Changed labels" + (f" (and {rest:,} changes of other labels)" if rest else ""))
    axes.set_facecolor("white")
    axes.spines["left"].set_color(PALE)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def changed_texts(first: RunEvidence, second: RunEvidence) -> list[Block]:
    """The texts that gained most and those that lost most, with the labels they gained and lost."""
    changed = np.unique((first.predictions != second.predictions).nonzero()[0])
    right = [np.asarray((run.predictions != run.targets).sum(axis=1)).ravel() == 0 for run in (first, second)]
    said = (
        f"{len(changed):,} of {first.rows:,} texts got other labels: {int((right[1] & ~right[0]).sum()):,} became "
        f"wholly right, {int((right[0] & ~right[1]).sum()):,} were wholly right before."
    )
    if not len(changed) or not len(first.texts):
        return [Prose([said])]
    gain = surprise_of(first) - surprise_of(second)
    order = changed[np.argsort(-gain[changed], kind="stable")]
    better, worse = (order[gain[order] > 0][:TEXTS_SHOWN], order[::-1][gain[order[::-1]] < 0][:TEXTS_SHOWN])
    blocks: list[Block] = [Prose([said])]
    for name, rows in (("Better in the second run", better), ("Worse in the second run", worse)):
        if len(rows):
            blocks += [Prose([f"{name}, the largest changes of surprise first:"])]
            blocks += [Texts([show_change(first, second, int(row)) for row in rows])]
    return blocks


def show_change(first: RunEvidence, second: RunEvidence, row: int) -> ShownText:
    """One text with the labels it gained, lost and kept."""
    before, after, true = (
        set(m.indices[m.indptr[row] : m.indptr[row + 1]].tolist())
        for m in (first.predictions, second.predictions, first.targets)
    )
    ids = sorted(before | after | true)
    pairs = sparse.csr_array((np.ones(len(ids)), (np.full(len(ids), row), ids)), shape=first.targets.shape)
    labels = []
    for label, p in zip(ids, probabilities_at(second, pairs), strict=True):
        holds = label in true
        if (label in before) == (label in after):
            kind, tone = ("kept" if label in after else "missed by both"), "plain"
        else:
            gained = label in after
            kind = f"{'gained' if gained else 'lost'}, {'rightly' if gained == holds else 'wrongly'}"
            tone = "right" if gained == holds else "missed"
        labels.append(ShownLabel(first.labels[label], None if np.isnan(p) else float(p), kind, tone))
    labels.sort(key=lambda shown: shown.tone == "plain")
    return ShownText(name_of(first, row), first.texts[row], tuple(labels), "probabilities of the second run")
