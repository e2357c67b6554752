"""The model card: plain facts in, README.md out. Names of labels and texts are data in it, never template or markup."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from hf_multilabel.assets import asset_folder
from hf_multilabel.publishing import card_results as results
from hf_multilabel.publishing import card_training as training
from hf_multilabel.publishing.card_decision import describe_decision
from hf_multilabel.publishing.card_facts import CardFacts
from hf_multilabel.publishing.card_metadata import HEADLINE, metadata
from hf_multilabel.publishing.card_text import (
    Verbatim,
    clean,
    escape,
    fence_for,
    number,
    pretty,
    quote,
    row,
    shell_echo,
    shell_word,
)

__all__ = ["HEADLINE", "CardFacts", "environment", "number", "pretty", "readdress_card", "render_card"]

TEMPLATE = "card.md.j2"
EXAMPLE = "Paste the text to be labelled here."
# Names listed at the top of the card; of more labels, only their number.
NAMES_SHOWN = 30
# a string of JSON, which is one of Python, too
MODEL_LINE = re.compile(r'^model_id = ("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-f]{4})*")$', flags=re.MULTILINE)
FIGURE = re.compile(r"[\w.-]+(/[\w.-]+)*")


def render_card(facts: CardFacts) -> str:
    """Render README.md: metadata the Hub reads, then what people read.

    Args:
        facts: Everything it says.

    Returns:
        YAML block and Markdown, ending in a newline.

    Raises:
        ValueError: If the path of a figure is none.
    """
    for path in facts.figures:
        if not FIGURE.fullmatch(path):
            raise ValueError(f"figures: expected paths such as figures/labels.png, found {path!r}. Rename the file.")
    model_id = facts.repo_id or facts.folder or facts.name
    example = next((clean(text) for text in facts.examples if clean(text).strip()), EXAMPLE)
    body = (
        environment()
        .get_template(TEMPLATE)
        .render(
            facts=facts,
            model_id=quote(model_id),
            model_word=shell_word(model_id),
            example=quote(example),
            echo_example=shell_echo(example),
            text_words=[shell_word(column) for column in facts.text],
            fitted_elsewhere=(facts.decision.get("refitted") or {}).get("data"),
            named=len(facts.labels) <= NAMES_SHOWN,
            decision=describe_decision(facts.decision, len(facts.labels)),
            **tables(facts),
            recipe=Verbatim(clean(facts.recipe, keep_lines=True).strip()),
            fence=fence_for(facts.recipe),
        )
    )
    return f"---\n{metadata(facts)}\n---\n\n{body.strip()}\n"


def tables(facts: CardFacts) -> dict[str, Any]:
    """What the template shows of results, labels, data and training; empty where there is nothing to show."""
    return {
        "headline": results.headline_rows(facts),
        "others": results.other_rows(facts),
        "more": results.count_others(facts),
        "parts": list(results.part_rows(facts)),
        "result_notes": list(results.result_notes(facts)),
        "groups": results.label_groups(facts.per_label),
        "label_notes": list(results.label_notes(facts)),
        "split_table": training.split_table(facts.data, facts.max_length),
        "data_notes": list(training.data_notes(facts.data)),
        "counts": training.more_counts(facts.data),
        "training_notes": list(training.training_notes(facts.training)),
        "libraries": training.libraries(facts),
    }


def readdress_card(card: str, model_id: str) -> str:
    """The card whose lines to copy name another place, for instance the repo pushed to.

    What they name now is what the first `model_id = ...` says; lines that name anything else stay.
    """
    first = MODEL_LINE.search(card)
    if first is None:
        return card
    old, new = first.group(1), quote(model_id)
    in_python = rf"(\bmodel_id = |\bmodel=){re.escape(old)}"
    in_shell = rf"(\bhf-multilabel [a-z]+ ){re.escape(shell_word(json.loads(old)))}(?=\s)"
    card = re.sub(in_python, lambda match: match.group(1) + new, card)
    return re.sub(in_shell, lambda match: match.group(1) + shell_word(model_id), card)


@functools.cache
def environment() -> SandboxedEnvironment:
    """Templates see values, not Python; every printed value is escaped unless it is `Verbatim`."""
    templates = SandboxedEnvironment(
        loader=FileSystemLoader(asset_folder("model_cards")),
        undefined=StrictUndefined,
        finalize=escape,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = number
    templates.filters["row"] = row
    templates.filters["verbatim"] = Verbatim
    return templates
