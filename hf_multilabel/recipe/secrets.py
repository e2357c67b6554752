"""Access tokens never belong in a recipe: found before anything is echoed, and masked wherever a value is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# hf_ and 34 letters and digits today; shorter ones are taken for tokens too unless they look like a word.
TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:hf|api_org)_(?:oauth_)?"
    r"(?:[A-Za-z0-9]{16,}|(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[a-z])[A-Za-z0-9]{8,})"
)
# Keys whose value is secret whatever it looks like.
SECRET_KEY = re.compile(r"(?i)(?:^|_)(?:token|password|secret|api_key)$")
SHOWN = 80


def mask(text: str) -> str:
    """The text with every access token replaced.

    Example:
        >>> mask("push with hf_" + "aB3" * 10)
        'push with hf_***'
    """
    return TOKEN.sub("hf_***", text)


def one_line(text: str) -> str:
    """A name as findings print it: without tokens, control characters escaped, shortened."""
    text = mask(text)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)"


def show(value: Any) -> str:
    """A value as findings print it: in YAML's words, on one line, shortened, without tokens.

    Example:
        >>> show(None), show(True), show("abc")
        ('null', 'true', "'abc'")
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return one_line(repr(value))


def find_secrets(value: Any, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The keys of all values that hold an access token, or whose name says that they are secret."""
    if isinstance(value, dict):
        for key, inner in value.items():
            named = SECRET_KEY.search(key) is not None and isinstance(inner, str)
            if named or TOKEN.search(key):
                yield (*keys, key)
            else:
                yield from find_secrets(inner, (*keys, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from find_secrets(inner, (*keys, index))
    elif isinstance(value, str) and TOKEN.search(value):
        yield keys
