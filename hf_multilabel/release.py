"""What a run leaves to its users: the bundle with its card, proved, moved in and pushed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_multilabel.backbones import Backbone
from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.describing import Judged, Origin, describe_run, draw_figures, with_figures
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.inference import FinishedModel, judge
from hf_multilabel.publishing.bundle import publish_staged, stage_bundle
from hf_multilabel.publishing.card import render_card
from hf_multilabel.publishing.hub import push_bundle
from hf_multilabel.publishing.proof import prove_bundle
from hf_multilabel.publishing.reproduction import score_texts
from hf_multilabel.recipe import Recipe
from hf_multilabel.remote_code.decision_multilabel import decide
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

PROOF_ROWS = 64


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
    facts = describe_run(recipe, finished, metrics, Origin.of_recipe(recipe, backbone.hub_id), judged)
    figures = draw_figures(judged, finished, metrics, facts.name, json.loads(files["history.json"]))
    staging = stage_bundle(
        folder,
        model=model,
        tokenizer=backbone.tokenizer,
        files={
            "recipe.yaml": recipe.dump(),
            "metrics.json": json.dumps(metrics, indent=1) + "\n",
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
