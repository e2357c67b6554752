"""`hf-multilabel study`: one recipe with many values."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hf_multilabel.cli.app import silence_libraries


def study(
    file: Annotated[
        str, typer.Argument(help="A study file, or the name of a shipped one: tune, imbalance, toxic_pooling, ...")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Changes to the recipe, section.key=value, or to the study itself, study.seeds=[0,1].",
            metavar="[section.key=value]...",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes that share the trials.", min=1)] = 1,
    table: Annotated[bool, typer.Option("--table", help="Run nothing: show what is there, and write it anew.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Drop what the folder holds of an earlier study.")
    ] = False,
) -> None:
    """Train one recipe with many values, a grid or a search, and say which are best.

    Stopped or killed, the same command goes on where it was; the same command on another terminal helps. The folder
    (study.output_dir, default runs/studies/NAME) holds summary.md, trials.csv, the figures and the trials. Example:
    [bold]hf-multilabel study tune study.recipe=recipes/toxic.yaml --jobs 2[/bold]
    """
    from hf_multilabel.studies.files import find_study

    if table and overwrite:
        raise typer.BadParameter("--table shows a study and --overwrite drops it: give one of them.")
    find_study(file)
    silence_libraries()
    from hf_multilabel.progress import stdout_console
    from hf_multilabel.studies.definition import load_study
    from hf_multilabel.studies.queue import Queue
    from hf_multilabel.studies.results import best_of_groups, group_runs, study_table, write_results
    from hf_multilabel.studies.running import run_study

    plan = load_study(file, overrides or ())
    try:
        rows = write_results(plan, Queue(plan, reading=True)) if table else run_study(plan, jobs, overwrite)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with the study", file=sys.stderr)
        raise
    if not rows:
        typer.echo("no trial has come to its end yet")
        return
    tried, console = group_runs(plan, rows), stdout_console()
    best = best_of_groups(tried)
    if len(best) < len(tried):
        console.print(study_table(plan, tried, f"{plan.name}: all values"))
    console.print(study_table(plan, best, f"{plan.name}: best of each {next(iter(tried[0].labels))}"))
    typer.echo(plan.folder / "summary.md")
