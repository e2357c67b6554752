"""Which part of the backbone trains from which step on.

A part that waits has no gradient: nothing is computed for it, clipping does not see it, and the optimizer leaves it
and its state alone, bit for bit. From its step on it trains as if it had joined just then. What is trainable is a
function of the step alone, so a resumed run is in the right state wherever it was interrupted.

Under DDP a parameter that can't be trained when the model is wrapped is never synchronised, and one that stops later is
missed, which is an error. So all that will ever train is trainable when the model is wrapped, what waits is switched
off after that, and DDP is told to look for unused parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from transformers import TrainerCallback

from hf_multilabel.training.groups import EMBEDDINGS, HEAD, TOP, LayerGroup, find_layers, name_group

NEVER = None


def start_at_once(groups: Sequence[str], wait: int) -> dict[str, int | None]:
    """Everything from the first step on."""
    return dict.fromkeys(groups, 0)


def start_never(groups: Sequence[str], wait: int) -> dict[str, int | None]:
    """The head alone, on features that stay as they are."""
    return dict.fromkeys(groups, NEVER)


def start_after_the_head(groups: Sequence[str], wait: int) -> dict[str, int | None]:
    """The head alone for a while, then everything: a random head does not spoil the backbone.

    With `layerwise_decay` this is discriminative fine-tuning after the head.

    Reference: Kumar et al. 2022 (a head trained first keeps fine-tuning from distorting the features).
    """
    return dict.fromkeys(groups, wait)


def start_from_the_top(groups: Sequence[str], wait: int) -> dict[str, int | None]:
    """The head alone, then one more layer each time, the highest first and the embeddings last.

    What lies above the layers starts with the highest one.

    Reference: Howard and Ruder 2018, section 3.3 (gradual unfreezing, one layer an epoch).
    """
    stages = [name for name in reversed(groups) if name != TOP]
    starts = {name: wait * (stage + 1) for stage, name in enumerate(stages)}
    return {name: starts.get(name, wait) for name in groups}


def plan_starts(mode: str, groups: Sequence[str], wait: int = 0) -> dict[str, int | None]:
    """The step from which each group trains.

    Args:
        mode: Key of `BACKBONE_MODES`.
        groups: Names as of `layer_groups`, lowest first, some possibly absent.
        wait: Steps of `unfreeze_after`.

    Returns:
        Group name to step, None for never; the head is always at 0.

    Example:
        >>> plan_starts("gradual", ["embeddings", "layer 0", "layer 1", "head"], 10)
        {'embeddings': 30, 'layer 0': 20, 'layer 1': 10, 'head': 0}
    """
    backbone = list(dict.fromkeys(name for name in groups if name != HEAD))
    return BACKBONE_MODES[mode](backbone, wait) | {HEAD: 0}


def freeze_for_good(model: nn.Module, mode: str, layers: int = 0, embeddings: bool = False) -> None:
    """Exclude from training what never trains; no gradient is computed below the first trained layer.

    Args:
        model: Has an attribute `backbone`; adapters may wrap it.
        mode: Key of `BACKBONE_MODES`.
        layers: So many of the lowest layers, and the embeddings with them; 0 for none.
        embeddings: The embeddings.

    Raises:
        ValueError: If the backbone has fewer layers.
    """
    stack, depth = find_layers(model.backbone)
    if not 0 <= layers <= depth:
        raise ValueError(f"freeze_layers: expected 0 to {depth}, the backbone's layers, found {layers!r}. Lower it.")
    names = [EMBEDDINGS, *(f"layer {d}" for d in range(depth)), TOP]
    frozen = {name for name, start in plan_starts(mode, names).items() if start is NEVER}
    frozen |= {EMBEDDINGS, *(f"layer {d}" for d in range(layers))} if layers else set()
    frozen |= {EMBEDDINGS} if embeddings else set()
    for name, parameter in model.named_parameters():
        if name_group(name, stack, depth) in frozen:
            parameter.requires_grad_(False)


class Unfreezing(TrainerCallback):
    """Lets each group train from its step on; see the top of this file."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, list[nn.Parameter]]] = []

    def follow(self, groups: Sequence[LayerGroup], starts: Mapping[str, int]) -> None:
        """Take the groups of a run that is about to begin.

        Args:
            groups: As `layer_groups` returns them.
            starts: Group name to step.
        """
        self.waiting = [
            (starts[group.name], list(group.parameters.values())) for group in groups if starts[group.name] > 0
        ]

    def release(self) -> None:
        """Make everything trainable: before the model is wrapped, also after a run that broke off."""
        self._switch(step=None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Switch off what does not train yet; the model is wrapped by now."""
        self._switch(state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Switch on what trains from this step on."""
        self._switch(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model as it was given."""
        self.release()

    def _switch(self, step: int | None) -> None:
        for start, parameters in self.waiting:
            for parameter in parameters:
                parameter.requires_grad_(step is None or step >= start)


BACKBONE_MODES: dict[str, Callable[[Sequence[str], int], dict[str, int | None]]] = {
    "all": start_at_once,
    "frozen": start_never,
    "head_first": start_after_the_head,
    "gradual": start_from_the_top,
}
# Those in which something waits: `unfreeze_after` belongs to them.
WAITING_MODES = ("head_first", "gradual")
