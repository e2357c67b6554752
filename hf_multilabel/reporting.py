"""Reports of finished runs: score a split once more, or take a training's own scores, and write one HTML file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_multilabel.console import list_files, note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.profile import profile_data
from hf_multilabel.data.profile.lengths import count_tokens
from hf_multilabel.errors import EnvironmentFault, Finding, MultiLabelError
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.inference import FinishedModel
from hf_multilabel.judging import judge, measure
from hf_multilabel.measurement import (
    check_split,
    describe_differences,
    load_rows,
    recipe_of,
    score_pair,
    training_counts,
)
from hf_multilabel.overlap import TOLERATED, fitted_share, rows_of, trained_share, warn_of_fitted_rows
from hf_multilabel.publishing.bundle import RECIPE, REPORT
from hf_multilabel.publishing.card_decision import describe_decision
from hf_multilabel.publishing.card_text import flatten
from hf_multilabel.publishing.card_training import HASHES
from hf_multilabel.recipe import Recipe
from hf_multilabel.release import FinishedRun
from hf_multilabel.reports.attention import encode, length_of
from hf_multilabel.reports.data_report import profile_blocks
from hf_multilabel.reports.differences import pair_sections
from hf_multilabel.reports.drawing import check_installed
from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.figures import FIGURES, draw
from hf_multilabel.reports.looks import look_closely
from hf_multilabel.reports.page import Block, Page, Prose, render_page
from hf_multilabel.reports.sections import IN_SAMPLE, TRAINED_ON, RunFacts, run_sections
from hf_multilabel.request import check_read
from hf_multilabel.training.collapse import ROWS, mean_pairwise_cosine
from hf_multilabel.version import __version__

# A report takes a few seconds: what it may add to a run whose recipe leaves the choice to us, as a share of training.
REPORT_SECONDS, MOST_ADDED = 10.0, 0.05
# Texts and characters of a split whose tokens are counted for its lengths.
MOST_COUNTED = 1_000, 1_000_000


def report_run(
    model: str,
    source: str | None = None,
    overrides: Sequence[str] = (),
    *,
    split: str = "test",
    texts: Sequence[str] = (),
    output: Path | None = None,
    batch_size: int = 32,
) -> Path:
    """Score a split with a finished model and write its report.

    Args:
        model: Folder or Hub id.
        source: As for `measurement.evaluate`.
        overrides: As for `measurement.evaluate`.
        split: The rows to report on.
        texts: Texts to look at closely; none: two of the split.
        output: The HTML file; None: report.html in the run's folder, or here for a model from the Hub.
        batch_size: Texts of one forward pass.

    Returns:
        The file. Its figures lie beside it as PNG.

    Raises:
        InputError: If model or data are not as expected, or the extra [report] is missing.
        EnvironmentFault: If the disk refuses a write.
    """
    check_read(overrides, "report")
    check_installed("matplotlib", "captum")
    finished = FinishedModel.load(model)
    recipe, data = load_rows(finished, source, overrides)
    check_split(recipe, data, split)
    note(f"reporting on {len(data.splits[split]):,} rows of {split}")
    targets, decision = data.label_matrix(split), finished.model.config.decision
    score = finished.scorer(data.splits[split], targets, recipe.evaluation.keep_scores, batch_size, split)
    scores, calibrated = score(), None
    if isinstance(scores, RankedScores) and decision["calibration"] is not None:
        calibrated = score(calibration=decision["calibration"])
    counted = training_counts(finished, recipe, data)
    metrics = measure(scores, targets, decision, recipe.evaluation.k, *counted, intervals=True, calibrated=calibrated)
    measured = data.splits[split]["text"][:]
    trained = 1.0 if split == "train" and source is None else trained_share(finished, measured)
    share = fitted_share(finished, measured)
    if trained_on := trained > TOLERATED:
        note(f"warning: the model {finished.name} was trained on {rows_of(trained)}: the report refuses its scores")
    if trained_on or warn_of_fitted_rows(share, "the report refuses its scores"):
        del metrics["tuned"]
    outcome = judge(scores if calibrated is None else calibrated, targets, decision, *counted)
    said = finished.stored("metrics.json", {})
    name = Path(model).name if Path(model).is_dir() else model
    profile = own_profile(finished, said) if source else data_profile(finished, recipe, data, said)
    refused = TRAINED_ON if trained_on else IN_SAMPLE
    page = build_page(
        finished, data, split, outcome, metrics, name=name, history=finished.stored("history.json", []),
        said=said, recipe=finished.file(RECIPE).read_text(encoding="utf-8"), texts=texts,
        refused=refused.replace(rows_of(1), rows_of(trained if trained_on else share)),
        profile=profile, source=recipe.data.source,
    )  # fmt: skip
    return write_page(page, output or (Path(model) if Path(model).is_dir() else Path()) / REPORT)


def report_training(run: FinishedRun) -> None:
    """Write the report of a run that has just ended, where its recipe wants one; what fails here fails no run."""
    asked, seconds = run.recipe.report.enabled, run.metrics["training"]["seconds"]
    try:
        forget_report(run.folder)
        if seconds * MOST_ADDED >= REPORT_SECONDS if asked is None else asked:
            note(f"report: {write_training(run)}")
        elif asked is None:
            note(f"to see what the model does: hf-multilabel report {run.folder}")
    except Exception as error:  # all is written and proved: hours of training must not end in an error
        note(f"no report was written ({type(error).__name__}): {error}")


def write_training(run: FinishedRun) -> Path:
    """Write the report of a run from the scores it has; where it has no test split, without the decision's scores."""
    split = "test" if "test" in run.scores else "validation"
    finished = FinishedModel(str(run.folder), run.model, run.tokenizer)
    counted = run.data.labels.counts, int(np.max(run.data.known_rows()))
    outcome = judge(run.scores[split], run.data.label_matrix(split), run.model.config.decision, *counted)
    metrics = {name: found for name, found in run.metrics[split].items() if split == "test" or name != "tuned"}
    page = build_page(
        finished, run.data, split, outcome, metrics, name=run.recipe.name, history=run.history,
        said=run.metrics, recipe=run.recipe.dump(), texts=run.recipe.report.texts, refused=IN_SAMPLE,
        profile=own_profile(finished, run.metrics),  # read anew: a run lets go of its training texts
        source=run.recipe.data.source,
    )  # fmt: skip
    return write_page(page, run.folder / REPORT)


def forget_report(folder: Path) -> None:
    """Remove the report of the model that was in a folder before."""
    (folder / REPORT).unlink(missing_ok=True)
    shutil.rmtree(figures_of(folder / REPORT), ignore_errors=True)


def report_pair(
    model: str,
    other: str,
    source: str | None,
    overrides: Sequence[str] = (),
    *,
    split: str = "test",
    output: Path | None = None,
    batch_size: int = 32,
) -> Path:
    """Compare two finished models on the same rows and write the report; arguments as of `measurement.compare`.

    Returns:
        The file: comparison.html in the folder of the second model, or here for one from the Hub.
    """
    check_installed("matplotlib")
    pair = score_pair(model, other, source, overrides, split=split, batch_size=batch_size)
    rows, names = pair.data.splits[split], pair.data.labels.names
    runs = [
        RunEvidence.of(
            outcome, name=finished.name, split=split, labels=names, decision=finished.model.config.decision,
            texts=list(rows["text"]), ids=list(rows["id"]),
        )
        for finished, outcome in zip(pair.models, pair.outcomes, strict=True)
    ]  # fmt: skip
    found = describe_differences(pair)
    sections = pair_sections(runs[0], runs[1], found["metrics"], found["labels"])
    facts = {
        "first run": model, "second run": other, "data": Path(pair.recipe.data.source).name,
        "rows": f"{len(rows):,} of {split}", "labels": f"{len(names):,}", "written": written(),
    }  # fmt: skip
    page = Page(f"{Path(model).name} and {Path(other).name}", sections, facts)
    return write_page(page, output or (Path(other) if Path(other).is_dir() else Path()) / "comparison.html")


def build_page(
    finished: FinishedModel,
    data: MultiLabelData,
    split: str,
    outcome: Outcome,
    metrics: Mapping[str, Any],
    **facts: Any,
) -> Page:
    """The page of one run.

    Args:
        finished: The model.
        data: With the split.
        split: The rows reported on.
        outcome: Of the split.
        metrics: `fixed` and, unless the decision was fitted on these rows, `tuned`.
        **facts: `name`, `source` (of the data), `history`, `said` (content of metrics.json), `recipe` (YAML), `texts`,
            `refused` and `profile` (blocks on the data).
    """
    rows, decision = data.splits[split], finished.model.config.decision
    texts = list(rows["text"])
    evidence = RunEvidence.of(
        outcome, name=facts["name"], split=split, labels=data.labels.names, decision=decision, texts=texts,
        ids=list(rows["id"]), history=facts["history"], metrics=metrics,
        layer_cosines=cosine_by_layer(finished, texts),
    )  # fmt: skip
    said, told = facts["said"], describe_decision(decision, len(data.labels))
    counted = {key: value for key, value in said.get("data", data.statistics).items() if key not in HASHES}
    further = RunFacts(
        decision=[f"{title}: {' '.join(sentences)}" for title, sentences in told.items()],
        training=list(flatten(said.get("training", {}))),
        data=list(flatten(counted)),
        recipe=facts["recipe"],
        refused=facts["refused"],
        looks=look_closely(finished.model, finished.tokenizer, evidence, facts["texts"]),
        profile=facts["profile"],
    )
    sections = run_sections(evidence, further, draw(evidence, FIGURES))
    lines = {
        "data": Path(facts["source"]).name,  # its name: a page is shown to others
        "rows": f"{evidence.rows:,} of {split}",
        "labels": f"{len(evidence.labels):,}",
        "written": written(),
        "decision": " ".join(told["Rule"]),
    }
    return Page(f"Report: {facts['name']}", sections, lines)


def written() -> str:
    """When a page was written, and by what: runs note no date of their own."""
    return f"{date.today():%Y-%m-%d}, by hf-multilabel {__version__}"


def own_profile(finished: FinishedModel, said: Mapping[str, Any]) -> list[Block]:
    """What the data hold that a run names, if they are still on this machine; else what is missing, and why."""
    try:
        recipe = recipe_of(finished, ())
        if Path(recipe.data.source).exists():
            return data_profile(finished, *load_rows(finished, None), said)
        why = f"{recipe.data.source} is on the Hub and is not fetched for this."
    except MultiLabelError as error:
        why = str(error).splitlines()[0]
    missing = (
        "The data the model was trained on are not here, so that their label sets, co-occurrence, imbalance and "
        "lengths are not shown. What the training counted of them stands below."
    )
    return [Prose([missing, why], warning=True)]


def data_profile(finished: FinishedModel, recipe: Recipe, data: MultiLabelData, said: Mapping[str, Any]) -> list[Block]:
    """What the data of a run hold, all that takes a second or two.

    Args:
        finished: The model, whose tokenizer counts.
        recipe: It says where texts are cut.
        data: Of the run.
        said: Content of metrics.json: whether the data are those of the training, and exact shares of cut texts.
    """
    name, counted = Path(recipe.data.source).name, said.get("data", {})
    found = profile_data(
        data, name, recipe.data.max_length, partial(count_tokens, finished.tokenizer), near=False, most=MOST_COUNTED
    )
    known = counted.get("fingerprints", {})
    changed = [split for split, mark in data.statistics["fingerprints"].items() if known.get(split, mark) != mark]
    if not changed:
        cut = {split: share for split, share in counted.get("truncated_share", {}).items() if split in data.splits}
        found = replace(found, lengths=replace(found.lengths, truncated=found.lengths.truncated | cut))
    about = [
        f"What the run's data {name} hold. Near duplicates and suspected label errors take minutes and are not "
        "searched for here: hf-multilabel inspect finds them."
    ]
    if there := data.statistics.get("rows_in_source"):
        about.append(f"Copies are counted in all {sum(there.values()):,} rows of the files, all else in those used.")
    warned = (
        f"These are not the very rows of the training ({', '.join(changed)}): the files have changed since, or other "
        "rows or corrected labels were read. Training texts of this page are counted in the rows read now."
    )
    return [Prose(about), *([Prose([warned], warning=True)] if changed else []), *profile_blocks(found)]


def cosine_by_layer(finished: FinishedModel, texts: Sequence[str]) -> list[float]:
    """How alike texts are after the embeddings and after each layer: mean cosine of the means over their tokens.

    At most 64 texts, evenly spaced, cut to what the backbone reads at once; empty where it hands out no states.
    """
    chosen = [texts[int(place)] for place in np.linspace(0, len(texts) - 1, min(ROWS, len(texts)))]
    if len(chosen) < 2:
        return []
    means = [layers for text in chosen if len(layers := layer_means(finished, text))]
    if len(means) < 2:
        return []
    return [mean_pairwise_cosine(layer) for layer in np.stack(means, axis=1)]  # (layers, N, H)


@torch.no_grad()
def layer_means(finished: FinishedModel, text: str) -> np.ndarray:
    """Mean state of a text's tokens after the embeddings and after each layer: (layers + 1, H)."""
    model = finished.model
    inputs = encode(finished.tokenizer, text, length_of(model, finished.tokenizer)).inputs
    found = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}, output_hidden_states=True)
    states = found.hidden_states or ()
    return np.array([layer[0].double().mean(dim=0).cpu().numpy() for layer in states])


def write_page(page: Page, output: Path) -> Path:
    """Write the HTML file and, beside it, its figures as PNG; each takes its place when it is complete.

    Raises:
        EnvironmentFault: If the disk refuses.
    """
    figures, written = figures_of(output), []
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        figures.mkdir(exist_ok=True)
        for path, content in files_of(page, output, figures):
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            part.write_bytes(content)
            part.replace(path)
            written.append(path)
    except OSError as error:
        found = f"expected to write the report, found {type(error).__name__}: {error}"
        raise EnvironmentFault(
            Finding("C121", str(output), found, "free the disk, or give --output FILE.html")
        ) from error
    list_files([output, *written[:-1]])
    return output


def figures_of(output: Path) -> Path:
    """Where the figures of a page lie as PNG."""
    return output.with_name(f"{output.stem}_figures")


def files_of(page: Page, output: Path, figures: Path) -> Iterator[tuple[Path, bytes]]:
    """The figures, then the page."""
    for name, content in page.pictures.items():
        yield figures / f"{name}.png", content
    yield output, render_page(page).encode("utf-8")
