"""One self-contained HTML page: blocks in, a file that needs no network out. Names and texts are data, never markup."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from hf_multilabel.reports.drawing import UNSEEN
from hf_multilabel.reports.worst import ShownText

FOLDER = Path(__file__).resolve().parent
TEXT_SHOWN = 340


@dataclass(frozen=True)
class Prose:
    """Sentences; as a warning they stand out."""

    lines: Sequence[str]
    warning: bool = False
    kind: str = "prose"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Tiles:
    """Numbers people look for first: each its name, its value, and what stands below in small."""

    tiles: Sequence[tuple[str, str, str]]
    kind: str = "tiles"


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, which is read out in its place where there are no pictures."""

    name: str
    png: bytes
    caption: str
    kind: str = "picture"

    @property
    def data(self) -> str:
        """The figure as it stands in the page."""
        return base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Table:
    """Rows of plain values.

    Args:
        columns: Headings.
        rows: Values, one a column; None is a dash.
        caption: Above the table.
        sortable: A click on a heading sorts by it.
        folded: The table is shown on a click.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    sortable: bool = False
    folded: bool = False
    kind: str = "table"

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers."""
        return [any(is_number(row[place]) for row in self.rows) for place in range(len(self.columns))]


@dataclass(frozen=True)
class Texts:
    """Texts with their labels."""

    texts: Sequence[ShownText]
    kind: str = "texts"


@dataclass(frozen=True)
class Marked:
    """A text with what each piece adds, from -1 to 1; `title` says to what."""

    title: str
    pieces: Sequence[tuple[str, float]]
    note: str = ""
    kind: str = "marked"


@dataclass(frozen=True)
class Verbatim:
    """A file as it is, for instance the recipe; shown on a click."""

    title: str
    content: str
    kind: str = "verbatim"


Block = Prose | Heading | Tiles | Picture | Table | Texts | Marked | Verbatim


@dataclass(frozen=True)
class Section:
    """A part of the page with an entry in its table of contents; one without blocks is left out."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page.

    Args:
        title: Its heading.
        facts: Lines below it, name to value.
        sections: In their order.
    """

    title: str
    sections: Sequence[Section]
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def pictures(self) -> dict[str, bytes]:
        """All figures by their names."""
        blocks = [block for section in self.sections for block in section.blocks]
        return {block.name: block.png for block in blocks if isinstance(block, Picture)}


def render_page(page: Page) -> str:
    """The page as HTML: style, script and figures are inside it, and its policy forbids it to fetch anything.

    The one script sorts tables; a page without such a table has none.
    """
    blocks = [block for section in page.sections for block in section.blocks]
    sorts = any(isinstance(block, Table) and block.sortable for block in blocks)
    script = (FOLDER / "page.js").read_text(encoding="utf-8") if sorts else ""
    return environment().get_template("page.html.j2").render(
        page=page,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        sections=[section for section in page.sections if section.blocks],
        # only this very script may run, whatever else got into the page
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        text_shown=TEXT_SHOWN,
    )  # fmt: skip


def number(value: Any) -> str:
    """A value as it stands in a table.

    Example:
        >>> number(0.83114), number(4271), number(1e-05), number(None), number("a")
        ('0.8311', '4,271', '1e-05', '-', 'a')
    """
    if value is None:
        return "-"
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-4 else f"{value:.3g}"


def is_number(value: Any) -> bool:
    """Whether a cell is right-aligned and sorted by its value."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def clean(value: Any) -> Any:
    """A printed value without characters that no reader sees; line breaks stay."""
    if type(value) is not str:
        return value
    return "\n".join(UNSEEN.sub(" ", line) for line in value.split("\n"))


@functools.cache
def environment() -> SandboxedEnvironment:
    """Templates see values, not Python; every printed value is escaped."""
    found = SandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["number"] = number
    found.tests["a_number"] = is_number
    return found
