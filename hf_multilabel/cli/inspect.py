"""`hf-multilabel inspect`: what data hold, before a model is trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import silence_libraries
from hf_multilabel.request import check_read


def inspect(
    data: Annotated[
        str,
        typer.Argument(
            help="A recipe; or data themselves: a file, a folder with files named by split, a dataset on the Hub.",
            metavar="RECIPE|DATA",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Changes to the recipe, or how DATA is read, for instance data.text=body.",
            metavar="[section.key=value]...",
        ),
    ] = None,
    labels: Annotated[int, typer.Option(help="Show so many labels, the most and least frequent.", min=2)] = 20,
    output: Annotated[
        Path | None,
        typer.Option(help="Write a report.html, a profile.json, or a FOLDER with both and the figures as PNG."),
    ] = None,
    label_errors: Annotated[
        Path | None,
        typer.Option(
            help="Search for wrong labels (minutes) and list them there, .csv or .jsonl. Write fix into the column "
            "action where the suggestion is right, and give the list back as data.corrections.",
        ),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Write a recommended recipe there, with reasons.")] = None,
    near: Annotated[bool, typer.Option(help="Search for texts that are nearly the same.")] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a recipe or a list of label errors that is there.")
    ] = False,
) -> None:
    """Show what data hold, before training on them.

    Rows, labels, label sets, imbalance, labels that stand together, lengths and what is cut, repeated and nearly
    repeated texts, leaks between splits, and the memory of a run. Without a recipe the columns are guessed and said;
    data.text=..., data.labels=... and so on correct that. Examples:

    [bold]hf-multilabel inspect quickstart[/bold]

    [bold]hf-multilabel inspect tickets.csv data.text=body --recipe tickets.yaml --label-errors suspects.csv[/bold]
    """
    from hf_multilabel.recipe.opening import find_data, is_recipe, open_recipe

    check_read(overrides or [], "inspect")
    if is_recipe(data):
        open_recipe(data)
    else:
        find_data(data, "a recipe, a data file")
    silence_libraries()
    from hf_multilabel.inspection import inspect_data

    inspect_data(
        data, overrides or (), shown=labels, output=output, label_errors=label_errors, recipe=recipe, near=near,
        overwrite=overwrite,
    )  # fmt: skip
