"""Training rows drawn again or left out, so that rare labels are learned from more of them.

Each remedy is a function of the label matrix and a seed, and returns row numbers. Texts are not touched; the same rows
come out for the same seed. Copies add no knowledge: what they change is how much a rare label weighs against the others
of its rows. `BALANCERS` also names `mlsmote`, which invents rows of features instead, see synthesis.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from hf_multilabel.data.imbalance import imbalance_ratios, minority_labels
from hf_multilabel.data.synthesis import mlsmote


def lp_ros(label_matrix: csr_matrix, rate: float = 0.25, seed: int = 0) -> np.ndarray:
    """Copy rows of rare label *sets* until the sets are as large as the mean set, or `rate` * N rows are added.

    The copies are shared out evenly; a set that reaches the mean size leaves its part to the others.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        rate: Most rows to add, as a share of N.
        seed: Chooses which rows of a set are copied.

    Returns:
        All rows in their order, then the copies.

    Raises:
        ValueError: If the rate is not above 0.

    Cost: O(V) for V labels held by all rows.

    Reference: Charte et al. 2015, Addressing imbalance in multilabel classification, section 4.1 (LP-ROS).
    """
    total = _share_of_rows(label_matrix, rate, most=None)
    rng = np.random.default_rng(seed)
    bags = _label_sets(label_matrix)
    mean = label_matrix.shape[0] / len(bags) if bags else 0
    small = [bag for bag in bags if len(bag) < mean]
    amounts = _spread(total, [int(mean - len(bag)) for bag in small])
    copies = [rng.choice(bag, amount) for bag, amount in zip(small, amounts, strict=True)]
    return np.concatenate([np.arange(label_matrix.shape[0]), *copies])


def lp_rus(label_matrix: csr_matrix, rate: float = 0.25, seed: int = 0) -> np.ndarray:
    """Leave out rows of frequent label *sets* until the sets are as small as the mean set, or `rate` * N are left out.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        rate: Most rows to leave out, as a share of N below 1.
        seed: Chooses which rows of a set go.

    Returns:
        The rows that stay, ascending.

    Raises:
        ValueError: If the rate is not above 0 and below 1.

    Cost: O(V) for V labels held by all rows.

    Reference: Charte et al. 2015, Addressing imbalance in multilabel classification, section 4.1 (LP-RUS).
    """
    total = _share_of_rows(label_matrix, rate, most=1)
    rng = np.random.default_rng(seed)
    bags = _label_sets(label_matrix)
    mean = label_matrix.shape[0] / len(bags) if bags else 0
    large = [bag for bag in bags if len(bag) > mean]
    amounts = _spread(total, [int(len(bag) - mean) for bag in large])
    gone = [rng.choice(bag, amount, replace=False) for bag, amount in zip(large, amounts, strict=True)]
    return np.setdiff1d(np.arange(label_matrix.shape[0]), np.concatenate([np.zeros(0, np.int64), *gone]))


def ml_ros(label_matrix: csr_matrix, rate: float = 0.25, seed: int = 0) -> np.ndarray:
    """Copy rows of rare *labels*, one label after the other, until none is rare any more or `rate` * N rows are added.

    A label is rare while its ratio (`imbalance_ratios`) exceeds the mean ratio of the dataset as it was. The copies'
    other labels count too: a row with a frequent label beside its rare one helps less.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        rate: Most rows to add, as a share of N.
        seed: Chooses which rows of a label are copied, and the order of the labels.

    Returns:
        All rows in their order, then the copies.

    Raises:
        ValueError: If the rate is not above 0.

    Cost: O(V) and a few steps a copy.

    Reference: Charte et al. 2015, Addressing imbalance in multilabel classification, section 4.2 (ML-ROS).
    """
    total = _share_of_rows(label_matrix, rate, most=None)
    rng = np.random.default_rng(seed)
    mean = np.nanmean(imbalance_ratios(label_matrix)) if label_matrix.nnz else 1.0
    by_label = label_matrix.tocsc()
    bags = {
        int(label): by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
        for label in rng.permutation(minority_labels(label_matrix))
    }
    counts = label_matrix.getnnz(axis=0)
    most = counts.max(initial=0)
    copies: list[int] = []
    while bags and len(copies) < total:
        for label in list(bags)[: total - len(copies)]:
            row = int(rng.choice(bags[label]))
            copies.append(row)
            held = label_matrix.indices[label_matrix.indptr[row] : label_matrix.indptr[row + 1]]
            counts[held] += 1
            most = max(most, counts[held].max())
            if most / counts[label] <= mean:
                del bags[label]
    return np.concatenate([np.arange(label_matrix.shape[0]), np.array(copies, dtype=np.int64)])


def ml_rus(label_matrix: csr_matrix, rate: float = 0.25, seed: int = 0) -> np.ndarray:
    """Leave out `rate` * N rows that hold no rare label, by chance.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        rate: Rows to leave out, as a share of N below 1; fewer where fewer are without a rare label.
        seed: Chooses them.

    Returns:
        The rows that stay, ascending.

    Raises:
        ValueError: If the rate is not above 0 and below 1.

    Reference: Charte et al. 2015, Addressing imbalance in multilabel classification, section 4.2 (ML-RUS).
    """
    total = _share_of_rows(label_matrix, rate, most=1)
    rare = np.zeros(label_matrix.shape[1], dtype=np.int64)
    rare[minority_labels(label_matrix)] = 1
    free = np.flatnonzero(label_matrix @ rare == 0)
    gone = np.random.default_rng(seed).permutation(free)[:total]
    return np.setdiff1d(np.arange(label_matrix.shape[0]), gone)


def class_aware(label_matrix: csr_matrix, seed: int | Sequence[int] = 0) -> np.ndarray:
    """The rows of one epoch in which every label has its turn equally often.

    Labels take turns in an order drawn anew each round; a label's turn takes the next of its rows, which are shuffled
    whenever they are used up. Rows without labels take turns as one more label, or the model would never see one.
    Frequent labels still come more often: they stand in the rows drawn for others.

    Args:
        label_matrix: Where a label holds, shape (N, L).
        seed: Of the order; (seed, epoch) gives each epoch its own.

    Returns:
        N rows, some several times, many not at all.

    Cost: O(N + V) for V labels held by all rows.

    Reference: Shen et al. 2016, Relay backpropagation, section 3.3 (class-aware sampling).
    """
    rng = np.random.default_rng(seed)
    rows = label_matrix.shape[0]
    if not rows:
        return np.zeros(0, dtype=np.int64)
    by_label = label_matrix.tocsc()
    empty = np.flatnonzero(np.diff(label_matrix.indptr) == 0)
    bags = [bag for bag in [*np.split(by_label.indices, by_label.indptr[1:-1]), empty] if len(bag)]
    turns = _rounds(np.arange(len(bags)), rows, rng)  # (N,)
    drawn = np.empty(rows, dtype=np.int64)
    whose = np.split(np.argsort(turns, kind="stable"), np.cumsum(np.bincount(turns, minlength=len(bags)))[:-1])
    for bag, positions in zip(bags, whose, strict=True):
        drawn[positions] = _rounds(bag, len(positions), rng)
    return drawn


def _rounds(items: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """The items shuffled, then shuffled again, and so on, up to a length."""
    rounds = [rng.permutation(items) for _ in range(-(-length // len(items)))] if length else []
    return np.concatenate([np.zeros(0, dtype=np.int64), *rounds])[:length].astype(np.int64)


def _label_sets(label_matrix: csr_matrix) -> list[np.ndarray]:
    """The rows of each label set, ascending; sets in the order of their first row."""
    rows: dict[bytes, list[int]] = {}
    matrix = label_matrix.sorted_indices()
    for row, (start, end) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
        rows.setdefault(matrix.indices[start:end].tobytes(), []).append(row)
    return [np.array(found, dtype=np.int64) for found in rows.values()]


def _spread(total: int, room: Sequence[int]) -> list[int]:
    """Share a total out evenly; what exceeds the room of one goes to those with more."""
    amounts = [0] * len(room)
    for position, bag in enumerate(sorted(range(len(room)), key=room.__getitem__)):
        amounts[bag] = min(room[bag], total // (len(room) - position))
        total -= amounts[bag]
    return amounts


def _share_of_rows(label_matrix: csr_matrix, rate: float, most: float | None) -> int:
    if not rate > 0 or (most is not None and rate >= most):
        bound = "" if most is None else f" and below {most}"
        raise ValueError(f"rate: expected a share above 0{bound}, found {rate!r}. Try 0.25.")
    return round(rate * label_matrix.shape[0])


# Row numbers once, before training: these change the training split.
RESAMPLERS: dict[str, Callable[..., np.ndarray]] = {
    "lp_ros": lp_ros,
    "lp_rus": lp_rus,
    "ml_ros": ml_ros,
    "ml_rus": ml_rus,
}
BALANCERS: dict[str, Callable[..., Any]] = {**RESAMPLERS, "class_aware": class_aware, "mlsmote": mlsmote}
