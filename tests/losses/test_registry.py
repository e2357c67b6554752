"""From a recipe's line to a ready loss, and what is refused on the way."""

from __future__ import annotations

import math

import pytest
import torch

from hf_multilabel.losses import LOSSES, bce, build_loss, class_weights, loss_options, loss_weights
from tests.losses.twins import rows_of

COUNTS, ROWS = [1, 2, 3, 4, 0], 8


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(4, 5, generator=generator)
    return logits, (torch.rand(4, 5, generator=generator) < 0.4).float()


def test_built_loss_carries_its_weights(batch) -> None:
    loss = build_loss(
        "weighted_bce",
        COUNTS,
        ROWS,
        pos_weight={"rule": "neg_pos_ratio", "cap": 3.0},
        class_weights={"rule": "inverse_sqrt", "normalize": True},
    )
    pos_weight = [3.0, 3.0, 5 / 3, 1.0, 1.0]
    raw = [math.sqrt(8), 2.0, math.sqrt(8 / 3), math.sqrt(2), math.sqrt(2)]
    class_weight = [5 * weight / sum(raw) for weight in raw]
    expected = rows_of("weighted_bce", *batch, pos_weight=pos_weight, class_weight=class_weight)
    torch.testing.assert_close(loss(*batch), expected.float())


def test_class_balanced_has_cuis_weights(batch) -> None:
    loss = build_loss("class_balanced", COUNTS, ROWS, beta=0.9, gamma=2.0)
    raw = [(1 - 0.9) / (1 - 0.9**n) for n in COUNTS[:4]]
    weight = [5 * value / (sum(raw) + min(raw)) for value in [*raw, min(raw)]]
    torch.testing.assert_close(loss.weights["class_weight"], torch.tensor(weight))
    expected = rows_of("focal", *batch, class_weight=weight, gamma=2.0)
    torch.testing.assert_close(loss(*batch), expected.float(), rtol=1e-5, atol=1e-6)
    default = build_loss("class_balanced", COUNTS, ROWS).weights["class_weight"]
    torch.testing.assert_close(default, class_weights("effective_number", COUNTS, ROWS, normalize=True).float())


def test_distribution_balanced_has_the_training_frequencies(batch) -> None:
    loss = build_loss("distribution_balanced", COUNTS, ROWS, map_mu=0.9)
    frequency = [1 / 8, 2 / 8, 3 / 8, 4 / 8, 0.5 / 8]
    torch.testing.assert_close(loss.weights["frequency"], torch.tensor(frequency))
    expected = rows_of("distribution_balanced", *batch, frequency=frequency, map_mu=0.9)
    torch.testing.assert_close(loss(*batch), expected.float(), rtol=1e-5, atol=1e-6)


def test_rows_may_be_counted_for_each_label() -> None:
    loss = build_loss("weighted_bce", [1, 2], [4, 10], pos_weight={"rule": "neg_pos_ratio"})
    assert loss.weights["pos_weight"].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("name", LOSSES)
def test_built_loss_follows_the_logits_device(name: str) -> None:
    loss = build_loss(name, [1, 2], 4)
    assert loss(torch.zeros(3, 2, device="meta"), torch.zeros(3, 2, device="meta")).device.type == "meta"


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("counts", [[0, 0], [4, 4], [0, 4]], ids=["never", "always", "both"])
def test_labels_that_hold_never_or_always_do_no_harm(name: str, counts: list[int]) -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    loss = build_loss(name, counts, 4)(logits, torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    loss.sum().backward()
    assert bool(loss.isfinite().all())
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("name", ["bce", "weighted_bce"])
def test_built_loss_without_weights_is_plain(name: str, batch) -> None:
    torch.testing.assert_close(build_loss(name, [1] * 5, 4)(*batch), bce(*batch, reduction="rows"))


@pytest.mark.parametrize("name", LOSSES)
def test_every_option_is_taken_at_its_default(name: str, batch) -> None:
    options = {"beta": 0.999, "gamma": 2.0, "alpha": 0.5, "smoothing": 0.1, "neg_scale": 2.0}
    given = {key: options.get(key, 0.05) for key in loss_options(name)}
    assert build_loss(name, COUNTS, ROWS, **given)(*batch).shape == (4,)


def test_what_a_recipe_may_say() -> None:
    assert {name: loss_weights(name) for name in LOSSES} == {
        "bce": [],
        "weighted_bce": ["pos_weight", "class_weights"],
        "focal": ["class_weights"],
        "asymmetric": ["class_weights"],
        "class_balanced": [],
        "distribution_balanced": [],
        "zlpr": [],
    }
    assert all("smoothing" in loss_options(name) for name in LOSSES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "focall"}, "loss.name: expected one of bce, weighted_bce, .*found 'focall'"),
        (
            {"name": "bce", "pos_weight": {"rule": "inverse"}},
            "expected a loss that takes pos_weight, found 'bce'. Write weighted_bce, or",
        ),
        (
            {"name": "class_balanced", "class_weights": {"rule": "inverse"}},
            "takes class_weights, found 'class_balanced'. Write weighted_bce or focal or asymmetric",
        ),
        (
            {"name": "weighted_bce", "pos_weight": {}},
            "loss.pos_weight: expected rule and at most normalize, cap and beta, found no",
        ),
        (
            {"name": "weighted_bce", "class_weights": {"rule": "inverse", "limit": 3}},
            "loss.class_weights: expected rule .* found rule, limit",
        ),
        (
            {"name": "asymmetric", "gamma_negative": 4},
            r"loss.gamma_negative: expected an option of asymmetric \(gamma_pos, gamma_neg, clip, smoothing\), found "
            "'gamma_negative'. Write gamma_neg",
        ),
        ({"name": "zlpr", "gamma": 2}, r"expected an option of zlpr \(smoothing\), found 'gamma'. Remove it"),
        ({"name": "focal", "frequency": 1}, "expected an option of focal"),
        ({"name": "focal", "gamma": -1.0}, "gamma: expected a number at least 0, found -1.0"),
        ({"name": "class_balanced", "beta": 1.0}, r"beta: expected a number in \[0, 1\), found 1.0"),
        ({"name": "distribution_balanced", "rows": 0}, "counts: expected"),
    ],
)
def test_building_refuses_what_would_be_ignored(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_loss(**{"counts": [1], "rows": 2} | arguments)
