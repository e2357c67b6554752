"""Label attention against a loop over labels; chunks, names, and what it keeps in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hf_multilabel.remote_code.heads_label_attention_multilabel import LabelAttentionHead

MASK = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 0, 0]])


def make(labels: int = 5, **kwargs: object) -> LabelAttentionHead:
    head = LabelAttentionHead(8, labels, **kwargs)
    torch.nn.init.normal_(head.queries)
    return head.eval()


@pytest.mark.parametrize("activation", ["none", "tanh"])
def test_logits_are_the_loop_over_labels(activation: str) -> None:
    head, states = make(width=3, activation=activation).double(), torch.randn(3, 6, 8, dtype=torch.float64)
    logits, weights = head(states, MASK, None), head.attention(states, MASK)
    for text in range(3):
        real = [t for t in range(6) if MASK[text, t]]
        for label in range(5):
            scores = [(head.queries[label] @ torch.tanh(head.keys.weight @ states[text, t])).exp().item() for t in real]
            vector = sum(score / sum(scores) * states[text, t] for score, t in zip(scores, real, strict=True))
            vector = torch.tanh(vector) if activation == "tanh" else vector
            expected = head.output.weight[label] @ vector + head.output.bias[label]
            torch.testing.assert_close(logits[text, label], expected)
            found = weights[text, label]
            torch.testing.assert_close(found[real], torch.tensor(scores).double() / sum(scores))
            assert found.sum().item() == pytest.approx(1.0)
            assert (found[MASK[text] == 0] == 0).all()


def gradients(head: LabelAttentionHead, states: Tensor) -> list[Tensor]:
    head.zero_grad()
    states = states.clone().requires_grad_()
    torch.manual_seed(1)
    head(states, MASK, None).sigmoid().square().sum().backward()
    return [states.grad, *(weight.grad for weight in head.parameters())]


def test_chunks_change_neither_logits_nor_gradients() -> None:
    head, states = make(dropout=0.0).train(), torch.randn(3, 6, 8)
    head.chunk = 5
    logits, expected = head(states, MASK, None), gradients(head, states)
    for chunk in (1, 2, 4):
        head.chunk = chunk
        torch.testing.assert_close(head(states, MASK, None), logits)
        torch.testing.assert_close(gradients(head, states), expected)


def test_recomputed_chunks_drop_the_same_features() -> None:
    head, states = make(dropout=0.5).train(), torch.randn(3, 6, 8)
    head.chunk = 2
    # dropout that differed in the second computation would give the bias's gradient and the weight's at odds
    torch.manual_seed(1)
    logits = head(states, MASK, None)
    logits.sum().backward()
    weight = head.output.weight
    torch.testing.assert_close((weight.grad * weight).sum(1), (logits - head.output.bias).sum(0))


def kept_numbers(head: LabelAttentionHead, states: Tensor) -> int:
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        head(states, torch.ones(states.shape[:2]), None)
    return kept


def test_training_with_many_labels_keeps_no_chunk() -> None:
    states = torch.randn(4, 6, 8)
    whole, chunked = (make(600, chunk=chunk).train() for chunk in (600, 50))
    # vectors (N, L, H) and weights (N, L, T) would be the most of it
    assert kept_numbers(whole, states) > 4 * 600 * (8 + 6)
    assert kept_numbers(chunked, states) < kept_numbers(whole, states) / 3


def test_from_scratch_every_label_sees_the_mean() -> None:
    head, states = LabelAttentionHead(8, 5).eval(), torch.randn(2, 6, 8)
    torch.testing.assert_close(head(states, torch.ones(2, 6), None), head.output(states.mean(1)))
    head.train()(states, torch.ones(2, 6), None).square().sum().backward()
    assert head.queries.grad.abs().min() > 0


def test_names_let_a_label_look_at_tokens_that_mean_it() -> None:
    head = LabelAttentionHead(32, 3, label_init="names").eval()
    shared = 3 * torch.randn(32)
    meanings = torch.randn(3, 32)
    head.init_label_queries(meanings + shared)
    states = (meanings + shared + 0.1 * torch.randn(3, 32))[None]
    weights = head.attention(states, torch.ones(1, 3))[0]  # (labels, tokens)
    assert weights.argmax(1).tolist() == [0, 1, 2]
    assert weights.diagonal().min() > 0.5
    assert not head.solvable


def test_queries_of_another_number_of_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"embeddings: expected shape \(5, 8\), .* found \(4, 8\)"):
        make().init_label_queries(torch.randn(4, 8))
