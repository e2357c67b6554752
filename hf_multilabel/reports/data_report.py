"""A profile as one HTML page that needs no network: figures inside it, labels and texts escaped."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from hf_multilabel.data.profile import DataProfile
from hf_multilabel.reports.data_figures import DATA_FIGURES

TEMPLATE = "data_report.html.j2"
# Rows of the label table; the rest is in the JSON.
LABELS_SHOWN = 60
# What the figures show, for readers who do not see them.
ALTERNATIVES = {
    "label_distribution": "Training rows of each label",
    "imbalance": "Imbalance ratio of each label",
    "cooccurrence": "Share of the rows of one label that have another",
    "lengths": "Histogram of text lengths with the cut marked",
}


def render_data_report(profile: DataProfile) -> str:
    """The whole page.

    Raises:
        InputError: If matplotlib is not installed.
    """
    figures = [(name, ALTERNATIVES[name], _inline(draw(profile))) for name, draw in DATA_FIGURES.items()]
    return environment().get_template(TEMPLATE).render(profile=profile, figures=figures, labels=_label_rows(profile))


def draw_data_figures(profile: DataProfile) -> dict[str, bytes]:
    """File name to PNG of every figure."""
    return {f"{name}.png": _png(draw(profile)) for name, draw in DATA_FIGURES.items()}


def _label_rows(profile: DataProfile) -> list[dict[str, Any]]:
    """The most frequent labels, and of many the rarest: name, rows by split, IRLbl."""
    first = next(iter(profile.counts))
    order = sorted(range(len(profile.labels)), key=lambda label: -profile.counts[first][label])
    half = LABELS_SHOWN // 2
    chosen = order if len(order) <= LABELS_SHOWN else [*order[:half], *order[-half:]]
    return [
        {
            "name": profile.labels[label],
            "counts": [counts[label] for counts in profile.counts.values()],
            "ratio": profile.ratios[label],
        }
        for label in chosen
    ]


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _inline(figure: Any) -> str:
    return f"data:image/png;base64,{base64.b64encode(_png(figure)).decode()}"


@functools.cache
def environment() -> SandboxedEnvironment:
    """Templates see values, not Python; every printed value is escaped."""
    templates = SandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = lambda value: f"{value:,}"
    templates.filters["percent"] = lambda value, digits=1: f"{value:.{digits}%}"
    templates.filters["decimals"] = lambda value, digits=2: f"{value:,.{digits}f}"
    return templates
