"""The label-embedding head: similarities against loops, neighbours against brute force, names as a start."""

from __future__ import annotations

import math

import pytest
import torch

from hf_multilabel.remote_code.heads_label_embedding_multilabel import SCALES, LabelEmbeddingHead


@pytest.mark.parametrize("similarity", SCALES)
def test_logits_are_the_loop_over_labels(similarity: str) -> None:
    head = LabelEmbeddingHead(8, 5, width=3, similarity=similarity, activation="tanh").eval().double()
    torch.nn.init.normal_(head.output.weight)
    torch.nn.init.normal_(head.output.bias)
    with torch.no_grad():
        head.log_scale.fill_(0.7)
    pooled = torch.randn(4, 8, dtype=torch.float64)
    logits = head(None, None, pooled)
    for text in range(4):
        point = torch.tanh(head.project.weight @ pooled[text])
        for label in range(5):
            embedding = head.output.weight[label]
            score = point @ embedding
            if similarity == "cosine":
                score = score / (point.norm() * embedding.norm())
            expected = math.exp(0.7) * score + head.output.bias[label]
            torch.testing.assert_close(logits[text, label], expected, atol=1e-5, rtol=0)


def test_cosine_ignores_lengths() -> None:
    head, pooled = LabelEmbeddingHead(8, 5, similarity="cosine").eval(), torch.randn(4, 8)
    torch.nn.init.normal_(head.output.weight)
    logits = head(None, None, pooled)
    with torch.no_grad():
        head.output.weight.mul_(torch.tensor([[2.0], [3.0], [0.5], [7.0], [1.0]]))
    torch.testing.assert_close(head(None, None, 5 * pooled), logits, atol=1e-4, rtol=0)
    assert (logits - head.output.bias).abs().max() <= 16.0


@pytest.mark.parametrize("width", [8, 3])
def test_projection_starts_as_a_rotation(width: int) -> None:
    weight = LabelEmbeddingHead(8, 5, width=width).project.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(width), atol=1e-5, rtol=0)


@pytest.mark.parametrize("labels", [2, 7, 600])  # 600 is more than one block
def test_nearest_labels_are_those_of_brute_force(labels: int) -> None:
    head = LabelEmbeddingHead(6, labels)
    torch.nn.init.normal_(head.output.weight)
    cosines, ids = head.nearest_labels(k=4)
    points = head.output.weight.detach().double()
    assert ids.shape == (labels, min(4, labels - 1))
    for label in range(0, labels, 50 if labels > 50 else 1):
        others = [
            (torch.nn.functional.cosine_similarity(points[label], points[other], dim=0).item(), other)
            for other in range(labels)
            if other != label
        ]
        expected = sorted(others, reverse=True)[: ids.shape[1]]
        assert ids[label].tolist() == [other for _, other in expected]
        assert cosines[label].tolist() == pytest.approx([cosine for cosine, _ in expected], abs=1e-5)
    with pytest.raises(ValueError, match="k: expected a whole number above 0, found 0"):
        head.nearest_labels(k=0)


@pytest.mark.parametrize("similarity", SCALES)
def test_names_score_texts_before_any_training(similarity: str) -> None:
    head = LabelEmbeddingHead(16, 3, similarity=similarity, label_init="names").eval()
    shared, meanings = 3 * torch.randn(16), torch.randn(3, 16)
    head.init_label_queries(meanings + shared)
    logits = head(None, None, meanings + shared + 0.1 * torch.randn(3, 16))
    assert logits.argmax(0).tolist() == [0, 1, 2]
    torch.testing.assert_close(head.output.weight.norm(dim=1), torch.ones(3), atol=1e-4, rtol=0)
    assert not head.solvable


def test_embeddings_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"embeddings: expected shape \(3, 16\), .* found \(3, 8\)"):
        LabelEmbeddingHead(16, 3).init_label_queries(torch.randn(3, 8))
