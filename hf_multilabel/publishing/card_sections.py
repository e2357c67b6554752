"""A card whose decision changed: the parts that speak of it are replaced, what else people wrote there stays."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hf_multilabel.publishing.card import CardFacts, render_card

# What a card says of its decision: sections of the text, in this order, and keys of the YAML block.
SECTIONS = ("Results", "The decision", "Labels")
KEYS = ("metrics", "model-index")
BLOCK = re.compile(r"\A---\n(.*?\n)---\n", flags=re.DOTALL)
FENCE = re.compile(r"`{3,}|~{3,}")


def replace_decision(card: str, facts: CardFacts) -> str:
    """A card with other results, another decision and other lines of its labels.

    Args:
        card: README.md as it is, written by `render_card` and perhaps edited since.
        facts: What the new parts say; the rest of it is not used.

    Returns:
        The card. A section that the card lacks comes behind the one before it, and one that says nothing now goes; a
        card with none of the sections was rewritten by hand and stays as it is.
    """
    fresh = render_card(facts)
    old, new = split_sections(card), split_sections(fresh)
    titles = [title for title, _ in old]
    if not set(SECTIONS) & set(titles):
        return card
    text = dict(new)
    kept = [(title, text.get(title, "") if title in SECTIONS else content) for title, content in old]
    for place, title in enumerate(SECTIONS):
        if title in text and title not in titles:
            kept.insert(_behind(SECTIONS[:place], [name for name, _ in kept]), (title, text[title]))
    return replace_keys("".join(content for _, content in kept), fresh)


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
    block = mine.group(1)
    for key in KEYS:
        lines = re.compile(rf"^{key}:.*\n(?:[ -].*\n)*", flags=re.MULTILINE)
        found = lines.search(other.group(1))
        said = found.group() if found else ""
        block = lines.sub(lambda _, said=said: said, block) if lines.search(block) else block + said  # type: ignore[misc]
    return f"---\n{block}---\n{card[mine.end() :]}"


def _behind(before: Sequence[str], titles: Sequence[str]) -> int:
    """Where a section belongs: behind the last of those that come before it, or in front of the first that follows."""
    places = [titles.index(title) + 1 for title in before if title in titles]
    return max(places) if places else min(titles.index(title) for title in SECTIONS if title in titles)
