"""HTML to the text a reader sees, with the standard library's parser."""

from __future__ import annotations

from html.parser import HTMLParser

HIDDEN = frozenset(("script", "style"))
# Tags inside a word or sentence; any other tag separates what stands before and after it.
INLINE = frozenset(
    ("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins")
    + ("kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u")
    + ("var", "wbr")
)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in HIDDEN
        if tag not in INLINE:
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in HIDDEN and self.hidden > 0
        if tag not in INLINE:
            self.parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in INLINE:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def strip_html(text: str) -> str:
    """Remove tags, scripts, styles and comments, decode entities, and join white space to single spaces.

    Args:
        text: HTML, well formed or not; text without markup is returned with its white space joined.

    Example:
        >>> strip_html("<p>Salt &amp; <b>pep</b>per</p><script>x()</script><p>Rice<br>Beans</p>")
        'Salt & pepper Rice Beans'
    """
    if "<" in text or "&" in text:
        reader = _Reader()
        # a tag that never ends makes the parser search the rest of the text again from each "<"
        end = text.rfind(">") + 1
        reader.feed(text[:end] + text[end:].replace("<", "&lt;"))
        reader.close()
        text = "".join(reader.parts)
    return " ".join(text.split())
