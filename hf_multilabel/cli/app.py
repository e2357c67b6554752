"""The application all commands belong to, and arguments that several of them take."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.hints import Commands
from hf_multilabel.progress import VARIABLE, log_as_json
from hf_multilabel.request import check_model
from hf_multilabel.version import __version__

app = typer.Typer(
    name="hf-multilabel",
    cls=Commands,
    help="Fine-tune a transformer for multi-label text classification and ship a model that returns label sets.",
    epilog="Start with: hf-multilabel train quickstart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str, typer.Argument(help="A run's folder, for instance runs/quickstart, or a Hub id OWNER/NAME.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Changes to the recipe, section.key=value, for instance training.max_steps=30.",
        metavar="[section.key=value]...",
    ),
]
Reading = Annotated[
    list[str] | None,
    typer.Argument(
        help="How DATA is read and measured, for instance data.text=comment or evaluation.keep_scores=100.",
        metavar="[data.key=value]...",
    ),
]
BatchSize = Annotated[int, typer.Option(help="Texts of one forward pass.", min=1)]


class LogFormat(StrEnum):
    """How stderr is written."""

    TEXT = "text"
    JSON = "json"


def show_version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        typer.echo(f"hf-multilabel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings, errors and results.")] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="json: what is said on stderr as one JSON object a line, for logs.")
    ] = LogFormat.TEXT,
) -> None:
    """Fine-tune a transformer for multi-label text classification and ship a model that returns label sets.

    Both options stand before the command; the variable HF_MULTILABEL_LOG=quiet or json says the same.
    """
    if quiet and log_format is LogFormat.JSON:
        raise typer.BadParameter("--quiet says nothing and --log-format json says it for logs: give one of them.")
    if quiet or log_format is LogFormat.JSON:
        os.environ[VARIABLE] = "quiet" if quiet else "json"  # processes started from here read it, too
    if os.environ.get(VARIABLE) == "json":
        log_as_json()


def begin(*models: str, data: str | None = None) -> None:
    """Refuse models and data that are not there; then the imports may take their seconds.

    Raises:
        InputError: Naming the first.
    """
    for model in models:
        check_model(model)
    if data is not None:
        from hf_multilabel.recipe.opening import find_data

        find_data(data)
    silence_libraries()


def silence_libraries() -> None:
    """Switch off bars of libraries that last a blink and say nothing: of weights put into place, of shards written.

    A command calls it when its arguments look right, for it is the first import that takes long.
    """
    from transformers.utils import logging

    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    logging.disable_progress_bar()
    if os.environ.get(VARIABLE) in ("quiet", "json"):
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def take_run(data: str | None, other: str | None, overrides: list[str]) -> tuple[str | None, str | None, list[str]]:
    """DATA that is a finished run is the other model to compare; DATA itself may follow it."""
    if other is not None or data is None or not (Path(data) / "config.json").is_file():
        return data, other, overrides
    if overrides and "=" not in overrides[0]:
        return overrides[0], data, overrides[1:]
    return None, data, overrides


def sort_arguments(data: str | None, overrides: list[str] | None) -> tuple[list[str], str | None]:
    """DATA may be left out: what looks like a change to the recipe and is no file is one."""
    if data is not None and "=" in data and not Path(data).exists():
        return [data, *(overrides or [])], None
    return overrides or [], data
