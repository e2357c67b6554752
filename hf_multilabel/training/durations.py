"""How long something lasts in training: optimizer steps, a share of all steps, or epochs."""

from __future__ import annotations

import math
import re
from typing import Any

from hf_multilabel.training.call_arguments import Problem

WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*(epoch|step)s?")
EXPECTED = "a whole number of steps, a share of all steps below 1, or text such as 2 epochs"


def count_steps(duration: float | str, total_steps: int, steps_per_epoch: int) -> int:
    """Optimizer steps of a duration, rounded up.

    Args:
        duration: 100 (steps), 0.1 (of all steps), "2 epochs", "0.5 epoch" or "100 steps".
        total_steps: Optimizer steps of the run.
        steps_per_epoch: Optimizer steps of one pass over the rows.

    Returns:
        At least 1.

    Raises:
        ValueError: If it is none of those.

    Example:
        >>> count_steps(0.1, 300, 100), count_steps("2 epochs", 300, 100), count_steps(7, 300, 100)
        (30, 200, 7)
    """
    if duration_problems("duration", duration):
        raise ValueError(f"duration: expected {EXPECTED}, found {duration!r}. Write for instance 0.1 or 1 epoch.")
    if isinstance(duration, str):
        amount, unit = _read(duration)
        steps = amount * (steps_per_epoch if unit == "epoch" else 1)
    else:
        steps = duration if duration >= 1 else duration * total_steps
    # 0.1 * 30 is 3.0000000000000004, which is three steps
    return max(1, math.ceil(round(steps, 6)))


def duration_problems(key: str, duration: Any) -> list[Problem]:
    """What keeps a value from being a duration: at most one problem."""
    if isinstance(duration, str):
        good = WRITTEN.fullmatch(duration.strip()) is not None and _read(duration)[0] > 0
    else:
        number = isinstance(duration, (int, float)) and not isinstance(duration, bool)
        good = number and (0 < duration < 1 or (duration >= 1 and float(duration).is_integer()))
    return [] if good else [(key, EXPECTED, repr(duration), "write for instance 0.1 or 1 epoch")]


def _read(duration: str) -> tuple[float, str]:
    found = WRITTEN.fullmatch(duration.strip())
    return float(found[1]), found[2]
