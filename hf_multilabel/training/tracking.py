"""What trackers are told beyond the log, which holds metrics and the rates of all groups: recipe, results, figures.

The Trainer has callbacks for trackio, tensorboard, wandb and mlflow, which open the run and send its metrics; that of
aim is here. A `Sink` adds the rest, in the words of each tracker.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from hf_multilabel.console import SHOWN_METRICS, note
from hf_multilabel.errors import Finding, InputError

# Tracker to what is to be installed for it.
PACKAGES = {
    "trackio": "'hf-multilabel[tracking]'",
    "tensorboard": "'hf-multilabel[tracking]'",
    "aim": "aim",
    "wandb": "wandb",
    "mlflow": "mlflow",
}

PROJECT_VARIABLES = ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME")


def check_trackers(names: Iterable[str]) -> None:
    """Refuse a tracker that is not installed, before anything is loaded.

    Raises:
        InputError: One line each, with what to install.
    """
    missing = [name for name in names if name in PACKAGES and importlib.util.find_spec(name) is None]
    if missing:
        what = "expected an installed tracker, found no package"
        fixes = {name: f"pip install {PACKAGES[name]}" for name in missing}
        raise InputError([Finding("T108", "training.report_to", f"{what} {name}", fixes[name]) for name in missing])


class Sink:
    """One tracker; the Trainer's callback has opened its run before and closes it when training ends.

    Args:
        theirs: The Trainer's callback of this tracker.
        args: Of the run.
    """

    def __init__(self, theirs: TrainerCallback, args: Any) -> None:
        self.theirs, self.args = theirs, args

    def recipe(self, recipe: Mapping[str, Any]) -> None:
        """Send the resolved recipe."""

    def results(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path], step: int) -> None:
        """Open the run again, send the final table and the figures, close it."""


class TensorBoardSink(Sink):
    """Event files in the folder of the Trainer's."""

    def __init__(self, theirs: Any, args: Any) -> None:
        super().__init__(theirs, args)
        self.folder = theirs.tb_writer.log_dir

    def recipe(self, recipe: Mapping[str, Any]) -> None:
        """As text."""
        self.theirs.tb_writer.add_text("recipe", f"```json\n{json.dumps(recipe, indent=1)}\n```")

    def results(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path], step: int) -> None:
        """The table as Markdown text, the numbers as scalars, the figures as images."""
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(log_dir=self.folder) as writer:
            writer.add_text("results", as_markdown(rows), step)
            for name, value in flat_results(rows).items():
                writer.add_scalar(name, value, step)
            for path in figures:
                writer.add_image(f"figures/{path.stem}", read_pixels(path), step, dataformats="HWC")


class TrackioSink(Sink):
    """The run of this process, resumed by its name for the results."""

    def __init__(self, theirs: Any, args: Any) -> None:
        import trackio

        super().__init__(theirs, args)
        self.trackio = trackio
        self.name = trackio.context_vars.current_run.get().name

    def recipe(self, recipe: Mapping[str, Any]) -> None:
        """Beside the arguments."""
        self.trackio.config.update({"recipe": recipe}, allow_val_change=True)
        run = self.trackio.context_vars.current_run.get()
        # a run that is resumed without its configuration loses it
        self.config = {key: value for key, value in dict(run.config).items() if not key.startswith("_")}

    def results(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path], step: int) -> None:
        """A table, numbers and images."""
        import pandas

        self.trackio.init(
            project=self.args.project, name=self.name, resume="must", space_id=self.args.trackio_space_id,
            config=self.config,
        )  # fmt: skip
        content: dict[str, Any] = {
            "results": self.trackio.Table(dataframe=pandas.DataFrame(rows)),
            **flat_results(rows),
        }
        content |= {f"figures/{path.stem}": self.trackio.Image(str(path)) for path in figures}
        self.trackio.log(content)
        self.trackio.finish()


class WandbSink(Sink):
    """The run of this process, which stays open until the results are sent."""

    def recipe(self, recipe: Mapping[str, Any]) -> None:
        """Beside the arguments."""
        import wandb

        wandb.run.config.update({"recipe": recipe}, allow_val_change=True)

    def results(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path], step: int) -> None:
        """A table, numbers and images."""
        import wandb

        columns = list(rows[0])
        table = wandb.Table(columns=columns, data=[[row.get(column) for column in columns] for row in rows])
        images = {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        wandb.log({"results": table, **flat_results(rows), **images})
        wandb.finish()


class MlflowSink(Sink):
    """The active run, opened again by its id for the results."""

    def __init__(self, theirs: Any, args: Any) -> None:
        import mlflow

        super().__init__(theirs, args)
        self.mlflow, self.run_id = mlflow, mlflow.active_run().info.run_id

    def recipe(self, recipe: Mapping[str, Any]) -> None:
        """As an artifact."""
        self.mlflow.log_dict(dict(recipe), "recipe.json")

    def results(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path], step: int) -> None:
        """The table as an artifact, numbers as metrics, figures as artifacts."""
        if self.mlflow.active_run() is not None:
            self.mlflow.end_run()
        with self.mlflow.start_run(run_id=self.run_id):
            self.mlflow.log_text(as_markdown(rows), "results.md")
            self.mlflow.log_metrics(flat_results(rows), step=step)
            for path in figures:
                self.mlflow.log_artifact(str(path), "figures")


class AimReporter(TrainerCallback):
    """Metrics to Aim: a repository, by default in the working folder, or a server, `AIM_REPO=aim://HOST:53800`."""

    def __init__(self) -> None:
        self.run: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Open the run and send the arguments."""
        if state.is_world_process_zero and self.run is None:
            self.run = self.open(args)
            self.run["arguments"] = json.loads(args.to_json_string())
            if getattr(model, "config", None) is not None:
                self.run["model"] = json.loads(model.config.to_json_string(use_diff=False))

    def open(self, args: Any, run_hash: str | None = None) -> Any:
        """A run of the project, or the one with this hash."""
        from aim import Run

        repo = os.environ.get("AIM_REPO")
        run = Run(run_hash=run_hash, repo=repo, experiment=args.project, log_system_params=False)
        if args.run_name and run_hash is None:
            run.name = args.run_name
        return run

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Send the numbers, each with its split as context."""
        if self.run is None:
            return
        for name, value in (logs or {}).items():
            subset, _, rest = name.partition("_")
            known = subset in ("eval", "test", "train")
            if isinstance(value, (int, float)):
                context = {"subset": subset if known else "train"}
                self.run.track(value, name=rest if known else name, step=state.global_step, context=context)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the run."""
        if self.run is not None:
            self.run.close()


class AimSink(Sink):
    """The run of `AimReporter`."""

    def recipe(self, recipe: Mapping[str, Any]) -> None:
        """As parameters, by which runs are queried."""
        self.theirs.run["recipe"] = json.loads(json.dumps(recipe))

    def results(self, rows: Sequence[Mapping[str, Any]], figures: Sequence[Path], step: int) -> None:
        """The table as text and parameters, numbers as metrics, figures as images."""
        from aim import Image, Text

        run = self.theirs.open(self.args, self.theirs.run.hash)
        run["results"] = json.loads(json.dumps(list(rows)))
        run.track(Text(as_markdown(rows)), name="results", step=step)
        for name, value in flat_results(rows).items():
            run.track(value, name=name, step=step)
        for path in figures:
            run.track(Image(str(path)), name=f"figures/{path.stem}", step=step)
        run.close()


class Tracking(TrainerCallback):
    """Sends what the Trainer's callbacks leave out.

    Those of wandb and mlflow read the project from the environment alone: `training.project` is written there, unless
    the variable is set.

    Args:
        callbacks: Of the trainer; those of trackers are looked up among them when training begins.
        recipe: The resolved recipe as plain values.
    """

    def __init__(self, callbacks: Sequence[TrainerCallback], recipe: Mapping[str, Any]) -> None:
        self.callbacks, self.content = callbacks, recipe
        self.sinks: list[Sink] = []
        self.step = 0
        if project := recipe["training"].get("project"):
            for variable in PROJECT_VARIABLES:
                os.environ.setdefault(variable, project)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open what stands beside each tracker's callback, and send the recipe."""
        if not state.is_world_process_zero:
            return
        for name, sink in SINKS.items():
            theirs = [found for found in self.callbacks if isinstance(found, INTEGRATION_TO_CALLBACK[name])]
            if theirs and name in args.report_to:
                self.sinks.append(sink(theirs[0], args))
        for sink in self.sinks:
            sink.recipe(self.content)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember where the results belong."""
        self.step = state.global_step

    def finish(self, results: Mapping[str, Mapping[str, Mapping[str, Any]]], figures: Iterable[Path]) -> None:
        """Send the final table and the figures; a tracker that fails now costs no run.

        Args:
            results: split -> decision -> metric -> value.
            figures: PNG files.
        """
        rows, paths = result_rows(results), sorted(figures)
        for sink in self.sinks:
            try:
                sink.results(rows, paths, self.step)
            except Exception as error:  # noqa: BLE001 -- the model is finished: its tracker must not fail it
                note(f"warning: {type(sink).__name__} did not get the results ({type(error).__name__}: {error})")


SINKS: dict[str, type[Sink]] = {
    "tensorboard": TensorBoardSink,
    "trackio": TrackioSink,
    "wandb": WandbSink,
    "mlflow": MlflowSink,
    "aim": AimSink,
}
# the Trainer finds callbacks by name in this dict, and has none for aim
INTEGRATION_TO_CALLBACK.setdefault("aim", AimReporter)


def result_rows(results: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row a metric, one column a split and decision.

    Example:
        >>> result_rows({"test": {"fixed": {"micro_f1": 0.5}, "tuned": {"micro_f1": 0.6}}})
        [{'metric': 'micro_f1', 'test fixed': 0.5, 'test tuned': 0.6}]
    """
    columns = {f"{split} {name}": found for split, decisions in results.items() for name, found in decisions.items()}
    metrics = dict.fromkeys(metric for found in columns.values() for metric in found)
    return [
        {"metric": metric, **{name: found.get(metric) for name, found in columns.items()}}
        for metric in metrics
        if any(isinstance(found.get(metric), (int, float)) for found in columns.values())
    ]


def flat_results(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The numbers people compare first by one name each; the table has all, and a panel for each would hide them.

    Example:
        >>> flat_results([{"metric": "micro_f1", "test tuned": 0.6}])
        {'final/test/tuned/micro_f1': 0.6}
    """
    return {
        f"final/{name.replace(' ', '/')}/{row['metric']}": float(value)
        for row in rows
        for name, value in row.items()
        if row["metric"] in SHOWN_METRICS and name != "metric" and isinstance(value, (int, float))
    }


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown."""
    columns = list(rows[0]) if rows else []
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = [
            f"{row[c]:.4f}" if isinstance(row[c], float) else str("" if row[c] is None else row[c]) for c in columns
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read_pixels(path: Path) -> Any:
    """A PNG file as an array (height, width, 3), uint8."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
