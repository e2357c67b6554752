"""`hf-multilabel space`: a page on which people try a finished model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import Model, silence_libraries
from hf_multilabel.request import check_run, means_path


def space(
    model: Model,
    output: Annotated[Path | None, typer.Option(help="Folder to write; spaces/NAME if not given.")] = None,
    push: Annotated[
        str | None, typer.Option(help="Push it to this Space on the Hub, created if new.", metavar="OWNER/NAME")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create the Space as a private one.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Serve it on 127.0.0.1 until Ctrl+C.")] = False,
    port: Annotated[int | None, typer.Option(help="Port for --local; the first free one from 7860 on.", min=1)] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a model on the Hub.")] = None,
    title: Annotated[str | None, typer.Option(help="Shown above the page; the model's name if not given.")] = None,
    example: Annotated[
        list[str] | None, typer.Option(help="A text to choose; those of the model card if none is given. Repeat it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a Space that is there.")] = False,
) -> None:
    """Write a Gradio Space for a model: try a text, move the cuts, label a CSV file.

    Of a run's folder it works on this machine only: --local serves it, --output FOLDER writes it.

    Try one here: [bold]hf-multilabel space runs/quickstart --local[/bold]
    Put one on the Hub: [bold]hf-multilabel space me/toxic-comments --push me/toxic-demo[/bold]
    """
    if means_path(model):
        check_run(model)
    silence_libraries()
    from hf_multilabel.spaces import check_choices, make_space, resolve_model, serve

    check_choices(model, output, push=push, local=local, port=port)
    facts = resolve_model(model, revision, title, example or ())
    if local:
        serve(facts, output, port, overwrite)
        return
    folder = output or Path("spaces") / Path(facts.model).name
    typer.echo(make_space(facts, folder, push=push, private=private, overwrite=overwrite) or folder)
