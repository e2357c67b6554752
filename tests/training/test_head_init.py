from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from hf_multilabel.training.head_init import prior_bias, set_output, solve_probe

RNG = np.random.default_rng(0)
FEATURES = (RNG.normal(size=(400, 24)) * 0.3 + 0.2).astype(np.float32)
TARGETS = FEATURES @ RNG.normal(size=(24, 5)) + RNG.normal(size=(400, 5)) > 0.8


@pytest.mark.parametrize("c", [0.1, 1.0, 30.0])
def test_probe_equals_scikit_learn(c: float) -> None:
    weight, bias = solve_probe(FEATURES, csr_matrix(TARGETS), c, max_iter=500)
    for label in range(5):
        slow = LogisticRegression(C=c, tol=1e-10, max_iter=5000).fit(FEATURES, TARGETS[:, label])
        np.testing.assert_allclose(weight[label], slow.coef_[0], atol=0.02)
        np.testing.assert_allclose(
            FEATURES @ weight[label].numpy() + bias[label].item(), slow.decision_function(FEATURES), atol=0.02
        )


def test_probe_weighs_positives_as_the_loss_does() -> None:
    pos_weight = torch.tensor([1.0, 2.0, 3.0, 0.5, 4.0])
    weight, _ = solve_probe(FEATURES, csr_matrix(TARGETS), 1.0, pos_weight, max_iter=500)
    for label in range(5):
        slow = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000, class_weight={0: 1.0, 1: pos_weight[label].item()})
        np.testing.assert_allclose(weight[label], slow.fit(FEATURES, TARGETS[:, label]).coef_[0], atol=0.02)


def test_unknown_labels_have_no_say() -> None:
    unknown = np.random.default_rng(1).random(TARGETS.shape) < 0.3
    targets = TARGETS & ~unknown
    weight, bias = solve_probe(FEATURES, csr_matrix(targets), 1.0, unknown=csr_matrix(unknown), max_iter=500)
    for label in range(5):
        known = ~unknown[:, label]
        slow = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000).fit(FEATURES[known], targets[known, label])
        np.testing.assert_allclose(weight[label], slow.coef_[0], atol=0.02)
        np.testing.assert_allclose(bias[label], slow.intercept_[0], atol=0.02)


def test_labels_without_a_positive_keep_their_prior() -> None:
    targets = TARGETS.copy()
    targets[:, 2] = False
    weight, bias = solve_probe(FEATURES, csr_matrix(targets), 1.0)
    assert not weight[2].any()
    assert bias[2] == prior_bias([0], 400)[0]
    assert weight[[0, 1, 3, 4]].abs().sum(1).min() > 0


def test_more_labels_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solve_probe(FEATURES, csr_matrix(TARGETS), 1.0, max_iter=300)
    monkeypatch.setattr("hf_multilabel.training.head_init.CHUNK", 2)
    parts = solve_probe(FEATURES, csr_matrix(TARGETS), 1.0, max_iter=300)
    torch.testing.assert_close(parts, whole, atol=0.02, rtol=0.01)


def test_prior_bias_gives_frequencies() -> None:
    torch.testing.assert_close(prior_bias([3, 4], [9, 8]), torch.cat([prior_bias([3], 9), prior_bias([4], 8)]))
    torch.testing.assert_close(prior_bias([100, 0, 999], 999).sigmoid(), torch.tensor([100.5, 0.5, 999.5]) / 1000)


def test_prior_bias_is_where_a_weighted_loss_is_least() -> None:
    targets, weight = torch.tensor([1.0] * 30 + [0.0] * 270), torch.tensor([5.0])
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = torch.nn.functional.binary_cross_entropy_with_logits(bias.expand(300), targets, pos_weight=weight)
        found.backward()
        return found

    optimizer.step(loss)
    torch.testing.assert_close(prior_bias([30], 300, weight), bias.detach(), atol=0.02, rtol=0)


def test_set_output_can_leave_the_weight() -> None:
    layer = torch.nn.Linear(3, 2)
    before = layer.weight.clone()
    set_output(layer, None, torch.tensor([1.0, 2.0]))
    assert torch.equal(layer.weight, before)
    assert layer.bias.tolist() == [1.0, 2.0]
