from __future__ import annotations

import time

import pytest

from hf_multilabel.data.markup import strip_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("plain  text\n", "plain text"),
        ("a < b & c > d", "a < b & c > d"),
        ("&lt;b&gt; &amp;amp; &eacute;&#233;&#xe9;", "<b> &amp; \u00e9\u00e9\u00e9"),
        ("<p>one</p><p>two</p>", "one two"),
        ("one<br>two<br/>three", "one two three"),
        ("<li>a</li><li>b</li>", "a b"),
        ("pe<b>pp</b>er", "pepper"),
        ("<a href='x>y'>link</a>s", "links"),
        ("<script>if (a < b) x()</script>after", "after"),
        ("<STYLE>p {color: red}</STYLE>after", "after"),
        ("<!-- hidden -->shown", "shown"),
        ("<script>never closed", ""),
        ("</script>stray", "stray"),
        ("<p>never closed <b", "never closed <b"),
        ("<td>1</td><td>2</td>", "1 2"),
        ("", ""),
    ],
)
def test_text_a_reader_sees(html: str, text: str) -> None:
    assert strip_html(html) == text


@pytest.mark.parametrize("piece", ["<a ", "<!--", '<a b="', "<", "&#", "<![CDATA[", "</"])
def test_hostile_markup_takes_bounded_time(piece: str) -> None:
    start = time.perf_counter()
    strip_html(piece * 20_000)
    assert time.perf_counter() - start < 3
