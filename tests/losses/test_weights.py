"""Label weights against their formulas, and the labels no formula covers."""

from __future__ import annotations

import math

import pytest
import torch

from hf_multilabel.losses import CLASS_WEIGHTS, class_weights

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
        ({"cap": 0.0}, "cap: expected a number above 0"),
        ({"beta": 0.9}, "beta: expected the rule effective_number"),
        ({"rule": "effective_number", "beta": 1.0}, r"beta: expected a number in \[0, 1\)"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weights(**{"rule": "inverse", "counts": [1], "rows": ROWS} | arguments)
