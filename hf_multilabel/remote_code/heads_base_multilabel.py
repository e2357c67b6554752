"""What all heads share: the contract, activations and dropout, and checks of their arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from .poolings_multilabel import POOLINGS

ACTIVATIONS: dict[str, type[nn.Module]] = {"none": nn.Identity, "tanh": nn.Tanh, "gelu": nn.GELU, "relu": nn.ReLU}
# How what a head knows of each label starts: from nothing, or from the label's name as the backbone encodes it.
LABEL_INITS = ("scratch", "names")


class Head(nn.Module, ABC):
    """From states to one logit a label: `Head(hidden_size, num_labels, **head_kwargs)`.

        needs                        "pooled" or "tokens": what of the backbone's output it reads
        forward(states, mask, pooled) -> logits     (N, T, H), (N, T), (N, H) or None -> (N, L)
        features(states, mask, pooled) -> (N, D)    what `output` was made for
        output                       nn.Linear, weight (L, D), bias (L,): row l belongs to label l alone
        solvable                     an untrained head is `output(features(...))` in eval mode
        label_init                   "names": whoever builds the model calls `init_label_queries` once

    `output.bias` is added to the logits of every head, so writing the logit of each label's frequency into it makes an
    untrained head predict about the base rates. Where `solvable`, a logistic regression on `features` can be written
    into `output` and is what the head starts from. Every head ignores padding wherever it stands (left, right, in
    between), also where the backbone left NaN there, and reads a text without any token as zeros.

    Args:
        activation: Key of `ACTIVATIONS`, applied to what `output` reads.
        dropout: Share of what `output` reads dropped in training.
    """

    needs: str
    output: nn.Linear
    solvable = True
    label_init = "scratch"

    def __init__(self, activation: str, dropout: float) -> None:
        super().__init__()
        check_choice("activation", activation, ACTIVATIONS)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def features(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """One state a text, activated: -> (N, D)."""

    def forward(self, states: Tensor, mask: Tensor, pooled: Tensor | None) -> Tensor:
        """Logits: -> (N, L)."""
        return self.output(self.dropout(self.features(states, mask, pooled)))

    def initialize(self) -> None:
        """Draw what must not start as the library draws every linear layer; called after it."""
        return


def compact(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move real tokens to the left in their order and fill what follows with zeros.

    Args:
        states: (N, T, H).
        mask: 1 where a token is real, (N, T).

    Returns:
        States (N, T, H), and where they are real (N, T): a run of ones, then zeros.
    """
    real = mask.bool()
    order = (~real).to(torch.uint8).argsort(dim=1, stable=True)  # (N, T)
    real = real.gather(1, order)
    return states.gather(1, order.unsqueeze(-1).expand_as(states)).masked_fill(~real.unsqueeze(-1), 0.0), real


def build_pooling(name: str, hidden_size: int, own: Collection[str] = ()) -> nn.Module | None:
    """A pooling of the head's own token states.

    Args:
        name: Key of `POOLINGS`, or one of `own`.
        hidden_size: Of the states.
        own: What the head can do itself; None is returned for these.

    Raises:
        ValueError: If there is none, or it reads the backbone's pooler.
    """
    check_choice("pooling", name, [*(key for key, part in POOLINGS.items() if not part.reads_pooler), *own])
    return None if name in own else POOLINGS[name](hidden_size)


def label_directions(embeddings: Tensor, shape: tuple[int, int]) -> Tensor:
    """Where label names lie from their common centre: (L, H) -> (L, H), float32.

    Args:
        embeddings: Label names as the backbone encodes them.
        shape: What theirs must be.

    Raises:
        ValueError: If it is not.
    """
    if tuple(embeddings.shape) != shape:
        raise ValueError(
            f"embeddings: expected shape {shape}, a row for each label, found {tuple(embeddings.shape)}. "
            "Encode the label names in the order of their ids."
        )
    embeddings = embeddings.float()
    return embeddings - embeddings.mean(dim=0) if len(embeddings) > 1 else embeddings


def check_choice(key: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse a value of `head_kwargs` that is not among the choices.

    Raises:
        ValueError: If so.
    """
    if value not in choices:
        raise ValueError(f"head_kwargs.{key}: expected one of {sorted(choices)}, found {value!r}. Choose one.")


def check_count(key: str, value: Any) -> None:
    """Refuse a value of `head_kwargs` that is no whole number above 0.

    Raises:
        ValueError: If so.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"head_kwargs.{key}: expected a whole number above 0, found {value!r}. Change it.")
