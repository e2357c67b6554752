from __future__ import annotations

import pytest

from hf_multilabel.decisions.row_sketch import BYTES, KEPT, KEPT_OF_TRAINING, shared_rows, sketch_rows

TEXTS = [f"text {number}" for number in range(6000)]
OTHERS = [f"another {number}" for number in range(6000)]


@pytest.mark.parametrize(("some", "share"), [(slice(0, 1), 1.0), (slice(90, 110), 0.5), (slice(200, 300), 0.0)])
def test_few_rows_are_known_one_by_one(some: slice, share: float) -> None:
    assert shared_rows(sketch_rows(TEXTS[:100]), TEXTS[some]) == share


@pytest.mark.parametrize(
    ("asked", "share"),
    [
        (TEXTS[::-1], 1.0),
        (TEXTS[1000:1500], 1.0),  # a part
        (TEXTS + OTHERS, 0.5),  # more than those
        (TEXTS[:600] + OTHERS[:5400], 0.1),
        (OTHERS, 0.0),
    ],
)
def test_of_many_rows_a_sample_tells(asked: list[str], share: float) -> None:
    found = shared_rows(sketch_rows(TEXTS), asked)
    assert found == (pytest.approx(share, abs=0.05) if 0 < share < 1 else share)


def test_too_few_to_tell_is_nothing() -> None:
    assert shared_rows(sketch_rows(TEXTS), TEXTS[:5]) == 0.0


def test_a_larger_sketch_knows_a_few_hundred_of_many_rows() -> None:
    many = [f"row {number}" for number in range(40_000)]
    assert shared_rows(sketch_rows(many, KEPT_OF_TRAINING), [*many[:300], *OTHERS[:300]]) == pytest.approx(0.5, abs=0.2)
    assert shared_rows(sketch_rows(many, KEPT_OF_TRAINING), OTHERS[:600]) == 0.0


def test_a_sketch_is_small_and_knows_no_order_or_repetition() -> None:
    sketch = sketch_rows(TEXTS)
    assert len(sketch) == KEPT * BYTES * 8 // 6
    assert sketch == sketch_rows([*TEXTS[::-1], *TEXTS[:50]])
    assert shared_rows(sketch_rows(["lone \ud800"]), ["lone \ud800", "a"]) == 0.5
