"""Where the shipped recipes and model cards lie: in the installed wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

from hf_multilabel.errors import EnvironmentFault, Finding

PACKAGE = Path(__file__).resolve().parent


def asset_folder(name: str) -> Path:
    """Find a folder of files that ship with the package.

    setup.cfg maps `recipes/` and `model_cards/` of a checkout into the wheel's package, so the installed place is tried
    first: beside an installed package lies somebody else's code.

    Args:
        name: `recipes` or `model_cards`.

    Returns:
        The folder, absolute.

    Raises:
        EnvironmentFault: If neither place has it: the installation is incomplete.

    Example:
        >>> (asset_folder("recipes") / "quickstart.yaml").is_file()
        True
    """
    places = (PACKAGE / name, PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    tried = " and ".join(str(place) for place in places)
    raise EnvironmentFault(
        Finding("R002", name, f"expected a folder in {tried}, found none", "install hf-multilabel again")
    )


def recipes_folder() -> Path:
    """The folder of the shipped recipes; see `asset_folder`."""
    return asset_folder("recipes")
