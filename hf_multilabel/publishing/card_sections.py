"""A card in parts, so that some can be written anew while what people wrote in others stays.

A part is a key of the YAML block with its lines, named `key:`, or a section of the text, named `## Title`. The manifest
notes the hash of each part as it was generated (`record_parts`); one that has another hash by now was edited by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

Parts = list[tuple[str, str]]

# What speaks of the decision: measured again whenever it changes.
MEASURED = (
    *("metrics:", "model-index:", "model_name:"),
    *("## Examples", "## Results", "## The decision", "## Labels", "## Figures"),
)
BLOCK = re.compile(r"\A---\n(.*?\n)---\n", flags=re.DOTALL)
# a key of the YAML block with its lines
KEY = re.compile(r"^([^\s#:-][^:\n]*):.*\n(?:[ #-].*\n|\n)*", flags=re.MULTILINE)
FENCE = re.compile(r"`{3,}|~{3,}")


def replace_measured(card: str, fresh: str, record: Mapping[str, str]) -> str:
    """A card with other results, another decision and other lines of its labels; see `replace_parts`.

    Args:
        card: README.md as it is.
        fresh: A card just rendered.
        record: What `generated_parts` gives: the widget changes with the decision, unless people wrote it.
    """
    own_examples = "widget:" in edited_parts(card, record)
    return replace_parts(card, fresh, MEASURED if own_examples else (*MEASURED, "widget:"))


def replace_generated(card: str, fresh: str, record: Mapping[str, str]) -> tuple[str, list[str]]:
    """A card written anew but for what people wrote, changed or took away.

    Args:
        card: README.md as it is.
        fresh: A card just rendered.
        record: What `generated_parts` gives.

    Returns:
        The card, and the names of the parts that stayed as people left them; `MEASURED` ones never do.
    """
    kept = [name for name in edited_parts(card, record) if name not in MEASURED]
    names = {name for name, _ in (*split_parts(card), *split_parts(fresh))} - set(kept)
    return replace_parts(card, fresh, names), kept


def replace_parts(card: str, fresh: str, names: Collection[str]) -> str:
    """A card with some parts as they are in another one.

    Args:
        card: README.md as it is, written by `render_card` and perhaps edited since.
        fresh: A card just rendered.
        names: The parts to take from it. One that the card lacks comes where the other has it, and one that the other
            lacks goes.

    Returns:
        The card; one that has none of the sections of `MEASURED` was rewritten by hand and stays as it is.
    """
    old, new = split_parts(card), split_parts(fresh)
    if not {name for name in MEASURED if name.startswith("#")} & {name for name, _ in old}:
        return card
    if not BLOCK.match(card):
        # a block taken away by hand does not come back in pieces
        new = [(name, text) for name, text in new if name.startswith("#")]
    return merge(old, new, names)


def split_parts(card: str) -> Parts:
    r"""The card in parts: joined, their contents are the card.

    Example:
        >>> split_parts("---\na: 1\n---\n# A\n\n## B\ntext\n")
        [('---', '---\n'), ('a:', 'a: 1\n'), ('# ', '---\n# A\n\n'), ('## B', '## B\ntext\n')]
    """
    block = BLOCK.match(card)
    if block is None:
        return split_sections(card)
    lines, keys = block.group(1), [*KEY.finditer(block.group(1))]
    start = lines[: keys[0].start()] if keys else lines
    parts = [("---", f"---\n{start}"), *((f"{found.group(1)}:", found.group()) for found in keys)]
    (_, head), *sections = split_sections(card[block.end() :])
    return [*parts, ("# ", f"---\n{head}"), *sections]


def split_sections(card: str) -> Parts:
    r"""The text cut before each heading of the second level that stands in no code block.

    Example:
        >>> split_sections("# A\n\n## B\ntext\n")
        [('# ', '# A\n\n'), ('## B', '## B\ntext\n')]
    """
    parts = [("# ", "")]
    fence = ""
    for line in card.splitlines(keepends=True):
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark.group()
        elif mark and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        if line.startswith("## ") and not fence:
            parts.append((f"## {line[3:].strip()}", line))
        else:
            parts[-1] = (parts[-1][0], parts[-1][1] + line)
    return parts


def merge(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]], names: Collection[str]) -> str:
    """The old parts, those of these names as they are among the new ones; one that was missing comes where it is there.

    Example:
        >>> merge([("", ""), ("a", "A"), ("c", "C")], [("", ""), ("a", "1"), ("b", "2")], ["b", "c"])
        'A2'
    """
    replaced = dict(new)
    found = [
        (name, replaced[name] if name in names else text)
        for name, text in old
        if name in {*replaced} or name not in names
    ]
    for place, (name, text) in enumerate(new):
        have = [other for other, _ in found]
        if name in names and name not in have:
            before = [have.index(other) for other, _ in new[:place] if other in have]
            found.insert(max(before, default=-1) + 1, (name, text))
    return "".join(text for _, text in found)


def record_parts(card: str) -> dict[str, str]:
    """The hash of each part of a card as it was generated, for the manifest."""
    return {name: _hash(text) for name, text in split_parts(card)}


def generated_parts(manifest: Mapping[str, Any], card: bytes) -> dict[str, str]:
    """What the manifest knows of the parts of its card as they were generated; nothing if it can't tell.

    Args:
        manifest: With `card`; one of an earlier version knows only whether the card is as it was written.
        card: Content of README.md.
    """
    if "card" in manifest:
        return dict(manifest["card"])
    as_written = hashlib.sha256(card).hexdigest() == manifest["files"]["README.md"]["sha256"]
    return record_parts(card.decode("utf-8")) if as_written else {}


def update_record(record: Mapping[str, str], before: str, after: str) -> dict[str, str]:
    """The record of a card some of whose parts were generated anew: those that changed are as generated now.

    Args:
        record: What the manifest has noted; parts that people edited or added have another hash there, or none.
        before: The card as it was.
        after: The card with the new parts.
    """
    old, new = dict(split_parts(before)), dict(split_parts(after))
    kept = {name: noted for name, noted in record.items() if name in new or name not in old}
    return kept | {name: _hash(text) for name, text in new.items() if old.get(name) != text}


def edited_parts(card: str, record: Mapping[str, str]) -> list[str]:
    """Parts of a card that people wrote, changed or took away since they were generated."""
    parts = dict(split_parts(card))
    changed = [name for name, text in parts.items() if record.get(name) != _hash(text)]
    return [*changed, *(name for name in record if name not in parts)]


def _hash(text: str) -> str:
    # the blank lines between two parts belong to neither
    return hashlib.sha256(text.rstrip().encode("utf-8")).hexdigest()[:16]
