"""`hf-multilabel predict`: texts in, label sets out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import BatchSize, silence_libraries
from hf_multilabel.request import check_model, check_output, check_texts, read_overrides


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
    objective: Annotated[
        str | None, typer.Option(help="fixed: a cut of 0.5 for all labels. Others need labelled rows: see tune.")
    ] = None,
    batch_size: BatchSize = 32,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="MODEL must be the folder or file of an ONNX export; they are recognised.")
    ] = False,
) -> None:
    """Stream texts in and label sets out, in constant memory.

    The model's own decision makes the label sets, unless you say otherwise. Example:
    [bold]echo "Where is my order?" | hf-multilabel predict runs/quickstart -[/bold]
    """
    settings = read_overrides(threshold or [], objective) | {
        "top_k": top_k,
        "min_labels": min_labels,
        "max_labels": max_labels,
    }
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
        onnx=onnx,
    )
