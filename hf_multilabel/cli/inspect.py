"""`hf-multilabel inspect`: what a recipe's data hold."""

from __future__ import annotations

from typing import Annotated

import typer

from hf_multilabel.cli.app import Overrides


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
