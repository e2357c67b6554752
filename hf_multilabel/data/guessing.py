"""Which columns of unknown data hold ids, texts and labels: looked up in names, types and the first rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from hf_multilabel.data.findings import Findings
from hf_multilabel.data.label_columns import ONE, ZERO, zero_one
from hf_multilabel.data.tables import Table, describe, is_list, is_text
from hf_multilabel.errors import Finding, InputError

# In the order of preference, compared without case and as whole words of a column's name.
LABEL_NAMES = ("labels", "label", "tags", "tag", "topics", "categories", "category", "concepts", "classes", "genres")
TEXT_NAMES = ("text", "abstract", "comment", "body", "content", "document", "sentence", "description", "review")
TITLE_NAMES = ("title", "headline", "subject")
ID_NAMES = ("id", "ids", "key", "uid", "guid", "celex", "index")
DELIMITERS = ("|", ";", ",", "\t", " ")
TAG = re.compile(r"</?(p|br|div|a|li|ul|ol|code|pre|em|strong|b|i|span|blockquote)\b[^>]*>", re.IGNORECASE)
# A label is a name, not a sentence, and comes again.
LONGEST_LABEL = 60
FIX = "say it with data.text=COLUMN and data.labels=COLUMN"


@dataclass
class Guess:
    """What the columns seem to be.

    Args:
        settings: Keys of the recipe's section `data`.
        reasons: One sentence for each.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def add(self, key: str, value: Any, reason: str) -> None:
        """Note one setting and why it was chosen."""
        self.settings[key] = value
        self.reasons.append(f"data.{key}: {_shown(value)} ({reason})")


def guess_columns(table: Table, given: Mapping[str, Any]) -> Guess:
    """Guess what nobody said about the columns of a table.

    Args:
        table: Of the training split; its first batch is looked at.
        given: Settings that the user gave: they are neither guessed nor taken for something else.

    Raises:
        InputError: If there are no rows, no column looks like a text, or none like labels.

    Example:
        A CSV file with the columns `id`, `body` and `tags` ("wine;cheese") gives `text: body`, `labels: tags`,
        `label_delimiter: ";"` and `id: id`.
    """
    columns = _first_rows(table)
    if table.types and not any(len(found) for found in columns.values()):
        what = "expected rows, found none below the column names"
        raise InputError(Finding("D102", str(table.file), what, "check how the file was written"))
    guess, problems = Guess(), []
    texts = _names(given.get("text"))
    if "labels" not in given:
        problems += _guess_labels(guess, table, columns, texts)
    elif isinstance(given["labels"], str):
        _guess_format(guess, table, columns, given["labels"])
    labels = _names(given.get("labels", guess.settings.get("labels")))
    if labels is None:
        labels = _zero_one_columns(columns)
    if "id" not in given:
        _guess_id(guess, columns, {*(texts or ()), *labels})
    if "text" not in given:
        named = {given.get("id"), guess.settings.get("id"), *labels}
        problems += _guess_text(guess, table, {name: found for name, found in columns.items() if name not in named})
    if "strip_html" not in given:
        _guess_html(guess, columns, _names(guess.settings.get("text")) or texts or ())
    for key in given:
        guess.settings.pop(key, None)
    if problems:
        raise InputError(problems)
    return guess


def _first_rows(table: Table) -> dict[str, pa.Array]:
    """The first batch of every column."""
    for batch in table.read(list(table.types), Findings()):
        return dict(batch.columns)
    return {}


def _guess_labels(
    guess: Guess, table: Table, columns: Mapping[str, pa.Array], texts: Sequence[str] | None
) -> list[Finding]:
    """The label column: by a list type, by its name, or the 0/1 columns."""
    free = {name: found for name, found in columns.items() if name not in (texts or ())}
    lists = [name for name, found in free.items() if is_list(found.type)]
    if lists:
        name = _best(lists, LABEL_NAMES) or lists[0]
        guess.add("labels", name, "the column of lists" if len(lists) == 1 else "a column of lists, by its name")
        return []
    flags = _zero_one_columns(free)
    if len(flags) > 1:
        guess.settings["labels"] = None
        shown = ", ".join(flags[:3]) + (f", ... {flags[-1]}" if len(flags) > 3 else "")
        guess.reasons.append(f"data.labels: null ({len(flags)} columns hold 0 and 1: {shown})")
        return []
    named = _best([name for name, found in free.items() if is_text(found.type)], LABEL_NAMES)
    if named is not None:
        guess.add("labels", named, "by its name")
        _guess_format(guess, table, columns, named)
        return []
    what = f"expected a label column or 0/1 columns, found {_described(columns)}"
    return [Finding("D122", f"{table.file}:labels", what, FIX)]


def _guess_format(guess: Guess, table: Table, columns: Mapping[str, pa.Array], name: str) -> None:
    """How the labels of a text column are written."""
    if name not in columns or not is_text(columns[name].type):
        return
    cells = [cell.strip() for cell in columns[name].drop_null().to_pylist() if cell.strip()]
    if cells and all(cell.startswith("[") and cell.endswith("]") for cell in cells):
        guess.add("label_format", "list", "cells are written as lists")
        return
    if cells and set(cells) <= {*ZERO, *ONE}:
        return  # one 0/1 column, which reading says how to name
    delimiter = guess_delimiter(cells)
    reason = "between names that come again" if any(delimiter in cell for cell in cells) else "every cell is one label"
    guess.add("label_delimiter", delimiter, reason)


def guess_delimiter(cells: Sequence[str]) -> str:
    """What stands between the labels of cells: the sign that gives the fewest different names a cell.

    Example:
        >>> guess_delimiter(["red wine;cheese", "cheese", "red wine;bread and butter"])
        ';'
        >>> guess_delimiter(["wine cheese", "cheese bread", "bread"])
        ' '
    """
    best, fewest = "|", 1.0
    whole = [cell.strip() for cell in cells]
    for sign in DELIMITERS:
        split = [[part.strip() for part in cell.split(sign if sign != " " else None)] for cell in whole]
        counts = Counter(part for parts in split for part in parts if part)
        # a sentence cut at its spaces has names that come again, too: the others go first, and win where they occur
        if any(sign in cell for cell in whole) and counts:
            share = len(counts) / sum(counts.values())
            if share < fewest and share < len(set(whole)) / len(whole):
                return sign
    return best


def _guess_id(guess: Guess, columns: Mapping[str, pa.Array], taken: set[str]) -> None:
    for name, found in columns.items():
        named = name not in taken and _rank(name, ID_NAMES) is not None
        readable = (is_text(found.type) or pa.types.is_integer(found.type)) and not found.null_count
        if named and readable and len(found.unique()) == len(found):
            guess.add("id", name, "by its name; every value once")
            return


def _guess_text(guess: Guess, table: Table, columns: Mapping[str, pa.Array]) -> list[Finding]:
    lengths = {name: _mean_length(found) for name, found in columns.items() if is_text(found.type)}
    lengths = {name: length for name, length in lengths.items() if length > 0}
    if not lengths:
        what = f"expected a column of text, found {_described(columns)}"
        return [Finding("D122", f"{table.file}:text", what, FIX)]
    named = _best(list(lengths), TEXT_NAMES)
    body = named if named is not None else max(lengths, key=lambda name: lengths[name])
    reason = "by its name" if named else "the longest texts"
    title = _best([name for name in lengths if name != body], TITLE_NAMES)
    if title is not None and not _begins_with(columns[body], columns[title]):
        guess.add("text", [title, body], f"a title, and the text: {reason}")
    else:
        guess.add("text", body, reason)
    return []


def _begins_with(bodies: pa.Array, titles: pa.Array) -> bool:
    """Whether most texts begin with their title: it would be read twice."""
    pairs = zip(bodies.to_pylist()[:200], titles.to_pylist()[:200], strict=True)
    found = [str(body).lstrip().startswith(str(title).strip()) for body, title in pairs]
    return sum(found) > len(found) / 2


def _guess_html(guess: Guess, columns: Mapping[str, pa.Array], texts: Sequence[str]) -> None:
    for name in texts:
        cells = columns[name].drop_null().to_pylist()[:1000] if name in columns and is_text(columns[name].type) else []
        marked = sum(bool(TAG.search(cell)) for cell in cells)
        if marked > len(cells) / 2:
            guess.add("strip_html", True, f"{marked:,} of {len(cells):,} texts in {name} have HTML tags")
            return


def _zero_one_columns(columns: Mapping[str, pa.Array]) -> list[str]:
    """Columns whose every value is 0 or 1, as number, boolean or text."""
    found = []
    for name, array in columns.items():
        if is_text(array.type) or pa.types.is_integer(array.type) or pa.types.is_boolean(array.type):
            zero, one = zero_one(array)
            if len(array) and (zero | one).all() and _rank(name, ID_NAMES) is None:
                found.append(name)
    return found


def _mean_length(array: pa.Array) -> float:
    """Mean characters of cells; 0 where hardly a cell has a letter: delimited files hold numbers as text."""
    cells = array.drop_null().to_pylist()
    spoken = sum(any(letter.isalpha() for letter in cell[:200]) for cell in cells)
    return float(np.mean([len(cell) for cell in cells])) if cells and spoken > len(cells) / 2 else 0.0


def _best(names: Sequence[str], preferred: Sequence[str]) -> str | None:
    """The name that fits the earliest preferred one, or None."""
    ranked = [(rank, name) for name in names if (rank := _rank(name, preferred)) is not None]
    return min(ranked)[1] if ranked else None


def _rank(name: str, preferred: Sequence[str]) -> int | None:
    words = re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    return next((rank for rank, word in enumerate(preferred) if word in words), None)


def _described(columns: Mapping[str, pa.Array]) -> str:
    return ", ".join(f"{name!r} ({describe(found.type)})" for name, found in columns.items()) or "no columns"


def _names(value: Any) -> list[str] | None:
    if value is None:
        return None
    return [value] if isinstance(value, str) else list(value)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if not str(value).isidentifier() else str(value)
