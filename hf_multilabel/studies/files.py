"""Which file a study's name means."""

from __future__ import annotations

from pathlib import Path

from hf_multilabel.assets import recipes_folder
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.recipe.opening import suggest_file
from hf_multilabel.recipe.secrets import show


def find_study(path: str | Path) -> Path:
    """A study's file: the path itself, with `.yaml` added, or one of the shipped studies by its name.

    Raises:
        InputError: If there is none.
    """
    named, shipped = Path(path), recipes_folder() / "studies"
    tried = [named, named.with_name(f"{named.name}.yaml")] if named.name else [named]
    if named.name and named.parent in (Path(), Path("recipes/studies"), Path("studies")):
        tried += [shipped / file.name for file in tried]
    for file in tried:
        if file.is_file():
            return file
    names = sorted(file.stem for file in shipped.glob("*.yaml"))
    fix = suggest_file(named, names)
    raise InputError(Finding("R001", show(str(path)), "expected a study, found no such file", fix))
