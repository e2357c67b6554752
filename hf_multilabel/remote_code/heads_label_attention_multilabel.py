"""A head in which every label looks at the tokens for itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .heads_base_multilabel import LABEL_INITS, Head, check_choice, check_count, label_directions
from .poolings_multilabel import MeanPooling

# exp(4) = 55 times the weight of an unrelated token: clear, and far from where a softmax stops learning
NAME_SCORE = 4.0


class LabelAttentionHead(Head):
    """Each label attends over the tokens with a query of its own and judges the mean it sees.

        keys = tanh(states @ W);  weights_l = softmax over real tokens of keys @ query_l
        vector_l = activation(weights_l @ states);  logit_l = output.weight_l . vector_l + output.bias_l

    From scratch the queries start at zero: every label sees the mean over tokens, and an untrained head is the linear
    head at mean pooling. From names, a query starts at what the label's name stands for, see `init_label_queries`.

    Args:
        hidden_size: H.
        num_labels: L.
        width: D, of keys and queries; H if None.
        label_init: "scratch" or "names"; under "names" whoever builds the model calls `init_label_queries` once.
        activation: Key of `ACTIVATIONS`, applied to each label's vector.
        dropout: Share of each label's vector dropped in training.
        chunk: Labels computed at once. With more labels than that, training computes each chunk twice and keeps none.

    Cost: O(N T L (D + H)) FLOP; N * chunk * (2 T + 2 H) floats beside the logits.

    Reference: Mullenbach et al. 2018 (CAML), section 2.2; keys: Vu et al. 2020 (LAAT), section 3.3.
    """

    needs = "tokens"

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        width: int | None = None,
        label_init: str = "scratch",
        activation: str = "none",
        dropout: float = 0.1,
        chunk: int = 512,
    ) -> None:
        super().__init__(activation, dropout)
        check_choice("label_init", label_init, LABEL_INITS)
        width = hidden_size if width is None else width
        for key, value in (("width", width), ("chunk", chunk)):
            check_count(key, value)
        self.label_init = label_init
        self.chunk = chunk
        self.mean = MeanPooling(hidden_size)
        self.keys = nn.Linear(hidden_size, width, bias=False)
        self.queries = nn.Parameter(torch.empty(num_labels, width))
        self.output = nn.Linear(hidden_size, num_labels)
        self.initialize()

    @property
    def solvable(self) -> bool:
        """Only queries at zero let an untrained head see what `features` returns."""
        return self.label_init == "scratch"

    def initialize(self) -> None:
        """Queries at zero."""
        nn.init.zeros_(self.queries)

    @torch.no_grad()
    def init_label_queries(self, embeddings: Tensor) -> None:
        """Start each query where the keys of tokens that mean the label are.

        What all names share is removed first: it would let all labels look at the same tokens. A token that is the
        name is scored `NAME_SCORE`, an unrelated one 0, whatever the size of the backbone's states.

        Args:
            embeddings: Label names as the backbone encodes them, pooled, (L, H).

        Raises:
            ValueError: If the shape differs.
        """
        directions = label_directions(embeddings, (len(self.queries), self.keys.in_features))
        keys = torch.tanh(self.keys(directions.to(self.keys.weight)))
        self.queries.copy_(NAME_SCORE * keys / keys.square().sum(dim=1, keepdim=True).clamp_min(1e-12))

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """The activated mean over tokens, which every label sees at the start: (N, T, H) -> (N, H)."""
        return self.activation(self.mean(states, mask))

    def attention(self, states: Tensor, mask: Tensor) -> Tensor:
        """What each label looks at, for explanations: (N, T, H) -> weights (N, L, T) that add up to 1 over tokens."""
        return _attend(torch.tanh(self.keys(_clear(states, mask))), self.queries, mask.bool())

    def forward(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """(N, T, H) -> (N, L)."""
        states, real = _clear(states, mask), mask.bool()
        keys = torch.tanh(self.keys(states))  # (N, T, D)
        parts = zip(*(part.split(self.chunk) for part in (self.queries, self.output.weight)), strict=True)
        # the states of all chunks together are what 4,271 labels have no memory for
        again = len(self.queries) > self.chunk and self.training and torch.is_grad_enabled()
        logits = [
            checkpoint(self._score, states, keys, real, *part, use_reentrant=False)
            if again
            else self._score(states, keys, real, *part)
            for part in parts
        ]
        return torch.cat(logits, dim=1) + self.output.bias

    def _score(self, states: Tensor, keys: Tensor, real: Tensor, queries: Tensor, weight: Tensor) -> Tensor:
        vectors = _attend(keys, queries, real) @ states  # (N, C, T) @ (N, T, H) -> (N, C, H)
        return (self.dropout(self.activation(vectors)) * weight).sum(dim=2)  # (N, C)


def _clear(states: Tensor, mask: Tensor) -> Tensor:
    return states.masked_fill(~mask.bool().unsqueeze(-1), 0.0)


def _attend(keys: Tensor, queries: Tensor, real: Tensor) -> Tensor:
    """Weights over real tokens: keys (N, T, D), queries (C, D) -> (N, C, T)."""
    scores = queries @ keys.transpose(1, 2)  # (C, D) @ (N, D, T) -> (N, C, T)
    # the lowest finite number, not -inf: a row without any token would become NaN
    return scores.masked_fill(~real.unsqueeze(1), torch.finfo(scores.dtype).min).softmax(dim=2)
