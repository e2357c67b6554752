"""Rows, labels and label sets of every split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_matrix

from hf_multilabel.data.profile.facts import SplitFacts

EXAMPLES = 5


def describe_splits(
    matrices: Mapping[str, csr_matrix], names: tuple[str, ...], origins: Mapping[str, str]
) -> dict[str, SplitFacts]:
    """The facts of every split.

    Args:
        matrices: Split to where labels hold, (N, L).
        names: Of the labels.
        origins: Split to where it comes from.
    """
    counts = {split: matrix.getnnz(axis=0) for split, matrix in matrices.items()}
    anywhere = np.sum(list(counts.values()), axis=0) > 0
    found = {}
    for split, matrix in matrices.items():
        held = np.diff(matrix.indptr)
        missing = np.flatnonzero(anywhere & (counts[split] == 0))
        sets, single = count_label_sets(matrix)
        cardinality = float(held.mean()) if len(held) else 0.0
        found[split] = SplitFacts(
            rows=matrix.shape[0],
            origin=origins.get(split, "given"),
            cardinality=cardinality,
            density=cardinality / matrix.shape[1],
            rows_without_labels=int((held == 0).sum()),
            labels_present=int((counts[split] > 0).sum()),
            labels_missing=len(missing),
            missing_examples=tuple(names[label] for label in missing[:EXAMPLES]),
            label_sets=sets,
            single_sets=single,
        )
    return found


def count_label_sets(matrix: csr_matrix) -> tuple[int, int]:
    """Different label sets of rows, and those that one row alone has; the empty set counts as one.

    Args:
        matrix: Where labels hold, (N, L), indices sorted.

    Example:
        >>> count_label_sets(csr_matrix([[1, 1], [1, 1], [0, 1], [0, 0]]))
        (3, 2)
    """
    indices = matrix.indices.astype(np.int32)
    sets: dict[bytes, int] = {}
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        key = indices[start:end].tobytes()
        sets[key] = sets.get(key, 0) + 1
    return len(sets), sum(count == 1 for count in sets.values())
