"""What the binary losses promise beyond the matrix of all losses, and what the others become at their limits."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from hf_multilabel.losses import asymmetric, bce, class_balanced, distribution_balanced, focal, weighted_bce, zlpr
from tests.losses.twins import rows_of


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(4, 5, generator=generator)
    return logits, (torch.rand(4, 5, generator=generator) < 0.4).float()


def test_plain_loss_is_torchs_own(batch) -> None:
    torch.testing.assert_close(bce(*batch), F.binary_cross_entropy_with_logits(*batch))


@pytest.mark.parametrize("kind", ["pos_weight", "class_weight"])
def test_either_weight_alone_equals_the_loop(kind: str, batch) -> None:
    weight = torch.tensor([0.5, 1.0, 2.0, 9.0, 3.0])
    expected = rows_of("weighted_bce", *batch, **{kind: weight})
    torch.testing.assert_close(weighted_bce(*batch, reduction="rows", **{kind: weight}), expected.float())


def test_small_losses_survive_half_precision() -> None:
    loss = bce(torch.tensor([[12.0]], dtype=torch.bfloat16), torch.ones(1, 1))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-12.0)), rel=1e-5)


def test_others_become_cross_entropy_at_their_limits(batch) -> None:
    expected = bce(*batch, reduction="rows")
    ones = torch.ones(5)
    torch.testing.assert_close(focal(*batch, gamma=0.0, reduction="rows"), expected)
    torch.testing.assert_close(class_balanced(*batch, ones, reduction="rows"), expected)
    torch.testing.assert_close(asymmetric(*batch, gamma_neg=0.0, clip=0.0, reduction="rows"), expected)
    plain = {"gamma": 0.0, "neg_scale": 1.0, "kappa": 0.0, "map_alpha": 0.5, "map_beta": 0.0}
    torch.testing.assert_close(distribution_balanced(*batch, ones / 2, **plain, reduction="rows"), expected)


def test_smoothing_is_the_loss_of_a_label_that_is_flipped_by_chance(batch) -> None:
    logits, targets = batch
    flipped = 0.9 * bce(logits, targets, reduction="rows") + 0.1 * bce(logits, 1 - targets, reduction="rows")
    torch.testing.assert_close(bce(logits, targets, smoothing=0.2, reduction="rows"), flipped)


def test_very_easy_negatives_cost_nothing_under_the_asymmetric_loss() -> None:
    logits = torch.tensor([[-3.0, -2.9]], requires_grad=True)  # s(-3) < 0.05 < s(-2.9)
    asymmetric(logits, torch.zeros(1, 2)).backward()
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1] > 0


def test_rebalancing_spares_the_frequent_label_of_a_row_drawn_for_its_rare_one() -> None:
    frequency = torch.tensor([0.5, 0.005])
    both = torch.tensor([[1.0, 1.0]])
    logits = torch.zeros(1, 2, requires_grad=True)
    distribution_balanced(logits, both, frequency, kappa=0.0).backward()
    # r is 1 / 101 and 100 / 101: the weights lie near map_alpha + 0.13 and map_alpha + 1
    assert logits.grad[0, 1] / logits.grad[0, 0] == pytest.approx(
        (0.1 + 1 / (1 + math.exp(-10 * (100 / 101 - 0.2)))) / (0.1 + 1 / (1 + math.exp(-10 * (1 / 101 - 0.2)))),
        rel=1e-4,
    )


def test_zlpr_is_zero_bounded_cross_entropy_for_one_label() -> None:
    logits = torch.tensor([[1.3, -0.7, 0.2]])
    alone = zlpr(logits, torch.tensor([[1.0, 0.0, 0.0]]))
    others = math.log1p(math.exp(-0.7) + math.exp(0.2))
    assert alone.item() == pytest.approx(math.log1p(math.exp(-1.3)) + others, rel=1e-6)
