"""Which file a recipe or data by name are, and whether the recipe reads as one; needs no more than a YAML parser."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from hf_multilabel.assets import recipes_folder
from hf_multilabel.errors import Finding, InputError, nearest
from hf_multilabel.recipe.paths import PathProblem, resolve_source
from hf_multilabel.recipe.reading import Document, read_file
from hf_multilabel.recipe.secrets import SHOWN, one_line, show

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
        InputError: If there is none, or data were named.
    """
    named = Path(path)
    if names_data(str(path)) and named.suffix != ".json":  # JSON is YAML, too
        fix = f"write a recipe with: hf-multilabel inspect {shlex.quote(one_line(str(path)))} --recipe mine.yaml"
        raise InputError(Finding("R001", show(str(path)), "expected a recipe, found the name of a data file", fix))
    tried = [named, named.with_name(f"{named.name}.yaml")] if named.name else [named]
    if named.name and named.parent in (Path(), Path("recipes")):
        tried += [recipes_folder() / file.name for file in tried]
    for file in tried:
        if os.path.isfile(file):
            return file
    shipped = sorted(file.stem for file in recipes_folder().glob("*.yaml"))
    fix = suggest_file(named, shipped)
    raise InputError(Finding("R001", show(str(path)), "expected a recipe, found no such file", fix))


def is_recipe(named: str) -> bool:
    """Whether a name is that of a recipe and not of data; a recipe that is not there counts.

    Example:
        >>> is_recipe("quickstart"), is_recipe("quikstart.yaml"), is_recipe("tickets.csv")
        (True, True, False)
    """
    if names_data(named):
        return False
    try:
        find_recipe(named)
    except InputError:
        return Path(named.lower()).suffix in (".yaml", ".yml")
    return True


def suggest_file(named: Path, shipped: Sequence[str]) -> str:
    """What to do where there is no such file: write the nearest name beside it or among those shipped, or choose."""
    beside = {file.stem: file for file in sorted(named.parent.glob("*.y*ml"))}
    near = nearest(named.stem, [*beside, *shipped])
    if near is None:
        return f"give a path, or one of {', '.join(shipped)}"
    if near not in beside:
        return f"write {near}"
    whole = str(beside[near])  # a path that would be shortened can't be typed
    return f"write {one_line(whole)}" if len(whole) <= SHOWN else f"write {one_line(beside[near].name)}, of that folder"


def names_data(named: str) -> bool:
    """Whether a name ends as that of a data file.

    Example:
        >>> names_data("rows.CSV.gz"), names_data("toxic")
        (True, False)
    """
    return Path(named.lower().removesuffix(".gz")).suffix in DATA_FILES


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
