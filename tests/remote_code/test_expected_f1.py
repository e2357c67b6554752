"""Sets of the highest expected F1 against enumeration of all truths and all sets."""

from __future__ import annotations

import itertools

import pytest
import torch

from hf_multilabel.remote_code import expected_f1_multilabel
from hf_multilabel.remote_code.decision_multilabel import check_settings, decide_probabilities, default_decision
from hf_multilabel.remote_code.expected_f1_multilabel import expected_f1, expected_f1_sets

SIZE = 6
SETS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=SIZE)), dtype=torch.float64)  # (64, L)


def enumerate_f1(probs: torch.Tensor) -> torch.Tensor:
    """Expected F1 of every set, by its definition over all truths: (n, L) -> (n, 64)."""
    chance = torch.stack([(truth * probs + (1 - truth) * (1 - probs)).prod(1) for truth in SETS], 1)  # (n, truths)
    both, sizes = SETS @ SETS.T, SETS.sum(1)
    f1 = torch.where(sizes[:, None] + sizes > 0, 2 * both / (sizes[:, None] + sizes), 1.0)
    return chance @ f1


def rows() -> torch.Tensor:
    drawn = torch.rand(150, SIZE, dtype=torch.float64) ** torch.randint(1, 5, (150, 1))
    tied = torch.randint(0, 5, (50, SIZE)).double() / 4
    return torch.cat([drawn, tied, torch.zeros(1, SIZE), torch.ones(1, SIZE)])


@pytest.mark.parametrize(("least", "most"), [(0, None), (1, None), (0, 2), (2, 4), (3, 3)])
def test_sets_are_the_best_of_all(least: int, most: int | None) -> None:
    probs = rows()
    chosen = expected_f1_sets(probs, least, most)
    value = enumerate_f1(probs)
    allowed = (SETS.sum(1) >= least) & (SETS.sum(1) <= (SIZE if most is None else most))
    index = (chosen.double() @ 2.0 ** torch.arange(SIZE - 1, -1, -1, dtype=torch.float64)).long()
    found = value.gather(1, index[:, None]).squeeze(1)
    assert allowed[index].all()
    torch.testing.assert_close(found, value[:, allowed].max(1).values)


def test_values_are_the_expectations() -> None:
    probs = rows().sort(dim=1, descending=True).values
    first = torch.tensor([[1.0] * k + [0.0] * (SIZE - k) for k in range(SIZE + 1)], dtype=torch.float64)
    places = (first @ 2.0 ** torch.arange(SIZE - 1, -1, -1, dtype=torch.float64)).long()
    torch.testing.assert_close(expected_f1(probs), enumerate_f1(probs)[:, places])


def test_beyond_the_top_the_rest_counts_as_poisson(monkeypatch: pytest.MonkeyPatch) -> None:
    probs = torch.cat([torch.rand(40, 8), torch.rand(40, 300) * 0.01], 1).double().sort(1, descending=True).values
    probs[0, 8:] = 0
    exact = expected_f1_multilabel.expected_f1(probs[:, :100])
    monkeypatch.setattr(expected_f1_multilabel, "TOP", 10)
    near = expected_f1_multilabel.expected_f1(probs[:, :100])
    slack = (probs[:, 10:100] ** 2).sum(1, keepdim=True)
    assert ((near - exact[:, :11]).abs() <= slack + 1e-12).all()
    assert expected_f1_sets(probs).shape == probs.shape


def test_many_labels_and_large_sums_stay_finite() -> None:
    value = expected_f1(torch.full((2, 5000), 0.03, dtype=torch.float64))
    assert ((value >= 0) & (value <= 1)).all()


def test_equal_labels_go_by_their_ids_and_one_row_counts_alone() -> None:
    probs = rows()
    whole = expected_f1_sets(probs)
    torch.testing.assert_close(whole, torch.cat([expected_f1_sets(row[None]) for row in probs]))
    assert expected_f1_sets(torch.full((1, 4), 0.3).double(), 2, 2).tolist() == [[True, True, False, False]]


def test_the_decision_takes_the_rule_with_its_limits() -> None:
    probs = rows().float()
    decision = {**default_decision(), "rule": "expected_f1"}
    check_settings(decision, SIZE)
    torch.testing.assert_close(decide_probabilities(probs, decision), expected_f1_sets(probs.double()))
    one = {**decision, "empty": "at_least_one", "max_labels": 2}
    torch.testing.assert_close(decide_probabilities(probs, one), expected_f1_sets(probs.double(), 1, 2))
    assert decide_probabilities(probs[:0], decision).shape == (0, SIZE)
