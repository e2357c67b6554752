"""Figures and the page of a profile: drawn for few and for thousands of labels, nothing written over anything else."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.data.imbalance import imbalance_ratios, measure_imbalance
from hf_multilabel.data.profile.cooccurrence import measure_cooccurrence
from hf_multilabel.data.profile.facts import DataProfile, LengthFacts, NearDuplicates, NearPair
from hf_multilabel.data.profile.label_sets import describe_splits
from hf_multilabel.data.profile.shift import compare_splits
from hf_multilabel.reports.data_figures import DATA_FIGURES
from hf_multilabel.reports.data_report import render_data_report

FigureCanvasAgg = pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg


def make_profile(labels: int, max_length: int = 128) -> DataProfile:
    rows, name = 3000, "a label with quite a long name"
    rng = np.random.default_rng(0)
    rates = 0.4 / np.arange(1, labels + 1)
    matrix = csr_matrix(rng.random((rows, labels)) < rates)
    names = tuple(f"{name} {number}" for number in range(labels))
    matrices = {"train": matrix, "test": csr_matrix(rng.random((rows // 5, labels)) < rates)}
    lengths = LengthFacts(
        "tokens", "bert", max_length, {"train": rows}, {"train": dict.fromkeys((5, 25, 50, 75, 95, 99, 100), 100)},
        {"train": 0.25}, {64: 0.5}, tuple(0.5 + 8 * n for n in range(25)), tuple(range(24)),
    )  # fmt: skip
    pair = NearPair("train 1", "test 2", 0.9, "<script>alert(1)</script>", "text")
    return DataProfile(
        source="folder/<b>data</b>",
        guessed=(),
        splits=describe_splits(matrices, names, {}),
        labels=names,
        counts={split: tuple(found.getnnz(axis=0).tolist()) for split, found in matrices.items()},
        imbalance=measure_imbalance(matrix),
        ratios=tuple(None if np.isnan(ratio) else float(ratio) for ratio in imbalance_ratios(matrix)),
        cooccurrence=measure_cooccurrence(matrix, names),
        lengths=lengths,
        duplicates={"within_splits": {"train": 1}, "between_splits": {"train/test": 2}},
        near_duplicates=NearDuplicates(0.8, 3, rows, rows, {"train": 1}, {"train/test": 2}, (pair,)),
        shift=compare_splits(matrices, names),
        unseen={"count": 0, "examples": [], "never": 0},
    )


@pytest.fixture(scope="module", params=[(2, 5000), (6, 128), (40, 32), (4271, 190)], ids=lambda sizes: str(sizes[0]))
def profile(request: pytest.FixtureRequest) -> DataProfile:
    return make_profile(*request.param)


def drawn_ticks(axes: Any) -> Iterator[Any]:
    """Ticks within the limits; matplotlib keeps others that it does not draw."""
    for axis, (low, high) in ((axes.xaxis, sorted(axes.get_xlim())), (axes.yaxis, sorted(axes.get_ylim()))):
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if low <= tick.get_loc() <= high:
                yield tick


@pytest.mark.parametrize("name", DATA_FIGURES)
def test_no_text_lies_on_another_or_outside(profile: DataProfile, name: str) -> None:
    figure = DATA_FIGURES[name](profile)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = []
    for axes in figure.axes:
        texts = [*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        texts += [tick.label1 for tick in drawn_ticks(axes)]
        boxes += [
            (text.get_text(), text.get_window_extent(renderer))
            for text in texts
            if text.get_visible() and text.get_text()
        ]
    page = figure.bbox
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= page.x1 + 1, text
        assert box.y1 <= page.y1 + 1, text
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or high <= 1, f"{first!r} lies on {second!r}"


class Page(HTMLParser):
    """What a page would fetch, and the tags that were never closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_runs_nothing() -> None:
    html = render_data_report(make_profile(6))
    page = Page(html)
    assert page.open == []
    places = [address for address in page.fetched if not address.startswith("#")]
    assert places[0] == "data:,"  # no icon is asked for
    assert len(places) == 1 + len(DATA_FIGURES)
    assert all(address.startswith("data:image/png;base64,") for address in places[1:])
    assert "<script" not in html
    assert "<b>data" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert re.search(r"default-src 'none'", html)
    assert "script-src" not in html


def test_the_page_of_many_labels_stays_small() -> None:
    assert len(render_data_report(make_profile(4271))) < 1_500_000
