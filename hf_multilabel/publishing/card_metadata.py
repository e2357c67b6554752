"""The YAML block of a card: what the Hub indexes, filters by and shows beside the text."""

from __future__ import annotations

import math
import re
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hf_multilabel.publishing.card_facts import CardFacts
from hf_multilabel.publishing.card_text import clean, pretty

TAGS = ("multi-label", "hf_multilabel", "text-classification")

# Metric of metrics.json -> (metric id on the Hub, averaging), in the order in which people ask for them.
HEADLINE: dict[str, tuple[str, str | None]] = {
    "micro_f1": ("f1", "micro"),
    "macro_f1": ("f1", "macro"),
    "samples_f1": ("f1", "samples"),
    "weighted_f1": ("f1", "weighted"),
    "micro_precision": ("precision", "micro"),
    "micro_recall": ("recall", "micro"),
    "macro_precision": ("precision", "macro"),
    "macro_recall": ("recall", "macro"),
    "subset_accuracy": ("accuracy", None),
    "hamming_loss": ("hamming_loss", None),
    "macro_auc": ("roc_auc", "macro"),
    "macro_ap": ("average_precision", "macro"),
    "lrap": ("lrap", None),
    "precision_at_1": ("precision_at_1", None),
    "precision_at_3": ("precision_at_3", None),
    "precision_at_5": ("precision_at_5", None),
    "ndcg_at_5": ("ndcg_at_5", None),
}


def metadata(facts: CardFacts) -> str:
    """The YAML block, with the scores of the stored decision as model-index and what the examples give as widget."""
    results = eval_results(facts)
    card = ModelCardData(
        language=list(facts.languages) or None,
        license=facts.license,
        library_name="transformers",
        tags=list(dict.fromkeys([*TAGS, *facts.tags])),
        pipeline_tag="text-classification",
        base_model=facts.base_model,
        datasets=[facts.dataset_id] if facts.dataset_id else None,
        metrics=sorted({result.metric_type for result in results}) or None,
        widget=widget(facts) or None,
        model_name=clean(facts.name) if results else None,
        eval_results=results or None,
    )
    return card.to_yaml()


def widget(facts: CardFacts) -> list[dict[str, Any]]:
    """Examples with what the model gives for them, so that the page shows it where no server runs the model."""
    answers = [*facts.answers, *[None] * (len(facts.examples) - len(facts.answers))]
    return [
        {"text": clean(text)}
        | (
            {"output": [{"label": clean(name), "score": round(float(p), 4)} for name, p in answer.items()]}
            if answer
            else {}
        )
        for text, answer in zip(facts.examples, answers, strict=True)
    ]


def eval_results(facts: CardFacts) -> list[EvalResult]:
    """The stored decision's headline metrics on the reported split."""
    dataset = clean(facts.dataset or facts.dataset_id or "the training data")
    slug = re.sub(r"[^\w.-]+", "-", dataset).strip("-").lower() or "local"
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Multi-label text classification",
            dataset_type=facts.dataset_id or slug,
            dataset_name=dataset,
            dataset_split=facts.split,
            metric_type=kind,
            metric_name=pretty(name),
            metric_value=float(facts.tuned[name]),  # a NumPy scalar would become !!python/object
            metric_args={"average": average} if average else None,
        )
        for name, (kind, average) in HEADLINE.items()
        if facts.tuned.get(name) is not None and math.isfinite(facts.tuned[name])
    ]
