"""A recurrent head over the token states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from .heads_base_multilabel import Head, build_pooling, check_choice, check_count, compact

CELLS: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class RNNHead(Head):
    """An LSTM or GRU over the token states, in one or two directions, then a pooling of its states.

    Sequences are packed: padding costs nothing and never enters, in either direction. The graph cannot be exported,
    because torch unrolls recurrences to the length of the example.

    Args:
        hidden_size: H.
        num_labels: L.
        cell: Key of `CELLS`.
        directions: 1 reads from the left, 2 from both sides.
        width: Of one direction's state; H / directions if None. D = directions * width.
        layers: Recurrent layers on top of each other.
        pooling: "last" (the state after the last token; of the backward direction, after the first) or a key of
            `POOLINGS`.
        activation: Key of `ACTIVATIONS`, applied to the pooled states.
        dropout: Share dropped in training: of the features, and between recurrent layers.

    Cost: O(N T D (H + D)) FLOP a layer; T steps that wait for each other.

    Reference: Hochreiter and Schmidhuber 1997; Cho et al. 2014; max over states: Conneau et al. 2017, section 3.2.
    """

    needs = "tokens"

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        cell: str = "lstm",
        directions: int = 2,
        width: int | None = None,
        layers: int = 1,
        pooling: str = "max",
        activation: str = "none",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(activation, dropout)
        check_choice("cell", cell, CELLS)
        check_choice("directions", directions, (1, 2))
        width = hidden_size // directions if width is None else width
        check_count("width", width)
        check_count("layers", layers)
        self.recurrence = CELLS[cell](
            hidden_size,
            width,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,
            bidirectional=directions == 2,
        )
        self.pooling = build_pooling(pooling, width * directions, own=("last",))
        self.output = nn.Linear(width * directions, num_labels)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """The pooled recurrent states: (N, T, H) -> (N, D).

        Raises:
            ValueError: If the graph is being exported.
        """
        if torch.compiler.is_exporting():
            raise ValueError("head: expected one whose graph can be exported, found 'rnn'. Train another head.")
        states, real = compact(states, mask)
        # a text without any token is read as one token of zeros; its features are cleared below
        lengths = real.sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(states, lengths, batch_first=True, enforce_sorted=False)
        packed, last = self.recurrence(packed)
        if self.pooling is None:
            last = last[0] if isinstance(last, tuple) else last  # an LSTM returns its cells too
            directions = 2 if self.recurrence.bidirectional else 1
            pooled = torch.cat(list(last[-directions:]), dim=1)  # (layers * directions, N, width) -> (N, D)
            pooled = pooled.masked_fill(~real.any(dim=1, keepdim=True), 0.0)
        else:
            states, _ = pad_packed_sequence(packed, batch_first=True, total_length=states.shape[1])
            pooled = self.pooling(states, real)
        return self.activation(pooled)
