"""`hf-multilabel doctor`: what each consumer will do with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import silence_libraries
from hf_multilabel.request import check_model, means_path


def doctor(
    model: Annotated[str, typer.Argument(help="A model folder, or a Hub id OWNER/NAME.", metavar="REPO_OR_FOLDER")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    show_ok: Annotated[bool, typer.Option("--all", help="Also list what is in order.")] = False,
) -> None:
    """Say what transformers, TEI, vLLM, transformers.js, ONNX Runtime and the Hub will make of a multi-label model.

    Looks at any ...ForSequenceClassification, PEFT adapter, ONNX folder or model of this package: labels against the
    head's rows, decision, tokenizer, pickles, code, tokens, card. Nothing in it is executed or unpickled; of a Hub
    repo only small files and the headers of the weights are fetched.

    Exit code: 0 without errors (there may be warnings), 2 if it is no model or can't be found, 3 if it has errors or
    the Hub does not answer.

    Example: [bold]hf-multilabel doctor runs/quickstart[/bold] or [bold]hf-multilabel doctor unitary/toxic-bert[/bold]
    """
    if means_path(model) and not Path(model).exists():
        check_model(model)
    silence_libraries()
    from hf_multilabel.publishing.doctor.examination import examine
    from hf_multilabel.publishing.doctor.report import print_diagnosis, to_json

    diagnosis = examine(model, revision)
    if as_json:
        typer.echo(to_json(diagnosis))
    else:
        print_diagnosis(diagnosis, show_ok)
    if diagnosis.exit_code:
        raise typer.Exit(diagnosis.exit_code)
