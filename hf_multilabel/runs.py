"""The run's folder: whose it is, and whether a new run may write there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hf_multilabel.errors import Finding, InputError

RUN_FILE = ".run.json"


def check_folder(folder: Path, recipe_sha256: str, resume: bool, overwrite: bool) -> None:
    """Refuse a folder whose content this run would lose or mix with its own. Writes nothing.

    Args:
        folder: `training.output_dir`.
        recipe_sha256: Of the recipe to run.
        resume: The user wants to continue the run in the folder.
        overwrite: The user wants to replace it.

    Raises:
        InputError: If there is nothing to resume, or it is a run of another recipe; if the folder holds a run and
            neither is wanted, or something that is no run.
    """
    if folder.exists() and not folder.is_dir():
        raise _refused("T105", folder, "a folder", "a file", "set training.output_dir=FOLDER to another one")
    run = folder / RUN_FILE
    if resume:
        _check_resumable(folder, recipe_sha256)
    elif run.is_file() and not overwrite:
        fix = "give --resume to continue it, --overwrite to replace it, or set training.output_dir=FOLDER"
        raise _refused("T104", folder, "a new folder", "an earlier run", fix)
    elif not run.is_file() and folder.is_dir() and (others := sorted(path.name for path in folder.iterdir())):
        found = f"{len(others)} other files, {others[0]!r} first"
        raise _refused(
            "T103", folder, "a new folder or an earlier run", found, "set training.output_dir=FOLDER to a new one"
        )


def open_run(folder: Path, recipe: str, recipe_sha256: str, resume: bool) -> None:
    """Mark the folder as this recipe's, and drop the checkpoints of the run it replaces; its model stays until then.

    Args:
        folder: `training.output_dir`, checked.
        recipe: Name, for people.
        recipe_sha256: What `check_folder` compares.
        resume: Keep the checkpoints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    content = {"recipe": recipe, "recipe_sha256": recipe_sha256}
    part = folder / f"{RUN_FILE}.part"
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(folder / RUN_FILE)


def _check_resumable(folder: Path, recipe_sha256: str) -> None:
    run = folder / RUN_FILE
    if not run.is_file():
        raise _refused("T101", folder, "an interrupted run to resume", "none", "leave out --resume")
    found = json.loads(run.read_text(encoding="utf-8"))["recipe_sha256"]
    if found != recipe_sha256:
        fix = "give the values it was started with, or another training.output_dir"
        raise _refused(
            "T102", folder, f"a run of this recipe ({recipe_sha256[:12]})", f"one of another ({found[:12]})", fix
        )


def _refused(code: str, folder: Path, expected: str, found: str, fix: str) -> InputError:
    return InputError(Finding(code, str(folder), f"expected {expected}, found {found}", fix))
