"""What a report says of one run, section by section; each takes plain values and returns blocks of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_multilabel.evaluation.frequency import tell_few
from hf_multilabel.evaluation.keeping import tell_unsettled
from hf_multilabel.evaluation.metrics import label_table
from hf_multilabel.reports import reliability
from hf_multilabel.reports.drawing import count_labels
from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.figures import CAPTIONS
from hf_multilabel.reports.page import Block, Picture, Prose, Section, Table, Texts, Tiles, Verbatim, number
from hf_multilabel.reports.worst import worst_texts

HEADLINE = ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "precision_at_1", "macro_auc", "lrap")
TILES = ("micro_f1", "macro_f1", "samples_f1", "precision_at_1")
# Where more than this share of the texts has no label, the third is another: those texts count 0 in samples F1.
MANY_EMPTY, TILES_OF_EMPTY = 0.1, ("micro_f1", "macro_f1", "subset_accuracy")
# Lines of the table of labels: more of them no browser sorts in the blink of an eye.
MOST_LABELS = 5000
IN_SAMPLE = (
    "The decision was fitted on these very rows. Its scores here would be better than on any other rows, so they are "
    "not reported; figures and tables below show the same rows and are optimistic, too. Report on the test split, or "
    "on rows that neither training nor decision have seen."
)
TRAINED_ON = (
    "The model was trained on these very rows. Its scores here say nothing of other rows, so those of its decision are "
    "not reported; figures and tables below show the same rows. Report on the test split."
)


@dataclass(frozen=True)
class RunFacts:
    """What a report says of a run beside its evidence.

    Args:
        decision: The decision in words, a sentence each.
        training: Lines of a table, for instance ("steps", 120).
        data: The same of the data.
        recipe: The resolved recipe, YAML.
        looks: Blocks that show what the model looks at in some texts.
        refused: Why the scores of the decision are not reported, where `evidence.metrics` lack them.
        profile: Blocks on what the data hold, before their numbers.
    """

    decision: Sequence[str] = ()
    training: Sequence[tuple[str, Any]] = ()
    data: Sequence[tuple[str, Any]] = ()
    recipe: str = ""
    looks: Sequence[Block] = ()
    refused: str = IN_SAMPLE
    profile: Sequence[Block] = ()


def run_sections(evidence: RunEvidence, facts: RunFacts, pictures: Mapping[str, bytes]) -> list[Section]:
    """All sections of a run's report, in their order; those without anything to say are empty.

    Args:
        evidence: Of the split reported on.
        facts: The rest.
        pictures: Figures as `figures.draw` returns them.
    """
    shown = {name: [picture(name, pictures)] if name in pictures else [] for name in CAPTIONS}
    return [
        Section("results", "Results", results(evidence, facts.refused)),
        Section("decision", "The decision", [Prose(facts.decision)] if facts.decision else []),
        Section("training", "Training", [*shown["curves"], *table_of("Training", facts.training)]),
        Section("labels", "Labels", [*shown["label_distribution"], *shown["frequency_f1"], *per_label(evidence)]),
        Section("confusion", "What is taken for what", [*shown["label_sets"], *shown["missed_for"]]),
        Section("precision-recall", "Precision and recall", [*shown["precision_recall"], *bounded(evidence)]),
        Section("scores", "Scores", shown["score_histograms"]),
        Section("calibration", "Calibration", calibration(evidence, shown["reliability"])),
        Section("errors", "Worst errors", errors(evidence)),
        Section("looks", "What the model looks at", facts.looks),
        Section("collapse", "Do documents stay apart?", collapse(evidence, shown["collapse"])),
        Section("data", "Data", [*facts.profile, *table_of("Data", facts.data)]),
        Section("recipe", "Recipe", [Verbatim("The recipe as it was run", facts.recipe)] if facts.recipe else []),
    ]


def picture(name: str, pictures: Mapping[str, bytes]) -> Picture:
    """One figure of a run with its caption."""
    return Picture(name, pictures[name], CAPTIONS[name])


def pretty(metric: str) -> str:
    """A metric as people write it.

    Example:
        >>> pretty("micro_f1"), pretty("ndcg_at_5")
        ('micro F1', 'nDCG@5')
    """
    words = metric.replace("_at_", "@").split("_")
    upper = {"f1": "F1", "auc": "AUC", "lrap": "LRAP", "ap": "AP", "ece": "ECE", "psp@": "PSP@"}
    return " ".join(upper.get(word, word.replace("ndcg", "nDCG").replace("psp", "PSP")) for word in words)


def results(evidence: RunEvidence, refused: str) -> list[Block]:
    """The headline: the fitted decision with its intervals, beside a cut of 0.5; refused on rows it knows."""
    fixed, tuned = evidence.metrics.get("fixed", {}), evidence.metrics.get("tuned")
    if tuned is None:
        return [Prose([refused], warning=True), *metrics_table(evidence.split, fixed, {})]
    tiles = []
    chosen = TILES_OF_EMPTY if tuned.get("rows_without_labels", 0) > MANY_EMPTY * evidence.rows else TILES
    for name in [name for name in chosen if name in tuned][:3]:
        low, high = tuned.get("intervals", {}).get(name, (None, None))
        below = f"95%: {low:.3f} to {high:.3f}" if low is not None else f"on {evidence.split}"
        tiles.append((pretty(name), f"{tuned[name]:.3f}", below))
    tiles.append(("texts", f"{evidence.rows:,}", f"of {evidence.split}"))
    unsettled = tell_unsettled(tuned)
    warned = [Prose([unsettled], warning=True)] if unsettled else []
    return [Tiles(tiles), *warned, *counted_zero(evidence, tuned), *metrics_table(evidence.split, fixed, tuned)]


def counted_zero(evidence: RunEvidence, tuned: Mapping[str, Any]) -> list[Block]:
    """What the headline counts as 0 though no model could do better, where there is any."""
    texts, labels = tuned.get("rows_without_labels", 0), tuned.get("labels_without_positives", 0)
    said = []
    if texts:
        said.append(
            f"{texts:,} of the {evidence.rows:,} texts have no label. They count 0 in samples F1 and precision@1, also "
            "where rightly nothing was predicted; subset accuracy counts those as right."
        )
    if labels and "macro_f1_present" in tuned:
        said.append(
            f"{count_labels(labels)} of {len(evidence.labels):,} without a text in {evidence.split}: 0 in macro F1. "
            f"Over the others it is {tuned['macro_f1_present']:.4f}."
        )
    return [Prose(said)] if said else []


def metrics_table(split: str, fixed: Mapping[str, Any], tuned: Mapping[str, Any]) -> list[Block]:
    """The metrics people compare first, then all of them on a click."""
    bounds = tuned.get("intervals", {})

    def line(name: str) -> list[Any]:
        span = f"{bounds[name][0]:.4f} to {bounds[name][1]:.4f}" if name in bounds else None
        return [pretty(name), fixed.get(name), *([tuned.get(name), span] if tuned else [])]

    names = [
        name for name in dict.fromkeys([*tuned, *fixed]) if isinstance(tuned.get(name, fixed.get(name)), int | float)
    ]
    columns = ["metric", "cut of 0.5", *(["fitted decision", "95% interval"] if tuned else [])]
    first = [name for name in HEADLINE if name in names]
    return [
        Table(columns, [line(name) for name in first], f"On {split}: a cut of 0.5 beside the fitted decision"),
        Table(columns, [line(name) for name in names], f"All {len(names)} metrics and counts", folded=True),
    ]


def per_label(evidence: RunEvidence) -> list[Block]:
    """The table of labels, the most frequent first; of very many the most frequent and the worst tested ones."""
    lines = label_table(evidence.outcome, evidence.labels, evidence.cuts.tolist(), evidence.label_counts)
    ids = evidence.by_frequency
    if len(ids) > MOST_LABELS:
        half = MOST_LABELS // 2
        tested = np.where(evidence.counts.positive > 0, evidence.f1, np.inf)
        ids = np.unique(np.concatenate([ids[:half], np.argsort(tested, kind="stable")[:half]]))
    part_of = {int(label): part for part, members in evidence.parts.items() for label in members}
    columns = {
        "training": "training texts", "support": f"{evidence.split} texts", "predicted": "predicted",
        "threshold": "cut", "precision": "precision", "recall": "recall", "f1": "F1", "auc": "AUC", "ap": "AP",
    }  # fmt: skip
    there = [key for key in columns if key in lines[0] and any(line[key] is not None for line in lines)]
    if not evidence.has_cuts:
        there.remove("threshold")
    rows = [[lines[i]["label"], part_of[i], *(lines[i][key] for key in there)] for i in ids.tolist()]
    left_out = f", {len(ids):,} of {len(lines):,} shown" if len(ids) < len(lines) else ""
    caption = f"{len(lines):,} labels, the most frequent first{left_out}; click a heading to sort"
    table = Table(["label", "part", *(columns[key] for key in there)], rows, caption, sortable=True)
    return [table, *warn_of_few(evidence)]


def warn_of_few(evidence: RunEvidence) -> list[Block]:
    """How many labels hold on too few of the rows to be judged."""
    said = tell_few(evidence.counts.positive)
    return [Prose([said])] if said else []


def bounded(evidence: RunEvidence) -> list[Block]:
    """What to know of curves of scores kept in part."""
    said = "Dotted: below these cuts not all scores were kept, and precision is an upper bound."
    return [] if evidence.complete else [Prose([said])]


def calibration(evidence: RunEvidence, pictures: Sequence[Block]) -> list[Block]:
    """The reliability diagram and its numbers; what scores kept in part leave unknown is said."""
    found = reliability.measure(evidence)
    keys = [key for key in ("pooled_ece", "classwise_ece", "brier", "mean_probability", "share") if key in found["all"]]
    names = {
        "pooled_ece": "ECE, pooled", "classwise_ece": "ECE, mean of labels", "brier": "Brier score",
        "mean_probability": "mean probability", "share": "share that holds",
    }  # fmt: skip
    rows = [[part, line["labels"], *(line[key] for key in keys)] for part, line in found.items()]
    notes = (
        []
        if evidence.complete
        else [Prose(["Measured on the most probable labels of each text, whose scores were kept."])]
    )
    return [
        *notes,
        *pictures,
        Table(["part", "labels", *(names[key] for key in keys)], rows, "Expected calibration error"),
        *warn_of_few(evidence),
    ]


def errors(evidence: RunEvidence) -> list[Block]:
    """The texts that were decided most surely wrong."""
    worst = worst_texts(evidence)
    if not worst:
        return []
    said = (
        "Texts with the largest surprise: the negative logarithm of the probability that the truth was given, summed "
        "over the wrong labels. "
        "Missed labels are dashed. Some of these errors may be errors of the data."
    )
    return [Prose([said]), Texts(worst)]


def collapse(evidence: RunEvidence, pictures: Sequence[Block]) -> list[Block]:
    """What the alarm of the training said, and how alike documents are by layer."""
    alarms = [entry["collapse"] for entry in evidence.history if "collapse" in entry]
    said = Prose([f"The alarm of the training: {alarm}." for alarm in alarms], warning=True)
    return [*([said] if alarms else []), *pictures]


def table_of(title: str, lines: Sequence[tuple[str, Any]]) -> list[Block]:
    """Names and values as a table, folded."""
    return (
        [
            Table(
                ["", "value"],
                [[name, value if isinstance(value, str) else number(value)] for name, value in lines],
                f"{title} in numbers",
                folded=True,
            )
        ]
        if lines
        else []
    )
