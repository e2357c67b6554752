"""The model card's metadata: what the Hub lists, filters and shows."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hf_multilabel.publishing.doctor.subject import Subject
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, note, ok, warning

CARD = "README.md"
LONGEST = 2 << 20
METADATA = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", flags=re.DOTALL)
TASK = "text-classification"
# Key, severity of its absence, what is lost without it, what to write.
WANTED = (
    ("license", warning, "nobody knows whether they may use it", "license: apache-2.0"),
    ("base_model", warning, "the Hub does not link it to the model it was made from", "base_model: OWNER/NAME"),
    ("pipeline_tag", warning, "it is not found under its task", f"pipeline_tag: {TASK}"),
    ("model-index", note, "its scores are not in the Hub's tables", "a model-index with the metrics and their split"),
    ("widget", note, "the widget shows no example of your texts", 'widget: [{"text": ...}]'),
    ("language", note, "it is not found by language", "language: en"),
)


def check_card(subject: Subject) -> Iterator[Symptom]:
    """Metadata that parses, says licence, origin and task, and a text that says how much of an input is read.

    Source: https://huggingface.co/docs/hub/model-cards, model-card-metadata.
    """
    if not subject.has(CARD):
        fix = "write one; hf-multilabel train does"
        yield warning("card.missing", CARD, "expected a model card, found none", fix)
        return
    text = subject.files.read(CARD, LONGEST).decode("utf-8", errors="replace")
    match = METADATA.match(text)
    try:
        metadata = YAML(typ="safe").load(io.StringIO(match.group(1))) if match else {}
        if not isinstance(metadata, dict):
            raise ValueError(f"a {type(metadata).__name__}")
    except (YAMLError, ValueError) as reason:
        what = f"expected YAML that the Hub can read, found {' '.join(str(reason).split())[:120]}"
        yield error("card.metadata", CARD, what, "mend the block between the two lines ---")
        return
    missing = [entry for entry in WANTED if not metadata.get(entry[0])]
    for key, make, effect, example in missing:
        yield make(f"card.{key}", f"{CARD}:{key}", f"expected a value, found none: {effect}", f"add {example}")
    yield from _check_values(metadata)
    if not re.search(r"max_length|\d[\d,]* tokens|truncat", text[match.end() if match else 0 :]):
        what = "expected how many tokens of a text are read, found nothing about it"
        yield note("card.max_length", CARD, what, "say it: what comes later in a text is ignored")
    if not missing:
        yield ok("card.metadata", CARD, "licence, base model, task, scores, examples and language are there")


def _check_values(metadata: dict[str, Any]) -> Iterator[Symptom]:
    task = metadata.get("pipeline_tag")
    if task and task != TASK:
        what = f"expected {TASK}, found {task!r}: the Hub has no task of its own for several labels"
        yield warning("card.pipeline_tag", f"{CARD}:pipeline_tag", what, f"write {TASK}")
    bases = metadata.get("base_model") or []
    for base in bases if isinstance(bases, list) else [bases]:
        if not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", str(base)):
            what = f"expected a Hub id, found {str(base)[:80]!r}"
            yield warning(
                "card.base_model", f"{CARD}:base_model", what, "write OWNER/NAME: paths mean nothing to others"
            )
