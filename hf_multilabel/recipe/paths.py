"""What a recipe's paths mean: relative ones start at the recipe, those of overrides at the working folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

HUB_DATASET = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_MODEL = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
WHEEL = re.compile(r"python:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(/[^/\\]+)*/?")
FILE = re.compile(r".*\.(csv|tsv|txt|jsonl?|parquet|arrow|gz|zip|ya?ml)", re.IGNORECASE)


class PathProblem(Exception):
    """A path that can't be meant.

    Args:
        what: `expected ..., found ...`.
        fix: The next step.
    """

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(what)


def resolve_source(written: str, folders: Sequence[Path]) -> str:
    """A data source: an existing file or folder as an absolute path, else the id of a dataset on the Hub.

    Args:
        written: The value of data.source.
        folders: Where a relative path may start, the first match wins.

    Raises:
        PathProblem: If it is neither.
    """
    tried = _candidates(written, folders)
    for path in tried:
        if os.path.exists(path):
            return path
    if HUB_DATASET.fullmatch(written) and not _means_path(written, folders):
        return written
    what = f"expected a file, a folder or a Hub dataset OWNER/NAME, found none; tried {', '.join(tried)}"
    raise PathProblem(what, "correct the path, or name a local copy with data.source=PATH")


def resolve_file(written: str, folder: Path) -> str:
    """An existing file as an absolute path.

    Raises:
        PathProblem: If there is none.
    """
    path = _candidates(written, [folder])[0]
    if not os.path.isfile(path):
        found = "a folder" if os.path.isdir(path) else "nothing"
        raise PathProblem(f"expected a file, found {found} at {path}", "correct the path")
    return path


def resolve_backbone(written: str, folder: Path) -> str:
    """A backbone: an existing folder as an absolute path; `scratch`, `python:...` and Hub ids stay as they are.

    Raises:
        PathProblem: If it is none of these.
    """
    if written == "scratch" or WHEEL.fullmatch(written):
        return written
    path = _candidates(written, [folder])[0]
    if os.path.isdir(path):
        return path
    if HUB_MODEL.fullmatch(written) and not _means_path(written, [folder]):
        return written
    found = "a file" if os.path.isfile(path) else "nothing"
    what = f"expected a Hub id, a folder, python:PACKAGE/PATH or scratch, found {written!r} and {found} at {path}"
    raise PathProblem(what, "correct the path, or name another backbone with model.backbone=...")


def resolve_output(written: str, folder: Path, recipe_folder: Path) -> str:
    """The run's folder as an absolute path: one that can be filled and pushed without touching anything else.

    A relative path, links followed, stays inside the working folder or the recipe's: a misplaced `..` should not
    write into other people's folders. An absolute one says that another place is meant.

    Raises:
        PathProblem: If it leaves them, is a file, or holds the home, the working or the recipe's folder.
    """
    path = _candidates(written, [folder])[0]
    real = Path(os.path.realpath(path))
    kept = {"the home folder": Path.home(), "the working folder": Path.cwd(), "the recipe's folder": recipe_folder}
    for name, held in kept.items():
        if held.resolve().is_relative_to(real):
            inside = "is" if held.resolve() == real else "holds"
            raise PathProblem(f"expected a folder of the run's own, found {real}, which {inside} {name}", "add a name")
    for part in (real, *real.parents):
        if os.path.lexists(part) and not part.is_dir():
            raise PathProblem(f"expected a folder, found the file {part}", "name another folder")
    allowed = [Path.cwd().resolve(), recipe_folder.resolve()]
    is_link = os.path.islink(path) and not real.is_relative_to(Path(path).parent.resolve())
    is_outside = not _is_explicit(written) and not any(real.is_relative_to(root) for root in allowed)
    if is_link or is_outside:
        what = f"expected a folder inside {' or '.join(map(str, dict.fromkeys(allowed)))}, found {real}"
        raise PathProblem(what, "write that absolute path if it is meant")
    return path


def _candidates(written: str, folders: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(os.path.abspath(folder / os.path.expanduser(written)) for folder in folders))


def _is_explicit(written: str) -> bool:
    return os.path.isabs(os.path.expanduser(written))


def _means_path(written: str, folders: Sequence[Path]) -> bool:
    """Whether something that could be a Hub id must be a mistyped path: it ends like a file or starts in a folder."""
    first, _, rest = written.partition("/")
    return FILE.fullmatch(written) is not None or any(rest and os.path.isdir(folder / first) for folder in folders)
