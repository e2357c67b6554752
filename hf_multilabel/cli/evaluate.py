"""`hf-multilabel evaluate`: measure a finished model, or compare two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, Model, Reading, begin, sort_arguments, take_run
from hf_multilabel.request import check_output, check_read


def evaluate(
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
        str, typer.Option(help="Which rows of DATA: train, validation or test. A single file is all one split.")
    ] = "test",
    other: Annotated[
        str | None,
        typer.Option("--compare", help="Another model: is it better on the same rows, and on which labels?"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the metrics as JSON there, too.")] = None,
    batch_size: BatchSize = 32,
) -> None:
    """Measure a finished model, at a cut of 0.5 and at its own decision, or compare it with another one.

    Columns are read as the model's recipe says; labels are matched by name, in whatever order DATA has them. Example:
    [bold]hf-multilabel evaluate runs/toxic new_comments.csv data.text=comment[/bold]
    """
    check_output(output)
    overrides, data = sort_arguments(data, overrides)
    data, other, overrides = take_run(data, other, overrides)
    check_read(overrides, "evaluate")
    begin(*filter(None, (model, other)), data=data)
    from hf_multilabel.console import compared_labels_table, comparison_table, results_table, show
    from hf_multilabel.inference import FinishedModel
    from hf_multilabel.measurement import compare, evaluate_finished

    if other is None:
        finished = FinishedModel.load(model)
        found = evaluate_finished(finished, data, overrides, split=split, batch_size=batch_size)
        show(results_table({split: found}, decision=finished.model.config.decision), asked=True)
    else:
        found = compare(model, other, data, overrides, split=split, batch_size=batch_size)
        show(comparison_table(model, other, found["metrics"], found["decisions"]), asked=True)
        show(compared_labels_table(found["labels"]), asked=True)
    if output is not None:
        output.write_text(json.dumps({split: found}, indent=1) + "\n", encoding="utf-8")
