"""What a person sees while a command works: on stderr, from the main process only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hf_multilabel.decisions.constraints import prices_of
from hf_multilabel.decisions.risk_control import promised_metric
from hf_multilabel.evaluation.comparison import SIGNIFICANT, tell_difference
from hf_multilabel.evaluation.costs import COSTS
from hf_multilabel.evaluation.metrics import LOWER_IS_BETTER
from hf_multilabel.evaluation.zeros import tell_unlabelled
from hf_multilabel.progress import current_console, emit, mode

# The columns of a results table that people compare first; metrics.json holds all of them.
SHOWN_METRICS = (
    "micro_f1",
    "macro_f1",
    "samples_f1",
    "weighted_f1",
    "macro_auc",
    "lrap",
    "subset_accuracy",
    "hamming_loss",
    "precision_at_1",
    "recall_at_5",
    "ndcg_at_5",
)
# Those of them that stand with their 95% confidence intervals; what a comparison finds of them is said in words.
SHOWN_INTERVALS = ("micro_f1", "macro_f1")


def note(text: str) -> None:
    """Print a line once, whatever the number of processes; nothing in quiet mode, a JSON object in JSON mode."""
    if not PartialState().is_main_process or mode() == "quiet":
        return
    if mode() == "json":
        emit("note", text=text)
    else:
        current_console().print(escape(text), soft_wrap=True)


def list_files(paths: Sequence[Path]) -> None:
    """Say which files were written, those of one folder together.

    Args:
        paths: The one that was asked for first.
    """
    folders: dict[Path, list[str]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path.name)
    for folder, names in folders.items():
        note(f"written: {folder / names[0]}" if len(names) == 1 else f"written: {folder}/: {', '.join(names)}")


def show(table: Table, asked: bool = False) -> None:
    """Print a table once; in JSON mode as an object.

    Args:
        table: With its title.
        asked: It is what the command was called for: quiet mode shows it too.
    """
    if not PartialState().is_main_process or (mode() == "quiet" and not asked):
        return
    if mode() == "json":
        rows = zip(*(map(_plain, column.cells) for column in table.columns), strict=True)
        names = [" ".join(_plain(column.header).split()) for column in table.columns]
        said = {"caption": _plain(table.caption)} if table.caption else {}
        emit("table", title=_plain(table.title), rows=[dict(zip(names, row, strict=True)) for row in rows], **said)
    else:
        current_console().print(table)


def _plain(cell: Any) -> str:
    """A cell without its markup."""
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell or "")).plain


def results_table(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]],
    title: str = "Results: a cut of 0.5 for all labels (fixed) beside the fitted decision (tuned)",
    decision: Mapping[str, Any] | None = None,
    fitted: Sequence[str] = (),
) -> Table:
    """Splits and decisions side by side, for instance fixed 0.5 beside the tuned one.

    Args:
        results: split -> decision (`fixed`, `tuned`) -> metric -> value; where a decision has `intervals`, the metrics
            of `SHOWN_INTERVALS` stand with theirs.
        title: Above the table.
        decision: The tuned one, as stored in config.json: what it was made for stands first.
        fitted: Splits with the rows that it was fitted on.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("metric", overflow="fold")
    columns = [(split, name) for split, decisions in results.items() for name in decisions]
    for split, name in columns:
        table.add_column(f"{split}\n{name}", justify="right")
    asked = made_for(decision or {})
    with_interval = (*asked, *SHOWN_INTERVALS)
    for metric in (*asked, *SHOWN_METRICS):
        cells = [_cell(results[split][name], metric, with_interval) for split, name in columns]
        if any(cell != "-" for cell in cells):
            table.add_row(metric, *cells)
    said = [
        *_explain(results, fitted, with_interval),
        *_describe_asked(results, decision or {}),
        *_counted_zero(results),
    ]
    table.caption, table.caption_justify = "\n".join(said) or None, "left"
    return table


def made_for(decision: Mapping[str, Any]) -> tuple[str, ...]:
    """Metrics that show what a decision was made for and at which price, beyond `SHOWN_METRICS`."""
    promised = promised_metric(decision)
    if promised:
        beside = ("samples_recall_present", "samples_precision_present", "predicted_per_row")
        return tuple(dict.fromkeys([promised[0], *beside]))
    return COSTS if prices_of(decision) else ()


def _explain(
    results: Mapping[str, Mapping[str, Any]], fitted: Sequence[str], with_interval: Sequence[str]
) -> Iterator[str]:
    columns = [found for decisions in results.values() for found in decisions.values()]
    if any(metric in found.get("intervals", {}) for found in columns for metric in with_interval):
        yield "\\[low, high]: 95% interval"
    for split in results:
        if split in fitted:
            yield f"{split}: tuned is optimistic, it was fitted on these rows"


def _describe_asked(results: Mapping[str, Mapping[str, Any]], decision: Mapping[str, Any]) -> Iterator[str]:
    promised = promised_metric(decision)
    if promised and any("tuned" in decisions for decisions in results.values()):
        yield f"promised of tuned: {promised[0]} of {promised[1]}"
    if prices := prices_of(decision):
        yield f"mean_cost: of a text, at {prices[0]:g} for a wrong label and {prices[1]:g} for a missed one"


def _counted_zero(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """What samples F1 and macro F1 count as 0 though no model could do better, a line a split that has any."""
    for split, decisions in results.items():
        if said := next(filter(None, map(tell_unlabelled, decisions.values())), None):
            yield f"{split}: {said}"
        counts = {found.get("labels_without_positives") or 0 for found in decisions.values()}
        if max(counts, default=0):
            over = [(name, found.get("macro_f1_present")) for name, found in decisions.items()]
            others = ", ".join(f"{value:.4f} {name}" for name, value in over if value is not None)
            labels = f"{split}: {max(counts):,} label(s) without a text count 0 in macro_f1"
            yield escape(f"{labels}; over the others {others}" if others else labels)


def _cell(found: Mapping[str, Any], metric: str, with_interval: Sequence[str]) -> str:
    if found.get(metric) is None:
        return "-"
    interval = found.get("intervals", {}).get(metric) if metric in with_interval else None
    ends = "" if interval is None else f" \\[{interval[0]:.3f}, {interval[1]:.3f}]"
    return f"{found[metric]:,}" if isinstance(found[metric], int) else f"{found[metric]:.4f}{ends}"


def comparison_table(
    first: str, second: str, differences: Mapping[str, Mapping[str, float]], decisions: Sequence[str] = ()
) -> Table:
    """Two models on the same rows: values, their difference with its interval, and the chance of it without one.

    Args:
        first: The model to compare with.
        second: The model that may be better.
        differences: Metric to the values of a `Difference`; shown are `SHOWN_METRICS`.
        decisions: What kind those of both models are; said where they differ.
    """
    title = f"1: {first}\n2: {second}\nDifference: 2 - 1, with its 95% interval on rows drawn like these"
    table = Table(title=escape(title), title_justify="left", caption_justify="left")
    for name in ("metric", "1", "2", "difference", "p"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for metric in SHOWN_METRICS:
        if found := differences.get(metric):
            span = f"{found['difference']:+.4f} \\[{found['low']:+.3f}, {found['high']:+.3f}]"
            values = (f"{found['first']:.4f}", f"{found['second']:.4f}")
            name = f"{metric} (lower is better)" if metric in LOWER_IS_BETTER else metric
            table.add_row(name, *values, span, f"{found['p_value']:.3f}")
    shown = [metric for metric in SHOWN_INTERVALS if metric in differences]
    verdicts = [tell_difference(metric, differences[metric], "1", "2") for metric in shown]
    said = ["; ".join(verdicts), "p: of single tests, not corrected for their number (p of labels is)"]
    said += [f"decisions differ: {', '.join(decisions)}"] if len(set(decisions)) > 1 else []
    table.caption = escape("\n".join(filter(None, said)))
    return table


def compared_labels_table(lines: Sequence[Mapping[str, Any]], shown: int = 10) -> Table:
    """Labels on which two models differ most surely.

    Args:
        lines: As `evaluation.comparison.compare_labels` gives them.
        shown: Labels at most.
    """
    differing = [line for line in lines if line["only_first"] or line["only_second"]]
    sure = sum(line["p_corrected"] < SIGNIFICANT for line in lines)
    title = f"Labels: decided differently on {len(differing):,} of {len(lines):,}, significantly on {sure:,}"
    table = Table(title=title, title_justify="left")
    # a name may take several lines, but all of it is there; numbers stay whole
    table.add_column("label", overflow="fold", min_width=12)
    headings = ("support", "F1\nof 1", "F1\nof 2", "right\nonly\nin 1", "right\nonly\nin 2", "p, cor-\nrected")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for line in sorted(differing, key=lambda line: line["p_value"])[:shown]:
        counts = (f"{line['only_first']:,}", f"{line['only_second']:,}")
        scores = (f"{line['first_f1']:.4f}", f"{line['second_f1']:.4f}")
        table.add_row(escape(line["label"]), f"{line['support']:,}", *scores, *counts, f"{line['p_corrected']:.3f}")
    return table


def weights_table(rows: Sequence[Mapping[str, Any]], ends: int = 8) -> Table:
    """What labels weigh in the loss, the most frequent first; of many labels only both ends.

    Args:
        rows: As `losses.weights_table` gives them.
        ends: Labels shown at each end.
    """
    table = Table(title="Weights of the labels in the loss", title_justify="left")
    names = [name for name in rows[0] if name not in ("label", "positives", "share")]
    table.add_column("label")
    for name in ("positives", "share", *names):
        table.add_column(name, justify="right")
    ordered = sorted(rows, key=lambda row: -row["positives"])
    cut = len(ordered) > 2 * ends + 1
    for position, row in enumerate(ordered[:ends] + ordered[-ends:] if cut else ordered):
        if cut and position == ends:
            table.add_row(f"... {len(ordered) - 2 * ends:,} more", *[""] * (2 + len(names)))
        weights = [f"{row[name]:.4g}" for name in names]
        table.add_row(escape(row["label"]), f"{row['positives']:,}", f"{row['share']:.2%}", *weights)
    return table


def prevalence_table(rows: Sequence[Mapping[str, Any]], labelled: int, texts: int, file: str, shown: int = 20) -> Table:
    """Shares of texts for which labels hold, among labelled rows and as estimated elsewhere.

    Args:
        rows: With `label`, `labelled`, `estimated`, `low` and `high`; NaN where there is no estimate.
        labelled: Number of labelled rows.
        texts: Number of texts elsewhere.
        file: Their file.
        shown: Labels at most, the first ones.
    """
    title = f"Prevalences: of {labelled:,} labelled rows, and estimated for the {texts:,} texts of {file}"
    table = Table(title=escape(title), title_justify="left")
    table.add_column("label", overflow="fold", min_width=12)
    for heading in ("labelled", "estimated", "95% interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows[:shown]:
        known = row["estimated"] == row["estimated"]
        cells = (f"{row['estimated']:.2%}", f"{row['low']:.2%} to {row['high']:.2%}") if known else ("-", "-")
        table.add_row(escape(row["label"]), f"{row['labelled']:.2%}", *cells)
    if len(rows) > shown:
        table.add_row(f"... {len(rows) - shown:,} more, which differ less", "", "", "")
    return table
