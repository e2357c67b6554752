"""A study in words: written from its results, so that every number in it was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from hf_multilabel.studies.definition import StudyPlan
from hf_multilabel.studies.queue import Queue
from hf_multilabel.studies.results import Tried, best_of_groups

MOST_ROWS = 60


def write_summary(plan: StudyPlan, tried: Sequence[Tried], queue: Queue, figures: Mapping[str, str]) -> str:
    """The study as Markdown.

    Args:
        plan: The study.
        tried: Its combinations, best first.
        queue: Its trials.
        figures: File name to what it shows.
    """
    parts = [
        f"# {plan.name}\n",
        _setting(plan, tried, queue),
        _findings(plan, tried),
        f"## Best of each {next(iter(tried[0].labels))}\n",
        _table(plan, best_of_groups(tried)),
        f"## All values\n\n{_count(tried)}\n",
        _table(plan, tried[:MOST_ROWS]),
        *(["## Figures\n", *(f"![{words}](figures/{name})\n" for name, words in figures.items())] if figures else []),
    ]
    return "\n".join(parts)


def _setting(plan: StudyPlan, tried: Sequence[Tried], queue: Queue) -> str:
    settings = plan.settings
    runs = [run for entry in tried for run in entry.runs]
    steps = sorted({run["steps"] for run in runs if run["outcome"] == "done" and run["steps"]})
    each = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}" if steps else "no"
    hours = sum(run["seconds"] or 0 for run in runs) / 3600
    better = "higher" if plan.maximizes else "lower"
    how = "at a cut of 0.5" if settings.decision == "fixed" else "as the fitted decision is expected to reach it"
    reported = f"; {', '.join(settings.report)} rows are measured too and decide nothing" if settings.report else ""
    changes = [f"- `{key}: {value}`" for key, value in plan.overrides.items()]
    changes += [f"- `{override}` (command line)" for override in plan.typed]
    lines = [
        f"{len(runs)} of {queue.total() * (1 if plan.is_grid else len(settings.seeds))} runs of the recipe "
        f"`{settings.recipe}`, {each} steps each, {hours:.2f} hours of training in all.",
        f"Compared: {settings.metric} of the validation rows ({better} is better), {how}{reported}.",
    ]
    if changes:
        lines += ["", "Changes of the recipe for all runs:", "", *changes]
    return "\n".join(lines) + "\n"


def _findings(plan: StudyPlan, tried: Sequence[Tried]) -> str:
    """Sentences that hold of these numbers."""
    finished = [entry for entry in tried if entry.mean() is not None]
    if not finished:
        return "No combination came to its end with every seed.\n"
    best, metric, lines = finished[0], plan.settings.metric, []
    lines.append(f"- Best: **{_escape(best.name)}**, {metric} {best.shown()} on validation{_on_test(plan, best)}.")
    for split in ("validation", *plan.settings.report):
        base, value = _baseline(best, split), best.mean(split)
        if base is not None and value is not None and base > 0:
            lines.append(
                f"- Giving every text the labels' frequencies as scores has {metric} {base:.4f} on {split}: "
                f"the best run has {value / base:.1f} times that."
            )
    groups = best_of_groups(tried)
    for entry in groups:
        value = entry.mean()
        if entry is best or value is None or not best.mean():
            continue
        lines.append(
            f"- {_escape(entry.group)} at its best ({_escape(entry.name)}): {entry.shown()}, "
            f"{value / best.mean():.0%} of the best."
        )
    lines += _failures(plan, tried)
    return "\n".join(["## What came out", "", *lines]) + "\n"


def _failures(plan: StudyPlan, tried: Sequence[Tried]) -> list[str]:
    """What diverged, ended early, failed, or learned nothing."""
    lines, sign = [], 1 if plan.maximizes else -1
    words = {"diverged": "Diverged", "pruned": "Ended early", "error": "Failed", "refused": "Refused", "died": "Died"}
    for outcome, word in words.items():
        names = [entry.name for entry in tried if any(run["outcome"] == outcome for run in entry.runs)]
        if names:
            lines.append(f"- {word}: {_listed(names)}.")
    flat = []
    for entry in tried:
        base, value = _baseline(entry, "validation"), entry.mean()
        if base is not None and value is not None and sign * (value - base) <= 0.02 * abs(base):
            flat.append(entry)
    if flat:
        lines.append(f"- No better than the labels' frequencies: {_listed([entry.name for entry in flat])}.")
        cosines = [run["pooled_cosine"] for entry in flat for run in entry.runs if run["pooled_cosine"] is not None]
        others = [r["pooled_cosine"] for e in tried if e not in flat for r in e.runs if r["pooled_cosine"] is not None]
        if cosines and others:
            lines.append(
                f"- Mean cosine of the texts' pooled states at the end: {statistics.fmean(cosines):.3f} in those runs, "
                f"{statistics.fmean(others):.3f} in the others (1: all texts in one point)."
            )
    return lines


def _table(plan: StudyPlan, tried: Sequence[Tried]) -> str:
    splits, metric = ("validation", *plan.settings.report), plan.settings.metric
    labels = list(dict.fromkeys(key for entry in tried for key in entry.labels))
    head = [*labels, *(f"{metric}, {split}" for split in splits), "training loss", "pooled cosine", "runs", "s a run"]
    lines = [f"| {' | '.join(map(_escape, head))} |", f"|{'---|' * len(head)}"]
    for entry in tried:
        values = [_escape(_shown(entry.labels.get(key, ""))) for key in labels]
        scores = [entry.shown(split) for split in splits]
        numbers = [_mean(entry, "train_loss", 4), _mean(entry, "pooled_cosine", 3)]
        row = [*values, *scores, *numbers, str(len(entry.runs)), _mean(entry, "seconds", 0)]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _count(tried: Sequence[Tried]) -> str:
    if len(tried) <= MOST_ROWS:
        return f"{len(tried)} combinations, best first; ± is the standard deviation over the seeds."
    return f"The best {MOST_ROWS} of {len(tried)} combinations; trials.csv holds all."


def _mean(entry: Tried, key: str, digits: int) -> str:
    found = [run[key] for run in entry.runs if run[key] is not None]
    return f"{statistics.fmean(found):.{digits}f}" if found else ""


def _on_test(plan: StudyPlan, entry: Tried) -> str:
    return "".join(f", {entry.shown(split)} on {split}" for split in plan.settings.report if entry.shown(split))


def _baseline(entry: Tried, split: str) -> float | None:
    found = [run["baseline"].get(split) for run in entry.runs if run["baseline"].get(split) is not None]
    return found[0] if found else None


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = "; ".join(_escape(name) for name in names[:most])
    return shown + (f"; and {len(names) - most} more" if len(names) > most else "")


def _shown(value: Any) -> str:
    from hf_multilabel.studies.cells import show_value

    return value if value == "" else show_value(value)


def _escape(text: str) -> str:
    """Text as Markdown shows it, also in a table."""
    for mark in "\\|*_`<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text
