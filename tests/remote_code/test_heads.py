"""What every head promises: its contract, padding, gradients, precision of its arguments, and many labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hf_multilabel.remote_code.heads_base_multilabel import ACTIVATIONS, Head, compact
from hf_multilabel.remote_code.heads_multilabel import HEADS

H, L = 8, 5
MASKS = {
    "right": [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]],
    "left": [[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]],
    "between": [[1, 0, 1, 0, 1, 1], [0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0]],
}
# heads whose arguments change what they compute
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in HEADS),
    ("cnn", {"widths": [1, 2, 7], "activation": "gelu"}),
    ("rnn", {"cell": "gru", "pooling": "last"}),
    ("rnn", {"directions": 1, "pooling": "last", "layers": 2}),
    ("rnn", {"pooling": "attention", "width": 3}),
    ("transformer", {"layers": 2, "num_heads": 4, "pooling": "max"}),
    ("label_attention", {"chunk": 2, "width": 3}),
    ("label_embedding", {"similarity": "cosine", "width": 3}),
    ("crf", {"rank": 2}),
]
# the heads that a probe can start
SOLVABLE = [(name, kwargs) for name, kwargs in VARIANTS if HEADS[name](H, L, **kwargs).solvable]


def make(name: str, **kwargs: Any) -> Head:
    """A head in eval mode none of whose parts is at zero any more."""
    head = HEADS[name](H, L, **kwargs)
    with torch.no_grad():
        for weight in head.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return head.eval()


def inputs(tokens: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(3, tokens, H), torch.ones(3, tokens).long(), torch.randn(3, H)


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_shapes_are_what_trainers_rely_on(name: str, kwargs: dict[str, Any]) -> None:
    head, given = make(name, **kwargs), inputs()
    assert head.needs in ("pooled", "tokens")
    assert isinstance(head.output, nn.Linear)
    assert head.output.bias.shape == (L,)
    assert head.output.weight.shape[0] == L
    assert head.features(*given).shape == (3, head.output.in_features)
    assert head(*given).shape == (3, L)


@pytest.mark.parametrize(("name", "kwargs"), SOLVABLE)
def test_untrained_solvable_head_is_output_of_features(name: str, kwargs: dict[str, Any]) -> None:
    head, given = HEADS[name](H, L, **kwargs).eval(), inputs()
    torch.testing.assert_close(head.output(head.features(*given)), head(*given))


def test_only_a_cosine_keeps_a_shipped_head_from_being_solved() -> None:
    assert [variant for variant in VARIANTS if variant not in SOLVABLE] == [
        (name, kwargs) for name, kwargs in VARIANTS if kwargs.get("similarity") == "cosine"
    ]


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_bias_of_output_is_added_to_the_logits(name: str, kwargs: dict[str, Any]) -> None:
    head, given = HEADS[name](H, L, **kwargs).eval(), inputs()
    prior = torch.tensor([-3.0, -1.0, 0.0, 1.0, 4.0])
    with torch.no_grad():
        without = head(*given) - head.output.bias
        head.output.bias.copy_(prior)
        torch.testing.assert_close(head(*given), without + prior, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", MASKS)
@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_padding_never_enters(name: str, kwargs: dict[str, Any], side: str) -> None:
    head, (states, _, pooled) = make(name, **kwargs), inputs()
    mask = torch.tensor(MASKS[side])
    dirty = states.masked_fill(~mask.bool()[..., None], float("nan"))
    alone = [
        head(row[keep.bool()][None], torch.ones(1, int(keep.sum())), one[None])
        for row, keep, one in zip(states, mask, pooled, strict=True)
    ]
    torch.testing.assert_close(head(dirty, mask, pooled), torch.cat(alone), atol=1e-5, rtol=0)
    logits = head(dirty, mask, pooled)
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_every_parameter_gets_a_finite_gradient(name: str, kwargs: dict[str, Any]) -> None:
    head = HEADS[name](H, L, **kwargs).train()
    states, mask, pooled = inputs()
    states, pooled = states.requires_grad_(), pooled.requires_grad_()
    mask[1], mask[2, 3:] = 0, 0  # the second text has no token at all
    head(states, mask, pooled * mask.any(1, keepdim=True)).square().sum().backward()
    assert [key for key, weight in head.named_parameters() if weight.grad is None] == []
    assert all(weight.grad.isfinite().all() for weight in head.parameters())
    read = pooled if head.needs == "pooled" else states
    assert read.grad.isfinite().all()
    assert (read.grad[0] != 0).any()
    assert (read.grad[1] == 0).all()


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_text_without_tokens_is_read_as_zeros(name: str, kwargs: dict[str, Any]) -> None:
    head, (states, mask, _) = make(name, **kwargs), inputs()
    dirty, nothing = torch.full_like(states, float("nan")), torch.zeros_like(mask)
    pooled = torch.zeros(3, H)
    expected = head.output(head.features(dirty, nothing, pooled))
    if name == "crf":
        expected = head(states, mask, pooled)
    elif name == "label_embedding":
        expected = head.output.bias.expand(3, L)
    elif name != "mlp":
        torch.testing.assert_close(head.features(dirty, nothing, pooled), torch.zeros(3, head.output.in_features))
    torch.testing.assert_close(head(dirty, nothing, pooled), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", HEADS)
def test_activation_bounds_the_features(name: str, activation: str) -> None:
    head, (states, mask, pooled) = make(name, activation=activation), inputs()
    if name == "rnn":  # its own states lie within 1 already
        head.activation.register_forward_pre_hook(lambda _, given: (9 * given[0],))
    if name == "label_embedding":
        torch.nn.init.zeros_(head.log_scale)
    features = head.features(9 * states, mask, 9 * pooled)
    lowest, highest = {"tanh": (-1, 1), "gelu": (-0.171, 99), "relu": (0, 99), "none": (-99, 99)}[activation]
    assert lowest <= features.min()
    assert 0.5 < features.max() <= highest
    assert features.max() > 1 or activation == "tanh"


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_of_pooled_heads_is_the_function_of_its_name(activation: str) -> None:
    functions = {"none": lambda x: x, "tanh": torch.tanh, "gelu": nn.functional.gelu, "relu": torch.relu}
    given = inputs()
    for name in ("linear", "mlp", "crf"):
        head = make(name, activation=activation)
        inner = head.hidden(given[2]) if name == "mlp" else given[2]
        torch.testing.assert_close(head.features(*given), functions[activation](inner))


@pytest.mark.parametrize("name", HEADS)
def test_dropout_is_active_in_training_only(name: str) -> None:
    head, given = make(name, dropout=0.5), inputs()
    assert head.dropout.p == 0.5
    torch.testing.assert_close(head(*given), head(*given))
    head.train()
    assert (head(*given) - head(*given)).abs().max() > 1e-3
    calm = make(name, dropout=0.0).train()
    torch.testing.assert_close(calm(*given), calm(*given))


@pytest.mark.parametrize("name", HEADS)
def test_initialize_can_be_repeated(name: str) -> None:
    torch.manual_seed(5)
    one = HEADS[name](H, L)
    torch.manual_seed(5)
    two = HEADS[name](H, L)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    one.initialize()
    given = inputs()
    torch.testing.assert_close(one.eval()(*given).isfinite().all(), torch.tensor(True))


@pytest.mark.parametrize("name", HEADS)
def test_many_labels_fit(name: str) -> None:
    head = HEADS[name](16, 4271).train()
    states, mask = torch.randn(2, 6, 16), torch.ones(2, 6)
    logits = head(states, mask, states.mean(1))
    logits.sigmoid().sum().backward()
    assert logits.shape == (2, 4271)
    assert all(weight.grad.isfinite().all() for weight in head.parameters())
    # nothing but a layer's own rows may grow with the labels
    assert sum(weight.numel() for weight in head.parameters() if 4271 in weight.shape) <= 4271 * (300 + 1)


def test_compact_moves_tokens_to_the_left_in_order() -> None:
    states, mask = torch.arange(12.0).view(2, 6, 1), torch.tensor([[0, 1, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]])
    moved, real = compact(states, mask)
    assert moved.squeeze(-1).tolist() == [[1, 3, 4, 0, 0, 0], [0] * 6]
    assert real.tolist() == [[True, True, True, False, False, False], [False] * 6]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    *((n, {"activation": "swish"}, r"activation: expected one of \['gelu', .*'tanh'\], found 'swish'") for n in HEADS),
    ("mlp", {"width": 0}, "width: expected a whole number above 0, found 0"),
    ("mlp", {"width": 2.5}, "width: expected a whole number above 0, found 2.5"),
    ("cnn", {"widths": []}, r"widths: expected a list of widths, found \[\]"),
    ("cnn", {"widths": "345"}, "widths: expected a list of widths, found '345'"),
    ("cnn", {"widths": [3, -1]}, "widths: expected a whole number above 0, found -1"),
    ("cnn", {"filters": True}, "filters: expected a whole number above 0, found True"),
    ("rnn", {"cell": "rnn"}, r"cell: expected one of \['gru', 'lstm'\], found 'rnn'"),
    ("rnn", {"directions": 3}, r"directions: expected one of \[1, 2\], found 3"),
    ("rnn", {"layers": 0}, "layers: expected a whole number above 0, found 0"),
    ("rnn", {"pooling": "pooler"}, r"pooling: expected one of \['attention', 'cls', 'last', 'max', 'mean'\]"),
    ("transformer", {"num_heads": 3}, "num_heads: expected a divisor of 8, found 3"),
    ("transformer", {"pooling": "pooler"}, r"pooling: expected one of \['attention', 'cls', 'max', 'mean'\]"),
    ("label_attention", {"label_init": "zeros"}, r"label_init: expected one of \['names', 'scratch'\], found 'zeros'"),
    ("label_attention", {"chunk": 0}, "chunk: expected a whole number above 0, found 0"),
    ("label_embedding", {"similarity": "l2"}, r"similarity: expected one of \['cosine', 'dot'\], found 'l2'"),
    ("crf", {"rank": 0}, "rank: expected a whole number above 0, found 0"),
    ("crf", {"iterations": 0}, "iterations: expected a whole number above 0, found 0"),
]


@pytest.mark.parametrize(("name", "kwargs", "match"), WRONG)
def test_wrong_argument_is_refused(name: str, kwargs: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=f"head_kwargs.{match}"):
        HEADS[name](H, L, **kwargs)
