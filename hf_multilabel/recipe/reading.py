"""From YAML 1.2 text to plain values, each with its place; nothing in a recipe is ever executed.

Read from the parser's events instead of a loader's objects: the line of every key, duplicate keys and the spelling of
unquoted values are still there, and depth and size can be bounded before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.recipe.secrets import mask, one_line, show

Keys = tuple[str | int, ...]

# The longest recipe is a label list; the bounds are far above it and keep the worst file below a second.
MAX_BYTES, MAX_NODES, MAX_KEYS, MAX_DEPTH = 256 * 1024, 10_000, 400, 24
TAG = "tag:yaml.org,2002:"
SURROGATE = re.compile("[\ud800-\udfff]")
YAML_1_1, YAML_1_2 = VersionedResolver(version=(1, 1)), VersionedResolver(version=(1, 2))


@dataclass(frozen=True)
class Place:
    """Where a value was written.

    Args:
        source: The recipe as the user named it, or `override section.key=value`.
        line: From 1; 0 in an override.
        column: From 1; 0 in an override.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source

    @property
    def is_override(self) -> bool:
        """Whether the value came from the command line and not from the recipe."""
        return not self.line


@dataclass
class Document:
    """Plain values and what is known about how they were written.

    Args:
        values: Mappings, lists, texts, numbers, booleans and None.
        places: Where each value's key, or each item of a list, was written.
        unquoted: The spelling of values written without quotes that YAML 1.1 or 1.2 takes for something but text.
        findings: What is wrong already; the rest was read on.
    """

    values: Any
    places: dict[Keys, Place] = field(default_factory=dict)
    unquoted: dict[Keys, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def place(self, keys: Keys) -> Place:
        """The place of a value, or of the nearest one that holds it."""
        while keys and keys not in self.places:
            keys = keys[:-1]
        return self.places[keys]

    def where(self, keys: Keys) -> str:
        """`recipes/x.yaml:LINE:COL section.key`; an override says the key itself, unless it brought a whole mapping."""
        place = self.place(keys)
        said = place.is_override and place.source.startswith(tuple(f"override {dotted(keys)}{end}" for end in "=."))
        return str(place) if said or not keys else f"{place} {dotted(keys)}"


def dotted(keys: Keys) -> str:
    """`("data", "labels", 0)` as `data.labels[0]`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{one_line(key)}" for key in keys).lstrip(".")


def reads_as_text(spelling: str) -> bool:
    """Whether YAML 1.1 and 1.2 both take this for text when it stands without quotes.

    Example:
        >>> [reads_as_text(word) for word in ("cs.CL", "no", "0010", "2024-01-01")]
        [True, False, False, False]
    """
    return _kind(YAML_1_1, spelling) == _kind(YAML_1_2, spelling) == "str"


def read_file(path: Path, name: str) -> Document:
    """Read a recipe file.

    Args:
        path: The file.
        name: As the user called it; stands in every finding.

    Returns:
        Its values and places. `values` is whatever the top is; `findings` holds what did not stop the reading.

    Raises:
        InputError: If the file is too large, not UTF-8, not YAML 1.2, empty, or nested too deeply.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise _stop(name, f"expected a readable file, found: {error.strerror}", "check its permissions") from None
    if size > MAX_BYTES:
        raise _stop(name, f"expected a recipe of at most {MAX_BYTES:,} bytes, found {size:,}", "name the right file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"expected UTF-8, found the byte 0x{content[error.start]:02x} at offset {error.start}"
        raise _stop(f"{name}:{line}", what, "save the file as UTF-8") from None
    document = read_text(text, lambda line, column: Place(name, line, column))
    if document.values is None and not document.findings:
        raise _stop(name, "expected sections such as data: and model:, found an empty file", "copy a shipped recipe")
    return document


def read_text(text: str, place: Callable[[int, int], Place]) -> Document:
    """Read YAML 1.2 text into plain values.

    Args:
        text: One document.
        place: Line and column, from 1, to a place.

    Returns:
        Values, places, unquoted spellings and the findings that did not stop the reading.

    Raises:
        InputError: If the text is no YAML, or too large or nested too deeply to be a recipe.
    """
    document = Document(None, {(): place(1, 1)})
    builder = _Builder(document, place)
    try:
        document.values = builder.document(iter(YAML(typ="safe", pure=True).parse(text)))
    except YAMLError as error:
        raise InputError([*document.findings, _syntax_finding(error, text, place)]) from None
    except InputError as error:
        raise InputError([*document.findings, *error.findings]) from None
    return document


class _Builder:
    """Builds values from parser events, noting places and findings in a document."""

    def __init__(self, document: Document, place: Callable[[int, int], Place]) -> None:
        self.found = document
        self._place = place
        self.nodes = self.keys = 0

    def document(self, events: Iterator[Any]) -> Any:
        value, documents = None, 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if event.version not in (None, (1, 2)):
                    self._add(event, (), "YAML 1.2", "a %YAML directive of another version", "remove the directive")
                if documents > 1:
                    self._add(event, (), "one YAML document", "a second one after ---", "keep one")
            elif isinstance(event, (AliasEvent, ScalarEvent, SequenceStartEvent, MappingStartEvent)):
                value = self.value(event, events, ())
            elif isinstance(event, StreamEndEvent):
                break
        return value

    def value(self, event: Any, events: Iterator[Any], keys: Keys) -> Any:
        """The value that begins with this event; consumes its events."""
        self.nodes += 1
        self._bound(event, self.nodes, MAX_NODES, "values")
        self._bound(event, len(keys), MAX_DEPTH, "levels")
        if isinstance(event, AliasEvent) or event.anchor:
            # Expanding aliases is how a small file fills the memory, and no recipe needs them.
            self._add(event, keys, "the value itself", "an anchor or alias (& or *)", "write the value out")
        if isinstance(event, AliasEvent):
            return None
        if event.tag not in (None, TAG + "str"):
            self._add(event, keys, "a value without a tag", f"the tag {show(event.tag)}", "remove the tag")
        if isinstance(event, ScalarEvent):
            return self.scalar(event, keys)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(events, keys)
        return self.mapping(events, keys)

    def sequence(self, events: Iterator[Any], keys: Keys) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            path = (*keys, len(items))
            self.found.places[path] = self._at(event)
            items.append(self.value(event, events, path))
        return items

    def mapping(self, events: Iterator[Any], keys: Keys) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                raise _stop(str(self._at(event)), "expected a key, found a list, mapping or alias", "write a name")
            self.keys += 1
            self._bound(event, self.keys, MAX_KEYS, "keys")
            path = (*keys, event.value)
            first = self.found.places.get(path) if event.value in entries else None
            if first is not None:
                self._add(event, path, "each key once", f"it again; first on line {first.line}", "keep one of the two")
            else:
                self.found.places[path] = self._at(event)
            entries[event.value] = self.value(next(events), events, path)
        return entries

    def scalar(self, event: ScalarEvent, keys: Keys) -> Any:
        text: str = event.value
        if SURROGATE.search(text):
            self._add(event, keys, "valid Unicode", "half of a surrogate pair", "write the character itself")
            return ""
        if event.style is not None or event.tag is not None:
            return text
        kind = _kind(YAML_1_2, text)
        if kind != "str" or _kind(YAML_1_1, text) != "str":
            self.found.unquoted[keys] = text
        return _typed(text, kind)

    def _bound(self, event: Any, number: int, most: int, what: str) -> None:
        if number > most:
            raise _stop(str(self._at(event)), f"expected at most {most:,} {what}, found more", "name the right file")

    def _at(self, event: Any) -> Place:
        return self._place(event.start_mark.line + 1, event.start_mark.column + 1)

    def _add(self, event: Any, keys: Keys, expected: str, found: str, fix: str) -> None:
        place = self._at(event)
        where = str(place) if place.is_override or not keys else f"{place} {dotted(keys)}"
        self.found.findings.append(Finding("R102", where, f"expected {expected}, found {found}", fix))


def _kind(resolver: VersionedResolver, spelling: str) -> str:
    """The type of an unquoted scalar, for instance `int`."""
    return str(resolver.resolve(ScalarNode, spelling, (True, False))).removeprefix(TAG)


def _typed(text: str, kind: str) -> Any:
    """A plain scalar as its YAML 1.2 type; what only YAML 1.1 has (dates, merge keys) stays text."""
    if kind == "bool":
        return text.lower() == "true"
    if kind == "null":
        return None
    if kind == "int":
        digits = text.replace("_", "")
        based = re.match(r"[-+]?0[box]", digits) is not None
        # int() itself refuses thousands of digits; as text they get the finding of a wrong type
        return text if len(digits) > 100 else int(digits, 0 if based else 10)
    if kind == "float":
        return float(re.sub(r"(?i)\.(inf|nan)$", r"\1", text.replace("_", "")))
    return text


def _syntax_finding(error: YAMLError, text: str, place: Callable[[int, int], Place]) -> Finding:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "something else")
    problem = re.sub(r", but (got|found) ", ", found ", " ".join(problem.split()))
    what = problem if ", found " in problem else f"YAML 1.2, found {problem.removeprefix('found ')}"
    position = getattr(error, "position", None)
    line, column = 1, 1
    if mark is not None:
        line, column = mark.line + 1, mark.column + 1
    elif isinstance(position, int):
        line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    fix = "indent with spaces" if r"'\t'" in problem else "check indentation, quotes and brackets on this line"
    where = str(place(line, column))
    if where.startswith("override ") and "=" in where:
        key, _, value = where.removeprefix("override ").partition("=")
        fix = f"""quote the value: '{key}="{value}"'"""
    return Finding("R102", where, mask(f"expected {what.removeprefix('expected ')}"), fix)


def _stop(where: str, what: str, fix: str) -> InputError:
    return InputError(Finding("R102", where, what, fix))
