"""The label CRF against enumeration of all 2^L label sets, in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from hf_multilabel.remote_code.heads_crf_multilabel import CRFHead


def all_sets(labels: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=labels)), dtype=torch.float64)  # (2^L, L)


def energies(unary: Tensor, couplings: Tensor) -> Tensor:
    """The exponent of p(y | x) for every label set, written as the sum over pairs it is defined by."""
    sets = all_sets(len(unary))
    found = sets @ unary
    for i, j in itertools.combinations(range(len(unary)), 2):
        found = found + couplings[i, j] * sets[:, i] * sets[:, j]
    return found


def marginals(unary: Tensor, couplings: Tensor) -> Tensor:
    return energies(unary, couplings).softmax(0) @ all_sets(len(unary))


def bound(probs: Tensor, unary: Tensor, couplings: Tensor) -> Tensor:
    """E_q[exponent] + H(q) for independent labels q, summed over all label sets; at most log Z, with equality at p."""
    sets = all_sets(len(unary))
    q = torch.where(sets > 0, probs, 1 - probs).prod(1)  # (2^L,)
    return (q * (energies(unary, couplings) - q.clamp_min(1e-300).log())).sum()


def make(labels: int, strength: float, rank: int | None = None, iterations: int = 10) -> tuple[CRFHead, Tensor]:
    """A head with couplings of about this strength, and unary logits of a text."""
    head = CRFHead(4, labels, rank=rank, iterations=iterations).eval().double()
    with torch.no_grad():
        nn.init.normal_(head.left)
        size = head.couplings().std()
        head.left.mul_(strength / size)
        pooled = torch.randn(1, 4, dtype=torch.float64)
    return head, pooled


def solve(head: CRFHead, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unary logits, couplings and the head's logits of one text."""
    with torch.no_grad():
        return head.output(pooled)[0], head.couplings(), head(None, None, pooled)[0]


@pytest.mark.parametrize("rank", [None, 3])
def test_couplings_are_symmetric_without_diagonal(rank: int | None) -> None:
    head, _ = make(6, 0.5, rank)
    couplings = head.couplings()
    torch.testing.assert_close(couplings, couplings.T)
    assert (couplings.diagonal() == 0).all()
    if rank:
        outer = head.left @ head.right.T + head.right @ head.left.T
        torch.testing.assert_close(couplings, outer - torch.diag(outer.diagonal()))


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_logits_are_the_loop_over_pairs(rank: int | None) -> None:
    head, pooled = make(6, 1.0, rank, iterations=3)
    unary, couplings, logits = solve(head, pooled)
    q = [u.sigmoid() for u in unary]
    for _ in range(3):
        found = [unary[i] + sum(couplings[i, j] * q[j] for j in range(6) if j != i) for i in range(6)]
        q = [(old + new.sigmoid()) / 2 for old, new in zip(q, found, strict=True)]
    torch.testing.assert_close(logits, torch.stack(found))


@pytest.mark.parametrize("labels", [1, 2, 12])
def test_without_couplings_marginals_are_exact(labels: int) -> None:
    head = CRFHead(4, labels).eval().double()
    unary, couplings, logits = solve(head, torch.randn(1, 4, dtype=torch.float64))
    torch.testing.assert_close(logits, unary)
    torch.testing.assert_close(logits.sigmoid(), marginals(unary, couplings))


@pytest.mark.parametrize("rank", [None, 3])
@pytest.mark.parametrize("labels", [2, 5, 10, 12])
def test_weakly_coupled_marginals_are_close_and_better_than_none(labels: int, rank: int | None) -> None:
    head, pooled = make(labels, 0.2, rank, iterations=30)
    unary, couplings, logits = solve(head, pooled)
    truth = marginals(unary, couplings)
    error = (logits.sigmoid() - truth).abs().max()
    assert error < 0.02
    assert error < (unary.sigmoid() - truth).abs().max() / 3


def test_error_falls_with_the_square_of_the_couplings() -> None:
    head, pooled = make(8, 0.2, iterations=50)
    errors = []
    for factor in (1.0, 0.25):
        with torch.no_grad():
            head.left.mul_(factor)
        unary, couplings, logits = solve(head, pooled)
        errors.append((logits.sigmoid() - marginals(unary, couplings)).abs().max().item())
    assert errors[1] < errors[0] / 10  # 16 in the limit


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_result_is_the_best_independent_approximation(strength: float) -> None:
    head, pooled = make(7, strength, iterations=500)
    unary, couplings, logits = solve(head, pooled)
    free = logits.clone().requires_grad_()
    value = bound(free.sigmoid(), unary, couplings)
    value.backward()
    assert free.grad.abs().max() < 1e-8  # stationary: no independent q nearby has a smaller KL(q || p)
    assert bound(unary.sigmoid(), unary, couplings) < value <= energies(unary, couplings).logsumexp(0)


def test_ten_iterations_are_nearly_all_of_them() -> None:
    head, pooled = make(10, 0.3)
    few = solve(head, pooled)[2].sigmoid()
    head.iterations = 500
    assert (few - solve(head, pooled)[2].sigmoid()).abs().max() < 0.01


def test_labels_call_and_exclude_each_other() -> None:
    head = CRFHead(4, 2, iterations=100).eval().double()
    pooled = torch.zeros(1, 4, dtype=torch.float64)
    for coupling, bias in ((3.0, [2.0, -1.0]), (-3.0, [2.0, 0.5])):
        with torch.no_grad():
            head.output.bias.copy_(torch.tensor(bias))
            head.left.fill_(coupling)
        unary, couplings, logits = solve(head, pooled)
        shift, truth = logits.sigmoid() - unary.sigmoid(), marginals(unary, couplings) - unary.sigmoid()
        assert torch.equal(shift.sign(), truth.sign())
    with torch.no_grad():  # undamped, these two would swap for ever
        head.output.bias.fill_(4.0)
        head.left.fill_(-8.0)
    logits = solve(head, pooled)[2]
    torch.testing.assert_close(logits, logits.flip(0))
    torch.testing.assert_close(logits, 4.0 - 8.0 * logits.sigmoid())


@pytest.mark.parametrize("rank", [None, 2])
def test_training_finds_the_couplings(rank: int | None) -> None:
    # texts say nothing of b, which holds whenever a does; c holds whenever a does not
    a = torch.rand(400) < 0.5
    targets = torch.stack([a, a, ~a], dim=1).float()
    pooled = torch.stack([a.float() * 2 - 1, torch.randn(400)], dim=1) + 0.5 * torch.randn(400, 2)
    head = CRFHead(2, 3, rank=rank, dropout=0.0)
    with torch.no_grad():
        head.output.weight[1:] = 0
    head.output.weight.register_hook(lambda grad: grad * torch.tensor([[1.0], [0.0], [0.0]]))
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    losses = []
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(head(None, None, pooled), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    couplings = head.couplings()
    assert couplings[0, 1] > 0.5
    assert couplings[0, 2] < -0.5
    assert losses[-1] < losses[0] / 3


def test_many_labels_share_their_couplings() -> None:
    assert CRFHead(4, 512).left.shape == (512, 512)
    assert CRFHead(4, 513).left.shape == (513, 16)
    assert CRFHead(4, 513, rank=3).right.shape == (513, 3)
