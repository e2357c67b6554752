"""Names and texts are data: whatever they hold, the page has one script, its own, and fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.figures import draw
from hf_multilabel.reports.page import (
    Heading,
    Marked,
    Page,
    Prose,
    Section,
    Table,
    Texts,
    Tiles,
    Verbatim,
    number,
    render_page,
)
from hf_multilabel.reports.sections import RunFacts, calibration, per_label, results, run_sections
from hf_multilabel.reports.worst import ShownLabel, ShownText

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "</style></title></pre><script>fetch('http://example.org')</script>",
    "javascript:alert(1)",
]


class Reader(HTMLParser):
    """Tags with their attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


def every_block(value: str) -> Page:
    """A page that holds a value in every place a block has for one."""
    shown = ShownText(value, value * 20, (ShownLabel(value, 0.5, value, "right"),), value)
    blocks = [
        Prose([value]),
        Prose([value], warning=True),
        Heading(value),
        Tiles([(value, value, value)]),
        Table([value], [[value], [0.5], [None]], value, sortable=True),
        Table([value], [[value]], value, folded=True),
        Texts([shown, shown]),
        Marked(value, [(value, 0.5), (value, -0.5), (value, 0.0)], value),
        Verbatim(value, value),
    ]
    return Page(value, [Section("all", value, blocks), Section("none", "left out", [])], {value: value})


@pytest.mark.parametrize("attack", ATTACKS)
def test_values_stay_text(attack: str) -> None:
    html = render_page(every_block(attack))
    tags = read(html).tags
    assert [tag for tag, _ in tags if tag == "script"] == ["script"]
    assert not [name for _, attrs in tags for name in attrs if name.startswith("on")]
    assert not [attrs for tag, attrs in tags if tag in ("img", "iframe", "object", "form")]
    assert {attrs.get("href") for _, attrs in tags} - {None} == {"data:,", "#all"}
    assert "49" not in re.sub(r"sha256-[^']*", "", html.split("</head>")[1])
    assert "left out" not in html


def test_the_policy_lets_only_this_script_run() -> None:
    html = render_page(every_block("x"))
    policy = next(a["content"] for t, a in read(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search("<script>(.*)</script>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_nothing_is_fetched_from_anywhere(small: RunEvidence) -> None:
    html = render_page(Page("run", run_sections(small, RunFacts(), draw(small, ["curves"]))))
    tags = read(html).tags
    places = [attrs[name] for _, attrs in tags for name in ("src", "href", "srcset", "action") if name in attrs]
    assert places
    assert all(place.startswith(("data:", "#")) for place in places)
    assert "url(" not in html.split("</style>")[0]


def test_the_headline_is_refused_on_the_decisions_own_rows(small: RunEvidence) -> None:
    fixed, tuned = {"micro_f1": 0.41}, {"micro_f1": 0.97, "intervals": {"micro_f1": [0.95, 0.99]}}
    honest = render_page(
        Page("r", run_sections(replace(small, metrics={"fixed": fixed, "tuned": tuned}), RunFacts(), {}))
    )
    refused = render_page(Page("r", run_sections(replace(small, metrics={"fixed": fixed}), RunFacts(), {})))
    assert "0.970" in honest
    assert "95%: 0.950 to 0.990" in honest
    assert "fitted on these very rows" not in honest
    assert "fitted on these very rows" in refused
    assert 'class="tiles"' not in refused


def test_what_counts_zero_whatever_a_model_does_is_said(small: RunEvidence) -> None:
    """Of comments that are mostly clean samples F1 was 0.06, and nothing said that a perfect model has 0.09."""
    scores = {"micro_f1": 0.8, "macro_f1": 0.5, "macro_f1_present": 0.6, "samples_f1": 0.06, "subset_accuracy": 0.94}
    tuned = scores | {"rows_without_labels": 50, "labels_without_positives": 1}
    tiles, said, *_ = results(replace(small, metrics={"fixed": tuned, "tuned": tuned}), "")
    assert [name for name, _, _ in tiles.tiles] == ["micro F1", "macro F1", "subset accuracy", "texts"]
    assert said.lines[0].startswith("50 of the 60 texts have no label.")
    assert said.lines[1] == "1 label of 6 without a text in test: 0 in macro F1. Over the others it is 0.6000."
    tuned = scores | {"rows_without_labels": 0, "labels_without_positives": 0}
    tiles, *rest = results(replace(small, metrics={"fixed": tuned, "tuned": tuned}), "")
    assert "samples F1" in [name for name, _, _ in tiles.tiles]
    assert not [block for block in rest if isinstance(block, Prose)]


def test_scores_that_are_too_good_are_said_to_be(small: RunEvidence) -> None:
    tuned = {"micro_f1": 0.8, "rows": 60, "rows_unsettled": 7}
    _, warned, *_ = results(replace(small, metrics={"fixed": tuned, "tuned": tuned}), "")
    assert warned.warning
    assert warned.lines[0].startswith("7 of 60 texts may get labels whose scores were not kept.")


def test_labels_too_rare_to_be_judged_are_counted_beside_their_numbers(small: RunEvidence) -> None:
    few = int((small.counts.positive < 10).sum())
    assert few
    for blocks in (per_label(small), calibration(small, [])):
        (said,) = blocks[-1].lines
        assert re.match(rf"{few} labels? ha(s|ve) a support below 10 rows: ", said)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.83114, "0.8311"), (4271, "4,271"), (0.0, "0.0000"), (3e-7, "3e-07"), (None, "-"), ("a", "a")],
)
def test_numbers(value: object, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.browser
def test_the_page_works_in_a_browser(tmp_path: Path, small: RunEvidence, browser: Any) -> None:
    metrics = {"fixed": {"micro_f1": 0.4}, "tuned": {"micro_f1": 0.5}}
    sections = run_sections(replace(small, metrics=metrics), RunFacts(decision=ATTACKS), draw(small))
    file = tmp_path / "report.html"
    file.write_text(render_page(Page(ATTACKS[0], [*sections, *every_block(ATTACKS[1]).sections])), encoding="utf-8")
    page = browser.new_page(viewport={"width": 400, "height": 800})
    said, asked, dialogs = [], [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(file.as_uri())
    first = "#labels table.sortable tbody tr:first-child td:first-child"
    page.get_by_role("button", name="F1", exact=True).click()
    best = page.inner_text(first)
    page.get_by_role("button", name="F1", exact=True).click()
    worst = page.inner_text(first)
    width = page.evaluate("document.documentElement.scrollWidth")
    broken = page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length")
    page.close()
    order = small.f1.argsort()
    assert best.strip() == small.labels[order[-1]].replace("\u202e", " ")
    assert worst.strip() == small.labels[order[0]].replace("\u202e", " ")
    assert said == []
    assert dialogs == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert width <= 400
    assert broken == 0
