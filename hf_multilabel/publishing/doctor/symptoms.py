"""What an examination finds: one thing, how bad it is, where it stands and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

# error: wrong or unsafe results, or nothing loads; warning: some users will be misled; note: good to know; ok: checked
SEVERITIES = ("error", "warning", "note", "ok")


@dataclass(frozen=True)
class Symptom:
    """One finding of one check.

    Args:
        severity: One of `SEVERITIES`.
        code: `area.name`, for instance `labels.duplicate`; a code never changes its meaning.
        where: File, or file and key.
        what: `expected CONTRACT, found VALUE`, or what was checked and is in order.
        fix: The next step, an imperative clause without a full stop; empty for `ok`.
    """

    severity: str
    code: str
    where: str
    what: str
    fix: str = ""

    @property
    def area(self) -> str:
        """What it is about: the code up to the dot."""
        return self.code.split(".")[0]


def error(code: str, where: str, what: str, fix: str) -> Symptom:
    """Wrong or unsafe results, or nothing loads."""
    return Symptom("error", code, where, what, fix)


def warning(code: str, where: str, what: str, fix: str) -> Symptom:
    """Some users will be misled or kept out."""
    return Symptom("warning", code, where, what, fix)


def note(code: str, where: str, what: str, fix: str = "") -> Symptom:
    """Good to know."""
    return Symptom("note", code, where, what, fix)


def ok(code: str, where: str, what: str) -> Symptom:
    """Checked, and in order."""
    return Symptom("ok", code, where, what)


def listed(names: list[str], shown: int = 5) -> str:
    """Names for a sentence, the rest counted.

    Example:
        >>> listed(["a", "b", "c"], shown=2)
        'a, b and 1 more'
    """
    more = f" and {len(names) - shown:,} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
