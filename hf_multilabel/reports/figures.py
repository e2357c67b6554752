"""The figures of a run by their names: a new one is one line in `FIGURES` and one in `CAPTIONS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hf_multilabel.progress import track
from hf_multilabel.reports.collapse import draw_collapse
from hf_multilabel.reports.confusion import draw_label_sets, draw_missed_for
from hf_multilabel.reports.curves import draw_curves
from hf_multilabel.reports.distribution import draw_label_distribution
from hf_multilabel.reports.drawing import render, styled
from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.frequency_f1 import draw_frequency_f1
from hf_multilabel.reports.histograms import draw_score_histograms
from hf_multilabel.reports.precision_recall import FEW_POSITIVES, draw_precision_recall
from hf_multilabel.reports.reliability import FEW_PAIRS, draw_reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Each draws the evidence of a run, or returns None where it has nothing to show: without a log there are no curves.
FIGURES: dict[str, Callable[[RunEvidence], Figure | None]] = {
    "label_distribution": styled(draw_label_distribution),
    "curves": styled(draw_curves),
    "frequency_f1": styled(draw_frequency_f1),
    "precision_recall": styled(draw_precision_recall),
    "reliability": styled(draw_reliability),
    "score_histograms": styled(draw_score_histograms),
    "label_sets": styled(draw_label_sets),
    "missed_for": styled(draw_missed_for),
    "collapse": styled(draw_collapse),
}
# What the model card shows, in its order.
CARD_FIGURES = ("label_distribution", "frequency_f1", "precision_recall", "reliability", "curves")
# One sentence each: what is seen, for readers and for those who can't see it.
CAPTIONS = {
    "label_distribution": "How often each label holds, in training and in the rows reported on.",
    "curves": "The training, over its optimizer steps.",
    "frequency_f1": "F1 of each label against how often it holds; lines are the means of head, torso and tail.",
    "precision_recall": "Precision against recall: the dot is the fitted decision, the square a cut of 0.5; either is "
    "missing where it predicts the label for no text. The area below the steps is the average precision (AP); labels "
    f"with fewer than {FEW_POSITIVES} positives have a small dot for each cut that finds one more.",
    "reliability": "Share of (text, label) pairs that hold against the probability they were given; ECE is the mean "
    f"distance to the diagonal. The larger a dot, the more pairs; lines join bins of {FEW_PAIRS} pairs or more. Below: "
    "pairs in each bin.",
    "score_histograms": "Probabilities where a label holds and where it does not, with the cut.",
    "label_sets": "Texts by their true and predicted label set; the most frequent true sets, all others folded. "
    "The diagonal is right, but for its last cell: there one of the other sets may be taken for another.",
    "missed_for": "Rows: labels that were missed. Columns: what was predicted there though not true. Each miss is "
    "shared evenly among the wrong labels of its text.",
    "collapse": "Mean cosine between documents: at 1 they are all one point and no head can tell them apart.",
}


def draw(evidence: RunEvidence, names: Iterable[str] = tuple(FIGURES)) -> dict[str, bytes]:
    """Some figures as PNG, below 60 kB each; those with nothing to show are left out.

    Args:
        evidence: Of a run.
        names: Keys of `FIGURES`.

    Raises:
        InputError: If matplotlib is not installed.

    Cost: About a third of a second a figure.
    """
    drawn = ((name, FIGURES[name](evidence)) for name in track(list(names), "drawing", "figures"))
    return {name: render(figure) for name, figure in drawn if figure is not None}
