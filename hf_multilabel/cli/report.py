"""`hf-multilabel report`: what a run does, or how two runs differ, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, Model, Reading, begin, sort_arguments, take_run
from hf_multilabel.request import check_output, check_read


def report(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(
            help="A file, folder or Hub dataset; without it the one it was trained on. Or the folder of another run: "
            "both are then compared.",
            metavar="[DATA | OTHER_RUN]",
        ),
    ] = None,
    overrides: Reading = None,
    split: Annotated[
        str, typer.Option(help="Which rows: train, validation or test. A single file is all one split.")
    ] = "test",
    text: Annotated[
        list[str] | None,
        typer.Option(help="A text to look at closely; give it several times. Without it, two texts of the split."),
    ] = None,
    other: Annotated[
        str | None, typer.Option("--compare", help="Another model, folder or Hub id, on rows of DATA.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The HTML file; without it report.html (or comparison.html) in the run's folder."),
    ] = None,
    batch_size: BatchSize = 32,
) -> None:
    r"""Write one HTML file about a run: metrics, curves, labels, confusions, calibration, errors, attention, tokens.

    The file needs no network; its figures lie beside it as PNG. Examples:
    [bold]hf-multilabel report runs/quickstart --text "A new attention mechanism"[/bold],
    [bold]hf-multilabel report runs/first runs/second[/bold] for two runs side by side. Needs hf-multilabel\[report].
    """
    from hf_multilabel.reports.drawing import check_installed

    check_output(output)
    overrides, data = sort_arguments(data, overrides)
    data, other, overrides = take_run(data, other, overrides)
    check_read(overrides, "report")
    check_installed("matplotlib", *(["captum"] if other is None else []))
    begin(*filter(None, (model, other)), data=data)
    from hf_multilabel.reporting import report_pair, report_run

    if other is None:
        found = report_run(
            model, data, overrides, split=split, texts=text or (), output=output, batch_size=batch_size
        )  # fmt: skip
    else:
        found = report_pair(model, other, data, overrides, split=split, output=output, batch_size=batch_size)
    typer.echo(found)
