"""A diagnosis as people read it, and as programs do."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hf_multilabel.publishing.doctor.examination import Diagnosis
from hf_multilabel.publishing.doctor.symptoms import SEVERITIES, Symptom

STYLES = {
    **{"error": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"},
    **{"right": "green", "scores": "yellow", "wrong": "bold red", "refused": "dim", "unknown": "magenta"},
}


def to_json(diagnosis: Diagnosis) -> str:
    """Everything, with the exit code."""
    content: dict[str, Any] = dataclasses.asdict(diagnosis) | {"exit_code": diagnosis.exit_code}
    return json.dumps(content, indent=1, ensure_ascii=False)


def print_diagnosis(diagnosis: Diagnosis, show_ok: bool = False) -> None:
    """Print consumers, findings and their sum on stdout.

    Args:
        diagnosis: As `examine` gives it.
        show_ok: Also list what is in order.
    """
    console = Console(highlight=False)
    commit = f" at {diagnosis.revision}" if diagnosis.revision else ""
    head = f"{clean(diagnosis.name)}{commit}: {clean(diagnosis.kind)}, {diagnosis.labels:,} labels"
    console.print(escape(head), soft_wrap=True)
    console.print(consumer_table(diagnosis))
    for severity in SEVERITIES[: None if show_ok else -1]:
        for symptom in (found for found in diagnosis.symptoms if found.severity == severity):
            console.print(symptom_line(symptom), soft_wrap=True)
    console.print(summary(diagnosis))


def consumer_table(diagnosis: Diagnosis) -> Table:
    """A few lines a consumer: its name, what it returns, what to do; words stay whole at 80 columns."""
    table = Table(title="What each consumer returns", title_justify="left", show_lines=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("consumer: what it returns, and what to do", overflow="fold")
    for outlook in diagnosis.outlooks:
        lines = [f"[bold]{escape(outlook.consumer)}[/]", escape(clean(outlook.returns))]
        lines += [f"[cyan]to do:[/] {escape(clean(outlook.advice))}"] if outlook.advice else []
        table.add_row(f"[{STYLES[outlook.verdict]}]{outlook.verdict}[/]", "\n".join(lines))
    return table


def symptom_line(symptom: Symptom) -> str:
    r"""A finding in the one form in which findings are printed, with markup.

    Example:
        >>> from hf_multilabel.publishing.doctor.symptoms import ok
        >>> symptom_line(ok("labels.ids", "config.json", "8 labels"))
        '[green]ok\\[labels.ids][/] config.json: 8 labels'
    """
    fix = f"; fix: {symptom.fix}" if symptom.fix else ""
    said = escape(clean(f"{symptom.where}: {symptom.what}{fix}"))
    return f"[{STYLES[symptom.severity]}]{symptom.severity}\\[{symptom.code}][/] {said}"


def summary(diagnosis: Diagnosis) -> str:
    """How much was found, in one line."""
    counts = {name: sum(found.severity == name for found in diagnosis.symptoms) for name in SEVERITIES}
    plural = {name: f"{count:,} {name}{'' if count == 1 or name == 'ok' else 's'}" for name, count in counts.items()}
    return ", ".join(plural.values())


def clean(text: str) -> str:
    """Text of a stranger's file, on one line and without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
