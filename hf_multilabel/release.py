"""What a run leaves to its users: the bundle with its card, proved, moved in and pushed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_multilabel.backbones import Backbone
from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.describing import Judged, Provenance, describe_run, draw_figures, with_figures
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.inference import FinishedModel
from hf_multilabel.judging import COUNTS, describe_counts, judge
from hf_multilabel.publishing.bundle import publish_staged, stage_bundle
from hf_multilabel.publishing.card import HEADLINE, CardFacts, number, pretty, render_card
from hf_multilabel.publishing.hub import Target, push_bundle
from hf_multilabel.publishing.last_checkpoint import fetch_last_checkpoint
from hf_multilabel.publishing.proof import prove_bundle
from hf_multilabel.publishing.reproduction import score_texts
from hf_multilabel.recipe import Recipe
from hf_multilabel.remote_code.decision_multilabel import decide, default_decision
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.runs import open_run
from hf_multilabel.training.pushing import Described, PushSaves

PROOF_ROWS = 64


@dataclass(frozen=True)
class FinishedRun:
    """What a run has in memory when all is written.

    Args:
        recipe: That was run.
        folder: Where the bundle lies.
        model: With its decision, on the CPU.
        tokenizer: Beside it.
        data: All splits; the texts of the training rows are gone.
        scores: Of the validation and test splits, as `score_splits` returns them.
        metrics: The content of metrics.json.
        history: The content of history.json.
    """

    recipe: Recipe
    folder: Path
    model: MultiLabelForSequenceClassification
    tokenizer: PreTrainedTokenizerBase
    data: MultiLabelData
    scores: dict[str, np.ndarray | RankedScores]
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


def publish(
    recipe: Recipe,
    folder: Path,
    model: MultiLabelForSequenceClassification,
    backbone: Backbone,
    data: MultiLabelData,
    scores: dict[str, np.ndarray | RankedScores],
    metrics: dict[str, Any],
    files: dict[str, str | bytes],
) -> None:
    """Stage the bundle, prove it, move it in, push it. Runs on the main process."""
    finished = FinishedModel(str(folder), model.cpu().eval(), backbone.tokenizer)
    judged = judge_reported(data, scores, model.config.decision)
    note(f"writing and proving {folder}")
    facts = describe_run(recipe, finished, metrics, Provenance.of_recipe(recipe, backbone.hub_id), judged)
    figures = draw_figures(judged, finished, metrics, facts.name, json.loads(files["history.json"]))
    staging = stage_bundle(
        folder,
        model=model,
        tokenizer=backbone.tokenizer,
        files={
            "recipe.yaml": recipe.dump(),
            "metrics.json": json.dumps(metrics, indent=1) + "\n",
            COUNTS: describe_counts(data),
            **files,
            **{path: content for path, (_, content) in figures.items()},
        },
        card=render_card(with_figures(facts, figures)),
    )
    prove_and_publish(staging, model, backbone.tokenizer, judged.rows["text"], recipe.data.max_length)
    note(f"done: {folder}")
    if recipe.hub.repo_id:
        url = push_bundle(
            folder,
            recipe.hub.repo_id,
            private=recipe.hub.private,
            revision=recipe.hub.revision,
            create_pr=recipe.hub.create_pr,
            tag=recipe.hub.tag,
            commit_message=recipe.hub.commit_message,
        )
        note(f"pushed: {url}")


def judge_reported(
    data: MultiLabelData, scores: Mapping[str, np.ndarray | RankedScores], decision: Mapping[str, Any]
) -> Judged:
    """The rows that the card reports on, as a decision judges them: test, or validation where there is no test."""
    split = "test" if "test" in scores else "validation"
    counts = data.labels.counts, int(np.max(data.known_rows()))
    return Judged(split, judge(scores[split], data.label_matrix(split), decision, *counts), data.splits[split])


def prove_and_publish(
    staging: Path,
    model: MultiLabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
) -> None:
    """Prove a staged bundle on its first `PROOF_ROWS` texts and move it in.

    Raises:
        EnvironmentFault: If it gives other label sets than the model, or the disk refuses a move.
    """
    texts = texts[:PROOF_ROWS]
    logits = score_texts(model, tokenizer, texts, max_length, 16)
    predictions = decide(logits, model.config.decision).numpy()
    proof = prove_bundle(staging, texts, logits.numpy(), predictions, max_length, 16)
    publish_staged(staging, proof=proof)
    note(f"proved: {proof['rows']} texts give the same label sets in a process without hf_multilabel")


def push_saves(
    recipe: Recipe,
    labels: Sequence[str],
    backbone: Backbone,
    merge: Callable[[Path], MultiLabelForSequenceClassification] | None,
) -> PushSaves | None:
    """What pushes each save of a run, as `hub.strategy` says; None if only its end is pushed.

    Args:
        recipe: The run's.
        labels: Label names by id.
        backbone: What is fine-tuned.
        merge: As for `PushSaves`.
    """
    hub = recipe.hub
    if hub.repo_id is None or hub.strategy == "end":
        return None

    def describe(metrics: Mapping[str, float], progress: str) -> Described:
        card = render_card(saved_facts(recipe, labels, backbone, metrics, progress))
        stored = {"validation": {"fixed": dict(metrics)}} if metrics else {}
        files = {"recipe.yaml": recipe.dump(), "metrics.json": json.dumps(stored, indent=1) + "\n"}
        return Described(card, files)

    target = Target(hub.repo_id, hub.revision, hub.private)
    return PushSaves(target, hub.strategy, describe, merge, backbone.hub_id)


def resume_elsewhere(recipe: Recipe, folder: Path, sources: Mapping[str, str]) -> None:
    """Fetch what a run of this recipe pushed last, if none is here: its folder may have been on another machine.

    Raises:
        InputError: If the Hub holds no checkpoint of this recipe.
        EnvironmentFault: If it fails repeatedly.
    """
    hub = recipe.hub
    if hub.repo_id is None or hub.strategy != "checkpoint" or folder.exists():
        return
    found = fetch_last_checkpoint(hub.repo_id, folder, recipe.dump(), hub.revision)
    open_run(folder, recipe.sha256, recipe.resolved(), sources, resume=True)
    note(f"resuming from {hub.repo_id}: {found.name}")


def saved_facts(
    recipe: Recipe, labels: Sequence[str], backbone: Backbone, metrics: Mapping[str, float], progress: str
) -> CardFacts:
    """What the card says of a model whose training goes on: how to use it, and that it is not finished."""
    hub = recipe.hub
    scores = ", ".join(f"{pretty(name)} {number(metrics[name])}" for name in HEADLINE if name in metrics)
    measured = f" The last evaluation on the validation rows, at 0.5: {scores}." if scores else ""
    return CardFacts(
        name=str(hub.repo_id).split("/")[-1],
        labels=labels,
        metrics={},
        decision=default_decision(),
        max_length=recipe.data.max_length,
        repo_id=hub.repo_id,
        base_model=backbone.hub_id,
        dataset=Path(recipe.data.source).name,
        dataset_id=hub.datasets[0] if hub.datasets else None,
        license=hub.license,
        languages=[hub.language] if isinstance(hub.language, str) else hub.language or [],
        examples=hub.examples,
        tags=hub.tags,
        recipe=recipe.dump(),
        limits=[f"This model is still being trained: {progress}. Its thresholds are fitted at the end.{measured}"],
    )
