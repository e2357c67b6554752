"""The model card: plain facts in, README.md out. Names of labels and texts are data in it, never template or markup."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from hf_multilabel.assets import asset_folder

TEMPLATE = "card.md.j2"
TAGS = ("multi-label", "hf_multilabel", "text-classification")
LABELS_SHOWN = 50
METRICS_SHOWN = 12
EXAMPLES = ("Paste the text to be labelled here.",)
# Backslash and dollar open formulas on the Hub and @ names a person, so they become entities.
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;", "$": "&#36;", "@": "&#64;"}
ESCAPES = str.maketrans(ENTITIES | {letter: f"\\{letter}" for letter in "`*_[]#|~"})
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
MODEL_LINE = re.compile(r"^model_id = .*$", flags=re.MULTILINE)

# Metric of metrics.json -> (metric id on the Hub, averaging)
HEADLINE: dict[str, tuple[str, str | None]] = {
    "micro_f1": ("f1", "micro"),
    "macro_f1": ("f1", "macro"),
    "samples_f1": ("f1", "samples"),
    "subset_accuracy": ("accuracy", None),
    "macro_auc": ("roc_auc", "macro"),
}
OBJECTIVES = {
    "fixed": "Nothing was fitted.",
    "macro_f1": "Each threshold is the one with the best F1 of its label.",
    "micro_f1": "The thresholds are those with the best F1 over all labels pooled, so frequent labels weigh more.",
    "balanced": "The thresholds weigh the F1 of each label against the F1 over all labels pooled.",
    "risk": "The threshold is the one that keeps a promise.",
}
EMPTY = {
    "allow": "A text may get no label at all.",
    "at_least_one": "A text none of whose labels passes gets the one that comes closest.",
    "abstain": "A text none of whose labels passes gets none: the model abstains.",
}


class Verbatim(str):
    """Text that stands inside a code block, where Markdown is not read."""


@dataclass(frozen=True)
class CardFacts:
    """What a card says. Plain values only; empty ones leave their line or section out.

    Args:
        name: Name of the model, for the heading and the model-index.
        labels: Label names by id.
        metrics: As metrics.json: split -> `fixed` and `tuned` -> metric -> value.
        decision: As stored in config.json.
        max_length: Tokens kept of a text.
        per_label: Lines of `evaluation.metrics.per_label_table` for the reported split.
        repo_id: Where it is pushed to, OWNER/NAME; None names the folder instead.
        folder: The local folder.
        base_model: Hub id of the encoder it was fine-tuned from.
        architecture: Encoder, pooling and head in a few words.
        dataset: Name of the training data.
        dataset_id: Its Hub id, where it has one.
        license: Identifier of the licence, as the Hub spells them.
        languages: ISO codes.
        tags: Tags beyond `TAGS`.
        examples: Texts for the widget and the lines that show how to use it.
        data: Statistics of the data, nested as they are in metrics.json.
        recipe: The resolved recipe, YAML.
        environment: Library or device -> version or name.
        limits: Sentences beyond those that hold for every model.
    """

    name: str
    labels: Sequence[str]
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]
    decision: Mapping[str, Any]
    max_length: int
    per_label: Sequence[Mapping[str, Any]] = ()
    repo_id: str | None = None
    folder: str | None = None
    base_model: str | None = None
    architecture: str | None = None
    dataset: str | None = None
    dataset_id: str | None = None
    license: str | None = None
    languages: Sequence[str] = ()
    tags: Sequence[str] = ()
    examples: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[str] = ()

    @property
    def split(self) -> str | None:
        """The split whose numbers the card reports: test, or the nearest thing to it."""
        return next((name for name in ("test", "validation") if name in self.metrics), None)


def render_card(facts: CardFacts) -> str:
    """Render README.md: metadata the Hub reads, then what people read.

    Args:
        facts: Everything it says.

    Returns:
        YAML block and Markdown, ending in a newline.
    """
    examples = [clean(text) for text in facts.examples] or list(EXAMPLES)
    template = environment().get_template(TEMPLATE)
    body = template.render(
        facts=facts,
        model_id=quote(facts.repo_id or facts.folder or facts.name),
        example=quote(examples[0]),
        results=list(result_rows(facts)),
        metrics_shown=METRICS_SHOWN,
        decision=describe_decision(facts.decision, len(facts.labels)),
        frequent=sorted(facts.per_label, key=lambda line: -line["support"])[:LABELS_SHOWN],
        data=list(flatten(facts.data)),
        recipe=Verbatim(clean(facts.recipe, keep_lines=True).strip()),
        fence=fence_for(facts.recipe),
    )
    return f"---\n{metadata(facts, examples)}\n---\n\n{body.strip()}\n"


def metadata(facts: CardFacts, examples: Sequence[str]) -> str:
    """The YAML block: what the Hub indexes, with the scores of the tuned decision as model-index."""
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
        widget=[{"text": text} for text in examples],
        model_name=clean(facts.name),
        eval_results=results or None,
    )
    return card.to_yaml()


def eval_results(facts: CardFacts) -> list[EvalResult]:
    """The tuned decision's headline metrics on the reported split."""
    if facts.split is None:
        return []
    tuned = facts.metrics[facts.split].get("tuned", {})
    dataset = clean(facts.dataset or facts.dataset_id or "the training data")
    return [
        EvalResult(
            task_type="text-classification",
            task_name="Multi-label text classification",
            dataset_type=facts.dataset_id or re.sub(r"[^\w.-]+", "-", dataset).strip("-").lower() or "local",
            dataset_name=dataset,
            dataset_split=facts.split,
            metric_type=kind,
            metric_name=pretty(name),
            metric_value=float(tuned[name]),  # a NumPy scalar would become !!python/object
            metric_args={"average": average} if average else None,
        )
        for name, (kind, average) in HEADLINE.items()
        if name in tuned
    ]


def result_rows(facts: CardFacts) -> Iterator[tuple[str, str, str]]:
    """Lines of the results table, headline first: metric, at the fixed threshold of 0.5, with the tuned decision."""
    if facts.split is None:
        return
    found = facts.metrics[facts.split]
    fixed, tuned = found.get("fixed", {}), found.get("tuned", {})
    for name in dict.fromkeys([*HEADLINE, *tuned, *fixed]):
        if isinstance(tuned.get(name, fixed.get(name)), (int, float, np.number)):
            yield pretty(name), number(fixed.get(name)), number(tuned.get(name))


def describe_decision(decision: Mapping[str, Any], num_labels: int) -> list[str]:
    """The decision in words, a sentence a string.

    Example:
        >>> describe_decision({"rule": "threshold", "thresholds": 0.5, "empty": "allow"}, 3)[0]
        'A label is predicted when its probability is at least 0.5, for all 3 labels.'
    """
    return [
        *_describe_rule(decision, num_labels),
        EMPTY[decision.get("empty", "allow")],
        *_describe_bounds(decision),
        *_describe_evidence(decision),
    ]


def _describe_rule(decision: Mapping[str, Any], num_labels: int) -> Iterator[str]:
    rule, thresholds = decision["rule"], np.atleast_1d(np.asarray(decision["thresholds"], dtype=np.float64))
    if decision.get("calibration"):
        yield f"Probabilities are calibrated first ({decision['calibration']['method']})."
    if rule == "top_k":
        yield f"The {decision['top_k']} labels with the highest probabilities are predicted."
        return
    if len(thresholds) == 1:
        at_least = f"{thresholds[0]:.4g}, for all {num_labels:,} labels"
    else:
        span = f"between {thresholds.min():.4g} and {thresholds.max():.4g}, median {np.median(thresholds):.4g}"
        at_least = f"the threshold of that label: {len(thresholds):,} thresholds {span}"
    yield f"A label is predicted when its probability is at least {at_least}."
    if rule == "threshold_top_k":
        yield f"Of those, the {decision['top_k']} with the highest probabilities are kept."


def _describe_bounds(decision: Mapping[str, Any]) -> Iterator[str]:
    for key, word in (("min_labels", "at least"), ("max_labels", "at most")):
        if decision.get(key):
            yield f"Every text gets {word} {decision[key]} labels."


def _describe_evidence(decision: Mapping[str, Any]) -> Iterator[str]:
    objective = decision.get("objective", "fixed")
    yield OBJECTIVES.get(objective, f"The thresholds were fitted for {pretty(objective)}.")
    if decision.get("risk"):
        yield decision["risk"]["sentence"]
    if decision.get("fitted_on"):
        folds = f" in {decision['folds']} folds" if "folds" in decision else ""
        where = f"{pretty(decision['fitted_on'])} rows, {decision.get('rows', 0):,} of them{folds}"
        expected = ", ".join(_describe_expected(decision.get("expected", {})))
        yield f"The thresholds were fitted on {where}" + (
            f"; on other rows they give about {expected}." if expected else "."
        )
    if decision.get("refitted"):
        yield "The decision was fitted again after training, with hf-multilabel tune."


def _describe_expected(expected: Mapping[str, Any]) -> Iterator[str]:
    """Scores to be expected on other rows, with their intervals where there are any."""
    bounds = expected.get("intervals", {})
    for name in HEADLINE:
        if name in expected:
            low, high = bounds.get(name, (None, None))
            yield f"{pretty(name)} {number(expected[name])}" + (f" ({number(low)} to {number(high)})" if bounds else "")


def readdress_card(card: str, model_id: str) -> str:
    """The card with `model_id = ...` in its first code block naming another place, for instance the repo pushed to."""
    return MODEL_LINE.sub(lambda _: f"model_id = {quote(model_id)}", card, count=1)


def escape(value: Any) -> Any:
    r"""A value as Markdown and HTML that show exactly its characters, on one line.

    Example:
        >>> print(escape("a|b <i>`{{ x }}`"))
        a\|b &lt;i&gt;\`{{ x }}\`
    """
    if isinstance(value, Verbatim):
        return value
    text = clean(str(value)).translate(ESCAPES)
    # the Hub and GitHub make links of addresses wherever they stand
    return text.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def quote(text: str) -> Verbatim:
    """A text as a string literal of Python."""
    return Verbatim(json.dumps(clean(str(text)), ensure_ascii=False))


def clean(text: str, keep_lines: bool = False) -> str:
    """Text that can be written and stays in its place: control characters and lone surrogates become one space.

    Example:
        >>> clean("two" + chr(10) + "lines")
        'two lines'
    """
    if keep_lines:
        return "\n".join(CONTROLS.sub(" ", line) for line in text.split("\n"))
    return CONTROLS.sub(" ", text)


def fence_for(content: str) -> Verbatim:
    """A code fence longer than any run of backticks in the content, so that the content cannot end it."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    return Verbatim("`" * max(3, longest + 1))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested statistics as lines of a table; long lists become their length.

    Example:
        >>> list(flatten({"rows": {"train": 1200, "test": 150}}))
        [('rows, train', '1,200'), ('rows, test', '150')]
    """
    for key, value in values.items():
        name = f"{prefix}, {pretty(key)}" if prefix else pretty(key)
        if isinstance(value, Mapping):
            yield from flatten(value, name)
        elif isinstance(value, (list, tuple)):
            yield name, f"{len(value):,}" if len(value) > 5 else ", ".join(number(item) for item in value) or "none"
        elif value is not None:
            yield name, number(value)


def pretty(name: Any) -> str:
    """A key as people write it.

    Example:
        >>> pretty("micro_f1"), pretty("ndcg_at_5")
        ('micro F1', 'nDCG@5')
    """
    text = str(name).replace("_at_", "@").replace("_", " ")
    return re.sub(r"\b(f1|auc|lrap)\b", lambda match: match.group().upper(), text).replace("ndcg", "nDCG")


def number(value: Any) -> str:
    """A value for a table: four decimals for scores, thousands marked, a dash where there is none.

    Example:
        >>> number(0.83114), number(4271), number(None)
        ('0.8311', '4,271', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.4f}"
    return str(value)


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
    return templates
