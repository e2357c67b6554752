"""Of a large matrix of scores, what is worth keeping: each row's highest, its positives', and where those stand.

Batches come in any order and from any process; what is kept of a row depends on that row alone. The places of the
positives are counted among all scores of the row while they are there, so that metrics of a row's ranking stay exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from hf_multilabel.evaluation.scores import TopScores

# Above so many labels no N x L array of scores is kept in evaluation.
SMALL_LABEL_SET = 1000
# Scores kept of each row where nothing else is said. The floor of a row is then the probability of its 60th label or
# so, far below any cut that is worth having.
KEEP_SCORES = 64
# Scores compared at once when places are counted.
CHUNK = 1 << 20


def is_kept_in_part(labels: int, keep: int | None) -> bool:
    """Whether scores of so many labels are kept in part; `keep` as of `training.scoring.score_split`.

    Example:
        >>> is_kept_in_part(1000, None), is_kept_in_part(1001, None), is_kept_in_part(1001, 1001)
        (False, True, False)
    """
    return labels > SMALL_LABEL_SET if keep is None else keep < labels


def tell_unsettled(found: Mapping[str, Any]) -> str | None:
    """That kept scores do not tell all labels of some texts, and what that does to their metrics, where there are any.

    Args:
        found: Metrics of a decision.

    Example:
        >>> tell_unsettled({"rows_unsettled": 2, "rows": 50}).partition(". ")[0]
        '2 of 50 texts may get labels whose scores were not kept'
    """
    if not (unsettled := found.get("rows_unsettled")):
        return None
    return (
        f"{unsettled:,} of {found['rows']:,} texts may get labels whose scores were not kept. Such labels are wrong, "
        "and not counted: precision and F1 are too good here."
    )


@dataclass(frozen=True)
class RankedScores:
    """Scores kept in part, with the places of the positives among all scores of their row.

    Args:
        top: The kept scores, (N, L).
        at_least: Scores of its row as high as each positive or higher, itself included, in CSR order of the targets,
            (P,).
        above: Scores of its row that are higher, (P,).
        decide_again: From a decision to its label sets by all scores, CSR (N, L), where the model is at hand; asked
            only where kept scores do not tell all labels of a text.
    """

    top: TopScores
    at_least: NDArray[np.int32]
    above: NDArray[np.int32]
    decide_again: Callable[[dict[str, Any]], sparse.csr_array] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Texts and labels: (N, L)."""
        return self.top.shape

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        stored = self.top.stored
        arrays = (stored.data, stored.indices, stored.indptr, self.top.floor, self.at_least, self.above)
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True)
class KeptBlock:
    """What is kept of some rows: `ids`, `values`, `at_least` and `above` row after row, in the order of `rows`."""

    rows: NDArray[np.int64]
    ids: NDArray[np.int32]
    values: NDArray[np.float32]
    floor: NDArray[np.float32]
    at_least: NDArray[np.int32]
    above: NDArray[np.int32]


class ScoreKeeper:
    """Takes batches of probabilities and keeps at most 8 k bytes a row of them.

    A row with p positives keeps their scores and places, a floor, and its highest other scores, k - 1 - p scores in
    all; if its positives alone are more, it keeps them and nothing else.

    Args:
        targets: True label sets, canonical CSR, (N, L).
        k: Of the size: k numbers of 8 bytes a row.

    Raises:
        ValueError: If k is below 2.

    Cost: 8 N k + O(P) bytes; a batch of n rows one partial sort and O(p n L) comparisons.

    Example:
        >>> keeper = ScoreKeeper(sparse.csr_array([[False, True, False]]), k=3)
        >>> keeper.place(keeper.select(np.array([0]), torch.tensor([[0.75, 0.25, 0.5]])))
        >>> keeper.finish().top.floor, keeper.finish().at_least
        (array([0.75], dtype=float32), array([3], dtype=int32))
    """

    def __init__(self, targets: sparse.csr_array, k: int = KEEP_SCORES) -> None:
        if k < 2:
            raise ValueError(f"k: expected 2 or more, found {k!r}. Try {KEEP_SCORES}.")
        self.targets = targets
        rows, labels = targets.shape
        positives = np.diff(targets.indptr)
        self._sizes = np.minimum(np.maximum(positives, k - 1 - positives), labels)
        total = int(self._sizes.sum())
        kind = np.int32 if total < 1 << 31 else np.int64
        self._start = np.concatenate([[0], np.cumsum(self._sizes)]).astype(kind)
        self._ids, self._values = np.zeros(total, np.int32), np.zeros(total, np.float32)
        self._floor, self._missing = np.zeros(rows, np.float32), rows
        self._at_least, self._above = np.zeros(targets.nnz, np.int32), np.zeros(targets.nnz, np.int32)

    def select(self, rows: NDArray[np.int64], probs: Tensor) -> KeptBlock:
        """What is kept of a batch.

        Args:
            rows: Their places in the targets, (n,).
            probs: All probabilities of these rows, (n, L), on any device.
        """
        probs = probs.detach().float()
        labels = probs.shape[1]
        held = self.targets[rows]
        row = torch.from_numpy(np.repeat(np.arange(len(rows)), np.diff(held.indptr))).to(probs.device)
        label = torch.from_numpy(held.indices.astype(np.int64)).to(probs.device)
        sizes = torch.from_numpy(self._sizes[rows].astype(np.int64)).to(probs.device)[:, None]  # (n, 1)
        order = probs.index_put((row, label), torch.tensor(float("inf"), device=probs.device))  # positives first
        depth = min(int(sizes.max()) + 1, labels)
        ids = order.topk(depth, dim=1).indices  # (n, depth)
        # the first that is not kept; a row that keeps all has nothing below its floor
        next_one = probs.gather(1, ids.gather(1, sizes.clamp(max=depth - 1)))[:, 0]
        floor = torch.where(sizes[:, 0] < labels, next_one, 0)
        kept = torch.arange(depth, device=probs.device) < sizes
        ids = ids.masked_fill(~kept, labels).sort(dim=1).values  # the kept ones first, by label
        values = probs.gather(1, ids.clamp(max=labels - 1))[kept]
        places = count_places(probs, row, label)
        arrays = (ids[kept].int(), values, floor, *(place.int() for place in places))
        return KeptBlock(rows, *(array.cpu().numpy() for array in arrays))

    def place(self, block: KeptBlock) -> None:
        """Put what was kept of a batch where it belongs."""
        taken = _slots(self._start, block.rows)
        self._ids[taken], self._values[taken] = block.ids, block.values
        self._floor[block.rows] = block.floor
        positives = _slots(self.targets.indptr, block.rows)
        self._at_least[positives], self._above[positives] = block.at_least, block.above
        self._missing -= len(block.rows)

    def finish(self) -> RankedScores:
        """All that was kept.

        Raises:
            ValueError: If rows are missing, or a score is no probability.
        """
        if self._missing:
            raise ValueError(f"rows: expected each of {len(self._floor)} once, found {self._missing} missing. Add all.")
        stored = sparse.csr_array((self._values, self._ids, self._start), shape=self.targets.shape)
        stored.has_canonical_format = True
        return RankedScores(TopScores(stored, self._floor), self._at_least, self._above)


def count_places(probs: Tensor, row: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """How many scores of its row are as high as that of each pair, and how many higher: (n, L) -> (p,), (p,)."""
    score = probs[row, label]
    return _count_in_numpy(probs, row, score) if probs.device.type == "cpu" else _count_in_blocks(probs, row, score)


def _count_in_numpy(probs: Tensor, row: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """`count_places` pair by pair: on a CPU a fifth of the time of `_count_in_blocks`, and no block."""
    table, pairs = probs.numpy(), list(zip(row.tolist(), score.numpy(), strict=True))
    at_least = [np.count_nonzero(table[place] >= own) for place, own in pairs]
    above = [np.count_nonzero(table[place] > own) for place, own in pairs]
    return torch.tensor(at_least, dtype=torch.int64), torch.tensor(above, dtype=torch.int64)


def _count_in_blocks(probs: Tensor, row: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """`count_places` of many pairs at once, for a GPU."""
    at_least, above = torch.empty_like(row), torch.empty_like(row)
    step = max(1, CHUNK // probs.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        block, own = probs[row[part]], score[part, None]
        at_least[part], above[part] = (block >= own).sum(1), (block > own).sum(1)
    return at_least, above


def _slots(start: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the rows' entries in CSR arrays, row after row."""
    sizes = start[rows + 1] - start[rows]
    first = np.cumsum(sizes) - sizes
    return np.repeat(start[rows] - first, sizes) + np.arange(sizes.sum())
