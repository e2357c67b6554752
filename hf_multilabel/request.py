"""What a user asks for, checked before seconds are spent on imports: models, data and files by name, cuts, settings."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_multilabel.errors import Finding, InputError, nearest

MANIFEST = "manifest.json"
# What marks a run's folder from its first step on.
RUN_FILE = ".run.json"
# Where runs lie if nothing else is said: RUNS/NAME is a folder's name and no Hub id.
RUNS = "runs"
REFITTED = ("data", "decision", "evaluation")


def is_hub_id(model: str) -> bool:
    """Whether a name can only be one of the Hub: no such path is here, and it has the form OWNER/NAME.

    Example:
        >>> is_hub_id("me/toxic"), is_hub_id("runs/toxik"), is_hub_id("toxic")
        (True, False, False)
    """
    return model.count("/") == 1 and not means_path(model) and not Path(model).exists()


def means_path(model: str) -> bool:
    """Whether a name is that of a folder, be it there or not."""
    return model.startswith((".", "/", "~", f"{RUNS}/"))


def check_model(model: str | Path) -> None:
    """Refuse what is neither a run's folder nor a Hub id.

    Raises:
        InputError: If so.
    """
    folder = Path(model)
    if folder.exists() and not (folder / "config.json").is_file():
        found = "a file" if folder.is_file() else "no config.json"
        fix = "give the run's folder, for instance runs/quickstart, or a Hub id"
        if (folder / RUN_FILE).is_file():
            found, fix = "one that was interrupted", "go on with it: hf-multilabel train RECIPE --resume"
        raise InputError(Finding("C101", str(model), f"expected the folder of a finished run, found {found}", fix))
    if not folder.exists() and not is_hub_id(str(model)):
        what = "expected a run's folder or a Hub id OWNER/NAME, found neither"
        raise InputError(Finding("C102", str(model), what, _look_for(folder)))


def check_run(folder: str | Path) -> None:
    """Refuse a folder without a finished model.

    Raises:
        InputError: If so.
    """
    if not (Path(folder) / MANIFEST).is_file():
        found = f"no {MANIFEST}" if Path(folder).is_dir() else "no such folder"
        fix = "train it first" if Path(folder).is_dir() else f"train it first, or {_look_for(Path(folder))}"
        raise InputError(Finding("P101", str(folder), f"expected a finished model, found {found}", fix))


def _look_for(folder: Path) -> str:
    """What to look at instead of a folder that is not there: the run of the nearest name, or where runs lie."""
    runs = {run.name: run for parent in (Path(RUNS), folder.parent) if parent.is_dir() for run in parent.iterdir()}
    near = nearest(folder.name, [name for name, run in runs.items() if (run / "config.json").is_file()])
    return f"check the path: did you mean {runs[near]}?" if near else f"check the path; runs lie under {RUNS}/"


def check_output(output: Path | None) -> None:
    """Refuse an output that can't be written, before the work.

    Raises:
        InputError: If it is a folder, or its folder is not there.
    """
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        found = "a folder" if output.is_dir() else f"no folder {output.parent}"
        raise InputError(Finding("C202", str(output), f"expected a file in a folder, found {found}", "name another"))
    if output is not None and not os.access(output.parent, os.W_OK):
        found = f"expected a folder that may be written, found no right to write {output.parent}"
        raise InputError(Finding("C207", str(output), found, "name another folder"))


def check_texts(source: str) -> None:
    """Refuse a file of texts that is not there.

    Raises:
        InputError: If so.
    """
    if not Path(source).is_file():
        found = "a folder" if Path(source).is_dir() else "none"
        raise InputError(Finding("D101", source, f"expected a file, found {found}", "check the path"))


def check_refit(overrides: Sequence[str], split: str) -> None:
    """Refuse settings and rows that a decision is not fitted with.

    Raises:
        InputError: If so.
    """
    for override in overrides:
        if override.partition(".")[0] not in REFITTED:
            fix = "leave it out, or train again"
            raise InputError(Finding("C112", override, "expected a change to decision or data, found another", fix))
    if split not in ("validation", "train"):
        fix = "keep test rows for evaluate; rows of your own that are no test can be given as a file of their own"
        raise InputError(Finding("C113", "--split", f"expected validation or train, found {split!r}", fix))


def read_overrides(thresholds: Sequence[str], objective: str | None) -> dict[str, Any]:
    """What was typed after --threshold and --objective, as arguments of `override_decision`.

    Raises:
        InputError: If a cut is no number, a label comes twice, or the objective needs labelled rows.

    Example:
        >>> read_overrides(["0.5", "sport=0.3"], None)
        {'threshold': 0.5, 'label_thresholds': {'sport': 0.3}}
    """
    if objective not in (None, "fixed"):
        fix = f"fit it once: `hf-multilabel tune MODEL DATA --objective {objective}`, or give --threshold"
        raise InputError(Finding("C204", "--objective", f"expected fixed, found {objective!r}: it needs labels", fix))
    common: list[float] = []
    single: dict[str, float] = {}
    for written in thresholds:
        label, equals, number = written.rpartition("=")
        try:
            cut = float(number)
        except ValueError:
            cut = math.nan
        if not 0 <= cut <= 1:
            what = f"expected a number in [0, 1], or LABEL=NUMBER, found {written!r}"
            raise InputError(Finding("C206", "--threshold", what, "write for instance 0.3 or sport=0.3"))
        if common if not equals else label in single:
            what = f"expected one cut {'of ' + repr(label) if equals else 'of all labels'}, found another {written!r}"
            raise InputError(Finding("C206", "--threshold", what, "keep one of the two"))
        if equals:
            single[label] = cut
        else:
            common.append(cut)
    if objective and not common:
        common.append(0.5)
    return {"threshold": common[0] if common else None, "label_thresholds": single or None}
