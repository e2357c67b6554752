"""The texts a decision got most wrong, with what is true, what was said and how probable it seemed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.reports.evidence import RunEvidence, at_pairs

# A probability of 0 or 1 that is wrong counts as this far from it: a finite surprise.
NEAREST = 1e-6


@dataclass(frozen=True)
class ShownLabel:
    """A label of a text.

    Args:
        name: As people call it.
        probability: What it was given; None where its score was not kept.
        kind: What it is, in a word or two: right, missed, wrong.
        tone: How it stands in the page: `right`, `missed`, `wrong` or `plain`.
    """

    name: str
    probability: float | None
    kind: str
    tone: str


@dataclass(frozen=True)
class ShownText:
    """A text with its true and predicted labels.

    Args:
        id: Of the row.
        text: The whole of it.
        labels: In the order in which they are shown.
        about: What else is said of it.
    """

    id: str
    text: str
    labels: tuple[ShownLabel, ...]
    about: str = ""


def probabilities_at(evidence: RunEvidence, pairs: sparse.csr_array) -> NDArray[np.float64]:
    """Probabilities of some pairs, in their CSR order; NaN where one was not kept."""
    row = np.repeat(np.arange(evidence.rows), np.diff(pairs.indptr))
    if evidence.complete:
        return np.asarray(evidence.scores[row, pairs.indices], np.float64)
    stored = evidence.scores.top.stored
    known = sparse.csr_array((np.ones(stored.nnz), stored.indices, stored.indptr), shape=stored.shape)
    values = at_pairs(stored, row, pairs.indices).astype(np.float64)
    return np.where(at_pairs(known, row, pairs.indices) > 0, values, np.nan)


def surprise_of(evidence: RunEvidence) -> NDArray[np.float64]:
    """How wrong each text is: sum over its wrong decisions of -log(probability given to the truth), (N,).

    A label missed at probability 0.01 counts 4.6, one wrongly predicted at 0.6 counts 0.9, a right one nothing. Only
    decided and true pairs count, so it is the same for all scores and for scores kept in part.

    Example:
        >>> from hf_multilabel.evaluation.outcomes import Outcome
        >>> outcome = Outcome([[0.75, 0.25]], [[1, 0]], [[0, 1]])
        >>> surprise_of(RunEvidence.of(outcome, name="", split="", labels="ab", decision={})).round(3).tolist()
        [2.773]
    """
    wrong = sparse.csr_array(evidence.targets != evidence.predictions)
    wrong.sort_indices()
    row = np.repeat(np.arange(evidence.rows), np.diff(wrong.indptr))
    probs = np.nan_to_num(probabilities_at(evidence, wrong), nan=0.5)
    held = at_pairs(evidence.targets, row, wrong.indices)
    given = np.where(held, probs, 1 - probs)
    return np.bincount(row, -np.log(np.clip(given, NEAREST, 1)), minlength=evidence.rows)


def show_text(evidence: RunEvidence, row: int, surprise: float = 0.0) -> ShownText:
    """One text of a split."""
    true, predicted = (
        set(m.indices[m.indptr[row] : m.indptr[row + 1]].tolist()) for m in (evidence.targets, evidence.predictions)
    )
    ids = sorted(true | predicted)
    pairs = sparse.csr_array((np.ones(len(ids)), (np.full(len(ids), row), ids)), shape=evidence.targets.shape)
    probs = probabilities_at(evidence, pairs)
    labels = []
    for label, p in zip(ids, probs, strict=True):
        kind = "missed" if label not in predicted else "right" if label in true else "wrong"
        labels.append(ShownLabel(evidence.labels[label], None if np.isnan(p) else float(p), kind, kind))
    labels.sort(key=lambda label: -1.0 if label.probability is None else -label.probability)
    about = f"surprise {surprise:.2f}" if surprise else ""
    return ShownText(name_of(evidence, row), evidence.texts[row], tuple(labels), about)


def name_of(evidence: RunEvidence, row: int) -> str:
    """The id of a row, or its number."""
    return str(evidence.ids[row]) if len(evidence.ids) else str(row)


def worst_texts(evidence: RunEvidence, shown: int = 20) -> list[ShownText]:
    """The texts of the largest surprise, the largest first; those without an error are none."""
    if not len(evidence.texts):
        return []
    surprise = surprise_of(evidence)
    order = np.argsort(-surprise, kind="stable")[:shown]
    return [show_text(evidence, int(row), float(surprise[row])) for row in order if surprise[row] > 0]
