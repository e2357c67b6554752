"""Head, torso and tail: the labels by how often they hold in training.

The cut-offs are shares of all (text, label) pairs of the training split, so that they mean the same for 6 labels and
for 100,000: the head is the most frequent labels that hold the first half of the pairs, the tail those that hold the
last tenth, and all labels never seen in training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = ("head", "torso", "tail")
# Where torso and tail begin: the share of training pairs that belong to more frequent labels.
SHARES = (0.5, 0.9)
# Rows below which a label's scores are mostly chance.
FEW = 10


def tell_few(support: Any) -> str:
    """How many labels hold on too few rows to be judged, in words; empty where none does.

    Args:
        support: Rows on which each label holds, shape (L,).

    Example:
        >>> tell_few([120, 9, 0])
        '2 labels have a support below 10 rows: what is said of them is mostly chance.'
    """
    few = int((np.asarray(support) < FEW).sum())
    who = "1 label has" if few == 1 else f"{few:,} labels have"
    return f"{who} a support below {FEW} rows: what is said of them is mostly chance." if few else ""


def split_by_frequency(label_counts: Any) -> dict[str, NDArray[np.int64]]:
    """Ids of the head, torso and tail labels.

    A label belongs to the head if the labels more frequent than it hold less than half of all training pairs, else to
    the torso if they hold less than nine tenths, else to the tail. Labels of equal frequency stay together, so the
    order of the labels decides nothing; a part can be empty.

    Args:
        label_counts: Training texts of each label, shape (L,).

    Returns:
        Part -> label ids, ascending.

    Example:
        >>> {part: ids.tolist() for part, ids in split_by_frequency([50, 30, 12, 8, 0]).items()}
        {'head': [0], 'torso': [1, 2], 'tail': [3, 4]}
    """
    counts = np.asarray(label_counts, np.int64)
    values, inverse, repeats = np.unique(counts, return_inverse=True, return_counts=True)
    held = values * repeats
    more_frequent = (held.sum() - np.cumsum(held))[inverse]
    part = np.searchsorted(np.array(SHARES) * held.sum(), more_frequent, side="right")
    part[counts == 0] = len(SHARES)
    return {name: np.flatnonzero(part == place) for place, name in enumerate(PARTS)}
