"""The run's folder: whose it is, and whether a new run may write there."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.request import RUN_FILE

TRAINER_STATE = "trainer_state.json"  # the Trainer's name
# Keys that a message about another recipe names.
NAMED = 5


def check_folder(folder: Path, recipe_sha256: str, values: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
    """Refuse a folder whose content this run would lose or mix with its own. Writes nothing.

    Args:
        folder: `training.output_dir`.
        recipe_sha256: Of the recipe to run.
        values: The resolved recipe, section to key to value.
        resume: The user wants to continue the run in the folder.
        overwrite: The user wants to replace it.

    Raises:
        InputError: If there is nothing to resume, or it is a run of another recipe; if the folder holds a run and
            neither is wanted, or something that is no run.
    """
    if folder.exists() and not folder.is_dir():
        raise _refused("T105", folder, "a folder", "a file", "set training.output_dir=FOLDER to another one")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(there, os.W_OK):
        fix = "set training.output_dir=FOLDER to another one"
        raise _refused("T109", folder, "a folder that may be written", f"no right to write {there}", fix)
    run = folder / RUN_FILE
    if resume:
        _check_resumable(folder, recipe_sha256, values)
    elif run.is_file() and not overwrite:
        fix = "give --resume to continue it, --overwrite to replace it, or set training.output_dir=FOLDER"
        raise _refused("T104", folder, "a new folder", "an earlier run", fix)
    elif not run.is_file() and folder.is_dir() and (others := sorted(path.name for path in folder.iterdir())):
        found = f"{len(others)} other files, {others[0]!r} first"
        raise _refused(
            "T103", folder, "a new folder or an earlier run", found, "set training.output_dir=FOLDER to a new one"
        )


def open_run(
    folder: Path, recipe_sha256: str, values: Mapping[str, Any], sources: Mapping[str, str], resume: bool
) -> None:
    """Mark the folder as this recipe's, and drop the checkpoints of the run it replaces; its model stays until then.

    Args:
        folder: `training.output_dir`, checked.
        recipe_sha256: What `check_folder` compares.
        values: What it names if that differs: the resolved recipe.
        sources: Paths of this machine by their recipe key, for `known_sources`.
        resume: Keep the checkpoints.

    Raises:
        EnvironmentFault: If the folder can't be written.
    """
    content = {"recipe_sha256": recipe_sha256, "recipe": dict(values), "sources": dict(sources)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            for checkpoint in folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
        part = folder / f"{RUN_FILE}.part"
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        part.replace(folder / RUN_FILE)
    except OSError as error:
        found = f"expected to write the run's folder, found {error}"
        raise EnvironmentFault(Finding("T107", str(folder), found, "set training.output_dir=FOLDER")) from error


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was saved to its end: the Trainer writes its own state after all else."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    whole = [path for path in found if (path / TRAINER_STATE).is_file()]
    return max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=None)


def known_sources(folder: Path) -> dict[str, str]:
    """What `open_run` noted, as YAML values; nothing for a model that was trained elsewhere."""
    try:
        found = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["sources"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {key: json.dumps(value) for key, value in found.items()}


def _check_resumable(folder: Path, recipe_sha256: str, values: Mapping[str, Any]) -> None:
    run = folder / RUN_FILE
    if not run.is_file():
        raise _refused("T101", folder, "an interrupted run to resume", "none", "leave out --resume")
    try:
        started = json.loads(run.read_text(encoding="utf-8"))
        found = started["recipe_sha256"]
    except (ValueError, KeyError, TypeError):
        raise _refused("T102", folder, "a run to resume", f"a damaged {RUN_FILE}", "give --overwrite") from None
    if found != recipe_sha256:
        raise _other_recipe(folder, started.get("recipe"), values)


def _other_recipe(folder: Path, started: Any, values: Mapping[str, Any]) -> InputError:
    """Name the keys that differ from those of the run to resume, as they are typed."""
    before = _by_key(started) if isinstance(started, Mapping) else {}
    now = _by_key(json.loads(json.dumps(values)))
    differ = [key for key in {**now, **before} if now.get(key) != before.get(key)] if before else []
    if not differ:  # a run of an earlier version
        fix = "give the values it was started with, or set training.output_dir=FOLDER to a new one"
        return _refused("T102", folder, "a run of this recipe", "one that was started with other values", fix)
    found = ", ".join(_override(now, key) for key in differ[:NAMED])
    found += f" and {len(differ) - NAMED} more" if len(differ) > NAMED else ""
    again = ", ".join(_override(before, key) for key in differ[:NAMED])
    fix = f"go on as it was started ({again}), or set training.output_dir=FOLDER to a new one"
    return _refused("T102", folder, "the values this run was started with", found, fix)


def _by_key(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, keys in values.items() for key, value in keys.items()}


def _override(values: Mapping[str, Any], key: str) -> str:
    """As it is typed on the command line."""
    value = values.get(key)
    if value is None:
        return f"no {key}"
    return shlex.quote(f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def _refused(code: str, folder: Path, expected: str, found: str, fix: str) -> InputError:
    return InputError(Finding(code, str(folder), f"expected {expected}, found {found}", fix))
