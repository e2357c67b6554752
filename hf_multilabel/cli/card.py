"""`hf-multilabel card`: the model card of a finished run, written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, Model, silence_libraries
from hf_multilabel.request import check_model, check_output, check_run, is_hub_id


def card(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(help="Write it there, figures in a folder beside it, and leave MODEL as it is."),
    ] = None,
    figures: Annotated[
        bool, typer.Option(help="Draw figures; without, a page has none and those in the folder of a run stay.")
    ] = True,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace sections that people wrote or changed.")
    ] = False,
    batch_size: BatchSize = 32,
) -> None:
    """Write the model card of a finished run anew, in its folder or as a file of its own.

    The rows its results are reported on are scored again, for the table of labels and the figures; what people wrote
    into the card stays. Example: [bold]hf-multilabel card runs/toxic --output model_cards/toxic.md[/bold]
    """
    if output is not None:
        check_model(model)
    elif not is_hub_id(model):
        check_run(model)
    check_output(output)
    silence_libraries()
    from hf_multilabel.carding import write_card

    write_card(model, output, figures=figures, overwrite=overwrite, batch_size=batch_size)
