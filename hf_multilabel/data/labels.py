"""The one ordered vocabulary of labels: names to ids, with the support each has in training."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.lines import read_lines
from hf_multilabel.errors import SHOWN, Finding, InputError, raise_findings
from hf_multilabel.remote_code.decision_multilabel import hash_labels

# Comparing a name with all others takes about 5 microseconds each: above this, only similar ones are looked at.
NEAREST_AMONG = 20_000


@dataclass(frozen=True)
class LabelSpace:
    """Label names in the order of the model's outputs. Build it with `from_names`.

    Args:
        names: NFC-normalised, unique.
        counts: Training rows of each label, aligned with `names`.

    Example:
        >>> labels = LabelSpace.from_names(["sport", "0010"])
        >>> labels.encode(["0010", "sport", "0010"])
        [0, 1]
        >>> labels.decode([1])
        ['0010']
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def from_names(cls, names: Iterable[str], counts: Sequence[int] | None = None, where: str = "labels") -> LabelSpace:
        """Check names and put them in their order.

        Args:
            names: One a label; the order is kept.
            counts: Training rows of each; None: zero.
            where: For messages, where the names come from.

        Raises:
            InputError: If there are none, one is no text, empty or has control characters, or two are equal after
                Unicode normalisation, trimming and case folding.
        """
        names = list(names)
        findings = Findings()
        if not names:
            findings.add("L101", where, "expected at least one label, found none", "check the label column")
        for position, name in enumerate(names):
            problem = name_problem(name)
            if problem:
                findings.add("L101", f"{where}:{position + 1}", *problem)
        if not findings:
            names = [normalize(name) for name in names]
            _find_clashes(names, where, findings)
        raise_findings(findings)
        counts = tuple(int(count) for count in counts) if counts is not None else (0,) * len(names)
        if len(counts) != len(names):
            raise ValueError(f"counts: expected {len(names)} numbers, one a label, found {len(counts)}.")
        return cls(tuple(names), counts)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def id_of(self) -> dict[str, int]:
        """Name to id."""
        return {name: position for position, name in enumerate(self.names)}

    @property
    def id2label(self) -> dict[int, str]:
        """Id to name, as model configs write it."""
        return dict(enumerate(self.names))

    @property
    def label2id(self) -> dict[str, int]:
        """Name to id, a copy that may be changed."""
        return dict(self.id_of)

    @cached_property
    def sha256(self) -> str:
        """Hash of the names in their order; thresholds carry it."""
        return hash_labels(self.names)

    def encode(self, labels: Iterable[str]) -> list[int]:
        """Names to sorted ids without repetitions.

        Raises:
            InputError: For names that are not in the label space, each with the nearest one that is.
        """
        known = {name: self.id_of.get(normalize(str(name))) for name in labels}
        unknown = [name for name, found in known.items() if found is None]
        raise_findings([self.unknown(name, "labels", suggest=i < SHOWN) for i, name in enumerate(unknown)])
        return sorted({found for found in known.values() if found is not None})

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Ids to names.

        Raises:
            ValueError: If an id is outside 0 ... L - 1.
        """
        found = [int(number) for number in ids]
        wrong = next((number for number in found if not 0 <= number < len(self)), None)
        if wrong is not None:
            raise ValueError(f"ids: expected 0 to {len(self) - 1}, found {wrong}. Use the ids of this label space.")
        return [self.names[number] for number in found]

    def unknown(
        self, name: object, where: str, rows: int | None = None, suggest: bool = True, known: bool = False
    ) -> Finding:
        """The finding about a name that is not in the label space.

        Args:
            name: As the data have it.
            where: Its place.
            rows: That have it.
            suggest: Whether to look for names near it (slow).
            known: The labels are those of a finished model, and none can be added.
        """
        close = nearest_labels(str(name), self.names) if suggest else []
        what = f"expected one of the {len(self)} labels, found {shown(name)}"
        what += f" in {rows} row{'s'[: rows != 1]}" if rows else ""
        fix = f"did you mean {either(close)}?" if close else "correct it, or add it to the declared labels"
        if known:
            correct = f"{fix} correct it" if close else f"write one of the model's labels, such as {either(self.names)}"
            fix = f"{correct}, or map names to labels: add data.label_names=FILE.json to the command"
        return Finding("L103", where, what, fix)


def normalize(name: str) -> str:
    """A label name in its one Unicode form, NFC."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_problem(name: Any) -> tuple[str, str] | None:
    """What is wrong with a label name and how to mend it, or None.

    Example:
        >>> name_problem(False)
        ('expected a label name as text, found False', 'quote it')
    """
    if not isinstance(name, str):
        return f"expected a label name as text, found {shown(name)}", "quote it"
    if not name.strip():
        return f"expected a label name, found {name!r}", "remove it; a row without labels has an empty list"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name if not character.isprintable()):
        return f"expected a label name on one line, found control characters in {ascii(name)}", "remove them"
    return None


def nearest_labels(name: str, names: Sequence[str]) -> list[str]:
    """Labels that may have been meant, the likeliest first, at most three; bounded work for any number of labels."""
    wanted = fold(name)
    if len(names) > NEAREST_AMONG:
        names = [other for other in names if abs(len(other) - len(name)) < 3 and fold(other)[:2] == wanted[:2]]
    same = [other for other in names if fold(other) == wanted]
    return same or difflib.get_close_matches(name, names[:NEAREST_AMONG], n=3, cutoff=0.6)


def either(names: Sequence[str]) -> str:
    """The first three names as alternatives.

    Example:
        >>> either(["a", "b", "c", "d"])
        "'a', 'b' or 'c'"
    """
    *some, last = [repr(name) for name in names[:3]]
    return f"{', '.join(some)} or {last}" if some else last


def fold(name: str) -> str:
    """What two names have in common that people take for the same."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def read_label_names(path: Path | str) -> tuple[list[str], dict[str, str]]:
    """Read a list of declared labels.

    Args:
        path: A text file with one name a line, a JSON list of names, or a JSON object from what the data hold to the
            name it stands for, for instance `{"2457": "transport policy"}`.

    Returns:
        The names in their order, and the names by what stands for them (empty for lists).

    Raises:
        InputError: If the file is missing or has another form.
    """
    findings = Findings()
    if not Path(path).is_file():
        raise InputError(Finding("D101", str(path), "expected a file of label names, found none", "check the path"))
    lines = [line for _, line in read_lines(path, findings)]
    raise_findings(findings)
    if ".json" not in Path(path).suffixes:
        return [line.strip() for line in lines if line.strip()], {}
    try:
        found = json.loads("".join(lines))
    except (ValueError, RecursionError) as error:
        raise InputError(Finding("L105", str(path), f"expected JSON, found {error}", "correct the file")) from error
    if isinstance(found, Mapping):
        return list(found.values()), {normalize(key): value for key, value in found.items()}
    if not isinstance(found, list):
        what = f"expected a JSON list of names or an object from key to name, found {shown(found)}"
        raise InputError(Finding("L105", str(path), what, "write a list"))
    return found, {}


def _find_clashes(names: Sequence[str], where: str, findings: Findings) -> None:
    first: dict[str, int] = {}
    for position, name in enumerate(names):
        earlier = first.setdefault(fold(name), position)
        if earlier != position:
            what = (
                f"expected different labels, found {names[earlier]!r} ({earlier + 1}.) and {name!r} ({position + 1}.)"
            )
            findings.add("L102", f"{where}:{position + 1}", what, "merge the two or rename one")
