"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hf_multilabel.errors import EnvironmentFault, Finding, InputError


def check_new_folder(folder: Path, mark: str, overwrite: bool) -> None:
    """Refuse a folder whose content would be lost. Writes nothing.

    Args:
        folder: To be written.
        mark: File that every folder of this kind has; others are never replaced.
        overwrite: The user wants to replace an earlier one.

    Raises:
        InputError: If something is there that may not be replaced, or the folder's own folder is missing.
    """
    if not folder.absolute().parent.is_dir():
        found = f"expected a folder in an existing one, found no {folder.parent}"
        raise InputError(Finding("P501", str(folder), found, "make it, or give another --output"))
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / mark).is_file():
        found = "expected a new folder, found one with other files" if folder.is_dir() else "expected a folder, a file"
        raise InputError(Finding("P501", str(folder), found, "give another --output"))
    if not overwrite:
        found = "expected a new folder, found an earlier export"
        raise InputError(Finding("P502", str(folder), found, "give --overwrite to replace it, or another --output"))


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A staging folder beside it, which takes its place at the end, or is removed if anything fails.

    Args:
        folder: As `check_new_folder` accepted it.

    Raises:
        EnvironmentFault: If the disk refuses a write; what was there before is untouched.
    """
    folder = folder.absolute()
    staging, old = (folder.with_name(f".{folder.name}.{kind}-{os.getpid()}") for kind in ("incomplete", "old"))
    try:
        staging.mkdir()
        yield staging
        let_others_read(staging)
        for path in (staging, *staging.rglob("*")):
            _flush(path)
        if folder.exists():
            folder.rename(old)
        staging.rename(folder)
        _flush(folder.parent)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        found = f"expected to write the folder, found {type(error).__name__}: {error}"
        raise EnvironmentFault(
            Finding("P503", str(folder), found, "free the disk, or give another --output")
        ) from error
    finally:
        for rest in (staging, old):
            shutil.rmtree(rest, ignore_errors=True)


def let_others_read(folder: Path) -> None:
    """Give a folder and its files the permissions of new ones; safetensors and temporary folders keep all to us."""
    mask = os.umask(0)  # it can't be read without being set
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
