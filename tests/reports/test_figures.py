"""Every figure of the registry: small files, labelled axes, any names, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import sparse

from hf_multilabel.evaluation.calibration import reliability_report
from hf_multilabel.evaluation.curves import label_ap
from hf_multilabel.reports import drawing
from hf_multilabel.reports.curves import read_rates
from hf_multilabel.reports.distribution import draw_label_distribution
from hf_multilabel.reports.drawing import MOST_BYTES, name_points, new_figure, render, shorten
from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.figures import CAPTIONS, CARD_FIGURES, FIGURES, draw
from hf_multilabel.reports.histograms import chosen_labels, count_scores
from hf_multilabel.reports.precision_recall import curve_of, decided_point, steps
from hf_multilabel.reports.reliability import measure, pool


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("size", ["small", "large"])
def test_axes_say_what_they_show(name: str, size: str, request: pytest.FixtureRequest) -> None:
    figure = FIGURES[name](request.getfixturevalue(size))
    if size == "large" and name == "label_sets":
        assert figure is None  # no label set occurs twice
        return
    shown = [axes for axes in figure.axes if axes.get_visible()]
    for axes in shown:
        for side in ("x", "y"):
            group = getattr(axes, f"get_shared_{side}_axes")().get_siblings(axes)
            named = any(getattr(other, f"get_{side}label")() for other in group)
            scale = axes.get_label() == "<colorbar>" and side == "x"
            assert named or scale or getattr(figure, f"get_sup{side}label")(), f"{axes.get_title()!r} {side}"
    assert all(axes.has_data() for axes in shown)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", FIGURES)
def test_no_title_is_cut_off(name: str, small: RunEvidence) -> None:
    """Names of 26 letters beside the axes once pushed the title of `missed_for` over the edge."""
    figure = FIGURES[name](small)
    FigureCanvasAgg(figure).draw()
    titles = [figure._suptitle, *(axes._left_title for axes in figure.axes)]
    for title in [title for title in titles if title is not None and title.get_text()]:
        box = title.get_window_extent()
        assert box.x0 >= 0, title.get_text()
        assert box.x1 <= figure.bbox.x1, title.get_text()


def test_a_low_table_of_label_sets_keeps_the_name_of_its_scale(small: RunEvidence) -> None:
    """Of one true set the scale is an inch high: its name once lost its end."""
    nothing = sparse.csr_array(small.targets.shape, dtype=bool)
    figure = FIGURES["label_sets"](replace(small, targets=nothing))
    FigureCanvasAgg(figure).draw()
    scale = next(axes for axes in figure.axes if axes.get_label() == "<colorbar>")
    box = scale.yaxis.label.get_window_extent()
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.y1


def test_a_name_far_from_its_dot_has_a_thread() -> None:
    figure = new_figure(4, 4)
    axes = figure.subplots()
    name_points(axes, [(0.5, 0.5, name) for name in ("one", "two", "three", "four", "fifth")])
    threads = {text.get_text(): text.arrow_patch is not None for text in axes.texts}
    assert threads == {"one": False, "two": False, "three": False, "four": False, "fifth": True}


@pytest.mark.parametrize("size", ["small", "large"])
def test_files_are_small(size: str, request: pytest.FixtureRequest) -> None:
    drawn = draw(request.getfixturevalue(size), CARD_FIGURES)
    assert set(drawn) == set(CARD_FIGURES)
    for content in drawn.values():
        assert content.startswith(b"\x89PNG")
        assert len(content) <= MOST_BYTES


def test_a_figure_that_is_too_large_loses_dots(monkeypatch: pytest.MonkeyPatch, small: RunEvidence) -> None:
    figure = draw_label_distribution(small)
    large = render(figure)
    assert len(render(figure, most=len(large) - 1)) < len(large)


def test_registry_and_captions_belong_together() -> None:
    assert set(CAPTIONS) == set(FIGURES)
    assert set(CARD_FIGURES) <= set(FIGURES)


def test_small_numbers_of_an_axis_are_written_in_one_form() -> None:
    figure = drawing.new_figure()
    axes = figure.subplots()
    axes.set(yscale="log", ylim=(2e-5, 2e-3))
    drawing.log_ticks(axes.yaxis)
    assert [axes.yaxis.get_major_formatter()(value) for value in (1e-3, 1e-4)] == ["1e-03", "1e-04"]


def test_nothing_to_show_is_no_figure(small: RunEvidence) -> None:
    empty = replace(small, history=(), layer_cosines=(), predictions=small.targets)
    drawn = draw(empty, ["curves", "collapse", "missed_for"])
    assert drawn == {}


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, small: RunEvidence) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(drawing.InputError, match=r"C120.*needs hf-multilabel\[report\].*pip install") as caught:
        draw(small, ["curves"])
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_is_no_formula() -> None:
    assert shorten("$x^2$\n\u202e") == r"\$x^2\$"


def test_rates_of_all_groups() -> None:
    log = [{"step": 1, "learning_rate": 0.5}, {"step": 2, "learning_rate": 0.25}]
    assert read_rates(log) == {"all": ([1, 2], [0.5, 0.25])}
    log = [{"step": 1, "learning_rate/embeddings": 0.1, "learning_rate/layer 0": 0.2, "learning_rate/head": 0.4}]
    assert list(read_rates(log)) == ["head", "layer 0", "embeddings"]


def test_curves_have_the_area_of_the_metric(small: RunEvidence) -> None:
    found = [curve_of(small, label).area() for label in range(6)]
    assert found == pytest.approx(label_ap(small.outcome))


def test_the_marked_point_lies_on_the_curve(small: RunEvidence) -> None:
    curve = curve_of(small, 0)
    last = np.flatnonzero(curve.cuts >= 0.4)[-1]
    assert decided_point(small, 0)[:2] == pytest.approx((curve.recall[last], curve.precision[last]))


def test_kept_scores_give_the_curve_down_to_their_floor(evidence_of: Callable[..., RunEvidence]) -> None:
    whole, kept = evidence_of(80, 30), evidence_of(80, 30, 16)
    for label in (None, 0, 3):
        one, other = curve_of(whole, label), curve_of(kept, label)
        known = int(other.exact.sum())
        assert 0 < known < len(one.cuts)
        assert other.precision[:known] == pytest.approx(one.precision[:known])
        assert other.recall[:known] == pytest.approx(one.recall[:known])
        assert not other.exact.all()


@pytest.mark.parametrize("label", [None, 0, 5])
def test_the_area_below_the_steps_is_the_average_precision(small: RunEvidence, label: int | None) -> None:
    curve = curve_of(small, label)
    recall, precision = steps(curve, np.flatnonzero(curve.recall > 0))
    assert recall[0] == 0
    assert np.trapezoid(precision, recall) == pytest.approx(curve.area())


def test_reliability_of_a_small_label_set_is_the_reported_one(small: RunEvidence) -> None:
    assert measure(small) == reliability_report(small.scores, small.targets, small.label_counts)


def test_pooling_is_the_same_for_pairs(small: RunEvidence) -> None:
    expected = reliability_report(small.scores, small.targets)["all"]
    found = pool(np.asarray(small.scores, np.float64).ravel(), small.targets.toarray().ravel())
    assert found["pooled_ece"] == pytest.approx(expected["pooled_ece"])
    assert [point["count"] for point in found["bins"]] == [point["count"] for point in expected["bins"]]


def test_kept_pairs_are_all_above_their_floor(evidence_of: Callable[..., RunEvidence]) -> None:
    whole, kept = evidence_of(80, 30), evidence_of(80, 30, 16)
    above = whole.scores > kept.scores.top.floor[:, None]
    row, label, probs = kept.kept
    assert sorted(zip(row, label, strict=True)) == sorted(zip(*above.nonzero(), strict=True))
    assert probs == pytest.approx(whole.scores[row, label])
    assert kept.kept_true.sum() == (above & whole.targets.toarray()).sum()


def test_histograms_count_every_pair_once(small: RunEvidence) -> None:
    positive, negative = count_scores(small)
    assert positive.sum() == small.targets.nnz
    assert (positive + negative).sum() == 60 * 6
    assert sum(count_scores(small, label)[0].sum() for label in range(6)) == positive.sum()


def test_frequent_and_worst_labels_are_chosen(large: RunEvidence) -> None:
    chosen = chosen_labels(large, 10)
    assert chosen[:5].tolist() == large.by_frequency[:5].tolist()
    assert len(set(chosen.tolist())) == 10
    assert (large.counts.positive[chosen[5:]] >= 3).all()
