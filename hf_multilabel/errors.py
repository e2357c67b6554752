"""The error types, their exit codes, and the one form in which every finding is printed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where it is, and what to do next.

    Args:
        code: Letter of the room (R recipe, D data, L labels, M model, T training, P publishing, C command line) and a
            number, for instance `R101`; a code never changes its meaning.
        where: `file:row:field`, as much of it as is known.
        what: `expected CONTRACT, found VALUE`.
        fix: The next step, an imperative clause without a full stop.
    """

    code: str
    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"error[{self.code}] {self.where}: {self.what}; fix: {self.fix}"


class MultiLabelError(Exception):
    """Base of the errors that end a command with a message instead of a traceback."""

    exit_code = 1


class InputError(MultiLabelError):
    """Something the user wrote or brought is wrong. Nothing was written. Exit code 2.

    Args:
        findings: All that is wrong; 20 are printed, the rest is counted.

    Example:
        >>> print(InputError(Finding("C101", "runs/x", "expected a model folder, found no config.json", "train first")))
        error[C101] runs/x: expected a model folder, found no config.json; fix: train first
    """

    exit_code = 2

    def __init__(self, findings: Finding | Iterable[Finding]) -> None:
        self.findings: tuple[Finding, ...] = (findings,) if isinstance(findings, Finding) else tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings[:SHOWN]]
        if len(self.findings) > SHOWN:
            lines.append(f"... and {len(self.findings) - SHOWN} more of {len(self.findings)} findings")
        return "\n".join(lines)


class EnvironmentFault(MultiLabelError):
    """The machine, the network or a stored file failed, not the user. Saved work is kept and named. Exit code 3."""

    exit_code = 3

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(finding)

    def __str__(self) -> str:
        return str(self.finding)


class Interrupted(MultiLabelError):
    """A signal ended a training after a step that was saved. Exit code 128 and its number: SIGINT 130, SIGTERM 143.

    Args:
        number: Of the signal.
        said: Where the work lies, and what goes on with it.
    """

    def __init__(self, number: int, said: str) -> None:
        self.exit_code = 128 + number
        super().__init__(said)


def raise_findings(findings: Sequence[Finding]) -> None:
    """Raise one `InputError` with all findings, or return if there are none."""
    if findings:
        raise InputError(findings)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate a user most likely meant, or None if none is close.

    Example:
        >>> nearest("learnig_rate", ["learning_rate", "seed"])
        'learning_rate'
    """
    found = difflib.get_close_matches(str(name), [str(candidate) for candidate in candidates], n=1, cutoff=0.6)
    return found[0] if found else None
