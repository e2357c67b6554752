"""Do something once, on the main process, and let every process know how it went."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

T = TypeVar("T")


def on_main(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function on the main process and return its result, or raise its error, on every process.

    Without this a check that fails on one process leaves the others waiting until the group's time-out.

    Args:
        function: Runs on the main process only.
        *args: For it.
        **kwargs: For it.

    Returns:
        Its result, everywhere.
    """
    state = PartialState()
    if state.num_processes == 1:
        return function(*args, **kwargs)
    outcome: list[Any] = [None, None]
    if state.is_main_process:
        try:
            outcome[0] = function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 -- every process must hear of any error
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def main_first(function: Callable[..., T]) -> Callable[..., T]:
    """Call a function on the main process, then on the others: they find in a cache what it downloaded.

    Args:
        function: Fails on every process, or on none, for the same arguments.

    Returns:
        The function with that order.
    """

    @functools.wraps(function)
    def ordered(*args: Any, **kwargs: Any) -> T:
        with PartialState().main_process_first():
            return function(*args, **kwargs)

    return ordered
