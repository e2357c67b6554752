"""A head of fresh encoder layers over the token states."""

from __future__ import annotations

from torch import Tensor, nn

from .heads_base_multilabel import Head, build_pooling, check_count


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each normed before and added to its input (pre-norm).

        states = states + mix(attention(norm(states)));  states = states + narrow(gelu(widen(norm(states))))

    Args:
        hidden_size: H.
        num_heads: Attention heads; H / num_heads dimensions each.
        width: F, of the feed-forward network.
        dropout: Share dropped in training: attention weights, inner activations, and what is added.

    Reference: Vaswani et al. 2017, section 3; pre-norm: Xiong et al. 2020, section 3.
    """

    def __init__(self, hidden_size: int, num_heads: int, width: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.mix_norm = nn.LayerNorm(hidden_size)
        self.project = nn.Linear(hidden_size, 3 * hidden_size)
        self.mix = nn.Linear(hidden_size, hidden_size)
        self.widen_norm = nn.LayerNorm(hidden_size)
        self.widen = nn.Linear(hidden_size, width)
        self.narrow = nn.Linear(width, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, attended: Tensor) -> Tensor:
        """States (N, T, H), the tokens to attend to as bool (N, T) -> (N, T, H)."""
        rows, tokens, size = states.shape
        projected = self.project(self.mix_norm(states)).view(rows, tokens, 3, self.num_heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # three times (N, heads, T, H / heads)
        mixed = nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=attended[:, None, None, :],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        mixed = mixed.transpose(1, 2).reshape(rows, tokens, size)
        states = states + self.dropout(self.mix(mixed))
        widened = nn.functional.gelu(self.widen(self.widen_norm(states)))
        return states + self.dropout(self.narrow(self.dropout(widened)))


class TransformerHead(Head):
    """Fresh encoder layers on top of the backbone's, then a pooling.

    What the layers add starts at zero: an untrained head is the linear head on the pooled states. Token states know
    their positions from the backbone; none are added.

    Args:
        hidden_size: H.
        num_labels: L.
        layers: Encoder layers.
        num_heads: Attention heads, a divisor of H; if None, about one for each 64 dimensions.
        width: Of the feed-forward networks; 4 H if None.
        pooling: Key of `POOLINGS`.
        activation: Key of `ACTIVATIONS`, applied to the pooled state.
        dropout: Share dropped in training: of the features, and within the layers.

    Raises:
        ValueError: If `num_heads` does not divide H.

    Cost: O(N T H (H + T)) FLOP a layer.

    Reference: Vaswani et al. 2017; start at the identity: Zhang et al. 2019 (Fixup), section 3.
    """

    needs = "tokens"

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        layers: int = 1,
        num_heads: int | None = None,
        width: int | None = None,
        pooling: str = "mean",
        activation: str = "none",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(activation, dropout)
        num_heads = _default_num_heads(hidden_size) if num_heads is None else num_heads
        width = 4 * hidden_size if width is None else width
        for key, value in (("layers", layers), ("num_heads", num_heads), ("width", width)):
            check_count(key, value)
        if hidden_size % num_heads:
            raise ValueError(
                f"head_kwargs.num_heads: expected a divisor of {hidden_size}, found {num_heads}. Leave it out."
            )
        self.layers = nn.ModuleList(EncoderLayer(hidden_size, num_heads, width, dropout) for _ in range(layers))
        self.pooling = build_pooling(pooling, hidden_size)
        self.output = nn.Linear(hidden_size, num_labels)
        self.initialize()

    def initialize(self) -> None:
        """Let the layers add nothing."""
        for layer in self.layers:
            for added in (layer.mix, layer.narrow):
                nn.init.zeros_(added.weight)
                nn.init.zeros_(added.bias)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """The pooled states of the last layer: (N, T, H) -> (N, H)."""
        real = mask.bool()
        states = states.masked_fill(~real.unsqueeze(-1), 0.0)
        # a text without any token attends to its padding, all zeros: a softmax over nothing is NaN
        attended = real | ~real.any(dim=1, keepdim=True)
        for layer in self.layers:
            states = layer(states, attended)
        return self.activation(self.pooling(states, real))


def _default_num_heads(hidden_size: int) -> int:
    return next(heads for heads in range(max(1, hidden_size // 64), 0, -1) if hidden_size % heads == 0)
