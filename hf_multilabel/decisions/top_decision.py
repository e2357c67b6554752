"""The decision on scores kept in part: label sets in blocks of rows, and which of them all scores would give too.

A block is filled up with each row's floor, the most that a score not kept can be, and given to the one implementation
of the decision. If it then chooses no label whose score was not kept, lower scores there change nothing: the label set
is that of all scores. Under the rule threshold_top_k none of them may be among the k highest either, where it would
keep out a label that was kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation.scores import TopScores
from hf_multilabel.remote_code.decision_multilabel import check_settings, decide_block

# Scores of one block.
BLOCK = 1 << 17
ABLE = ("threshold", "top_k", "threshold_top_k")
COUNT_ALONE = {"rule": "top_k", "empty": "allow", "min_labels": None, "max_labels": None}


def decide_top(scores: TopScores, decision: dict[str, Any]) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """Label sets, and the rows that the kept scores do not settle.

    Args:
        scores: Calibrated probabilities kept in part, (N, L).
        decision: As stored in config.json.

    Returns:
        The label sets, bool CSR, (N, L), and the unsettled rows, ascending: their sets hold the chosen ones among the
        labels whose scores were kept, the others taken to be 0.

    Raises:
        ValueError: If the rule needs all scores of a row, or as `check_settings`.

    Cost: O(N L) time; memory of one block and the label sets.

    Example:
        >>> kept = TopScores(sparse.csr_array(([0.9, 0.6], ([0, 1], [0, 1])), shape=(2, 3)), np.array([0.2, 0.55]))
        >>> from hf_multilabel.remote_code.decision_multilabel import default_decision
        >>> sets, unsettled = decide_top(kept, default_decision())
        >>> sets.indices.tolist(), unsettled.tolist()
        ([0, 1], [1])
    """
    if decision["rule"] not in ABLE:
        raise ValueError(
            f"rule: expected one of {', '.join(ABLE)} for scores kept in part, found {decision['rule']!r}. "
            "Keep all scores."
        )
    rows, labels = scores.shape
    check_settings(decision, labels)
    decision = {**decision, "thresholds": torch.as_tensor(decision["thresholds"], dtype=torch.float64)}
    step = max(1, BLOCK // labels)
    sets: list[NDArray[np.int32]] = []
    sizes, unsettled = np.zeros(rows, np.int64), []
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        row, label, value = _kept(scores, start, stop)
        block = np.repeat(scores.floor[start:stop, None], labels, axis=1)  # (n, L)
        chosen = _choose(block, row, label, value, decision)
        in_doubt = _takes_unkept(chosen, row, label)
        if decision["rule"] == "threshold_top_k":
            highest = _choose(block, row, label, value, {**decision, **COUNT_ALONE})
            in_doubt |= _takes_unkept(highest, row, label)
        if in_doubt.any():
            block[in_doubt] = 0
            chosen = _choose(block, row, label, value, decision)
        held = chosen[row, label]
        sets.append(label[held].astype(np.int32))
        sizes[start:stop] = np.bincount(row[held], minlength=stop - start)
        unsettled.append(start + np.flatnonzero(in_doubt))
    ids, indptr = np.concatenate(sets), np.concatenate([[0], np.cumsum(sizes)])
    found = sparse.csr_array((np.ones(len(ids), np.bool_), ids, indptr), shape=(rows, labels))
    return found, np.concatenate(unsettled)


def _kept(scores: TopScores, start: int, stop: int) -> tuple[NDArray, NDArray, NDArray]:
    """Row within the block, label and value of the kept scores of some rows."""
    indptr = scores.stored.indptr
    part = slice(indptr[start], indptr[stop])
    row = np.repeat(np.arange(stop - start), np.diff(indptr[start : stop + 1]))
    return row, scores.stored.indices[part], scores.stored.data[part]


def _takes_unkept(chosen: NDArray[np.bool_], row: NDArray, label: NDArray) -> NDArray[np.bool_]:
    """Rows that are given a label whose score was not kept, (n,)."""
    return chosen.sum(1) > np.bincount(row, chosen[row, label], len(chosen))


def _choose(
    block: NDArray[np.floating], row: NDArray, label: NDArray, value: NDArray, decision: dict[str, Any]
) -> NDArray[np.bool_]:
    block[row, label] = value
    return decide_block(torch.from_numpy(block).double(), decision["thresholds"], decision).numpy()
