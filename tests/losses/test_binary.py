"""Binary losses against a float64 loop, numerical gradients, and the limits of half precision."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from hf_multilabel.losses import LOSSES, bce, build_loss, weighted_bce

N, L = 4, 5


def softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def loop_rows(logits, targets, pos_weight=None, class_weight=None) -> list[float]:
    """The definition, one float64 number at a time."""
    rows = []
    for z_row, y_row in zip(logits.tolist(), targets.tolist(), strict=True):
        total = 0.0
        for label, (z, y) in enumerate(zip(z_row, y_row, strict=True)):
            p = 1.0 if pos_weight is None else float(pos_weight[label])
            c = 1.0 if class_weight is None else float(class_weight[label])
            total += c * (p * y * softplus(-z) + (1 - y) * softplus(z))
        rows.append(total / len(z_row))
    return rows


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(N, L, generator=generator)
    return logits, (torch.rand(N, L, generator=generator) < 0.4).float()


def weights_of(name: str) -> dict[str, torch.Tensor]:
    known = {"pos_weight": torch.tensor([0.5, 1.0, 2.0, 9.0, 3.0]), "class_weight": torch.tensor([1.0, 0.1, 2, 1.5, 0])}
    return {key: known[key] for key in inspect.signature(LOSSES[name]).parameters if key in known}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_equals_the_loop(name: str, batch) -> None:
    logits, targets = batch
    weights = weights_of(name)
    expected = torch.tensor(loop_rows(logits, targets, **weights))
    torch.testing.assert_close(LOSSES[name](logits, targets, reduction="rows", **weights), expected)
    torch.testing.assert_close(LOSSES[name](logits, targets, **weights), expected.mean())


@pytest.mark.parametrize("kind", ["pos_weight", "class_weight"])
def test_either_weight_alone_equals_the_loop(kind: str, batch) -> None:
    weight = weights_of("weighted_bce")[kind]
    expected = torch.tensor(loop_rows(*batch, **{kind: weight}))
    torch.testing.assert_close(weighted_bce(*batch, reduction="rows", **{kind: weight}), expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "rows"])
def test_gradients_are_right(name: str, reduction: str, batch) -> None:
    logits, targets = (tensor.double() for tensor in batch)
    weights = {key: weight.double() for key, weight in weights_of(name).items()}
    assert torch.autograd.gradcheck(
        lambda z: LOSSES[name](z, targets, reduction=reduction, **weights), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_stay_finite_in_float32(name: str, dtype: torch.dtype) -> None:
    logits = torch.tensor([[-3e4, 3e4, 0.0, -3e4, 3e4]], dtype=dtype, requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0]], dtype=dtype)
    loss = LOSSES[name](logits, targets)
    loss.backward()
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite())
    assert bool(logits.grad.isfinite().all())


def test_small_losses_survive_half_precision() -> None:
    loss = bce(torch.tensor([[12.0]], dtype=torch.bfloat16), torch.ones(1, 1))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-12.0)), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": torch.zeros(2, 4)}, r"found \(2, 3\) and \(2, 4\)"),
        ({"logits": torch.zeros(3), "targets": torch.zeros(3)}, "expected logits and targets of one shape"),
        ({"reduction": "sum"}, "reduction: expected mean or rows, found 'sum'"),
        ({"pos_weight": torch.ones(2)}, r"pos_weight: expected shape \(3,\), found \(2,\)"),
        ({"class_weight": torch.ones(2, 3)}, r"class_weight: expected shape \(3,\)"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        weighted_bce(**{"logits": torch.zeros(2, 3), "targets": torch.zeros(2, 3)} | arguments)


def test_built_loss_carries_its_weights(batch) -> None:
    counts, rows = [1, 2, 3, 4, 0], 8
    loss = build_loss(
        "weighted_bce",
        counts,
        rows,
        pos_weight={"rule": "neg_pos_ratio", "cap": 3.0},
        class_weights={"rule": "inverse_sqrt", "normalize": True},
    )
    pos_weight = [3.0, 3.0, 5 / 3, 1.0, 1.0]
    raw = [math.sqrt(8), 2.0, math.sqrt(8 / 3), math.sqrt(2), math.sqrt(2)]
    class_weight = [5 * weight / sum(raw) for weight in raw]
    expected = torch.tensor(loop_rows(*batch, pos_weight=pos_weight, class_weight=class_weight))
    torch.testing.assert_close(loss(*batch), expected)


def test_built_loss_follows_the_logits_device() -> None:
    loss = build_loss("weighted_bce", [1, 2], 4, pos_weight={"rule": "inverse"})
    assert loss(torch.zeros(3, 2, device="meta"), torch.zeros(3, 2, device="meta")).device.type == "meta"


@pytest.mark.parametrize("name", LOSSES)
def test_built_loss_without_weights_is_plain(name: str, batch) -> None:
    torch.testing.assert_close(build_loss(name, [1] * L, 4)(*batch), bce(*batch, reduction="rows"))


def test_building_refuses_what_would_be_ignored() -> None:
    with pytest.raises(ValueError, match="loss.name: expected one of bce, weighted_bce, found 'focall'"):
        build_loss("focall", [1], 2)
    with pytest.raises(ValueError, match="expected weighted_bce for pos_weight, found 'bce'"):
        build_loss("bce", [1], 2, pos_weight={"rule": "inverse"})
    with pytest.raises(
        ValueError, match="loss.pos_weight: expected rule and at most normalize, cap and beta, found no"
    ):
        build_loss("weighted_bce", [1], 2, pos_weight={})
    with pytest.raises(ValueError, match="loss.class_weight: expected rule .* found rule, limit"):
        build_loss("weighted_bce", [1], 2, class_weights={"rule": "inverse", "limit": 3})
