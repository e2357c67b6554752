"""The results of a card: tables of metrics and of labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_multilabel.decisions.risk_control import promised_metric
from hf_multilabel.evaluation.costs import COSTS
from hf_multilabel.evaluation.frequency import FEW, tell_few
from hf_multilabel.evaluation.keeping import tell_unsettled
from hf_multilabel.evaluation.zeros import tell_unlabelled
from hf_multilabel.publishing.card_facts import CardFacts
from hf_multilabel.publishing.card_metadata import HEADLINE
from hf_multilabel.publishing.card_text import number, plural, pretty, span

PARTS = ("head", "torso", "tail")
PART_METRICS = ("micro_f1", "macro_f1")
# Labels up to which their table stands open, and up to which all are listed; of more, so many at each end.
OPEN, LISTED, ENDS = 20, 200, 25
# Metrics without an interval up to which they are named.
NAMED = 4


@dataclass(frozen=True)
class LabelGroup:
    """Lines of the table of labels under one heading.

    Args:
        title: What they are.
        lines: As `label_table` gives them.
        folded: Whether they are shown only when asked for.
    """

    title: str
    lines: Sequence[Mapping[str, Any]]
    folded: bool


def headline_rows(facts: CardFacts) -> list[tuple[str, str, str, str]]:
    """Metric, at a threshold of 0.5, with the stored decision, its interval: what it was made for, then `HEADLINE`."""
    return [_row(facts, name) for name in _first(facts) if name in facts.tuned or name in facts.fixed]


def other_rows(facts: CardFacts) -> list[tuple[str, str, str, str]]:
    """The same of all other metrics that are numbers, but those of `part_rows`; counts have no interval."""
    return [_row(facts, name) for name in _others(facts)]


def count_others(facts: CardFacts) -> int:
    """How many of them are metrics, not counts of rows or labels."""
    return sum(not _is_count(facts, name) for name in _others(facts))


def part_rows(facts: CardFacts) -> Iterator[list[str]]:
    """Head, torso and tail: part, labels, then for each of `PART_METRICS` fixed, stored, interval."""
    bounds = facts.tuned.get("intervals", {})
    for part in PARTS:
        labels = facts.tuned.get(f"{part}_labels", facts.fixed.get(f"{part}_labels"))
        if labels:
            names = [f"{part}_{metric}" for metric in PART_METRICS]
            scores = [[number(facts.fixed.get(n)), number(facts.tuned.get(n)), span(bounds.get(n))] for n in names]
            yield [part, number(labels), *(cell for cells in scores for cell in cells)]


def label_groups(per_label: Sequence[Mapping[str, Any]]) -> list[LabelGroup]:
    """The labels as tables: all of them, or of thousands the most frequent and the worst."""
    lines = sorted(per_label, key=lambda line: -line["support"])
    if len(lines) <= LISTED:
        folded = len(lines) > OPEN
        return [LabelGroup(f"All {plural(len(lines), 'label')}", lines, folded)] if lines else []
    known = [line for line in lines if line["support"] >= FEW]
    worst = sorted(known, key=lambda line: line["f1"])[:ENDS]
    groups = [LabelGroup(f"The {ENDS} most frequent of {len(lines):,} labels", lines[:ENDS], True)]
    if worst:
        among = f"among {len(known):,} with {FEW} rows or more"
        groups.append(LabelGroup(f"The {len(worst)} with the lowest F1 {among}", worst, True))
    return groups


def label_notes(facts: CardFacts) -> Iterator[str]:
    """What a reader of the table must know: who counts, and how many labels are too rare to be judged."""
    yield f"Support: rows of the {facts.split or 'reported'} split on which the label holds."
    if any("training" in line for line in facts.per_label):
        yield "Training: rows it was learned from."
    if few := tell_few([line["support"] for line in facts.per_label]):
        yield few


def result_notes(facts: CardFacts) -> Iterator[str]:
    """What a reader of the results must know."""
    if said := tell_unsettled(facts.tuned):
        yield said
    rows = facts.tuned.get("rows") or facts.fixed.get("rows")
    if facts.tuned.get("intervals"):
        counted = f"these {rows:,} rows" if rows else "these rows"
        yield f"The 95% intervals say how far the choice of {counted} moves a score; another training run moves it too."
        if missing := [name for name in (*_first(facts), *_others(facts)) if _lacks_interval(facts, name)]:
            named = ", ".join(pretty(name) for name in missing)
            yield f"No interval is computed for {named if len(missing) <= NAMED else 'metrics with a dash'}."
    promised = promised_metric(facts.decision)
    if promised and promised[0] in facts.tuned:
        yield f"Promised is a {pretty(promised[0])} of {promised[1]}; here it is {number(facts.tuned[promised[0]])}."
    objective = [name for name in ("micro_f1", "macro_f1") if name in facts.tuned and name in facts.fixed]
    if objective and all(facts.tuned[name] < facts.fixed[name] for name in objective):
        yield "On these rows a fixed 0.5 does better by both micro and macro F1: what was fitted elsewhere did not pay."
    predicted, true = facts.tuned.get("predicted_per_row"), facts.data.get("cardinality", {}).get(facts.split)
    if predicted is not None and true is not None:
        yield f"A text gets {predicted:.2f} labels on average, and {true:.2f} hold."
    if said := tell_unlabelled(facts.tuned):
        yield said
    if absent := facts.tuned.get("labels_without_positives"):
        noun = "label without a text here counts" if absent == 1 else "labels without a text here count"
        yield f"{absent:,} {noun} 0 in macro F1."


def _first(facts: CardFacts) -> list[str]:
    """Metrics of the first table."""
    promised = promised_metric(facts.decision)
    return [*(promised[:1] if promised else ()), *COSTS, *HEADLINE]


def _others(facts: CardFacts) -> list[str]:
    shown = {f"{part}_{name}" for part in PARTS for name in (*PART_METRICS, "labels")} | set(_first(facts))
    # where every label has a text, means over those that have one are the same numbers once more
    same = facts.tuned.get("labels_without_positives") == 0
    return [
        name
        for name in dict.fromkeys([*facts.tuned, *facts.fixed])
        if name not in shown
        and not (same and name.startswith("macro_") and name.endswith("_present"))
        and isinstance(facts.tuned.get(name, facts.fixed.get(name)), (int, float, np.number))
    ]


def _is_count(facts: CardFacts, name: str) -> bool:
    return isinstance(facts.tuned.get(name, facts.fixed.get(name)), int)


def _lacks_interval(facts: CardFacts, name: str) -> bool:
    measured = facts.tuned.get(name) is not None and not _is_count(facts, name)
    return measured and name not in facts.tuned["intervals"]


def _row(facts: CardFacts, name: str) -> tuple[str, str, str, str]:
    ends = "" if _is_count(facts, name) else span(facts.tuned.get("intervals", {}).get(name))
    return pretty(name), number(facts.fixed.get(name)), number(facts.tuned.get(name)), ends
