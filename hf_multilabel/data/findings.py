"""Findings gathered while a file is read, so that all of them are reported together."""

from __future__ import annotations

from hf_multilabel.errors import Finding, InputError

LIMIT = 10_000
SHOWN_CHARACTERS = 60


class Findings(list[Finding]):
    """A list of findings with at most one a place.

    The first finding of a place explains the others: a row that can't be decoded has no text either.

    Example:
        >>> findings = Findings()
        >>> findings.add("D111", "a.csv:3:text", "expected text, found nothing", "fill it in or remove the row")
        >>> findings.add("D111", "a.csv:3:text", "expected text, found ''", "fill it in or remove the row")
        >>> len(findings)
        1
    """

    def __init__(self) -> None:
        super().__init__()
        self._places: set[str] = set()

    def add(self, code: str, where: str, what: str, fix: str) -> None:
        """Record one finding.

        Raises:
            InputError: At 10,000 findings: the file as a whole is wrong, and a list of them would fill the memory.
        """
        if where in self._places:
            return
        self._places.add(where)
        self.append(Finding(code, where, what, fix))
        if len(self) >= LIMIT:
            raise InputError(self)


def shown(value: object) -> str:
    """A value for a message: as Python writes it, cut to 60 characters.

    Example:
        >>> shown("a" * 100)[-6:]
        'aaa...'
    """
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
