"""The collapse diagnosis: in failed runs all documents fall on one point, from some layer on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hf_multilabel.reports.curves import read_series
from hf_multilabel.reports.drawing import COLORS, GREY, new_figure, whole_ticks
from hf_multilabel.reports.evidence import RunEvidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Documents this alike are one point for a linear head.
ALIKE = 0.99


def draw_collapse(evidence: RunEvidence) -> Figure | None:
    """How alike documents are layer by layer, and how that changed in training; None if neither was measured."""
    cosines = list(evidence.layer_cosines)
    cosine, spread = (read_series(evidence.history, key) for key in ("pooled_cosine", "prediction_spread"))
    panels = [name for name, there in (("layers", cosines), ("training", cosine[0])) if there]
    if not panels:
        return None
    figure = new_figure(4.4 * len(panels), 3.2)
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        axes.axhline(ALIKE, color=GREY, linestyle="--", linewidth=0.8, label=f"{ALIKE}: one point")
        if panel == "layers":
            axes.plot(range(len(cosines)), cosines, color=COLORS[0], marker="o")
            places = range(0, len(cosines), max(1, len(cosines) // 12))
            axes.set_xticks(places, ["embeddings" if place == 0 else str(place) for place in places])
            axes.set(xlabel="after layer", ylabel="mean cosine of two documents")
            axes.set_title("Documents by layer (mean over tokens)")
        else:
            axes.plot(*cosine, color=COLORS[0], marker="o", label="mean cosine of pooled states")
            axes.plot(*spread, color=COLORS[1], marker="s", label="spread of predictions (1: all 0 or 1)")
            whole_ticks(axes.xaxis)
            axes.set(xlabel="optimizer step", ylabel="value, 0 to 1")
            axes.set_title("During training")
        axes.set_ylim(min(0, *cosines, *cosine[1], -0.02), 1.03)
        axes.legend(loc="best")
    return figure
