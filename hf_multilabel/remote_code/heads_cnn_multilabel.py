"""A head of convolutions over the token states: which n-grams of states are there, wherever they stand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .heads_base_multilabel import Head, check_count, compact


class CNNHead(Head):
    """Convolutions of several widths, each followed by the maximum over time.

        maps_w = activation(convolve(states, width w));  features = [max over time of maps_w for every w]

    Every window around a real token counts; what it sees beyond the text's ends is zero, so that a text shorter than
    the widest window has windows too.

    Args:
        hidden_size: H.
        num_labels: L.
        widths: Tokens a window spans, one convolution each.
        filters: F, of each width; D = F * len(widths).
        activation: Key of `ACTIVATIONS`, applied to the maps.
        dropout: Share of the features dropped in training; the paper drops 0.5.

    Cost: O(N T H F sum(widths)) FLOP, O(N T D) memory.

    Reference: Kim 2014, section 2.
    """

    needs = "tokens"

    def __init__(
        self,
        hidden_size: int,
        num_labels: int,
        widths: Sequence[int] = (3, 4, 5),
        filters: int = 100,
        activation: str = "relu",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(activation, dropout)
        if not isinstance(widths, Sequence) or isinstance(widths, str) or not widths:
            raise ValueError(f"head_kwargs.widths: expected a list of widths, found {widths!r}. Write [3, 4, 5].")
        for key, value in (*(("widths", width) for width in widths), ("filters", filters)):
            check_count(key, value)
        self.convolutions = nn.ModuleList(nn.Conv1d(hidden_size, filters, width) for width in widths)
        self.output = nn.Linear(filters * len(widths), num_labels)

    def features(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """The strongest response of every filter: (N, T, H) -> (N, D)."""
        states, real = compact(states, mask)
        states, empty = states.transpose(1, 2), ~real.any(dim=1, keepdim=True)  # (N, H, T), (N, 1)
        maps = torch.cat([self.activation(_convolve(states, part)) for part in self.convolutions], dim=1)
        strongest = maps.masked_fill(~real.unsqueeze(1), float("-inf")).amax(dim=2)  # (N, D, T) -> (N, D)
        return strongest.masked_fill(empty, 0.0)


def _convolve(states: Tensor, convolution: nn.Conv1d) -> Tensor:
    """One response a token: (N, H, T) -> (N, F, T)."""
    beyond = convolution.kernel_size[0] - 1
    return convolution(nn.functional.pad(states, (beyond // 2, beyond - beyond // 2)))
