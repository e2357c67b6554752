"""Heads: from states to one logit a label.

A head is `Head(hidden_size, num_labels, **head_kwargs)` with

    needs                                       "pooled" or "tokens": what of the backbone's output it reads
    forward(states, mask, pooled) -> logits     (N, T, H), (N, T), (N, H) or None -> (N, L)
    features(states, mask, pooled) -> (N, D)    the input of `output`; exactly so in eval mode
    output                                      the last nn.Linear, weight (L, D), bias (L,)

`features` and `output` let a trainer solve or initialise the last layer without knowing the head. To add a head: write
the module, add one line to `HEADS`.
"""

from __future__ import annotations

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"none": nn.Identity, "tanh": nn.Tanh, "gelu": nn.GELU}


class LinearHead(nn.Module):
    """One linear layer on the pooled state.

    Args:
        hidden_size: H.
        num_labels: L.
        activation: Key of `ACTIVATIONS`, applied to the pooled state; "tanh" bounds it as BERT's pooler does.
        dropout: Share of the features dropped in training.
    """

    needs = "pooled"

    def __init__(self, hidden_size: int, num_labels: int, activation: str = "none", dropout: float = 0.1) -> None:
        super().__init__()
        self.activation = build_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, num_labels)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """The activated pooled state: (N, H) -> (N, H)."""
        return self.activation(pooled)

    def forward(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """(N, H) -> (N, L)."""
        return self.output(self.dropout(self.features(states, mask, pooled)))


class MLPHead(nn.Module):
    """One hidden layer between the pooled state and the logits.

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
        super().__init__()
        width = width or hidden_size
        self.activation = build_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(hidden_size, width)
        self.output = nn.Linear(width, num_labels)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """The activated hidden layer: (N, H) -> (N, D)."""
        return self.activation(self.hidden(self.dropout(pooled)))

    def forward(self, states: Tensor, mask: Tensor, pooled: Tensor) -> Tensor:
        """(N, H) -> (N, L)."""
        return self.output(self.dropout(self.features(states, mask, pooled)))


def build_activation(name: str) -> nn.Module:
    """A fresh module of `ACTIVATIONS`.

    Raises:
        ValueError: If there is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"head_kwargs.activation: expected one of {sorted(ACTIVATIONS)}, found {name!r}. Choose one.")
    return ACTIVATIONS[name]()


HEADS: dict[str, type[nn.Module]] = {
    "linear": LinearHead,
    "mlp": MLPHead,
}
