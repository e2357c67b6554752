"""The commands: train, evaluate, tune, predict, inspect, push.

Exit codes: 0 done; 2 bad input, nothing written; 3 the machine, the network or a stored file failed; 130 interrupted;
1 is a bug of ours.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.errors import EnvironmentFault, MultiLabelError
from hf_multilabel.version import __version__

app = typer.Typer(
    name="hf-multilabel",
    help="Fine-tune a transformer for multi-label text classification and ship a model that returns label sets.",
    epilog="Start with: hf-multilabel train quickstart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Model = Annotated[str, typer.Argument(help="A run's folder, for instance runs/quickstart, or a Hub id OWNER/NAME.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Changes to the recipe, section.key=value, for instance training.max_steps=30.",
        metavar="[section.key=value]...",
    ),
]
BatchSize = Annotated[int, typer.Option(help="Texts of one forward pass.", min=1)]


def show_version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        typer.echo(f"hf-multilabel {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune a transformer for multi-label text classification and ship a model that returns label sets."""


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, or the name of a shipped one: quickstart, toxic, eurlex, ...")
    ],
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted run in the recipe's folder.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier run left in that folder.")
    ] = False,
) -> None:
    """Take a recipe from its data to a folder that returns label sets, and push it if the recipe names a repo.

    On one GPU or CPU: [bold]hf-multilabel train recipes/quickstart.yaml[/bold]. On several:
    [bold]accelerate launch run.py recipes/eurlex.yaml training.num_train_epochs=5[/bold].
    The folder (training.output_dir, default runs/RECIPE) then holds the model with its thresholds, the card, the
    resolved recipe and metrics.json.
    """
    from hf_multilabel.recipe import load_recipe
    from hf_multilabel.workflow import train as run_recipe

    if resume and overwrite:
        raise typer.BadParameter("--resume continues a run and --overwrite replaces it: give one of them.")
    try:
        run_recipe(load_recipe(recipe, overrides or ()), resume=resume, overwrite=overwrite)
    except KeyboardInterrupt:
        print("interrupted; if the run's folder holds a checkpoint, --resume continues from it", file=sys.stderr)
        raise


@app.command()
def evaluate(
    model: Model,
    data: Annotated[
        str | None, typer.Argument(help="A file, folder or Hub dataset; without it the one it was trained on.")
    ] = None,
    overrides: Overrides = None,
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
    from hf_multilabel.console import compared_labels_table, comparison_table, results_table, show
    from hf_multilabel.measurement import compare
    from hf_multilabel.measurement import evaluate as evaluate_model
    from hf_multilabel.prediction import check_output

    check_output(output)
    overrides, data = sort_arguments(data, overrides)
    if other is None:
        found = evaluate_model(model, data, overrides, split=split, batch_size=batch_size)
        show(results_table({split: found}))
    else:
        found = compare(model, other, data, overrides, split=split, batch_size=batch_size)
        show(comparison_table(model, other, found["metrics"]))
        show(compared_labels_table(found["labels"]))
    if output is not None:
        output.write_text(json.dumps({split: found}, indent=1) + "\n", encoding="utf-8")


@app.command()
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


@app.command()
def predict(
    model: Model,
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
) -> None:
    """Stream texts in and label sets out, in constant memory.

    The model's own decision makes the label sets, unless you say otherwise. Example:
    [bold]echo "Where is my order?" | hf-multilabel predict runs/quickstart -[/bold]
    """
    from hf_multilabel.prediction import predict_file, read_overrides

    settings = read_overrides(threshold or [], objective) | {
        "top_k": top_k,
        "min_labels": min_labels,
        "max_labels": max_labels,
    }
    predict_file(
        model, source, text=text, row_id=row_id, output=output, form=form, batch_size=batch_size, decision=settings
    )


@app.command()
def inspect(
    recipe: Annotated[str, typer.Argument(help="A recipe: its data section says how the data is read.")],
    overrides: Overrides = None,
    labels: Annotated[int, typer.Option(help="Show so many labels, the most and least frequent.", min=2)] = 20,
) -> None:
    """Show what a recipe's data holds, before training on it: rows, labels, lengths, shared texts, unseen labels.

    Example: [bold]hf-multilabel inspect recipes/goemotions.yaml data.source=DIR[/bold]
    """
    from hf_multilabel.inspection import inspect_data
    from hf_multilabel.recipe import load_recipe

    inspect_data(load_recipe(recipe, overrides or ()), labels)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    repo_id: Annotated[str, typer.Argument(help="OWNER/NAME on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to push to.")] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
) -> None:
    """Push a finished run to the Hub in one commit; the token comes from HF_TOKEN or `hf auth login`.

    Example: [bold]hf-multilabel push runs/toxic me/toxic-comments --private[/bold]
    """
    from hf_multilabel.publishing.hub import push_bundle

    typer.echo(push_bundle(folder, repo_id, private=private, revision=revision, commit_message=message))


def sort_arguments(data: str | None, overrides: list[str] | None) -> tuple[list[str], str | None]:
    """DATA may be left out: what looks like a change to the recipe and is no file is one."""
    if data is not None and "=" in data and not Path(data).exists():
        return [data, *(overrides or [])], None
    return overrides or [], data


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `hf-multilabel`."""
    sys.exit(call(arguments))


def run() -> None:
    """Entry point of `run.py`: `hf-multilabel train`, for launchers that start a script."""
    sys.exit(call(["train", *sys.argv[1:]]))


def call(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; usage errors are typer's own, with code 2."""
    try:
        app(args=arguments)
    except SystemExit as end:
        if not end.code:
            leave_group()
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except MultiLabelError as error:
        report(error)
        return error.exit_code
    return 0


def leave_group() -> None:
    """Part from the other processes of a finished run; one that ends while its threads still listen would abort."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def report(error: MultiLabelError) -> None:
    """Print an error once: input errors are the same on every process, faults may be one process's own."""
    rank = int(os.environ.get("RANK", "0"))
    if rank == 0:
        print(error, file=sys.stderr)
    elif isinstance(error, EnvironmentFault):
        print(f"[rank {rank}] {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
