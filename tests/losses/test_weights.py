"""Label weights against their formulas, and the labels no formula covers."""

from __future__ import annotations

import math

import pytest
import torch
from rich.console import Console

from hf_multilabel.console import weights_table as console_table
from hf_multilabel.losses import CLASS_WEIGHTS, class_weights, weights_table
from hf_multilabel.losses.weights import label_frequency

COUNTS = [1, 3, 10, 40]
ROWS = 50
FORMULAS = {
    "neg_pos_ratio": lambda n: (ROWS - n) / n,
    "neg_pos_sqrt": lambda n: math.sqrt((ROWS - n) / n),
    "inverse": lambda n: ROWS / n,
    "inverse_sqrt": lambda n: math.sqrt(ROWS / n),
    "effective_number": lambda n: (1 - 0.999) / (1 - 0.999**n),
}


@pytest.mark.parametrize("rule", CLASS_WEIGHTS)
def test_rule_equals_its_formula(rule: str) -> None:
    expected = torch.tensor([FORMULAS[rule](n) for n in COUNTS], dtype=torch.float64)
    torch.testing.assert_close(class_weights(rule, COUNTS, ROWS), expected)


@pytest.mark.parametrize("rule", CLASS_WEIGHTS)
@pytest.mark.parametrize("counts", [[0, 1, 5, 50], [50, 50], [0, 0, 0]], ids=["never_and_always", "always", "never"])
def test_weights_are_finite_and_above_zero(rule: str, counts: list[int]) -> None:
    weights = class_weights(rule, counts, ROWS)
    assert weights.dtype == torch.float64
    assert bool((weights.isfinite() & (weights > 0)).all())


@pytest.mark.parametrize("rule", CLASS_WEIGHTS)
def test_label_without_positive_draws_no_weight(rule: str) -> None:
    weights = class_weights(rule, [0, 1, 5, 40], ROWS, normalize=True)
    assert weights[0] == weights[1:].min()
    assert weights.sum().item() == pytest.approx(4)


def test_cap_bounds_before_normalizing() -> None:
    assert class_weights("inverse", [1, 25], ROWS, cap=4.0).tolist() == [4.0, 2.0]
    torch.testing.assert_close(
        class_weights("inverse", [1, 25], ROWS, cap=4.0, normalize=True), torch.tensor([4 / 3, 2 / 3]).double()
    )


def test_beta_moves_effective_number_from_equal_to_inverse() -> None:
    assert class_weights("effective_number", [1, 7], ROWS, beta=0.0).tolist() == [1.0, 1.0]
    steep = class_weights("effective_number", [1, 7], ROWS, beta=1 - 1e-9)
    assert (steep[0] / steep[1]).item() == pytest.approx(7, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "invers"}, "rule: expected one of neg_pos_ratio"),
        ({"counts": [51]}, r"counts: expected shape \(L,\) with values in \[0, 50\], found \[51.0\]"),
        ({"counts": [-1]}, "counts: expected"),
        ({"counts": []}, "counts: expected"),
        ({"counts": 3}, "counts: expected"),
        ({"counts": [1, 2], "rows": [1, 1]}, r"values in \[0, the rows of the label\]"),
        ({"counts": [1, 2], "rows": [1, 2, 3]}, "counts: expected"),
        ({"cap": 0.0}, "cap: expected a number above 0"),
        ({"beta": 0.9}, "beta: expected the rule effective_number"),
        ({"rule": "effective_number", "beta": 1.0}, r"beta: expected a number in \[0, 1\)"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weights(**{"rule": "inverse", "counts": [1], "rows": ROWS} | arguments)


@pytest.mark.parametrize("rule", CLASS_WEIGHTS)
def test_rows_may_be_counted_for_each_label(rule: str) -> None:
    together = class_weights(rule, [3, 10], [20, 50])
    apart = [class_weights(rule, [n], rows).item() for n, rows in ((3, 20), (10, 50))]
    assert together.tolist() == pytest.approx(apart)


def test_frequency_stays_half_a_row_from_never_and_always() -> None:
    assert label_frequency([0, 3, 10], 10).tolist() == [0.05, 0.3, 0.95]
    assert label_frequency([0, 1], [0, 1]).tolist() == [0.5, 0.5]


def test_table_holds_what_each_label_weighs() -> None:
    weights = {"pos_weight": torch.tensor([3.0, 1.0]), "class_weight": torch.tensor([1.2, 0.8])}
    assert weights_table(["a", "b"], [1, 2], [4, 8], weights) == [
        {"label": "a", "positives": 1, "share": 0.25, "pos_weight": 3.0, "class_weight": 1.2},
        {"label": "b", "positives": 2, "share": 0.25, "pos_weight": 1.0, "class_weight": 0.8},
    ]


def test_printed_table_shows_both_ends_of_many_labels() -> None:
    rows = [{"label": f"name [b]{n}", "positives": n, "share": n / 100, "pos_weight": 100 / (n + 1)} for n in range(40)]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(console_table(rows, ends=2))
    shown = capture.get()
    assert [f"[b]{n} " in shown for n in (39, 38, 37, 2, 1, 0)] == [True, True, False, False, True, True]
    assert "36 more" in shown
    with console.capture() as capture:
        console.print(console_table(rows[:5], ends=2))
    assert all(f"[b]{n} " in capture.get() for n in range(5))
