"""A card whose decision changed: the parts that speak of it are replaced, what else people wrote there stays."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hf_multilabel.publishing.card import CardFacts, render_card

# What a card says of its decision: sections of the text, and keys of the YAML block.
SECTIONS = ("Results", "The decision", "Labels")
KEYS = ("metrics", "model-index", "model_name")
BLOCK = re.compile(r"\A---\n(.*?\n)---\n", flags=re.DOTALL)
# a key of the YAML block with its lines
KEY = re.compile(r"^([^\s#:-][^:\n]*):.*\n(?:[ #-].*\n|\n)*", flags=re.MULTILINE)
FENCE = re.compile(r"`{3,}|~{3,}")


def replace_decision(card: str, facts: CardFacts) -> str:
    """A card with other results, another decision and other lines of its labels.

    Args:
        card: README.md as it is, written by `render_card` and perhaps edited since.
        facts: What the new parts say; the rest of it is not used.

    Returns:
        The card. A section that the card lacks comes where `render_card` has it, and one that says nothing now goes; a
        card with none of the sections was rewritten by hand and stays as it is.
    """
    return carry_decision(card, render_card(facts))


def carry_decision(card: str, fresh: str) -> str:
    """A card with what another card of the same model says of its decision; as `replace_decision` otherwise."""
    old = split_sections(card)
    if not set(SECTIONS) & {title for title, _ in old}:
        return card
    return replace_keys(merge(old, split_sections(fresh), SECTIONS), fresh)


def split_sections(card: str) -> list[tuple[str, str]]:
    r"""The card cut before each heading of the second level that stands in no code block: titles and contents.

    Example:
        >>> split_sections("# A\n\n## B\ntext\n")
        [('', '# A\n\n'), ('B', '## B\ntext\n')]
    """
    parts: list[tuple[str, str]] = [("", "")]
    fence = ""
    for line in card.splitlines(keepends=True):
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark.group()
        elif mark and line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        if line.startswith("## ") and not fence:
            parts.append((line[3:].strip(), line))
        else:
            parts[-1] = (parts[-1][0], parts[-1][1] + line)
    return parts


def replace_keys(card: str, fresh: str) -> str:
    """The card with the `KEYS` of another card's YAML block, its other lines untouched."""
    mine, other = BLOCK.match(card), BLOCK.match(fresh)
    if mine is None or other is None:
        return card
    old, new = (
        [("", ""), *((found.group(1), found.group()) for found in KEY.finditer(block.group(1)))]
        for block in (mine, other)
    )
    return f"---\n{merge(old, new, KEYS)}---\n{card[mine.end() :]}"


def merge(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
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
            found.insert(max(before) + 1, (name, text))
    return "".join(text for _, text in found)
