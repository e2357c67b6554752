"""Sliding windows inside an exported graph: texts in, one row of logits a text out, as for any other model.

    input_ids (N, T) -> lay_windows -> (N K, W) -> backbone, pooling, head -> (N, K, L) -> AGGREGATIONS -> (N, L)

Each text gets as many windows as the longest of the batch needs, K, since a graph of fixed shapes computes faster and
can be traced; those beyond a text's own count are computed and not used, as padding is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.remote_code.windows_multilabel import count_windows

# Below it 1 - exp(-x) is x - x * x / 2 in float64, and ONNX has no expm1.
SMALL = 1e-5


def lay_windows(mask: Tensor, windows: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """As `windows_multilabel.cut_windows`, for texts that are padded on the right, with windows to spare.

    Args:
        mask: 1 where a token is real, (N, T).
        windows: As `check_windows` takes it.

    Returns:
        Column of each token in its text, (N, K, W), and whether it is real, bool (N, K, W).
    """
    rows, width = mask.shape
    length, stride, before, after = (windows[key] for key in ("length", "stride", "prefix", "suffix"))
    size = torch.sym_min(width, length)
    most = 1 + (width - size + stride - 1) // stride
    shape = (rows, most, size)
    tokens = mask.sum(dim=1)[:, None, None].expand(shape)
    number = torch.arange(most)[None, :, None].expand(shape)
    columns = torch.arange(size)[None, None, :].expand(shape)
    room = length - before - after
    own = (tokens - before - after).clamp(min=0)
    held = own.clamp(max=room)
    start = torch.minimum(number * stride, (own - room).clamp(min=0))
    # the tokens before the text are its first, those after it its last, those between move with the window
    moved = torch.where(columns < before, columns, columns + start)
    places = torch.where(columns < before + held, moved, columns - before - held + tokens - after)
    counts = count_windows(tokens, windows)
    places = torch.where(counts == 1, columns, places)
    real = (columns < torch.minimum(held + before + after, tokens)) & (number < counts)
    return places.clamp(min=0) * real, real


def highest(values: Tensor, real: Tensor) -> Tensor:
    """As `max_over_windows`."""
    return values.masked_fill(~real, float("-inf")).amax(dim=1)


def mean(values: Tensor, real: Tensor) -> Tensor:
    """As `mean_over_windows`."""
    return (values * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def noisy_or(values: Tensor, real: Tensor) -> Tensor:
    """As `noisy_or_over_windows`, in float64: ONNX has neither log1p nor expm1."""
    wide = values.double()
    doubts = wide.clamp(min=0) + torch.log(1 + torch.exp(-wide.abs()))  # -log(1 - p)
    total = (doubts * real).sum(dim=1).clamp(min=torch.finfo(values.dtype).tiny)
    logits = torch.where(total < SMALL, total.log() + total / 2, total + torch.log(1 - torch.exp(-total)))
    return logits.to(values.dtype)


# logits (N, K, L), whether there is such a window (N, K, 1) -> logits (N, L)
AGGREGATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"max": highest, "mean": mean, "noisy_or": noisy_or}


class WindowedModel(nn.Module):
    """A model that reads windows, without sizes that depend on numbers.

    Args:
        model: Its own windows are switched off, so it must be a copy.
    """

    def __init__(self, model: MultiLabelForSequenceClassification) -> None:
        super().__init__()
        self.windows, model.config.windows = dict(model.config.windows), None
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Token ids, mask and kinds (N, T) -> logits (N, L)."""
        places, real = lay_windows(attention_mask, self.windows)
        rows, most, size = places.shape
        flat = (rows * most, size)

        def take(values: Tensor, padding: int) -> Tensor:  # (N, T) -> (N K, W)
            taken = values.gather(1, places.reshape(rows, most * size)).reshape(flat)
            return torch.where(real.reshape(flat), taken, padding)

        kinds = {} if token_type_ids is None else {"token_type_ids": take(token_type_ids, 0)}
        ids = take(input_ids, self.model.config.backbone_config.pad_token_id or 0)
        # a window without a token would be pooled over nothing
        mask = real.reshape(flat) | (torch.arange(size)[None, :] == 0)
        logits = self.model(input_ids=ids, attention_mask=mask.to(attention_mask.dtype), **kinds).logits
        used = real[:, :, :1]
        return AGGREGATIONS[self.windows["aggregation"]](logits.reshape(rows, most, logits.shape[-1]), used)
