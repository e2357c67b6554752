"""Every head keeps the contract that trainers rely on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hf_multilabel.remote_code.heads_multilabel import ACTIVATIONS, HEADS


@pytest.mark.parametrize("name", HEADS)
def test_output_of_features_is_the_forward_pass(name: str) -> None:
    head = HEADS[name](8, 5).eval()
    states, mask, pooled = torch.randn(3, 4, 8), torch.ones(3, 4), torch.randn(3, 8)
    features = head.features(states, mask, pooled)
    assert head.needs in ("pooled", "tokens")
    assert isinstance(head.output, nn.Linear)
    assert features.shape == (3, head.output.in_features)
    torch.testing.assert_close(head.output(features), head(states, mask, pooled))
    assert head(states, mask, pooled).shape == (3, 5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", HEADS)
def test_activation_is_applied(name: str, activation: str) -> None:
    head = HEADS[name](8, 5, activation=activation, dropout=0.0)
    pooled = torch.randn(3, 8)
    inner = pooled if name == "linear" else head.hidden(pooled)
    functions = {"none": lambda states: states, "tanh": torch.tanh, "gelu": nn.functional.gelu}
    torch.testing.assert_close(head.features(None, None, pooled), functions[activation](inner))


def test_mlp_takes_a_width() -> None:
    assert HEADS["mlp"](8, 5, width=3).output.weight.shape == (5, 3)


@pytest.mark.parametrize("name", HEADS)
def test_unknown_activation_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"activation: expected one of \['gelu', 'none', 'tanh'\], found 'swish'"):
        HEADS[name](8, 5, activation="swish")
