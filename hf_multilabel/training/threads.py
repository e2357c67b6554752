"""CPU threads: the cores of the machine, shared out over its processes."""

from __future__ import annotations

import os

import torch


def share_cores(threads: int | None = None) -> int:
    """Let this process compute on its share of the cores.

    `accelerate launch` sets OMP_NUM_THREADS to 1 where nobody set it, and training on a CPU then takes twice as long on
    two cores and many times as long on many. Any other number, and processes started otherwise, are left alone.

    Args:
        threads: How many; None takes cores / processes on this machine under `accelerate launch`, and else changes
            nothing.

    Returns:
        Threads of this process from now on.
    """
    if threads is None and "ACCELERATE_MIXED_PRECISION" in os.environ and os.environ.get("OMP_NUM_THREADS") == "1":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()
