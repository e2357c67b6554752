"""What a person sees while a command works: on stderr, from the main process only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate import PartialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table

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

console = Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """Print a line once, whatever the number of processes."""
    if PartialState().is_main_process:
        console.print(escape(text), soft_wrap=True)


def show(table: Table) -> None:
    """Print a table once."""
    if PartialState().is_main_process:
        console.print(table)


def results_table(results: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> Table:
    """Splits and decisions side by side: fixed 0.5 beside the tuned one.

    Args:
        results: split -> decision (`fixed`, `tuned`) -> metric -> value.
    """
    table = Table(
        title="Results: a cut of 0.5 for all labels (fixed) beside the fitted decision (tuned)", title_justify="left"
    )
    table.add_column("metric")
    columns = [(split, decision) for split, decisions in results.items() for decision in decisions]
    for split, decision in columns:
        table.add_column(f"{split}\n{decision}", justify="right")
    for metric in SHOWN_METRICS:
        values = [results[split][decision].get(metric) for split, decision in columns]
        if any(value is not None for value in values):
            table.add_row(metric, *("-" if value is None else f"{value:.4f}" for value in values))
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
