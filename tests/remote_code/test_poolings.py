"""Every pooling against a loop over texts; padding never changes anything."""

from __future__ import annotations

import pytest
import torch

from hf_multilabel.remote_code.poolings_multilabel import POOLINGS

# the others read what the backbone pooled, see test_modeling
OWN = [name for name, pooling in POOLINGS.items() if not pooling.reads_pooler]

MASKS = {
    "right": [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
    "left": [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]],
    "between": [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]],
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("side", MASKS)
def test_pooling_sees_real_tokens_only(name: str, side: str) -> None:
    mask = torch.tensor(MASKS[side])
    states = torch.randn(2, 5, 8)
    pooling = POOLINGS[name](8)
    expected = torch.cat(
        [
            pooling(row[keep.bool()][None], torch.ones(1, int(keep.sum())))
            for row, keep in zip(states, mask, strict=True)
        ]
    )
    dirty = states.masked_fill(~mask.bool()[..., None], float("nan"))
    torch.testing.assert_close(pooling(dirty, mask), expected)


@pytest.mark.parametrize("name", OWN)
def test_text_without_tokens_pools_to_zero_with_finite_gradients(name: str) -> None:
    pooling, states = POOLINGS[name](8), torch.randn(2, 5, 8, requires_grad=True)
    pooled = pooling(states, torch.tensor([[0] * 5, [1] * 5]))
    assert pooled[0].abs().sum() == 0
    pooled.sum().backward()
    assert states.grad.isfinite().all()


def test_simple_poolings_are_what_they_say() -> None:
    states, mask = torch.randn(2, 5, 8), torch.tensor(MASKS["left"])
    real = states[0, 2:]
    torch.testing.assert_close(POOLINGS["cls"](8)(states, mask)[0], real[0])
    torch.testing.assert_close(POOLINGS["mean"](8)(states, mask)[0], real.mean(0))
    torch.testing.assert_close(POOLINGS["max"](8)(states, mask)[0], real.max(0).values)


def test_attention_weighs_by_the_learned_query() -> None:
    pooling, states = POOLINGS["attention"](8), torch.randn(1, 5, 8)
    scores = torch.tanh(states[0] @ pooling.key.weight.T + pooling.key.bias) @ pooling.query.weight[0]
    weights = scores.exp() / scores.exp().sum()
    torch.testing.assert_close(pooling(states, torch.ones(1, 5))[0], weights @ states[0])


def test_pooler_is_passed_on_in_the_precision_of_the_states() -> None:
    states, pooled = torch.randn(2, 5, 8), torch.randn(2, 8).bfloat16()
    found = POOLINGS["pooler"](8)(states, torch.ones(2, 5), pooled)
    assert found.dtype == torch.float32
    assert torch.equal(found, pooled.float())
