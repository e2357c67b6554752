"""`hf-multilabel tune`: another decision for a finished model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, Model, begin, sort_arguments
from hf_multilabel.request import check_refit, check_run, check_unlabelled, is_hub_id


def tune(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(help="Rows it was not trained on: a file, folder or Hub dataset; without it the run's own."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Other settings: decision.risk, .calibration, .prevalence, .false_negative_cost, .empty, ...",
            metavar="[decision.key=value]...",
        ),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="What the cuts are chosen for: balanced, micro_f1, precision_at_least, ...")
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which rows of DATA: validation, or train of other data. A single file is used whole.")
    ] = "validation",
    unlabelled: Annotated[
        str | None,
        typer.Option(
            help="Texts from where the model is used, without labels, in a file as predict takes them: how frequent "
            "each label is there is estimated, with its interval, and probabilities are shifted to it. Some hundreds "
            "of texts, drawn at random.",
            metavar="FILE",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Of --unlabelled: column of the text, as of DATA if not given; repeat it to join several."),
    ] = None,
    batch_size: BatchSize = 32,
    output: Annotated[
        Path | None, typer.Option(help="Of a model on the Hub: the folder to download it to; default runs/NAME.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Of a model on the Hub: branch, tag or commit.")] = None,
    push: Annotated[
        bool, typer.Option("--push", help="Of a model on the Hub: push the new decision, and nothing else, back.")
    ] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run the code of the repo though it is not this version's: read it."),
    ] = False,
) -> None:
    """Fit the decision of a finished model again, without training, and rewrite only that: weights stay as they are.

    Settings that are not given are those of the model's recipe. Results in metrics.json and the card are measured
    again. To go back, [bold]hf-multilabel tune runs/toxic[/bold] alone fits the recipe's own decision on the run's own
    rows again. Examples: [bold]hf-multilabel tune runs/toxic labelled.csv --objective micro_f1[/bold],
    [bold]hf-multilabel tune me/toxic labelled.csv --push[/bold]

    A promise: [bold]hf-multilabel tune runs/toxic labelled.csv 'decision.risk={recall: 0.9, confidence: 0.9}'[/bold]

    Prices of errors: [bold]hf-multilabel tune runs/toxic labelled.csv --objective cost_plug_in
    decision.false_negative_cost=5 decision.calibration=platt[/bold]

    Labels rarer where it is used: [bold]hf-multilabel tune runs/toxic --unlabelled new.txt --objective fixed
    decision.calibration=platt[/bold]
    """
    overrides, data = sort_arguments(data, overrides)
    on_hub = is_hub_id(model)
    if not on_hub and (output or revision or push):
        raise typer.BadParameter("--output, --revision and --push are for a model on the Hub; this is a folder.")
    check_refit(overrides, split)
    check_unlabelled(unlabelled, text, overrides)
    if not on_hub:
        check_run(model)
    begin(data=data)
    from hf_multilabel.tuning import tune as tune_model
    from hf_multilabel.tuning import tune_hub_model

    settings = {"objective": objective, "split": split, "batch_size": batch_size}
    settings |= {"unlabelled": unlabelled, "text": text}
    if on_hub:
        folder = output or Path("runs", model.split("/")[1])
        hub = {"folder": folder, "revision": revision, "push": push, "trust_remote_code": trust_remote_code}
        tune_hub_model(model, data, overrides, **hub, **settings)
        return
    tune_model(model, data, overrides, **settings)
