"""A Gradio Space for a finished model: the files of space_files/, and a JSON file with what differs between models.

The folder then holds app.py, labelling.py, bars.py, batch.py, style.css and requirements.txt as they are in
space_files/, space.json (model, commit, limits, examples) and README.md (for the Hub, and for people).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCardData

from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.publishing.card import clean, escape

TEMPLATE = Path(__file__).with_name("space_files")
COPIED = ("app.py", "labelling.py", "bars.py", "batch.py", "style.css", "requirements.txt")
SETTINGS, CARD = "space.json", "README.md"
FILES = (*COPIED, SETTINGS, CARD)
SDK_VERSION = "6.31.0"
PYTHON_VERSION = "3.12"
# A thousand texts of an encoder's usual length take two free CPUs one to ten minutes.
LIMITS = {"characters": 20_000, "rows": 1_000, "columns": 100, "bytes": 2_000_000}
# Bars beside the decided labels: more than a screen of them is not read.
SHOWN = 12
EXAMPLES = 6
# Of the files in space_files/; what the model may be used for, its own card says.
LICENSE = "apache-2.0"
DESCRIPTION_LENGTH = 60  # the Hub refuses a longer one
NO_LICENSE = (
    "under a licence that its card does not name: add a line such as `license: mit` to the YAML block of the model's "
    "README.md, and write the Space again"
)


@dataclass(frozen=True)
class SpaceFacts:
    """What a Space says and serves.

    Args:
        title: Shown above the page.
        model: OWNER/NAME on the Hub, or an absolute path for a Space that runs on this machine only.
        revision: Commit of the model; None for a folder.
        labels: How many there are.
        decision: How it decides, a sentence a string.
        examples: Texts to choose from.
        license: Of the model, as the Hub spells it; None if its card names none.
    """

    title: str
    model: str
    revision: str | None
    labels: int
    decision: Sequence[str] = ()
    examples: Sequence[str] = ()
    license: str | None = None


def write_space(folder: str | Path, facts: SpaceFacts, overwrite: bool = False) -> None:
    """Write a Space into a folder, whole or not at all.

    Args:
        folder: Where to; its parents are made.
        facts: What it says.
        overwrite: Replace a Space that is there.

    Raises:
        InputError: If the folder holds something else, or a Space without `overwrite`.
        EnvironmentFault: If the disk refuses a write; what was there is untouched.
    """
    folder = Path(folder)
    check_target(folder, overwrite)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        part.mkdir(parents=True)
        for name in COPIED:
            shutil.copyfile(TEMPLATE / name, part / name)
        content = json.dumps(settings(facts), indent=1, ensure_ascii=False) + "\n"
        # a lone surrogate can stand in a name and in no file
        (part / SETTINGS).write_bytes(content.encode("utf-8", "replace"))
        (part / CARD).write_text(readme(facts), encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        found = f"expected to write the Space, found {type(error).__name__}: {error}"
        raise EnvironmentFault(Finding("P702", str(folder), found, "free the disk or name another --output")) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_target(folder: Path, overwrite: bool) -> None:
    """Refuse to write over what somebody may want to keep.

    Raises:
        InputError: As `write_space`.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / SETTINGS).is_file():
        what = "expected a new folder or one with a Space, found something else there"
        raise InputError(Finding("P701", str(folder), what, "name another --output"))
    if not overwrite:
        what = "expected a new folder, found a Space there"
        raise InputError(Finding("P701", str(folder), what, "add --overwrite to replace it, or name another --output"))


def settings(facts: SpaceFacts) -> dict[str, Any]:
    """Content of space.json: all that app.py does not know by itself."""
    return {
        "title": facts.title,
        "model": facts.model,
        "revision": facts.revision,
        "license": facts.license,
        "decision": list(facts.decision),
        "examples": [text for text in facts.examples if 0 < len(text) <= LIMITS["characters"]][:EXAMPLES],
        "limits": LIMITS,
        "shown": SHOWN,
    }


def readme(facts: SpaceFacts) -> str:
    """README.md: the YAML block that configures the Space, and a page for those who read its files.

    Reference: https://huggingface.co/docs/hub/spaces-config-reference
    """
    on_hub = facts.revision is not None
    data = SpaceCardData(
        title=clean(facts.title),
        emoji="🏷️",
        colorFrom="green",
        colorTo="blue",
        sdk="gradio",
        sdk_version=SDK_VERSION,
        python_version=PYTHON_VERSION,
        app_file="app.py",
        pinned=False,
        license=LICENSE,
        models=[facts.model] if on_hub else None,
        tags=["multi-label", "hf_multilabel", "text-classification"],
        short_description=f"Multi-label text classification, {facts.labels:,} labels"[:DESCRIPTION_LENGTH],
    )
    at = f" at commit {facts.revision[:12]}" if facts.revision else ""
    where = "" if on_hub else "\nThe model is a folder on the machine that wrote this: the Space runs there only.\n"
    terms = f"under {escape(facts.license)}, as its card says" if facts.license else NO_LICENSE
    sentences = "".join(f"- {escape(sentence)}\n" for sentence in facts.decision)
    return f"""---
{data.to_yaml()}
---

# {escape(facts.title)}

Type a text and see which of {facts.labels:,} labels hold, each with its probability and its cut. Move all cuts together
towards precision or recall, or label a CSV file of up to {LIMITS["rows"]:,} rows.

The model is {escape(facts.model)}{at}.{where}

## How the labels are decided

{sentences}
The code shipped with the model decides, here as everywhere; the slider moves the cuts of a copy.

## Run it elsewhere

    pip install -r requirements.txt
    python app.py

`space.json` holds the model, its commit, the limits and the examples. `trust_remote_code=True` runs the model's
`*_multilabel.py` files at that commit. For a private model, give the Space a secret `HF_TOKEN` that may read it.

## Licence

The files of this Space are under {LICENSE}. The model is {terms}.
"""
