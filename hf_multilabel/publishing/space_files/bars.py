"""What a person sees of one text: the decided labels, and a bar a label with its cut marked.

Everything that comes from a text, a file or a label name is escaped here and nowhere else.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from labelling import Judgement, move_cut

# A bar more helps nobody, and thousands would slow the browser.
MOST_BARS = 40
QUOTED = 80


def escape(text: object) -> str:
    """A text as HTML that shows its characters and does nothing.

    Braces and dollars are escaped too: the page takes what it shows for a template.

    Example:
        >>> escape("<b>${x}{{y}}")
        '&lt;b&gt;&#36;&#123;x&#125;&#123;&#123;y&#125;&#125;'
    """
    escaped = html.escape(str(text))
    for character in "$`{}\\":
        escaped = escaped.replace(character, f"&#{ord(character)};")
    return escaped


def answer(names: Sequence[str], judged: Judgement, top: int, text: str) -> str:
    """The label set of one text, with the most probable labels.

    Args:
        names: L label names.
        judged: What was decided.
        top: Labels shown beside the decided ones.
        text: Quoted above.
    """
    order = sorted(range(len(names)), key=lambda label: -judged.probabilities[label])
    decided = [label for label in order if judged.decided[label]]
    shown = sorted({*decided[:MOST_BARS], *order[:top]}, key=order.index)
    bars = "".join(bar(names[label], judged, label) for label in shown)
    return (
        f'<div class="quoted">{escape(quote(text))}</div>'
        f"<h2>{count(len(decided), 'label')} of {len(names):,} decided</h2>"
        f"{chips([names[label] for label in decided[:MOST_BARS]], len(decided))}"
        f"{legend(judged)}"
        f'<ol class="bars" aria-label="Probabilities, highest first">{bars}</ol>'
        f"{rest(judged, order, set(shown))}"
    )


def bar(name: str, judged: Judgement, label: int) -> str:
    """One label: its name, its probability as a bar, and marks at its cut, the stored one fainter."""
    probability, decided = judged.probabilities[label], judged.decided[label]
    said = f"probability {percent(probability)}"
    marks = numbers = ""
    if judged.cuts is not None and judged.stored is not None:
        cut, stored = judged.cuts[label], judged.stored[label]
        said += f", cut {percent(cut)}"
        numbers = f"<small>cut {percent(cut)}</small>"
        if cut != stored:
            said += f" (stored {percent(stored)})"
            marks = f'<span class="cut stored" style="left:{100 * stored:.2f}%"></span>'
        marks += f'<span class="cut" style="left:{100 * cut:.2f}%"></span>'
    said += ", decided" if decided else ", not decided"
    return (
        f'<li class="bar{" decided" if decided else ""}">'
        f'<span class="name"><span class="tick" aria-hidden="true">{"✓" if decided else ""}</span>'
        f"<bdi>{escape(name)}</bdi></span>"
        f'<span class="numbers" aria-hidden="true"><b>{percent(probability)}</b>{numbers}</span>'
        f'<span class="track" role="img" aria-label="{said}">'
        f'<span class="fill" style="width:{100 * probability:.2f}%"></span>{marks}</span></li>'
    )


def chips(names: Sequence[str], decided: int) -> str:
    """The decided labels in a row."""
    if not names:
        return '<p class="none">No label is decided for this text.</p>'
    items = "".join(f"<li><bdi>{escape(name)}</bdi></li>" for name in names)
    more = f'<li class="more">and {decided - len(names):,} more</li>' if decided > len(names) else ""
    return f'<ul class="chips" aria-label="Decided labels">{items}{more}</ul>'


def legend(judged: Judgement) -> str:
    """What colours and marks mean."""
    keys = '<span class="key decided">decided</span><span class="key">not decided</span>'
    if judged.cuts is not None:
        keys += '<span class="key mark">cut</span>'
        if judged.cuts != judged.stored:
            keys += '<span class="key mark stored">stored cut</span>'
    return f'<div class="legend" aria-hidden="true">{keys}</div>'


def rest(judged: Judgement, order: Sequence[int], shown: set[int]) -> str:
    """How many labels have no bar."""
    hidden = [label for label in order if label not in shown]
    if not hidden:
        return ""
    decided = sum(judged.decided[label] for label in hidden)
    which = f"{decided:,} of them decided" if decided else "none of them decided"
    most = percent(judged.probabilities[hidden[0]])
    return f'<p class="rest">{count(len(hidden), "more label")}, {which}, each with at most {most}.</p>'


def operating_point(shift: float) -> str:
    """The slider's position in words, below the words for its ends."""
    ends = '<div class="ends" aria-hidden="true"><span>fewer, surer labels</span><span>more labels</span></div>'
    if not shift:
        return ends + notice("<b>The stored decision:</b> each label has the cut that was fitted for it.")
    way = "More recall: every cut is lower." if shift > 0 else "More precision: every cut is higher."
    return ends + notice(f"<b>{way}</b> One of 50% becomes {percent(move_cut(0.5, shift))}, others move likewise.")


def notice(sentence: str) -> str:
    """A line of ours, which may hold marks of HTML."""
    return f'<p class="notice">{sentence}</p>'


def refusal(sentence: str) -> str:
    """Why something was not done."""
    return f'<p class="refusal" role="alert">{escape(sentence)}</p>'


def preview(header: Sequence[str], rows: Sequence[Sequence[str]], most: int = QUOTED) -> str:
    """The first rows of a table, at most so many characters of a cell."""
    head = "".join(f'<th scope="col"><bdi>{escape(quote(cell))}</bdi></th>' for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td><bdi>{escape(quote(cell, most))}</bdi></td>" for cell in row) + "</tr>" for row in rows
    )
    # it scrolls sideways where it is wide: the keyboard must reach it
    return (
        '<div class="preview" tabindex="0" role="region" aria-label="The first rows">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def quote(text: str, most: int = QUOTED) -> str:
    """The beginning of a text.

    Example:
        >>> quote("a" * 100)[-3:]
        'aa…'
    """
    return text if len(text) <= most else text[:most] + "…"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> count(1, "label"), count(4271, "label")
        ('1 label', '4,271 labels')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(value: float) -> str:
    """A probability as people read it; one that is not 0 or 1 is not shown as such.

    Example:
        >>> percent(0.8314), percent(0.00001), percent(0.99999), percent(1.0)
        ('83.1%', '<0.1%', '>99.9%', '100%')
    """
    if value in (0, 1):
        return f"{value:.0%}"
    if value < 0.001:
        return "<0.1%"
    return ">99.9%" if value > 0.999 else f"{value:.1%}"
