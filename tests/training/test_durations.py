from __future__ import annotations

import pytest

from hf_multilabel.training.durations import count_steps, duration_problems


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        (1, 1),
        (250, 250),
        (250.0, 250),
        (0.5, 150),
        (0.001, 1),
        (0.1, 30),
        ("1 epoch", 30),
        ("2 epochs", 60),
        ("0.5 epochs", 15),
        ("1.01 epochs", 31),
        ("12 steps", 12),
        (" 1step ", 1),
    ],
)
def test_durations_in_steps(duration: float | str, steps: int) -> None:
    assert duration_problems("x", duration) == []
    assert count_steps(duration, 300, 30) == steps


@pytest.mark.parametrize("duration", [0, -1, 1.5, "1", "epoch", "0 epochs", "2 weeks", True, None, [1]])
def test_what_is_no_duration(duration: object) -> None:
    assert duration_problems("unfreeze_after", duration)[0][0] == "unfreeze_after"
    with pytest.raises(ValueError, match="duration: expected a whole number of steps"):
        count_steps(duration, 300, 30)
