"""Sliding windows: a text longer than the backbone should read at once is judged window by window.

    input_ids (N, T) -> cut -> (W, length) -> backbone, pooling, head -> (W, L) -> AGGREGATIONS -> logits (N, L)

A window has the special tokens that the tokenizer puts around a text, and as many of the text's own tokens as fit
between them. The last window ends where the text ends, so that it is as full as the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

KEYS = ("length", "stride", "aggregation", "prefix", "suffix")


class Cut(NamedTuple):
    """Where the tokens of every window lie.

    Args:
        owner: The text of each window, (W,), ascending.
        places: Column of each token in its text, (W, T').
        mask: 1 where a token is real, (W, T'); real tokens stand on the left.
    """

    owner: Tensor
    places: Tensor
    mask: Tensor

    def take(self, values: Tensor, padding: int) -> Tensor:
        """Bring values of the texts' tokens into the windows: (N, T) -> (W, T')."""
        return values[self.owner].gather(1, self.places).masked_fill(~self.mask.bool(), padding)


def max_over_windows(values: Tensor, owner: Tensor, texts: int) -> Tensor:
    """The highest logit of any window: a label holds if one passage says so."""
    found = values.new_full((texts, values.shape[1]), float("-inf"))
    return found.scatter_reduce(0, owner.unsqueeze(1).expand_as(values), values, "amax")


def mean_over_windows(values: Tensor, owner: Tensor, texts: int) -> Tensor:
    """The mean logit: a label holds if the text as a whole says so."""
    counts = torch.bincount(owner, minlength=texts).clamp(min=1).unsqueeze(1)
    return values.new_zeros((texts, values.shape[1])).index_add(0, owner, values) / counts


def noisy_or_over_windows(values: Tensor, owner: Tensor, texts: int) -> Tensor:
    """The logit of 1 - prod(1 - p_w): windows are witnesses, each of which may be right by itself.

    With s = sum_w -log(1 - p_w) it is log(e^s - 1), computed without leaving logits.

    Reference: Pearl 1988, section 4.3.2.
    """
    doubts = -nn.functional.logsigmoid(-values)
    total = values.new_zeros((texts, values.shape[1])).index_add(0, owner, doubts)
    total = total.clamp(min=torch.finfo(values.dtype).tiny)
    return total + torch.log(-torch.expm1(-total))


# logits (W, L), the text of each window (W,), N -> logits (N, L); one window's logits stay what they are
AGGREGATIONS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "max": max_over_windows,
    "mean": mean_over_windows,
    "noisy_or": noisy_or_over_windows,
}


def check_windows(windows: Mapping[str, Any]) -> None:
    """Refuse windows that leave tokens out, or can't be made.

    Args:
        windows: `length` (tokens of a window, special ones included), `stride` (of the text's own tokens, from one
            window to the next), `aggregation` (key of `AGGREGATIONS`), `prefix` and `suffix` (special tokens before and
            after a text).

    Raises:
        ValueError: If so.
    """
    if sorted(windows) != sorted(KEYS):
        raise ValueError(f"windows: expected the keys {list(KEYS)}, found {list(windows)}. Write all of them.")
    if windows["aggregation"] not in AGGREGATIONS:
        found = f"expected one of {list(AGGREGATIONS)}, found {windows['aggregation']!r}"
        raise ValueError(f"windows.aggregation: {found}. Choose one.")
    room = windows["length"] - windows["prefix"] - windows["suffix"]
    if not 1 <= windows["stride"] <= room:
        found = f"expected 1 to {room}, what special tokens leave of {windows['length']}, found {windows['stride']!r}"
        raise ValueError(f"windows.stride: {found}. A longer stride would skip tokens; lower it.")


def count_windows(tokens: Tensor, windows: Mapping[str, Any]) -> Tensor:
    """How many windows texts are read in: their numbers of tokens, special ones included, (N,) -> (N,)."""
    beyond = (tokens - windows["length"]).clamp(min=0)  # what the first window has no room for
    return 1 + (beyond + windows["stride"] - 1) // windows["stride"]


def cut_windows(mask: Tensor, windows: Mapping[str, Any]) -> Cut | None:
    """Divide texts into windows.

    Args:
        mask: 1 where a token is real, (N, T); padding may stand anywhere.
        windows: As `check_windows` takes it.

    Returns:
        None where no text is longer than a window.

    Cost: O(N T log T + W T').
    """
    real = mask.bool()
    tokens = real.sum(dim=1)  # (N,)
    length, stride = windows["length"], windows["stride"]
    before, after = windows["prefix"], windows["suffix"]
    if mask.shape[1] <= length:
        return None
    room = length - before - after
    own = (tokens - before - after).clamp(min=0)
    counts = count_windows(tokens, windows)
    owner = torch.repeat_interleave(torch.arange(len(mask), device=mask.device), counts)
    number = torch.arange(len(owner), device=mask.device) - (counts.cumsum(0) - counts)[owner]
    start = torch.minimum(number * stride, (own - room).clamp(min=0)[owner])
    held = own[owner].clamp(max=room)
    size = torch.minimum(held + before + after, tokens[owner])
    columns = torch.arange(length, device=mask.device).expand(len(owner), -1)  # (W, length)
    # the tokens before the text are its first, those after it its last, those between move with the window
    rank = torch.where(columns < before, columns, columns + start.unsqueeze(1))
    tail = columns - (before + held).unsqueeze(1) + (tokens[owner] - after).unsqueeze(1)
    rank = torch.where(columns < (before + held).unsqueeze(1), rank, tail)
    kept = columns < size.unsqueeze(1)
    whole = counts[owner].unsqueeze(1) == 1
    rank = torch.where(whole, columns, rank).masked_fill(~kept, 0)
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)  # columns of the real tokens first, in their order
    return Cut(owner, order[owner].gather(1, rank), kept.to(mask.dtype))
