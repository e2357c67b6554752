"""`hf-multilabel predict`: texts in, label sets out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, silence_libraries
from hf_multilabel.request import check_model, check_output, check_texts, read_overrides


class Empty(StrEnum):
    """What a label set without a label becomes."""

    ALLOW = "allow"
    AT_LEAST_ONE = "at_least_one"
    ABSTAIN = "abstain"


class Scores(StrEnum):
    """Labels whose probabilities are given."""

    PREDICTED = "predicted"
    ALL = "all"


def predict(
    model: Annotated[
        str,
        typer.Argument(help="A run's folder, for instance runs/quickstart, a Hub id OWNER/NAME, or an ONNX export."),
    ],
    source: Annotated[
        str,
        typer.Argument(
            help="A text file (one text a line), JSONL, CSV, TSV or Parquet file; - reads lines from stdin."
        ),
    ],
    text: Annotated[
        list[str] | None,
        typer.Option(help="Column of the text, as the model was trained if not given; repeat it to join several."),
    ] = None,
    row_id: Annotated[
        str | None, typer.Option("--id", help="Column that names a row in the output; without it rows are numbered.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write there instead of to stdout; .csv or .jsonl chooses the format.")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="jsonl (default) or csv.")] = None,
    scores: Annotated[
        Scores,
        typer.Option(
            help="Labels whose probability is given: the predicted ones, or all: in JSON Lines most probable first, in "
            "CSV a column score:LABEL each. With thousands of labels, thousands of numbers a text."
        ),
    ] = Scores.PREDICTED,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            help="Another cut: a number for all labels, or LABEL=NUMBER for one; repeat it.",
            metavar="NUMBER|LABEL=NUMBER",
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="So many labels a text, the most probable; with --threshold at most so many.", min=1),
    ] = None,
    min_labels: Annotated[int | None, typer.Option(help="Fewest labels a text gets.", min=0)] = None,
    max_labels: Annotated[int | None, typer.Option(help="Most labels a text gets.", min=1)] = None,
    empty: Annotated[
        Empty | None,
        typer.Option(
            help="A text above no cut: no label, the best one, or none because it abstains, which the output marks "
            "(abstained: true) for a person to decide. Where most texts truly have no label, that is no sign of doubt."
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="fixed: a cut of 0.5 for all labels; cost_plug_in: the cut of least expected cost. Others need "
            "labelled rows: see tune."
        ),
    ] = None,
    false_positive_cost: Annotated[
        float | None, typer.Option(help="With --objective cost_plug_in: price of a wrong label; 1 if not given.")
    ] = None,
    false_negative_cost: Annotated[
        float | None, typer.Option(help="With --objective cost_plug_in: price of a missed label; 1 if not given.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option(help="expected_f1: each text gets the set of the highest expected F1, without cuts.")
    ] = None,
    batch_size: BatchSize = 32,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="MODEL must be the folder or file of an ONNX export; they are recognised.")
    ] = False,
) -> None:
    """Stream texts in and label sets out, in constant memory.

    The model's own decision makes the label sets, unless you say otherwise; its calibration stays. Examples:
    [bold]echo "Where is my order?" | hf-multilabel predict runs/quickstart -[/bold],
    [bold]hf-multilabel predict runs/quickstart texts.txt --objective cost_plug_in --false-negative-cost 5[/bold]
    """
    costs = {"false_positive_cost": false_positive_cost, "false_negative_cost": false_negative_cost}
    settings = read_overrides(threshold or [], objective, rule=rule, top_k=top_k, **costs)
    settings |= {"min_labels": min_labels, "max_labels": max_labels, "empty": empty and empty.value}
    check_output(output)
    if not (onnx or model.endswith(".onnx") or (Path(model) / "model.onnx").is_file()):
        check_model(model)
    if source != "-":
        check_texts(source)
    silence_libraries()
    from hf_multilabel.prediction import predict_file

    predict_file(
        model,
        source,
        text=text,
        row_id=row_id,
        output=output,
        form=form,
        batch_size=batch_size,
        decision=settings,
        scores=scores.value,
        onnx=onnx,
    )
