"""New training texts made of the sentences of documents with rare labels; their labels stay as they are.

Only whole sentences are left out or put together, so every text made here is one a person could have written; that a
label survives is a bet on its being said in more than one sentence. Use small rates where documents are short.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from hf_multilabel.data.imbalance import minority_labels

# The end of a sentence: a mark, closing quotes or brackets, white space; an East Asian full stop; the end of a line.
END = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？]|\n")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text without white space around them; none is empty.

    A mark before a lower-case letter ends none ("e.g. this"); other abbreviations are cut, which does little harm here.

    Example:
        >>> split_sentences("It rained, e.g. in May. We left.")
        ['It rained, e.g. in May.', 'We left.']

    Cost: Linear in the length of the text.
    """
    found, start = [], 0
    for match in END.finditer(text):
        if not text[match.end() : match.end() + 1].islower() or match[0] == "\n":
            found.append(text[start : match.end()].strip())
            start = match.end()
    return [sentence for sentence in [*found, text[start:].strip()] if sentence]


def drop_sentences(own: Sequence[str], other: Sequence[str], rate: float, rng: np.random.Generator) -> list[str]:
    """Leave out each sentence with probability `rate`, at least one, never all."""
    kept = rng.random(len(own)) >= rate
    if kept.all():
        kept[rng.integers(len(own))] = False
    if not kept.any():
        kept[rng.integers(len(own))] = True
    return [sentence for sentence, keep in zip(own, kept, strict=True) if keep]


def trim_sentences(own: Sequence[str], other: Sequence[str], rate: float, rng: np.random.Generator) -> list[str]:
    """Leave out `rate` of the sentences, at least one, never all, at the two ends; what stays is one passage."""
    cut = min(max(round(rate * len(own)), 1), len(own) - 1)
    front = int(rng.integers(cut + 1))
    return list(own[front : len(own) - cut + front])


def recombine_sentences(own: Sequence[str], other: Sequence[str], rate: float, rng: np.random.Generator) -> list[str]:
    """Replace the last `rate` of the sentences, at least one, by the end of another document with the same labels."""
    keep = min(math.ceil((1 - rate) * len(own)), len(own) - 1)
    taken = max(round(rate * len(other)), 1)
    return [*own[:keep], *other[len(other) - taken :]]


@dataclass(frozen=True)
class Augmented:
    """Texts that were made, M of them.

    Args:
        rows: The row each was made from, whose labels it has, shape (M,).
        texts: Shape (M,).
        skipped: Rows none could be made from: of one sentence, or without another document of the same labels.
    """

    rows: np.ndarray
    texts: list[str]
    skipped: int


def augment(
    texts: Sequence[str],
    label_matrix: csr_matrix,
    method: str,
    rate: float = 0.2,
    copies: int = 1,
    only_minority: bool = True,
    seed: int = 0,
) -> Augmented:
    """Make new texts out of the training documents, each with the labels of one of them.

    Args:
        texts: Shape (N,).
        label_matrix: Where a label holds, shape (N, L).
        method: Key of `AUGMENTERS`.
        rate: Share of a document's sentences to change, above 0 and below 1.
        copies: New texts a document; fewer where two come out alike.
        only_minority: Only documents with a label of `minority_labels`; else all documents.
        seed: Of all choices.

    Returns:
        The new texts, in the order of the documents they were made from.

    Raises:
        ValueError: If the method is unknown, or rate or copies are out of range.

    Example:
        >>> found = augment(["A b. C d."], csr_matrix([[1, 0]]), "trim_sentences", only_minority=False)
        >>> found.rows.tolist(), found.texts[0] in ("A b.", "C d.")
        ([0], True)
    """
    _check(method, rate, copies)
    rng = np.random.default_rng(seed)
    chosen = _rows_with_rare_labels(label_matrix) if only_minority else np.arange(label_matrix.shape[0])
    partners = _same_labels(label_matrix) if method == "recombine_sentences" else {}
    rows, made, skipped = [], [], 0
    for row in chosen.tolist():
        own = split_sentences(texts[row])
        others = partners.get(row, [])
        if len(own) < 2 or (method == "recombine_sentences" and len(others) < 2):
            skipped += 1
            continue
        new = {}
        for _ in range(copies):
            partner = _another(row, others, rng) if others else row
            found = AUGMENTERS[method](own, split_sentences(texts[partner]) if others else own, rate, rng)
            new[" ".join(found)] = row
        rows += new.values()
        made += new
    return Augmented(np.array(rows, dtype=np.int64), made, skipped)


def _rows_with_rare_labels(label_matrix: csr_matrix) -> np.ndarray:
    rare = np.zeros(label_matrix.shape[1], dtype=np.int64)
    rare[minority_labels(label_matrix)] = 1
    return np.flatnonzero(label_matrix @ rare)


def _same_labels(label_matrix: csr_matrix) -> dict[int, list[int]]:
    """Each row with labels to all rows of the same label set, itself among them."""
    matrix = label_matrix.sorted_indices()
    sets: dict[bytes, list[int]] = {}
    for row, (start, end) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
        if end > start:
            sets.setdefault(matrix.indices[start:end].tobytes(), []).append(row)
    return {row: rows for rows in sets.values() for row in rows}


def _another(row: int, rows: Sequence[int], rng: np.random.Generator) -> int:
    found = rows[int(rng.integers(len(rows) - 1))]
    return rows[-1] if found == row else found


def _check(method: str, rate: float, copies: int) -> None:
    if method not in AUGMENTERS:
        raise ValueError(f"method: expected one of {', '.join(AUGMENTERS)}, found {method!r}. Choose one of them.")
    if not 0 < rate < 1:
        raise ValueError(f"rate: expected a share above 0 and below 1, found {rate!r}. Try 0.2.")
    if copies < 1:
        raise ValueError(f"copies: expected a number of at least 1, found {copies!r}. Try 1.")


# The document's sentences, those of another one with the same labels, rate, generator -> the new document's sentences.
AUGMENTERS: dict[str, Callable[..., list[str]]] = {
    "drop_sentences": drop_sentences,
    "trim_sentences": trim_sentences,
    "recombine_sentences": recombine_sentences,
}
