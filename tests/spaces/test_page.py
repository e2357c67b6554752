"""The page in a real browser: what is shown is what the model decides, and hostile input is refused or harmless."""

from __future__ import annotations

import csv
import http.client
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.spaces.conftest import LABELS, Served, Tiny, read_settings

pytestmark = pytest.mark.browser

WAIT_MS = 60_000  # a busy machine starts a page slowly
CONTRAST = """ids => {
  const parse = colour => colour.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const worst = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility({checkOpacity: true})) continue;
    if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(node.tagName) || node.closest("footer, .hide, [disabled]")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) worst.push(`${ratio.toFixed(2)} ${node.className} ${walker.currentNode.textContent.trim()}`);
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def page(browser, served: Served) -> Iterator[object]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light", accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    opened.foreign, opened.errors = [], []
    opened.on("request", lambda asked: opened.foreign.append(asked.url) if served.url not in asked.url else None)
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.on("dialog", lambda dialog: opened.errors.append(dialog.message))
    opened.goto(served.url)
    opened.get_by_label("Text", exact=False).first.wait_for()
    yield opened
    context.close()


def show(page, text: str) -> None:
    """Type a text, ask for its labels and wait until they are those of this text."""
    # what an earlier text was answered must not be taken for the answer to this one
    page.evaluate("document.querySelector('#answer .refusal')?.classList.add('old')")
    page.get_by_role("textbox", name="Text At most").fill(text)
    page.get_by_role("button", name="Show labels").click()
    page.wait_for_function(
        "text => document.querySelector('#answer .quoted')?.textContent === text || "
        "document.querySelector('#answer .refusal:not(.old)')",
        arg=text[:80] + ("…" if len(text) > 80 else ""),
    )


def chips(page) -> list[str]:
    return page.locator("#answer .chips li bdi").all_text_contents()


def rounded(value: float) -> str:
    return "<0.1%" if value < 0.001 else ">99.9%" if value > 0.999 else f"{value:.1%}"


def moved_labels(tiny: Tiny, text: str, shift: float) -> list[str]:
    """What the model decides with all cuts lower by `shift` in log-odds."""
    stored = tiny.model.config.decision
    cuts = (torch.tensor(stored["thresholds"], dtype=torch.float64).logit() - shift).sigmoid().tolist()
    return tiny.labels(text, stored | {"thresholds": cuts})


def slide(page, value: float) -> None:
    box = page.get_by_role("spinbutton", name="number input for Operating point: precision ↔ recall")
    box.fill(str(value))
    box.press("Enter")
    said = "The stored decision" if value == 0 else "More recall" if value > 0 else "More precision"
    page.locator("#point", has_text=said).wait_for()


def clear(page) -> None:
    """Take back the file that was chosen, if any."""
    if not page.locator("#file input[type=file]").count():
        page.locator("#file").get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE)).first.click()
        page.locator("#outcome", has_text="appear here").wait_for()


def upload(page, content: bytes, name: str = "texts.csv") -> str:
    """Choose a file; what the page says of it."""
    clear(page)
    page.locator("#file input[type=file]").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})
    page.locator("#outcome :is(.preview, .refusal)").first.wait_for()
    return page.locator("#outcome").inner_text()


def test_the_space_is_pinned_to_the_commit_and_loads_nothing_from_elsewhere(
    page, served: Served, commit: str, tiny: Tiny
) -> None:
    assert (read_settings(served.folder)["model"], read_settings(served.folder)["revision"]) == ("user/tiny", commit)
    # main holds code that raises: the page is there, so the pinned commit was loaded
    show(page, tiny.texts[0])
    assert page.foreign == []
    assert "Licence: cc-by-4.0." in page.content()
    assert page.errors == []


def test_the_labels_shown_are_those_the_model_decides(page, tiny: Tiny) -> None:
    found = {}
    for text in tiny.texts[:4]:
        show(page, text)
        found[text] = sorted(chips(page))
        bars = page.locator("#answer .bar.decided bdi").all_text_contents()
        assert sorted(bars) == found[text]
        assert page.locator("#answer .bar").count() == len(LABELS)
    assert found == {text: sorted(tiny.labels(text)) for text in tiny.texts[:4]}
    assert len({tuple(labels) for labels in found.values()}) > 1


def test_every_bar_says_in_words_what_it_shows(page, tiny: Tiny) -> None:
    text = tiny.texts[1]
    show(page, text)
    probs = tiny.model.probabilities(tiny.logits(text))[0].tolist()
    cuts, decided = tiny.model.config.decision["thresholds"], tiny.labels(text)
    for row in page.locator("#answer .bar").all():
        label = LABELS.index(row.locator("bdi").inner_text())
        said = row.get_by_role("img").get_attribute("aria-label")
        verdict = "decided" if LABELS[label] in decided else "not decided"
        assert said == f"probability {rounded(probs[label])}, cut {rounded(cuts[label])}, {verdict}"
        width = row.locator(".fill").evaluate("bar => parseFloat(bar.style.width)")
        assert width == pytest.approx(100 * probs[label], abs=0.006)


@pytest.mark.parametrize("shift", [1.3, -1.3, 4, -4])
def test_the_slider_moves_all_cuts_on_the_scale_of_log_odds(page, tiny: Tiny, shift: float) -> None:
    text = tiny.texts[2]
    show(page, text)
    expected = moved_labels(tiny, text, shift)
    slide(page, shift)
    page.wait_for_function("n => document.querySelectorAll('#answer .chips li').length === n", arg=len(expected))
    assert sorted(chips(page)) == sorted(expected)
    assert page.locator("#answer .cut.stored").count() == len(LABELS)
    assert expected != tiny.labels(text)
    slide(page, 0)
    page.wait_for_function("() => !document.querySelector('#answer .cut.stored')")
    assert sorted(chips(page)) == sorted(tiny.labels(text))


def test_a_file_comes_back_with_the_labels_the_model_decides(page, tiny: Tiny, tmp_path: Path) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["id", "text", "=note"])
    rows = [
        [str(number), text, note] for number, (text, note) in enumerate(zip(tiny.texts, "=+-@abcdefgh", strict=True))
    ]
    rows += [["x", "  ", "blank"], ["y", 'the "senate",\nin two lines', "quoted"], ["z", "=1+1 goal", ""]]
    writer.writerows(rows)
    assert "15 rows, 3 columns" in upload(page, stream.getvalue().encode())
    page.wait_for_function("document.querySelector('#column input').value === 'text'")
    page.get_by_role("button", name="Label all rows").click()
    page.locator("#outcome", has_text="15 rows labelled").wait_for()
    with page.expect_download() as started:
        page.locator("#download").click()
    started.value.save_as(tmp_path / "labelled.csv")
    with (tmp_path / "labelled.csv").open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.reader(file))
    assert found[0] == ["id", "text", "'=note", "decided_labels", "decided_probabilities"]
    assert len(found) == 1 + len(rows)
    for given, row in zip(rows, found[1:], strict=True):
        assert row[:3] == [f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell for cell in given]
        labels = row[3].removeprefix("'").split("|") if row[3] else []
        assert sorted(labels) == sorted(tiny.labels(given[1]) if given[1].strip() else [])
        if labels:
            probs = dict(zip(LABELS, tiny.model.probabilities(tiny.logits(given[1]))[0].tolist(), strict=True))
            assert [float(score) for score in row[4].split("|")] == pytest.approx(
                [probs[label] for label in labels], abs=1e-4
            )
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in found for cell in row)


def test_the_slider_holds_for_files_too(page, tiny: Tiny, tmp_path: Path) -> None:
    upload(page, f"text\n{tiny.texts[2]}\n".encode())
    slide(page, 4)
    page.get_by_role("button", name="Label all rows").click()
    page.locator("#outcome", has_text="another operating point").wait_for()
    expected = moved_labels(tiny, tiny.texts[2], 4)
    assert expected != tiny.labels(tiny.texts[2])
    assert sorted(page.locator("#outcome tbody td").nth(1).inner_text().split("|")) == sorted(expected)
    slide(page, 0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\xff" * 50, "no UTF-8 text"),
        (b"text\nzero\0byte\n", "zero bytes"),
        (b"", "empty"),
        (b"text\n", "no row below"),
        (b'text\n"never closed\nand on\n', "no CSV at line"),
        (b"text,other\na,b\nc\n", "Row 2 has 1 cells"),
        (b"text,text\na,b\n", "2 columns are called “text”"),
        (b"text\n" + b"a\n" * 1001, "more than 1,000 rows"),
        (b"text\n" + b"a" * 20_001 + b"\n", "20,001 characters; at most 20,000"),
        (b"," * 1_900_000, "1,900,001 columns; at most 100"),
        (b'<script>document.title="owned"</script>,<b>\n1\n', "Row 1 has 1 cells"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_a_file_that_is_none_is_refused_with_a_sentence(page, content: bytes, said: str) -> None:
    assert said in upload(page, content)
    assert page.locator("#outcome [role=alert]").count() == 1
    assert not page.locator("#download").is_visible()


def test_a_file_above_the_limit_is_refused_by_the_page(page, served: Served) -> None:
    most = read_settings(served.folder)["limits"]["bytes"]
    clear(page)
    page.locator("#file input[type=file]").set_input_files(
        {"name": "large.csv", "mimeType": "text/csv", "buffer": b"text\n" + b"a" * most}
    )
    page.get_by_text("maximum", exact=False).first.wait_for()
    assert not page.locator("#download").is_visible()


def test_a_column_that_is_not_there_is_refused(page) -> None:
    upload(page, b"body,<b>x</b>\nparliament passes,1\n")
    page.wait_for_function("document.querySelector('#column input').value === 'body'")
    column = page.get_by_label("Column of the text")
    column.fill("<img src=x onerror=document.title='owned'>")
    column.press("Enter")
    page.get_by_role("button", name="Label all rows").click()
    page.locator("#outcome [role=alert]").wait_for()
    assert "There is no column “<img src=x onerror" in page.locator("#outcome").inner_text()


def test_nothing_in_texts_labels_or_titles_runs(page, tiny: Tiny) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"> ${document.title='owned'} {{7*7}} the vote"
    show(page, hostile)
    slide(page, 4)
    page.wait_for_function("n => document.querySelectorAll('#answer .chips li').length === n", arg=len(LABELS))
    assert sorted(chips(page)) == sorted(LABELS)
    slide(page, 0)
    upload(page, f"text,{LABELS[2]}\n{LABELS[2]},<script>document.title='owned'</script>\n".encode())
    assert page.locator("#answer img, #answer script, #outcome img, #outcome script, h1 i").count() == 0
    assert page.get_by_role("heading", level=1).inner_text() == "<i>tiny</i> {{1}}"
    assert page.title() == "<i>tiny</i> {{1}}"
    assert page.errors == []


@pytest.mark.parametrize(
    ("text", "said"), [("a" * 20_001, "The text has 20,001 characters"), ("  ", "There is no text")]
)
def test_a_text_that_is_none_or_too_long_is_refused_with_a_sentence(page, text: str, said: str) -> None:
    show(page, text)
    page.locator("#answer [role=alert]", has_text=said).wait_for()
    assert page.locator("#answer .bar").count() == 0


def test_fifty_megabytes_are_refused_within_a_second(served: Served, page, tiny: Tiny) -> None:
    body = json.dumps({"data": ["a" * 50_000_000, 0], "fn_index": 0, "session_hash": "x"}).encode()
    for declared in (True, False):
        connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=30)
        started = time.monotonic()
        parts = body if declared else iter([body[start : start + 65_536] for start in range(0, len(body), 65_536)])
        try:
            connection.request(
                "POST",
                "/gradio_api/queue/join",
                parts,
                {"Content-Type": "application/json"},
                encode_chunked=not declared,
            )
            answer = connection.getresponse()
            assert answer.status == 413
            assert "too long" in json.loads(answer.read())["detail"]
        except ConnectionError:
            assert not declared  # it may stop to listen to a sender that does not say how much is to come
        assert time.monotonic() - started < 1
    show(page, tiny.texts[0])
    assert sorted(chips(page)) == sorted(tiny.labels(tiny.texts[0]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_in_light_and_dark_and_on_a_narrow_screen(
    browser, served: Served, tiny: Tiny, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    opened = context.new_page()
    opened.set_default_timeout(WAIT_MS)
    opened.goto(served.url)
    opened.get_by_role("button", name="Show labels").wait_for()
    show(opened, "x" * 300 + " " + tiny.texts[0])
    assert opened.evaluate("document.documentElement.scrollWidth") == 400
    assert opened.evaluate(CONTRAST) == []
    assert opened.evaluate("document.documentElement.lang") == "en"
    context.close()
