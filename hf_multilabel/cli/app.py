"""The application all commands belong to, and arguments that several of them take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.version import __version__

app = typer.Typer(
    name="hf-multilabel",
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
BatchSize = Annotated[int, typer.Option(help="Texts of one forward pass.", min=1)]


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
) -> None:
    """Fine-tune a transformer for multi-label text classification and ship a model that returns label sets."""


def sort_arguments(data: str | None, overrides: list[str] | None) -> tuple[list[str], str | None]:
    """DATA may be left out: what looks like a change to the recipe and is no file is one."""
    if data is not None and "=" in data and not Path(data).exists():
        return [data, *(overrides or [])], None
    return overrides or [], data
