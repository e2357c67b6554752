"""`hf-multilabel tune`: another decision for a finished model."""

from __future__ import annotations

from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, sort_arguments


def tune(
    model: Annotated[str, typer.Argument(help="A run's folder, for instance runs/quickstart.")],
    data: Annotated[
        str | None,
        typer.Argument(help="Rows it was not trained on: a file, folder or Hub dataset; without it the run's own."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Other settings, for instance decision.empty=at_least_one.", metavar="[decision.key=value]..."
        ),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="What the cuts are chosen for: balanced, micro_f1, precision_at_least, ...")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which rows of DATA: validation, or train of other data. A single file is used whole.")
    ] = "validation",
    batch_size: BatchSize = 32,
) -> None:
    """Fit the decision of a finished model again, without training, and rewrite only that: weights stay as they are.

    Settings that are not given are those of the model's recipe. Results in metrics.json and the card are measured
    again. Example: [bold]hf-multilabel tune runs/toxic labelled.csv --objective micro_f1[/bold]
    """
    from hf_multilabel.tuning import tune as tune_model

    overrides, data = sort_arguments(data, overrides)
    tune_model(model, data, overrides, objective=objective, split=split, batch_size=batch_size)
