"""Heads on the pooled state: one linear layer, or a hidden layer before it."""

from __future__ import annotations

from torch import Tensor, nn

from .heads_base_multilabel import Head, check_count


class LinearHead(Head):
    """One linear layer on the pooled state.

        logits = output(activation(pooled))

    Args:
        hidden_size: H.
        num_labels: L.
        activation: Key of `ACTIVATIONS`, applied to the pooled state; "tanh" bounds it as BERT's pooler does.
        dropout: Share of the features dropped in training.
    """

    needs = "pooled"

    def __init__(self, hidden_size: int, num_labels: int, activation: str = "none", dropout: float = 0.1) -> None:
        super().__init__(activation, dropout)
        self.output = nn.Linear(hidden_size, num_labels)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """The activated pooled state: (N, H) -> (N, H)."""
        return self.activation(pooled)


class MLPHead(Head):
    """One hidden layer between the pooled state and the logits.

        logits = output(activation(hidden(pooled)))

    Args:
        hidden_size: H, of the pooled state.
        num_labels: L.
        width: D, of the hidden layer; H if None.
        activation: Key of `ACTIVATIONS`, after the hidden layer.
        dropout: Share dropped in training, before and after the hidden layer.
    """

    needs = "pooled"

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        width: int | None = None,
        activation: str = "gelu",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(activation, dropout)
        width = hidden_size if width is None else width
        check_count("width", width)
        self.hidden = nn.Linear(hidden_size, width)
        self.output = nn.Linear(width, num_labels)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """The activated hidden layer: (N, H) -> (N, D)."""
        return self.activation(self.hidden(self.dropout(pooled)))
