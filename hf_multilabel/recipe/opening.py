"""Which file a recipe or data by name are, and whether the recipe reads as one; needs no more than a YAML parser."""

from __future__ import annotations

import os
from pathlib import Path

from hf_multilabel.assets import recipes_folder
from hf_multilabel.errors import Finding, InputError, nearest
from hf_multilabel.recipe.paths import PathProblem, resolve_source
from hf_multilabel.recipe.reading import Document, read_file
from hf_multilabel.recipe.secrets import show

# Files that are no recipes; data/formats.py reads them.
DATA_FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow")


def open_recipe(path: str | Path) -> tuple[Path, Document]:
    """A recipe's file and what stands in it, unchecked.

    Raises:
        InputError: If there is no such file, it is no YAML, or has no sections.
    """
    file = find_recipe(path)
    document = read_file(file, str(path) if Path(path) == file else str(file))
    if not isinstance(document.values, dict):
        what = "expected sections such as data: and model:, found none of them"
        raise InputError([*document.findings, Finding("R102", document.where(()), what, "write the sections")])
    return file, document


def find_recipe(path: str | Path) -> Path:
    """A recipe's file: the path itself, with `.yaml` added, or one of the shipped recipes by its name.

    Raises:
        InputError: If there is none.
    """
    named = Path(path)
    tried = [named, named.with_name(f"{named.name}.yaml")] if named.name else [named]
    if named.name and named.parent in (Path(), Path("recipes")):
        tried += [recipes_folder() / file.name for file in tried]
    for file in tried:
        if os.path.isfile(file):
            return file
    shipped = sorted(file.stem for file in recipes_folder().glob("*.yaml"))
    near = nearest(named.stem, shipped)
    fix = f"write {near}" if near else f"give a path, or one of {', '.join(shipped)}"
    raise InputError(Finding("R001", show(str(path)), "expected a recipe, found no such file", fix))


def is_recipe(named: str) -> bool:
    """Whether a name is that of a recipe and not of data; a recipe that is not there counts.

    Example:
        >>> is_recipe("quickstart"), is_recipe("quikstart.yaml"), is_recipe("tickets.csv")
        (True, True, False)
    """
    suffix = Path(named.lower().removesuffix(".gz")).suffix
    if suffix in DATA_FILES:
        return False
    try:
        find_recipe(named)
    except InputError:
        return suffix in (".yaml", ".yml")
    return True


def find_data(named: str, expected: str = "a file") -> str:
    """Data that a command names: the absolute path of a file or folder, else the id of a dataset on the Hub.

    Args:
        named: As the user wrote it.
        expected: What else than a folder or a dataset may be there, for the message.

    Raises:
        InputError: If it is neither.
    """
    try:
        return resolve_source(named, [Path.cwd()])
    except PathProblem as problem:
        what = problem.what.replace("expected a file", f"expected {expected}", 1)
        raise InputError(Finding("C117", named, what, "correct the path")) from None
