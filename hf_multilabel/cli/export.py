"""`hf-multilabel export`: a finished model for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, Model, begin

export = typer.Typer(
    name="export",
    help="Write a finished model for other runtimes: ONNX, or a stock transformers class. Example: "
    "[bold]hf-multilabel export onnx runs/quickstart --int8[/bold]",
    no_args_is_help=True,
)

Output = Annotated[
    Path | None,
    typer.Option(help="The new folder; without it a neighbour of MODEL, for instance runs/quickstart-onnx."),
]
Data = Annotated[
    str | None,
    typer.Option(help="Rows to check the export on, in the form the model was trained on; without it the run's own."),
]
Rows = Annotated[int, typer.Option(help="Most rows to check on.", min=1)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")]


@export.command("onnx")
def export_onnx(
    model: Model,
    output: Output = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also write model_int8.onnx: smaller, faster on CPUs.")] = False,
    data: Data = None,
    rows: Rows = 1000,
    overwrite: Overwrite = False,
    batch_size: BatchSize = 32,
) -> None:
    """Write an ONNX graph that returns logits, calibrated probabilities and decided labels, with all that runs it.

    Nothing is written unless the graph gives on real texts what the model gives: probabilities within 1e-5, the same
    label sets; int8 may lose 0.3 points of micro-F1. Example:
    [bold]hf-multilabel export onnx runs/quickstart --int8[/bold]
    """
    begin(model, data=data)
    from hf_multilabel.exporting import export_onnx as write

    typer.echo(write(model, output, int8=int8, data=data, rows=rows, overwrite=overwrite, batch_size=batch_size))


@export.command("plain")
def export_plain(
    model: Model, output: Output = None, data: Data = None, rows: Rows = 200, overwrite: Overwrite = False
) -> None:
    """Write a stock transformers model that needs no remote code, where one computes the same logits.

    Possible for heads that are one layer on the first token's state or the backbone's pooler. Its users apply the
    thresholds themselves. Example: [bold]hf-multilabel export plain runs/toxic[/bold]
    """
    begin(model, data=data)
    from hf_multilabel.exporting import export_plain as write

    typer.echo(write(model, output, data=data, rows=rows, overwrite=overwrite))
