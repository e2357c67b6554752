"""What is taken for what: label sets as classes, and which label is predicted where another one is missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.reports.drawing import heat, new_figure, shorten, title_left
from hf_multilabel.reports.evidence import RunEvidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETS_SHOWN, LABELS_SHOWN = 14, 14
OTHER_SETS, OTHER_LABELS, NOTHING = "other sets", "other labels", "no wrong label"


@dataclass(frozen=True)
class SetConfusion:
    """Texts by their true and their predicted label set.

    Args:
        sets: The label sets that are classes of their own, ids ascending, the most frequent true one first, S of them.
        table: Texts of each true class (rows) and predicted class (columns), all other sets last, (S + 1, S + 1).
        right_among_others: How many texts of the last cell got exactly their set.
    """

    sets: list[tuple[int, ...]]
    table: NDArray[np.int64]
    right_among_others: int


def confuse_sets(targets: sparse.csr_array, predictions: sparse.csr_array, shown: int = SETS_SHOWN) -> SetConfusion:
    """Take each label set for a class: cell (i, j) counts the texts whose true set is i and whose predicted set is j.

    The `shown` most frequent true sets are classes, the empty one among them if it is frequent; equally frequent ones
    in the order of their first text. A set that occurs once is none, and all others are folded
    into one last class, so that a text in the last cell need not be right: `right_among_others` counts those that are.
    Every text is in exactly one cell.

    Args:
        targets: True label sets, canonical CSR, (N, L).
        predictions: Predicted ones, canonical CSR, (N, L).
        shown: Classes of their own, at most.

    Example:
        >>> held = sparse.csr_array([[True, False], [True, False], [True, False], [False, True]])
        >>> said = sparse.csr_array([[True, False], [True, False], [True, True], [False, True]])
        >>> found = confuse_sets(held, said)
        >>> found.sets, found.table.tolist(), found.right_among_others
        ([(0,)], [[2, 1], [0, 1]], 1)
    """
    true, predicted = (
        [tuple(ids.tolist()) for ids in np.split(m.indices, m.indptr[1:-1])] for m in (targets, predictions)
    )
    counted: dict[tuple[int, ...], int] = {}
    for found in true:
        counted[found] = counted.get(found, 0) + 1
    sets = [ids for ids in sorted(counted, key=lambda ids: -counted[ids])[:shown] if counted[ids] > 1]
    place = {ids: number for number, ids in enumerate(sets)}
    table = np.zeros((len(sets) + 1, len(sets) + 1), np.int64)
    right = 0
    for one, other in zip(true, predicted, strict=True):
        table[place.get(one, len(sets)), place.get(other, len(sets))] += 1
        right += one == other and one not in place
    return SetConfusion(sets, table, right)


def missed_for(targets: sparse.csr_array, predictions: sparse.csr_array) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """Which labels are predicted where another one is missed.

    A label i is missed on a text if it is true and not predicted; j is wrong there if it is predicted and not true.
    Each miss is shared evenly among the wrong labels of its text:

        M[i, j] = sum over texts that miss i and have j wrong of 1 / (wrong labels of the text)

    so that row i of M and `alone[i]`, the texts that miss i and have no wrong label, add up to all misses of i.

    Args:
        targets: True label sets, bool CSR, (N, L).
        predictions: Predicted ones, bool CSR, (N, L).

    Returns:
        M, CSR, (L, L), and `alone`, (L,).

    Cost: O(sum over texts of misses times wrong labels).

    Example:
        >>> held = sparse.csr_array([[True, False, False], [True, False, False]])
        >>> said = sparse.csr_array([[False, True, True], [False, False, False]])
        >>> [part.tolist() for part in (missed_for(held, said)[0].toarray()[0], missed_for(held, said)[1])]
        [[0.0, 0.5, 0.5], [1, 0, 0]]
    """
    held, said = targets.astype(np.float64), predictions.astype(np.float64)
    both = held.multiply(said)
    missed, wrong = sparse.csr_array(held - both), sparse.csr_array(said - both)
    missed.eliminate_zeros()
    wrong.eliminate_zeros()
    amount = np.diff(wrong.indptr)
    shared = sparse.csr_array(wrong.multiply(1 / np.maximum(amount, 1)[:, None]))
    alone = missed[amount == 0].sum(axis=0)
    return sparse.csr_array(missed.T @ shared), np.asarray(alone).ravel().astype(np.int64)


def name_set(ids: tuple[int, ...], labels: list[str] | tuple[str, ...], length: int = 48) -> str:
    """A label set as a tick of an axis.

    Example:
        >>> name_set((), ["a"]), name_set((0, 1), ["sport", "news"])
        ('(no label)', 'sport + news')
    """
    each = max(5, (length - 3 * (len(ids) - 1)) // max(len(ids), 1))
    joined = " + ".join(name if len(name := str(labels[label])) <= each else f"{name[: each - 1]}." for label in ids)
    return shorten(joined, length) if ids else "(no label)"


def draw_label_sets(evidence: RunEvidence) -> Figure | None:
    """Label sets as classes; colours are shares of the row, numbers are texts. None where no set occurs twice."""
    found = confuse_sets(evidence.targets, evidence.predictions)
    if not found.sets:
        return None
    names = [*(name_set(ids, evidence.labels) for ids in found.sets), OTHER_SETS]
    numbers = [str(number) for number in range(1, len(names) + 1)]
    table = found.table
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    texts = [[f"{count:,}" if count else "" for count in line] for line in table]
    figure = new_figure(max(7.0, 4.6 + 0.36 * len(names)), 1.6 + 0.34 * len(names))
    axes = figure.subplots()
    numbered = [f"{name}  {number}" for name, number in zip(names, numbers, strict=True)]
    image = heat(axes, shares, numbered, numbers, texts, vmin=0, vmax=1)
    axes.tick_params(axis="x", rotation=0)
    axes.set(xlabel="predicted label set (numbers as on the left)", ylabel="true label set")
    if others := table[-1, -1]:
        exact = f"{found.right_among_others:,} of {others:,} texts got exactly their set"
        axes.set_xlabel(f"{axes.get_xlabel()}\nlast cell: {exact}")
    title_left(figure, "Texts by label set")
    figure.colorbar(image, label="share of the texts\nwith this true set", shrink=0.8)
    return figure


def draw_missed_for(evidence: RunEvidence) -> Figure | None:
    """The labels missed most and what was predicted in their place; None where nothing was missed."""
    matrix, alone = missed_for(evidence.targets, evidence.predictions)
    misses = np.asarray(matrix.sum(axis=1)).ravel() + alone
    if not misses.sum():
        return None
    rows = np.argsort(-misses, kind="stable")[:LABELS_SHOWN]
    rows = rows[misses[rows] > 0]
    block = matrix[rows].toarray()
    columns = np.argsort(-block.sum(axis=0), kind="stable")[:LABELS_SHOWN]
    columns = columns[block[:, columns].sum(axis=0) > 0]
    rest = block.sum(axis=1) - block[:, columns].sum(axis=1)
    table = np.column_stack([block[:, columns], rest, alone[rows]])
    shares = table / table.sum(axis=1, keepdims=True)
    texts = [
        ["" if value < 0.05 else f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" for value in line]
        for line in table
    ]
    names = [f"{shorten(evidence.labels[label], 26)} ({misses[label]:,.0f})" for label in rows]
    across = [*(shorten(evidence.labels[label], 24) for label in columns), OTHER_LABELS, NOTHING]
    figure = new_figure(max(7.0, 3.4 + 0.5 * len(across)), 2.0 + 0.36 * len(names))
    axes = figure.subplots()
    image = heat(axes, shares, names, across, texts, vmin=0, vmax=1)
    axes.set(xlabel="predicted though not true (misses, shared evenly)", ylabel="missed label (times)")
    title_left(figure, "What was predicted where a label was missed")
    figure.colorbar(image, label="share of the misses", shrink=0.8)
    return figure
