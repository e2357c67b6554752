"""Batches of texts of like length, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

POOL = 50


class LengthGroupedSampler(Sampler[int]):
    """Row order in which the rows of one optimizer step have like lengths, so that little is padded.

    Rows are shuffled, cut into pools of 50 steps, sorted by length inside a pool, cut into steps, and the steps are
    shuffled. The order is a function of (seed, epoch): every process computes the same one without talking, and a
    resumed run continues it. The Trainer's own sampler draws from the global generator, which dropout moves apart
    between processes, and groups by the rows of one process, so that 4 x 1 and 2 x 2 see different steps.

    Args:
        lengths: Tokens of each row, shape (N,).
        step_rows: Rows of one optimizer step over all processes and accumulated batches.
        seed: First half of the key of the order.
        draw: Epoch to the N rows to order, some of them several times; None: each row once.

    Cost: O(N log N) an epoch.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        step_rows: int,
        seed: int,
        draw: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.step_rows = step_rows
        self.seed = seed
        self.draw = draw
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.epoch))
        rows = generator.permutation(len(self.lengths) if self.draw is None else self.draw(self.epoch))
        size = self.step_rows * POOL
        pools = [rows[start : start + size] for start in range(0, len(rows), size)]
        rows = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        whole = len(rows) // self.step_rows * self.step_rows
        steps = rows[:whole].reshape(-1, self.step_rows)
        yield from steps[generator.permutation(len(steps))].ravel().tolist()
        # The short step stays last: everything before it falls on step boundaries for any number of processes.
        yield from rows[whole:].tolist()
