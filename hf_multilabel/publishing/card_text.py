"""Values as a card shows them: escaped for Markdown, HTML, Python and the shell, and numbers as people read them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

# Backslash and dollar open formulas on the Hub and @ names a person, so they become entities.
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\\": "&#92;", "$": "&#36;", "@": "&#64;"}
ESCAPES = str.maketrans(ENTITIES | {letter: f"\\{letter}" for letter in "`*_[]#|~"})
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
CAPITALS = re.compile(r"\b(f1|auc|lrap|ap|psp|ece)\b")


class Verbatim(str):
    """Text that stands inside a code block, where Markdown is not read."""


def escape(value: Any) -> Any:
    r"""A value as Markdown and HTML that show exactly its characters, on one line.

    Example:
        >>> print(escape("a|b <i>`{{ x }}`"))
        a\|b &lt;i&gt;\`{{ x }}\`
    """
    if isinstance(value, Verbatim):
        return value
    text = clean(str(value)).translate(ESCAPES)
    # the Hub and GitHub make links of addresses wherever they stand
    return text.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")


def row(cells: Iterable[Any]) -> Verbatim:
    r"""A line of a Markdown table.

    Example:
        >>> print(row(["a|b", 1]))
        | a\|b | 1 |
    """
    return Verbatim(f"| {' | '.join(escape(cell) for cell in cells)} |")


def quote(text: str) -> Verbatim:
    """A text as a string literal of Python."""
    return Verbatim(json.dumps(clean(str(text)), ensure_ascii=False))


def shell_word(text: str) -> Verbatim:
    """A text as one word of a shell command.

    Example:
        >>> print(shell_word("runs/quickstart"), shell_word("my model; rm"))
        runs/quickstart 'my model; rm'
    """
    return Verbatim(shlex.quote(clean(str(text))))


def shell_echo(text: str) -> Verbatim:
    r"""A command that prints a text, whatever it is.

    Example:
        >>> print(shell_echo("a text"), "/", shell_echo("-n"))
        echo 'a text' / printf '%s\n' -n
    """
    # every shell's echo has its own idea of options and backslashes
    plain = not clean(text).startswith("-") and "\\" not in text
    return Verbatim(("echo " if plain else r"printf '%s\n' ") + shell_word(text))


def clean(text: str, keep_lines: bool = False) -> str:
    """Text that can be written and stays in its place: control characters and lone surrogates become one space.

    Example:
        >>> clean("two" + chr(10) + "lines")
        'two lines'
    """
    if keep_lines:
        return "\n".join(CONTROLS.sub(" ", line) for line in text.split("\n"))
    return CONTROLS.sub(" ", text)


def fence_for(content: str) -> Verbatim:
    """A code fence longer than any run of backticks in the content, so that the content cannot end it."""
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    return Verbatim("`" * max(3, longest + 1))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested statistics as lines of a table; long lists become their length.

    Example:
        >>> list(flatten({"rows": {"train": 1200, "test": 150}}))
        [('rows, train', '1,200'), ('rows, test', '150')]
    """
    for key, value in values.items():
        name = f"{prefix}, {pretty(key)}" if prefix else pretty(key)
        if isinstance(value, Mapping):
            yield from flatten(value, name)
        elif isinstance(value, (list, tuple)):
            yield name, f"{len(value):,}" if len(value) > 5 else ", ".join(number(item) for item in value) or "none"
        elif value is not None:
            yield name, number(value)


def pretty(name: Any) -> str:
    """A key as people write it.

    Example:
        >>> pretty("micro_f1"), pretty("ndcg_at_5"), pretty("r_precision_at_3")
        ('micro F1', 'nDCG@5', 'R-precision@3')
    """
    text = str(name).replace("_at_", "@").replace("_", " ").replace("r precision", "R-precision")
    return CAPITALS.sub(lambda match: match.group().upper(), text).replace("ndcg", "nDCG").replace("psnDCG", "PSnDCG")


def number(value: Any) -> str:
    """A value for a table: four decimals for scores, thousands marked, a dash where there is none.

    Example:
        >>> number(0.83114), number(4271), number(None)
        ('0.8311', '4,271', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, (bool, str)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.4f}"
    return str(value)


def span(ends: Any) -> str:
    """An interval; three decimals, for the third is chance.

    Example:
        >>> span([0.79711, 0.866]), span(None)
        ('0.797–0.866', '-')
    """
    return "-" if ends is None else f"{ends[0]:.3f}–{ends[1]:.3f}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "label"), plural(4271, "label")
        ('1 label', '4,271 labels')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
