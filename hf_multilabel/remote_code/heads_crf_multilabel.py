"""A head that knows which labels go together: a conditional random field over the label set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .heads_base_multilabel import Head, check_count

# Up to this many labels every pair has a coupling of its own: 262,144 numbers.
FULL = 512


class CRFHead(Head):
    """Label sets scored by a logit for each label and a coupling for each pair, decided by mean-field inference.

        p(y | x) proportional to exp(sum_i u_i y_i + sum_{i<j} J_ij y_i y_j),  y in {0, 1}^L,  u = output(features)
        q_i = sigmoid(u_i + sum_j J_ij q_j), repeated;  logit_i = u_i + sum_j J_ij q_j

    J is symmetric with an empty diagonal, the same for all texts. A coupling above 0 lets two labels call each other,
    below 0 exclude each other. Training goes through the iterations, so any loss on the logits trains couplings too.
    They start at zero: an untrained head is the linear head.

    Updates are parallel and damped: q keeps half of what it was, because two labels that exclude each other would
    otherwise swap for ever. Mean-field probabilities are exact without couplings and near the truth with weak ones.

    Args:
        hidden_size: H.
        num_labels: L.
        rank: R; None couples every pair freely up to 512 labels and takes 16 beyond. Otherwise J is U V^T + V U^T with
            U and V of shape (L, R).
        iterations: Updates of q.
        activation: Key of `ACTIVATIONS`, applied to the pooled state.
        dropout: Share of the features dropped in training.

    Cost: O(N L H) and, an iteration, O(N L^2) FLOP with all pairs, O(N L R) with low rank; O(N L iterations) memory.

    Reference: Ghamrawi and McCallum 2005, section 3.1; training through mean-field: Zheng et al. 2015, section 4.
    """

    needs = "pooled"

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        rank: int | None = None,
        iterations: int = 10,
        activation: str = "none",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(activation, dropout)
        rank = 16 if rank is None and num_labels > FULL else rank
        for key, value in (("rank", 1 if rank is None else rank), ("iterations", iterations)):
            check_count(key, value)
        self.iterations = iterations
        self.output = nn.Linear(hidden_size, num_labels)
        self.left = nn.Parameter(torch.empty(num_labels, num_labels if rank is None else rank))
        self.right = None if rank is None else nn.Parameter(torch.empty(num_labels, rank))
        self.initialize()

    def initialize(self) -> None:
        """No couplings; of the two factors only one is zero, or no gradient would ever reach them."""
        nn.init.zeros_(self.left)
        if self.right is not None:
            nn.init.normal_(self.right, std=self.right.shape[1] ** -0.5)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """The activated pooled state: (N, H) -> (N, H)."""
        return self.activation(pooled)

    def forward(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """(N, H) -> (N, L)."""
        unary = super().forward(states, mask, pooled)
        couplings = self.couplings() if self.right is None else None
        logits, probs = unary, unary.sigmoid()
        for _ in range(self.iterations):
            logits = unary + (self._pull(probs) if couplings is None else probs @ couplings)
            probs = 0.5 * probs + 0.5 * logits.sigmoid()
        return logits

    def couplings(self) -> Tensor:
        """J, (L, L): symmetric, its diagonal zero. Memory O(L^2), also with low rank."""
        joint = self.left if self.right is None else 2 * self.left @ self.right.T
        joint = (joint + joint.T) / 2
        return joint - torch.diag(joint.diagonal())

    def _pull(self, probs: Tensor) -> Tensor:
        """What the other labels add to each logit, without ever forming J: (N, L) -> (N, L)."""
        pulled = (probs @ self.right) @ self.left.T + (probs @ self.left) @ self.right.T
        return pulled - 2 * (self.left * self.right).sum(dim=1) * probs
