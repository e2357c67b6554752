"""What data hold, before a model is trained on them: `hf-multilabel inspect`.

sources turns a recipe or plain data into a recipe, measuring asks its backbone for tokens and memory, suspects lists
labels that are probably wrong, tables and outputs show all of it, recommending writes a recipe with its reasons.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from hf_multilabel.backbones import Backbone
from hf_multilabel.console import note
from hf_multilabel.data.corrections import check_name
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.data.profile import DataProfile, profile_data
from hf_multilabel.data.profile.label_errors import LEAST_ROWS
from hf_multilabel.data.profile.lengths import count_tokens
from hf_multilabel.errors import Finding, InputError, raise_findings
from hf_multilabel.inspection.measuring import estimate_run, find_backbone
from hf_multilabel.inspection.outputs import check_output, write_output
from hf_multilabel.inspection.recommending import write_recommendation
from hf_multilabel.inspection.sources import Asked, ask
from hf_multilabel.inspection.suspects import find_suspects
from hf_multilabel.inspection.tables import profile_tables
from hf_multilabel.recipe import load_recipe
from hf_multilabel.request import check_read

# What the backbones that recipes name read at most, where theirs could not be asked.
USUAL_POSITIONS, USUAL_HIDDEN = 512, 384
# The code of findings about rows too few for a validation or a test split.
TOO_FEW = "D118"


def inspect_data(
    argument: str,
    overrides: Sequence[str] = (),
    *,
    shown: int = 20,
    output: Path | None = None,
    label_errors: Path | None = None,
    recipe: Path | None = None,
    near: bool = True,
    overwrite: bool = False,
) -> DataProfile:
    """Load data, measure what they hold, and print, draw and write it.

    Args:
        argument: A recipe, or data: a file, a folder or a dataset on the Hub.
        overrides: `section.key=value`, of a section that is read here.
        shown: Labels listed, half of them the most and half the least frequent.
        output: `.html`, `.json`, or a folder for both and the figures.
        label_errors: Where the list of suspected label errors goes, .csv or .jsonl.
        recipe: Where the recommended recipe goes.
        near: Whether to search for near duplicates.
        overwrite: Whether a recipe and a list that are there may be replaced: people write into both.

    Returns:
        What was found.

    Raises:
        InputError: With everything that is wrong with recipe, data or names of files; nothing is written then.
        EnvironmentFault: If the Hub can't be reached or a file can't be written.
    """
    check_read(overrides, "inspect")
    check_files(output, label_errors, recipe)
    check_kept(label_errors, recipe, overwrite)
    asked = ask(argument, overrides)
    for guess in asked.guessed:
        note(f"guessed {guess}")
    data, too_few = load_leniently(asked)
    backbone = find_backbone(asked.recipe, data)
    profile = measure_data(asked, data, backbone, near)
    if label_errors is not None:
        profile = replace(profile, errors=find_suspects(data, label_errors))
    console = Console(highlight=False)
    for table in profile_tables(profile, shown):
        console.print(table)
    say_limits(profile, too_few)
    if recipe is not None:
        raise_findings(too_few)  # no recipe could train on them
    if output is not None:
        write_output(output, profile)
        note(f"written: {output}")
    if recipe is not None:
        recommend_recipe(recipe, asked, data, profile, backbone)
    return profile


def measure_data(asked: Asked, data: MultiLabelData, backbone: Backbone | None, near: bool) -> DataProfile:
    """All that is cheap, and the memory of a run where the backbone is known."""
    note("measuring lengths, labels and near duplicates" if near else "measuring lengths and labels")
    profile = profile_data(
        data,
        asked.name,
        asked.recipe.data.max_length,
        None if backbone is None else partial(count_tokens, backbone.tokenizer),
        None if backbone is None else asked.recipe.model.backbone,
        near,
        asked.guessed,
    )
    if backbone is None:
        return profile
    return replace(profile, memory=estimate_run(asked.recipe, backbone, data, profile.lengths))


def load_leniently(asked: Asked) -> tuple[MultiLabelData, Sequence[Finding]]:
    """The data with what training would refuse: it is counted and shown.

    Returns:
        The data, and what is said of rows too few for splits of their own: all are training rows then.
    """
    lenient = {"duplicates": "warn", "unseen_labels": "keep", "textless": "leave_out"}
    arguments = asked.recipe.data.load_arguments() | lenient
    loading = logging.getLogger("hf_multilabel.data.loading")
    level = loading.level
    loading.setLevel(logging.ERROR)  # the tables say it
    try:
        return load_data(**arguments), ()
    except InputError as error:
        if {finding.code for finding in error.findings} != {TOO_FEW}:
            raise
        return load_data(**arguments | {"validation_size": 0, "test_size": 0}), error.findings
    finally:
        loading.setLevel(level)


def say_limits(profile: DataProfile, too_few: Sequence[Finding]) -> None:
    """Say in words what training refuses, and what these rows are too few for."""
    rows = sum(facts.rows for facts in profile.splits.values())
    if profile.textless:
        count = sum(found["count"] for found in profile.textless.values())
        note(f"rows without text, left out: {count:,}; training refuses them: fill them in or remove them")
    if too_few:
        note(
            f"too few rows ({rows:,}) for a validation and a test split, so all are shown as training rows; training, "
            "and so a recommended recipe, needs more rows, or validation and test files of their own"
        )
    if profile.errors is not None and not profile.errors.labels:
        note(f"no label was judged: each needs {LEAST_ROWS} rows that have it and {LEAST_ROWS} that have not")


def recommend_recipe(
    file: Path, asked: Asked, data: MultiLabelData, profile: DataProfile, backbone: Backbone | None
) -> None:
    """Write the recommended recipe, and say how to start it and what memory it takes."""
    positions, hidden = USUAL_POSITIONS, USUAL_HIDDEN
    if backbone is not None:
        # the tokenizer reads no more than the backbone has positions for
        positions, hidden = backbone.tokenizer.model_max_length, backbone.config.hidden_size
    write_recommendation(file, profile, asked.recipe, positions, hidden, reading_keys(asked))
    memory = ""
    if backbone is not None:
        found = estimate_run(load_recipe(file), backbone, data, profile.lengths)
        memory = f" (about {found.total / 2**30:.1f} GB of memory)"
    start = f"start it with: hf-multilabel train {file}{memory}"
    note(f"written: {file}; {'once every row has a text, ' if profile.textless else ''}{start}")


def reading_keys(asked: Asked) -> dict[str, Any]:
    """How the data are read, as a recipe says it: keys that differ from their defaults."""
    section = asked.recipe.data
    fields = type(section).model_fields
    chosen = ("max_length", "duplicates", "unseen_labels")
    kept = {key for key in fields if getattr(section, key) != fields[key].default}
    plain = section.model_dump()
    return {key: plain[key] for key in fields if key in kept | {"text", "labels"} and key not in chosen}


def check_kept(label_errors: Path | None, recipe: Path | None, overwrite: bool) -> None:
    """Refuse to replace what people write into.

    Raises:
        InputError: Naming the first.
    """
    for path in (label_errors, recipe):
        if path is not None and path.exists() and not overwrite:
            fix = "give --overwrite to replace it, or name another file"
            raise InputError(Finding("C124", str(path), "expected a new file, found one that is there", fix))


def check_files(output: Path | None, label_errors: Path | None, recipe: Path | None) -> None:
    """Refuse names of files that can't be meant, before minutes of work.

    Raises:
        InputError: Naming the first.
    """
    if output is not None:
        check_output(output)
    if label_errors is not None:
        check_name(label_errors)
    if recipe is not None and recipe.suffix not in (".yaml", ".yml"):
        what = f"expected a name that ends in .yaml, found {recipe.name!r}"
        raise InputError(Finding("C118", str(recipe), what, "name the recipe so"))
    for path in (output, label_errors, recipe):
        if path is not None and not path.absolute().parent.is_dir():
            what = f"expected a file in a folder that exists, found no {path.parent}"
            raise InputError(Finding("C118", str(path), what, "make the folder"))
