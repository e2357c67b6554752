"""Every loss of the registry against its twin, numerical gradients, half precision, and unknown labels."""

from __future__ import annotations

import inspect

import pytest
import torch

from hf_multilabel.losses import LOSSES
from tests.losses.twins import rows_of

N, L = 5, 6
VECTORS = {
    "pos_weight": torch.tensor([0.5, 1.0, 2.0, 9.0, 3.0, 1.0]),
    "class_weight": torch.tensor([1.0, 0.1, 2.0, 1.5, 0.0, 1.4]),
    "frequency": torch.tensor([0.5, 0.01, 0.2, 0.002, 0.9, 0.05]),
}
OPTIONS = [
    *[(name, {}) for name in LOSSES],
    ("focal", {"gamma": 0.5}),
    ("focal", {"gamma": 1.0, "alpha": 0.25}),
    ("asymmetric", {"gamma_pos": 1.0, "gamma_neg": 3.0, "clip": 0.2}),
    ("asymmetric", {"gamma_neg": 0.5, "clip": 0.3}),
    ("asymmetric", {"gamma_neg": 2.0, "clip": 0.0}),
    ("class_balanced", {"gamma": 2.0}),
    ("distribution_balanced", {"gamma": 0.0, "map_alpha": 0.2, "map_beta": 5.0, "map_mu": 0.9}),
    ("distribution_balanced", {"neg_scale": 5.0, "kappa": 0.3}),
]
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options in OPTIONS]
TARGETS = {
    "hard": lambda hard, draw: hard,
    "soft": lambda hard, draw: torch.where(draw < 0.5, hard, draw),
    "unknown": lambda hard, draw: torch.where(draw < 0.4, -1.0, hard),
}


def vectors_of(name: str) -> dict[str, torch.Tensor]:
    return {key: VECTORS[key] for key in inspect.signature(LOSSES[name]).parameters if key in VECTORS}


@pytest.fixture
def logits() -> torch.Tensor:
    return 4 * torch.randn(N, L, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=TARGETS)
def targets(request: pytest.FixtureRequest) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    hard = (torch.rand(N, L, generator=generator) < 0.4).float()
    hard[2] = 0  # a row without labels
    return TARGETS[request.param](hard, torch.rand(N, L, generator=generator))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
def test_loss_equals_its_twin(name: str, options: dict, smoothing: float, logits, targets) -> None:
    values = {**vectors_of(name), **options, "smoothing": smoothing}
    expected = rows_of(name, logits, targets, **values)
    found = LOSSES[name](logits, targets, reduction="rows", **values)
    torch.testing.assert_close(found, expected.float(), rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(LOSSES[name](logits, targets, **values), expected.mean().float(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "rows"])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
def test_gradients_are_right(name: str, options: dict, reduction: str, logits, targets) -> None:
    values = {key: vector.double() for key, vector in vectors_of(name).items()} | options
    assert torch.autograd.gradcheck(
        lambda z: LOSSES[name](z, targets.double(), reduction=reduction, smoothing=0.05, **values),
        (logits.double().requires_grad_(),),
    )


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_stay_finite_in_float32(name: str, options: dict, dtype: torch.dtype) -> None:
    logits = torch.tensor([[-3e4, 3e4, 0.0, -3e4, 3e4, -2.944]], dtype=dtype, requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]], dtype=dtype)
    loss = LOSSES[name](logits, targets, **vectors_of(name), **options)
    loss.backward()
    assert loss.dtype == torch.float32
    assert bool(loss.isfinite())
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_rounds_nothing(name: str, logits, targets) -> None:
    plain = LOSSES[name](logits, targets, reduction="rows", **vectors_of(name))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LOSSES[name](logits, targets, reduction="rows", **vectors_of(name)), plain)


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_labels_have_no_say(name: str, logits) -> None:
    targets = torch.tensor([[1.0, 0.0, -1.0, 0.0, -1.0, 1.0]]).repeat(N, 1)
    vectors = vectors_of(name)
    known = targets[0] >= 0
    fewer = {key: vector[known] for key, vector in vectors.items()}
    logits.requires_grad_()
    found = LOSSES[name](logits, targets, reduction="rows", **vectors)
    torch.testing.assert_close(found, LOSSES[name](logits[:, known], targets[:, known], reduction="rows", **fewer))
    found.sum().backward()
    assert not logits.grad[:, ~known].any()
    assert logits.grad[:, known].abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_of_which_nothing_is_known_costs_nothing(name: str, logits) -> None:
    targets = torch.zeros(N, L)
    targets[1] = -1
    loss = LOSSES[name](logits.requires_grad_(), targets, reduction="rows", **vectors_of(name))
    loss.sum().backward()
    assert loss[1] == 0
    assert not logits.grad[1].any()
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("name", LOSSES)
def test_wrong_arguments_are_named(name: str) -> None:
    batch = (torch.zeros(2, L), torch.zeros(2, L))
    vectors = vectors_of(name)
    loss = LOSSES[name]
    with pytest.raises(ValueError, match=r"expected logits and targets of one shape .* found \(2, 6\) and \(2, 4\)"):
        loss(batch[0], torch.zeros(2, 4), **vectors)
    with pytest.raises(ValueError, match="expected logits and targets of one shape"):
        loss(torch.zeros(L), torch.zeros(L), **vectors)
    with pytest.raises(ValueError, match="reduction: expected mean or rows, found 'sum'"):
        loss(*batch, reduction="sum", **vectors)
    with pytest.raises(ValueError, match="smoothing: expected a number at least 0 and below 1, found 1.0"):
        loss(*batch, smoothing=1.0, **vectors)
    for key in vectors:
        with pytest.raises(ValueError, match=rf"{key}: expected shape \(6,\), found \(2,\)"):
            loss(*batch, **vectors | {key: torch.ones(2)})


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("focal", "gamma", -1.0),
        ("focal", "alpha", 0.0),
        ("focal", "alpha", 1.0),
        ("asymmetric", "gamma_pos", -0.1),
        ("asymmetric", "gamma_neg", float("nan")),
        ("asymmetric", "clip", 1.0),
        ("class_balanced", "gamma", -1.0),
        ("distribution_balanced", "neg_scale", 0.0),
        ("distribution_balanced", "kappa", -0.1),
        ("distribution_balanced", "map_beta", -1.0),
    ],
)
def test_options_out_of_range_are_named(name: str, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{option}: expected a number .* found {value}"):
        LOSSES[name](torch.zeros(1, L), torch.zeros(1, L), **vectors_of(name), **{option: value})
