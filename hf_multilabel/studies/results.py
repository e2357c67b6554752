"""What a study found: its runs as rows, the best of each group, and the files that say so."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from hf_multilabel.studies.cells import describe, show_value
from hf_multilabel.studies.definition import StudyPlan
from hf_multilabel.studies.queue import Queue

FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Tried:
    """One combination of values over its seeds.

    Args:
        labels: What varies.
        runs: Its rows.
        values: Split to the metric of each run that came to its end.
    """

    labels: dict[str, Any]
    runs: list[dict[str, Any]]
    values: dict[str, list[float]]

    @property
    def group(self) -> str:
        """Value of the first label."""
        return show_value(next(iter(self.labels.values())))

    @property
    def name(self) -> str:
        """All labels in one line."""
        return describe(self.labels)

    def mean(self, split: str = "validation") -> float | None:
        """Mean over the seeds; None where a run did not come to its end."""
        found = self.values.get(split, [])
        return statistics.fmean(found) if found and len(found) == len(self.runs) else None

    def shown(self, split: str = "validation") -> str:
        """Mean and standard deviation over the seeds, or how it ended."""
        mean = self.mean(split)
        if mean is None:
            return "" if split != "validation" else ", ".join(sorted({run["outcome"] for run in self.runs}))
        spread = f" ± {statistics.stdev(self.values[split]):.4f}" if len(self.values[split]) > 1 else ""
        return f"{mean:.4f}{spread}"


def collect_runs(plan: StudyPlan, queue: Queue) -> list[dict[str, Any]]:
    """One row a run of every trial that came to an end and was not repeated, in the order of the trials.

    Of a grid only what the study file still asks for.
    """
    wanted = {json.dumps(cell.values, sort_keys=True) for cell in plan.cells()} if plan.is_grid else None
    rows = []
    for trial in queue.study.get_trials(deepcopy=False):
        attributes = trial.user_attrs
        if trial.state.name not in ("COMPLETE", "PRUNED", "FAIL") or attributes.get("repeated"):
            continue
        asked = json.dumps(attributes.get("values"), sort_keys=True) in wanted if wanted is not None else True
        if not asked or (plan.is_grid and attributes["seeds"][0] not in plan.settings.seeds):
            continue
        rows += _rows(queue, trial.number, attributes, plan)
    return rows


def group_runs(plan: StudyPlan, rows: Sequence[Mapping[str, Any]]) -> list[Tried]:
    """The runs of the same values together, best first, those without a value last."""
    found: dict[str, Tried] = {}
    for row in rows:
        tried = found.setdefault(json.dumps(row["values"], sort_keys=True), Tried(row["labels"], [], {}))
        tried.runs.append(dict(row))
        for split in ("validation", *plan.settings.report):
            if row[split] is not None and row["outcome"] == "done":
                tried.values.setdefault(split, []).append(row[split])
    sign = -1 if plan.maximizes else 1
    return sorted(found.values(), key=lambda t: (t.mean() is None, sign * (t.mean() or 0.0)))


def best_of_groups(tried: Sequence[Tried]) -> list[Tried]:
    """The best combination of each group by its mean on the validation rows; groups without any keep their first."""
    found: dict[str, Tried] = {}
    for entry in tried:
        found.setdefault(entry.group, entry)
    return list(found.values())


def study_table(plan: StudyPlan, tried: Sequence[Tried], title: str) -> Table:
    """Combinations with their values, for a terminal."""
    metric, splits = plan.settings.metric, ("validation", *plan.settings.report)
    table = Table(title=escape(title), title_justify="left")
    table.add_column("what", overflow="fold")
    for split in splits:
        table.add_column(f"{metric}\n{split}", justify="right", overflow="fold")
    table.add_column("runs", justify="right")
    table.add_column("s a run", justify="right")
    for entry in tried:
        seconds = statistics.fmean(run["seconds"] or 0 for run in entry.runs)
        cells = [entry.shown(split) for split in splits]
        table.add_row(escape(entry.name), *map(escape, cells), str(len(entry.runs)), f"{seconds:.0f}")
    return table


def write_results(plan: StudyPlan, queue: Queue) -> list[dict[str, Any]]:
    """Write trials.json, trials.csv, the figures and summary.md of what is there, each whole.

    Returns:
        The rows.
    """
    from hf_multilabel.studies.plots import draw_figures
    from hf_multilabel.studies.summary import write_summary

    rows = collect_runs(plan, queue)
    with queue.lock():  # another process of the study may be writing them, too
        write_text(plan.folder / "trials.json", json.dumps(rows, indent=1) + "\n")
        write_text(plan.folder / "trials.csv", as_csv(plan, rows))
        if rows:
            tried = group_runs(plan, rows)
            figures = draw_figures(plan, tried, plan.folder / "figures")
            write_text(plan.folder / "summary.md", write_summary(plan, tried, queue, figures))
    return rows


def as_csv(plan: StudyPlan, rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows without their curves; a cell that a spreadsheet would compute is made text."""
    labels = list(dict.fromkeys(key for row in rows for key in row["labels"]))
    columns = ["trial", "seed", "outcome", "validation", *plan.settings.report, "seconds", "steps", "train_loss"]
    columns += ["pooled_cosine", "prediction_spread", "error"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*labels, *columns])
    for row in rows:
        shown = [show_value(row["labels"][key]) if key in row["labels"] else "" for key in labels]
        cells = [*shown, *("" if row[key] is None else row[key] for key in columns)]
        writer.writerow([_plain_cell(cell) for cell in cells])
    return stream.getvalue()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _rows(queue: Queue, number: int, attributes: Mapping[str, Any], plan: StudyPlan) -> list[dict[str, Any]]:
    """The runs of one trial; of one that died before it left anything, one row that says so."""
    path = queue.trial_folder(number) / "result.json"
    left = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    runs = left.get("runs") or [{"seed": seed} for seed in attributes.get("seeds", [0])[:1]]
    rows = []
    for run in runs:
        metrics, curve, losses = run.get("metrics") or {}, run.get("curve") or [], run.get("losses") or []
        row = {
            "trial": number,
            "labels": attributes.get("labels", {}),
            "values": attributes.get("values", {}),
            "seed": run["seed"],
            "outcome": run.get("outcome") or attributes.get("outcome", "died"),
            "validation": run.get("value"),
            **{split: _reported(plan, metrics, curve, split) for split in plan.settings.report},
            "seconds": (run.get("training") or {}).get("seconds"),
            "steps": (run.get("training") or {}).get("steps"),
            "train_loss": losses[-1][1] if losses else None,
            "pooled_cosine": (run.get("collapse") or {}).get("pooled_cosine"),
            "prediction_spread": (run.get("collapse") or {}).get("prediction_spread"),
            "error": left.get("error"),
            "baseline": run.get("baseline") or {},
            "curve": curve,
            "losses": losses,
        }
        if left.get("outcome") in ("refused", "error") and run is runs[-1]:
            row["outcome"] = left["outcome"]
        rows.append(row)
    return rows


def _reported(plan: StudyPlan, metrics: Mapping[str, Any], curve: Sequence[Mapping[str, Any]], split: str) -> Any:
    if split not in metrics:
        return None
    if plan.settings.metric == "loss":
        return curve[-1].get(f"{split}_loss")
    return metrics[split][plan.settings.decision].get(plan.settings.metric)


def _plain_cell(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
