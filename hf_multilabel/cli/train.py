"""`hf-multilabel train`: a recipe from its data to the Hub."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hf_multilabel.cli.app import Overrides, silence_libraries


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
    from hf_multilabel.recipe.opening import open_recipe

    if resume and overwrite:
        raise typer.BadParameter("--resume continues a run and --overwrite replaces it: give one of them.")
    open_recipe(recipe)
    silence_libraries()
    from hf_multilabel.recipe import load_recipe

    checked = load_recipe(recipe, overrides or ())
    from hf_multilabel.reporting import report_training
    from hf_multilabel.workflow import train as run_recipe

    try:
        run_recipe(
            checked,
            resume=resume,
            overwrite=overwrite,
            after=report_training,
            resume_command=resume_command(recipe, overrides or ()),
        )
    except KeyboardInterrupt:
        print("interrupted; if the run's folder holds a checkpoint, --resume continues from it", file=sys.stderr)
        raise


def resume_command(recipe: str, overrides: Sequence[str]) -> str:
    """What continues a run that was started with these arguments.

    Example:
        >>> resume_command("quickstart", ["training.seed=1"])
        'hf-multilabel train quickstart training.seed=1 --resume'
    """
    arguments = shlex.join([recipe, *overrides, "--resume"])
    if os.environ.get("WORLD_SIZE", "1") != "1":
        return f"accelerate launch [options as before] run.py {arguments}"
    return f"hf-multilabel train {arguments}"
