"""A profile as files: JSON, one HTML page, or a folder with both and the figures."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hf_multilabel.data.profile import DataProfile
from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.reports.data_report import draw_data_figures, render_data_report

FORMATS = ("", ".html", ".json")


def check_output(path: Path) -> None:
    """Refuse a name whose ending says another format.

    Raises:
        InputError: If it does.
    """
    if path.suffix not in FORMATS or (path.suffix and path.is_dir()):
        what = f"expected a name that ends in .html or .json, or a folder, found {path.name!r}"
        raise InputError(Finding("C118", str(path), what, "give one of them"))


def write_output(path: Path, profile: DataProfile) -> None:
    """Write what the name asks for; each file is whole or not there.

    Raises:
        InputError: If matplotlib is not installed.
        EnvironmentFault: If a file can't be written.
    """
    as_json = f"{json.dumps(profile.plain(), indent=1, ensure_ascii=False)}\n".encode()
    if path.suffix == ".json":
        files = {path: as_json}
    elif path.suffix == ".html":
        files = {path: render_data_report(profile).encode()}
    else:
        pngs = draw_data_figures(profile)
        files = {path / "report.html": render_data_report(profile, pngs).encode(), path / "profile.json": as_json}
        files |= {path / f"{name}.png": png for name, png in pngs.items()}
    try:
        for file, content in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f"{file.name}.part")
            part.write_bytes(content)
            os.replace(part, file)
    except OSError as error:
        what = f"expected to write the profile, found {error}"
        raise EnvironmentFault(Finding("D303", str(path), what, "name another file or folder")) from error
