"""Poolings: token states (N, T, H) and their mask (N, T) become one state (N, H) a text.

Every pooling ignores padding wherever it stands (left, right, in between) and returns zeros for a text without any
token (`pooler` excepted: what it does is the backbone's own). To add one: write the module, add one line to `POOLINGS`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooling(nn.Module):
    """`Pooling(hidden_size)`, then forward(states, mask, pooler_output).

    `pooler_output` (N, H) is what the backbone's own pooler gave, None where there is none; it is built and passed only
    for a pooling that says `reads_pooler`.
    """

    reads_pooler = False

    def __init__(self, hidden_size: int) -> None:
        super().__init__()


class ClsPooling(Pooling):
    """State of the first real token: `[CLS]` or `<s>` in BERT-like encoders, also under left padding."""

    def forward(self, states: Tensor, mask: Tensor, pooler_output: Tensor | None = None) -> Tensor:
        """(N, T, H), (N, T) -> (N, H)."""
        first = mask.long().argmax(dim=1)  # (N,); 0 where no token is real
        index = first[:, None, None].expand(-1, 1, states.shape[-1])
        pooled = states.gather(1, index).squeeze(1)  # (N, T, H) -> (N, H)
        return pooled.masked_fill(~mask.bool().any(dim=1, keepdim=True), 0.0)


class MeanPooling(Pooling):
    """Mean over real tokens, special tokens included, as sentence encoders such as MiniLM were trained."""

    def forward(self, states: Tensor, mask: Tensor, pooler_output: Tensor | None = None) -> Tensor:
        """(N, T, H), (N, T) -> (N, H)."""
        real = mask.bool().unsqueeze(-1)  # (N, T, 1)
        # filled, not multiplied: a backbone may leave NaN at padding, and 0 * NaN is NaN
        return states.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


class MaxPooling(Pooling):
    """Largest value of each dimension over real tokens."""

    def forward(self, states: Tensor, mask: Tensor, pooler_output: Tensor | None = None) -> Tensor:
        """(N, T, H), (N, T) -> (N, H)."""
        real = mask.bool()
        pooled = states.masked_fill(~real.unsqueeze(-1), float("-inf")).amax(dim=1)
        return pooled.masked_fill(~real.any(dim=1, keepdim=True), 0.0)


class AttentionPooling(Pooling):
    """Additive attention with one learned query: a weighted mean whose weights depend on the token states.

        keys = tanh(states @ W + b);  weights = softmax over real tokens of keys @ query;  pooled = weights @ states

    Reference: Yang et al. 2016, Hierarchical Attention Networks for Document Classification, section 2.2.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.query = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor, pooler_output: Tensor | None = None) -> Tensor:
        """(N, T, H), (N, T) -> (N, H)."""
        padding = ~mask.bool()
        scores = self.query(torch.tanh(self.key(states))).squeeze(-1)  # (N, T, H) -> (N, T)
        # the lowest finite number, not -inf: a row without any token would become NaN
        scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
        weights = scores.float().softmax(dim=1).to(states.dtype).masked_fill(padding, 0.0)
        states = states.masked_fill(padding.unsqueeze(-1), 0.0)
        return torch.einsum("nt,nth->nh", weights, states)


class BackbonePooling(Pooling):
    """The backbone's own pooler: in BERT a linear layer and tanh on the state of `[CLS]`, with the stored weights.

    It trains at the backbone's rate. Sentence encoders such as MiniLM were trained without it, and theirs carries
    nothing. BERT's reads the first place, so padding must stand on the right.

    Reference: Devlin et al. 2019, section 3.1.
    """

    reads_pooler = True

    def forward(self, states: Tensor, mask: Tensor, pooler_output: Tensor | None = None) -> Tensor:
        """(N, H) -> (N, H), in the precision of the states."""
        return pooler_output.to(states.dtype)


POOLINGS: dict[str, type[Pooling]] = {
    "cls": ClsPooling,
    "mean": MeanPooling,
    "max": MaxPooling,
    "attention": AttentionPooling,
    "pooler": BackbonePooling,
}
