"""What a person sees while a command works: on stderr, from the main process only."""

from __future__ import annotations

from collections.abc import Mapping

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
