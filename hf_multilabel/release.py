"""What a run leaves to its users: the bundle with its card, proved, moved in and pushed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_multilabel.backbones import Backbone
from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.evaluation.metrics import label_table
from hf_multilabel.inference import judge
from hf_multilabel.publishing.bundle import publish_staged, stage_bundle
from hf_multilabel.publishing.card import CardFacts, render_card
from hf_multilabel.publishing.hub import push_bundle
from hf_multilabel.publishing.proof import prove_bundle
from hf_multilabel.publishing.reproduction import score_texts
from hf_multilabel.recipe import Recipe
from hf_multilabel.remote_code.decision_multilabel import decide
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

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
    split = "test" if "test" in scores else "validation"
    note(f"writing and proving {folder}")
    staging = stage_bundle(
        folder,
        model=model.cpu(),
        tokenizer=backbone.tokenizer,
        files={
            "recipe.yaml": recipe.dump(),
            "metrics.json": json.dumps(metrics, indent=1) + "\n",
            **files,
        },
        card=render_card(card_facts(recipe, model, backbone, data, scores, metrics)),
    )
    prove_and_publish(staging, model, backbone.tokenizer, data.splits[split]["text"], recipe.data.max_length)
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


def card_facts(
    recipe: Recipe,
    model: MultiLabelForSequenceClassification,
    backbone: Backbone,
    data: MultiLabelData,
    scores: dict[str, np.ndarray | RankedScores],
    metrics: dict[str, Any],
) -> CardFacts:
    """What the model card says of this run."""
    split = "test" if "test" in scores else "validation"
    outcome = judge(scores[split], data.label_matrix(split), model.config.decision)
    adapters = f" with {recipe.peft.method} adapters merged into it" if recipe.peft.method else ""
    encoder = f"{backbone.config.model_type} encoder{adapters}"
    windows = model.config.windows
    read = f"windows of {windows['length']} tokens ({windows['aggregation']}), " if windows else ""
    pooling = "" if model.pooling is None else f"{recipe.model.pooling} pooling, "
    return CardFacts(
        name=recipe.hub.repo_id.split("/")[-1] if recipe.hub.repo_id else recipe.name,
        labels=data.labels.names,
        metrics={name: metrics[name] for name in scores},
        decision=model.config.decision,
        max_length=recipe.data.max_length,
        per_label=label_table(outcome, data.labels.names, model.config.decision["thresholds"]),
        repo_id=recipe.hub.repo_id,
        folder=shown_path(recipe.training["output_dir"]),
        base_model=backbone.hub_id,
        architecture=f"{encoder}, {read}{pooling}{recipe.model.head} head",
        dataset=Path(recipe.data.source).name,
        dataset_id=recipe.hub.datasets[0] if recipe.hub.datasets else None,
        license=recipe.hub.license,
        languages=[recipe.hub.language] if isinstance(recipe.hub.language, str) else recipe.hub.language or [],
        examples=recipe.hub.examples,
        data=metrics["data"],
        tags=recipe.hub.tags,
        recipe=recipe.dump(),
        environment={
            "device": metrics["training"]["device"],
            "processes": str(metrics["training"]["num_processes"]),
            **metrics["training"]["libraries"],
        },
    )


def shown_path(path: str) -> str:
    """A path as others may read it: relative to the working folder, or only its name."""
    found = Path(path)
    return str(found.relative_to(Path.cwd())) if found.is_relative_to(Path.cwd()) else found.name
