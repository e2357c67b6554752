"""The cnn, rnn and transformer heads against slow twins: loops over windows and tokens, and torch's own layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hf_multilabel.remote_code.heads_cnn_multilabel import CNNHead
from hf_multilabel.remote_code.heads_rnn_multilabel import RNNHead
from hf_multilabel.remote_code.heads_transformer_multilabel import TransformerHead

MASK = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "none"])
def test_cnn_is_the_loop_over_windows(activation: str) -> None:
    head = CNNHead(4, 3, widths=[2, 3], filters=5, activation=activation).eval().double()
    states = torch.randn(3, 6, 4, dtype=torch.float64)
    function = {"relu": torch.relu, "gelu": nn.functional.gelu, "tanh": torch.tanh, "none": lambda x: x}[activation]
    for text in range(3):
        length, features = int(MASK[text].sum()), []
        for convolution, width in zip(head.convolutions, (2, 3), strict=True):
            before = (width - 1) // 2
            for kernel, bias in zip(convolution.weight, convolution.bias, strict=True):
                responses = []
                for center in range(length):
                    places = range(center - before, center - before + width)
                    seen = [(i, p) for i, p in enumerate(places) if 0 <= p < length]
                    responses.append(function(bias + sum(kernel[:, i] @ states[text, p] for i, p in seen)))
                features.append(max(responses))
        found = head.features(states, MASK, None)[text]
        torch.testing.assert_close(found, torch.stack(features))


def unrolled(head: RNNHead, states: Tensor, direction: int) -> list[Tensor]:
    """States of one direction, in the order it reads, from the equations of the cell."""
    suffix = "_reverse" if direction else ""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    w, u, b, c = (getattr(head.recurrence, name + suffix) for name in names)
    width = u.shape[1]
    state, cell, found = torch.zeros(width).double(), torch.zeros(width).double(), []
    for token in reversed(states) if direction else states:
        given, kept = w @ token + b, u @ state + c
        if isinstance(head.recurrence, nn.LSTM):
            i, f, g, o = (given + kept).split(width)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            state = o.sigmoid() * cell.tanh()
        else:
            (r, z, n), (kr, kz, kn) = given.split(width), kept.split(width)
            update = (z + kz).sigmoid()
            state = (1 - update) * (n + (r + kr).sigmoid() * kn).tanh() + update * state
        found.append(state)
    return found


@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_rnn_is_the_loop_over_tokens(cell: str, directions: int, pooling: str) -> None:
    head = RNNHead(4, 3, cell=cell, directions=directions, width=5, pooling=pooling).eval().double()
    states = torch.randn(3, 6, 4, dtype=torch.float64)
    features = head.features(states, MASK, None)
    for text in range(3):
        length, parts = int(MASK[text].sum()), []
        for direction in range(directions):
            read = torch.stack(unrolled(head, states[text, :length], direction))
            parts.append({"last": read[-1], "max": read.max(0).values, "mean": read.mean(0)}[pooling])
        torch.testing.assert_close(features[text], torch.cat(parts))


def test_rnn_never_sees_padding_in_its_second_layer() -> None:
    head = RNNHead(4, 3, layers=2, pooling="last").eval()
    states = torch.randn(1, 3, 4)
    padded = torch.cat([states, torch.full((1, 4, 4), 7.0)], dim=1)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0]])
    torch.testing.assert_close(head(padded, mask, None), head(states, torch.ones(1, 3), None))


def twin(head: TransformerHead) -> nn.ModuleList:
    """torch's own pre-norm encoder layers with the head's weights."""
    layers = nn.ModuleList()
    for layer in head.layers:
        other = nn.TransformerEncoderLayer(
            8, layer.num_heads, layer.widen.out_features, 0.0, "gelu", batch_first=True, norm_first=True
        ).double()
        pairs = {
            "self_attn.in_proj_": layer.project,
            "self_attn.out_proj.": layer.mix,
            "linear1.": layer.widen,
            "linear2.": layer.narrow,
            "norm1.": layer.mix_norm,
            "norm2.": layer.widen_norm,
        }
        other.load_state_dict({key + end: getattr(m, end) for key, m in pairs.items() for end in ("weight", "bias")})
        layers.append(other)
    return layers


def test_transformer_is_torchs_own_layer() -> None:
    head = TransformerHead(8, 3, layers=2, num_heads=2, width=11).double()
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    states = torch.randn(3, 6, 8, dtype=torch.float64)
    expected = states
    for layer in twin(head):
        expected = layer(expected, src_key_padding_mask=MASK == 0)
    mean = torch.stack([row[: int(keep.sum())].mean(0) for row, keep in zip(expected, MASK, strict=True)])
    torch.testing.assert_close(head.eval().features(states, MASK, None), mean)


def test_untrained_transformer_is_the_linear_head() -> None:
    head, states = TransformerHead(8, 3, layers=2).eval(), torch.randn(2, 6, 8)
    torch.testing.assert_close(head(states, torch.ones(2, 6), None), head.output(states.mean(1)))


@pytest.mark.parametrize(("hidden_size", "expected"), [(384, 6), (768, 12), (312, 4), (32, 1), (100, 1), (200, 2)])
def test_transformer_picks_heads_that_divide_the_states(hidden_size: int, expected: int) -> None:
    with torch.device("meta"):
        assert TransformerHead(hidden_size, 3).layers[0].num_heads == expected
