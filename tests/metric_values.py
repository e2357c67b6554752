"""Comparison of two measurements, intervals included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

# Metrics that need the label counts of the training split.
FROM_COUNTS = ("head_", "torso_", "tail_", "psp_", "psndcg_")


def assert_same_metrics(found: Mapping[str, Any], expected: Mapping[str, Any], *, counts: bool = True) -> None:
    """The same names and values to 1e-6.

    Args:
        found: Metric name to value; `intervals` from metric name to [low, high].
        expected: The same.
        counts: Whether `found` knew the training counts; without them it lacks the metrics that need them.
    """
    wanted = {name: value for name, value in expected.items() if counts or not name.startswith(FROM_COUNTS)}
    intervals, wanted_intervals = found.get("intervals", {}), dict(wanted.get("intervals", {}))
    if not counts:
        wanted_intervals = {k: v for k, v in wanted_intervals.items() if not k.startswith(FROM_COUNTS)}
    plain = {name: value for name, value in found.items() if name != "intervals"}
    assert plain == pytest.approx({k: v for k, v in wanted.items() if k != "intervals"}, abs=1e-6)
    assert intervals.keys() == wanted_intervals.keys()
    for name, interval in wanted_intervals.items():
        assert intervals[name] == pytest.approx(interval, abs=1e-6), name
