"""The card of a finished run, written anew: after a new version of the package, or for a page of its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_multilabel.console import list_files, note
from hf_multilabel.describing import Judged, changed_figures, describe_finished, with_figures
from hf_multilabel.errors import EnvironmentFault, Finding, MultiLabelError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import load_rows, recipe_of, training_counts
from hf_multilabel.publishing.bundle import CARD, publish_staged, read_manifest, stage_changes
from hf_multilabel.publishing.card import render_card
from hf_multilabel.publishing.card_facts import CardFacts
from hf_multilabel.publishing.card_sections import generated_parts, replace_generated, replace_parts
from hf_multilabel.recipe import Recipe
from hf_multilabel.request import check_output
from hf_multilabel.tuning import bundle_folder, same_rows

# What can't be said without scoring the rows again.
FIGURES = "## Figures"
OF_ROWS = ("## Labels", FIGURES)
Figures = Mapping[str, tuple[str, bytes]]


def write_card(
    model: str,
    output: str | Path | None = None,
    *,
    figures: bool = True,
    overwrite: bool = False,
    batch_size: int = 32,
) -> str:
    """Write the card of a finished run anew; its reported rows are scored again for the table of labels and figures.

    In the run's folder, sections that people wrote or changed stay as they are, but for those that are measured:
    results, decision, labels, figures and examples. Where the rows are not at hand, labels and figures stay, too.

    Args:
        model: The run's folder; with `output` also a Hub id.
        output: A file to write instead, with its figures in a folder beside it of the file's name; the run stays as
            it is.
        figures: Whether to draw figures; without, a page has none, and those in a run's folder stay as they are.
        overwrite: In the folder, also replace what people wrote.
        batch_size: Texts of one forward pass.

    Returns:
        The card.

    Raises:
        InputError: If the model or the output is not as expected; nothing was written.
        EnvironmentFault: If a file of the model is damaged or the disk refuses a write; the old card stays.

    Cost: A forward pass a row of the reported split; reads the bundle twice.
    """
    if output is not None:
        check_output(Path(output))
    finished = FinishedModel.load(bundle_folder(model) if output is None else model)
    metrics = json.loads(finished.file("metrics.json").read_text(encoding="utf-8"))
    recipe = recipe_of(finished, [])
    judged = judge_again(recipe, finished, metrics, batch_size)
    facts, drawn = describe_finished(recipe, finished, metrics, judged, figures)
    if output is not None:
        return write_page(Path(output), facts, drawn)
    kept = OF_ROWS if judged is None else () if figures else (FIGURES,)
    return write_in_place(Path(model), facts, drawn, kept, overwrite=overwrite)


def judge_again(recipe: Recipe, finished: FinishedModel, metrics: Mapping[str, Any], batch_size: int) -> Judged | None:
    """The reported rows of a run as its decision judges them; None where they are not at hand."""
    name = "test" if "test" in metrics else "validation"
    try:
        data = load_rows(finished, None)[1]
        found = same_rows(data, metrics).get(name)
    except MultiLabelError:
        found = None
    if found is None or "tuned" not in metrics.get(name, {}):
        note(f"the run's own {name} rows are not here, or were not measured: no table of labels and no figures")
        return None
    data, split = found
    note(f"scoring {len(data.splits[split]):,} rows of {name}")
    rows, truth, counts = data.splits[split], data.label_matrix(split), training_counts(finished, recipe, data)
    return Judged(name, finished.outcome(rows, truth, recipe.evaluation.keep_scores, batch_size, name, counts), rows)


def write_in_place(folder: Path, facts: CardFacts, figures: Figures, left: Sequence[str], *, overwrite: bool) -> str:
    """Put a card and its figures into a run's folder; the proof of the model still holds.

    Args:
        folder: The run's folder, verified.
        facts: What the card says.
        figures: As `draw_figures` gives them.
        left: Sections to leave as they are; with `FIGURES` also the files of the figures.
        overwrite: Also replace what people wrote.
    """
    manifest, old = read_manifest(folder), (folder / CARD).read_bytes()
    before, fresh = old.decode("utf-8"), render_card(facts)
    fresh = replace_parts(fresh, before, left)
    card, kept = (fresh, []) if overwrite else replace_generated(before, fresh, generated_parts(manifest, old))
    if kept:
        named = ", ".join(name.strip("# :") or "the beginning" for name in kept)
        note(f"written by hand, left as it is: {named} (--overwrite replaces it)")
    images = {} if FIGURES in left else changed_figures(manifest, figures)
    staging = stage_changes(folder, {CARD: card, **images}, new=figures)
    try:
        publish_staged(staging, proof=manifest.get("proof"))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    list_files([folder / name for name, content in {CARD: card, **images}.items() if content is not None])
    return card


def write_page(path: Path, facts: CardFacts, figures: Figures) -> str:
    """Write a card as a file of its own, its figures in a folder beside it; each file whole or not at all.

    Raises:
        EnvironmentFault: If the disk refuses a write.
    """
    moved = {f"{path.stem}/{Path(name).name}": found for name, found in figures.items()}
    card = render_card(with_figures(facts, moved))
    try:
        for name, (_, content) in moved.items():
            (path.parent / name).parent.mkdir(exist_ok=True)
            write_whole(path.parent / name, content)
        write_whole(path, card.encode("utf-8"))
    except OSError as error:
        what = f"expected to write the card, found {type(error).__name__}: {error}"
        raise EnvironmentFault(Finding("P103", str(path), what, "free the disk or choose another --output")) from error
    list_files([path, *(path.parent / name for name in moved)])
    return card


def write_whole(path: Path, content: bytes) -> None:
    """A file that takes its place only when everything is written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
