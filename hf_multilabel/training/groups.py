"""Parameter groups from the embeddings up to the head, each with its learning rate, for any backbone."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from torch import nn

EMBEDDINGS, TOP, HEAD = "embeddings", "top", "head"
NO_DECAY = " (no decay)"
RATE = "learning_rate/"
# What adapters add to the name of a parameter in the model: a wrapper around all of it, and one around each module that
# is trained as a whole.
WRAPPERS = re.compile(r"^base_model\.model\.|\.modules_to_save\.[^.]+")


@dataclass
class LayerGroup:
    """Parameters that share a learning rate: the embeddings, one backbone layer, or the head.

    Args:
        name: `embeddings`, `layer 0` (lowest) upwards, `top` (what the backbone holds above its layers), or `head`
            (pooling and head).
        learning_rate: Peak learning rate of the group.
        pattern: The override its rate comes from, if one does.
        parameters: Trainable parameters by their name in the model.
    """

    name: str
    learning_rate: float
    pattern: str | None = None
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and pattern: no two groups have the same."""
        return self.name if self.pattern is None else f"{self.name} /{self.pattern}/"

    @property
    def size(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters.values())


def plain_name(name: str) -> str:
    """A parameter's name in the model without adapters.

    Example:
        >>> plain_name("base_model.model.head.modules_to_save.default.output.bias")
        'head.output.bias'
    """
    return WRAPPERS.sub("", name)


def find_layers(backbone: nn.Module) -> tuple[str, int]:
    """Find the stack of encoder layers: the `ModuleList` that holds the most parameters.

    Args:
        backbone: Any encoder.

    Returns:
        Name of the list inside the backbone and its number of layers; ("", 0) where there is none.

    Example:
        >>> find_layers(nn.ModuleDict({"layer": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])}))
        ('layer', 2)
    """
    best, best_size = ("", 0), 0
    for name, module in backbone.named_modules():
        if isinstance(module, nn.ModuleList):
            size = sum(parameter.numel() for parameter in module.parameters())
            # Strictly more: of nested lists with the same parameters the inner one comes later and is the finer.
            if size > best_size or (size == best_size and len(module) > best[1]):
                best, best_size = (name, len(module)), size
    return best


def name_group(name: str, stack: str, depth: int) -> str:
    """The group of a parameter.

    What a backbone holds outside its layers counts as embeddings where its name says so (also DeBERTa's relative
    positions) and otherwise as lying on top, such as a final norm.

    Args:
        name: Of the parameter in the model, adapters or not.
        stack: As `find_layers` returns it.
        depth: Likewise.

    Example:
        >>> name_group("backbone.encoder.layer.3.attention.self.query.weight", "encoder.layer", 6)
        'layer 3'
    """
    name, prefix = plain_name(name), f"backbone.{stack}."
    if not name.startswith("backbone."):
        return HEAD
    if depth and name.startswith(prefix):
        return f"layer {int(name[len(prefix) :].split('.', 1)[0])}"
    return EMBEDDINGS if "embed" in name else TOP


def layer_groups(
    model: nn.Module,
    learning_rate: float,
    head_learning_rate: float | None = None,
    layerwise_decay: float = 1.0,
    overrides: Mapping[str, float] | None = None,
) -> list[LayerGroup]:
    """Split a model into groups from the embeddings up to the head, each with its learning rate.

    With D layers, layer d (0 the lowest) trains at learning_rate * decay^(D - 1 - d), the embeddings at
    learning_rate * decay^D.

    Args:
        model: Has attributes `backbone`, and anything else is head; adapters may wrap it.
        learning_rate: Of the backbone's top layer.
        head_learning_rate: Of pooling and head; None takes learning_rate.
        layerwise_decay: Factor in (0, 1] from one layer to the one below.
        overrides: Regular expression, searched for in parameter names without what adapters add, to the rate of what
            it finds; the last one that matches counts.

    Returns:
        Non-empty groups, lowest first, holding every trainable parameter exactly once.

    Raises:
        ValueError: If the decay leaves (0, 1], or an override decides no trainable parameter.

    Cost: O(number of parameter tensors x overrides).

    Reference: Howard and Ruder 2018, section 3.2; Sun et al. 2019, section 5.3.
    """
    if not 0 < layerwise_decay <= 1:
        raise ValueError(
            f"layerwise_decay: expected a factor in (0, 1], found {layerwise_decay!r}. 1 trains all layers alike."
        )
    patterns = {written: re.compile(written) for written in overrides or {}}
    stack, depth = find_layers(model.backbone)
    rates = {EMBEDDINGS: learning_rate * layerwise_decay**depth}
    rates |= {f"layer {d}": learning_rate * layerwise_decay ** (depth - 1 - d) for d in range(depth)}
    rates |= {TOP: learning_rate, HEAD: learning_rate if head_learning_rate is None else head_learning_rate}
    groups: dict[tuple[str, str | None], LayerGroup] = {}
    for name in rates:
        for pattern in (None, *patterns):
            groups[name, pattern] = LayerGroup(name, overrides[pattern] if pattern else rates[name], pattern)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matching = [written for written, pattern in patterns.items() if pattern.search(plain_name(name))]
            key = name_group(name, stack, depth), matching[-1] if matching else None
            groups[key].parameters[name] = parameter
    found = [group for group in groups.values() if group.parameters]
    _check_patterns(patterns, found)
    return found


def parameter_groups(
    groups: list[LayerGroup], weight_decay: float, decayed: Collection[str]
) -> list[dict[str, object]]:
    """Turn layer groups into torch parameter groups, those with and those without weight decay apart.

    Args:
        groups: As `layer_groups` returns them.
        weight_decay: Of the parameters named in `decayed`.
        decayed: Names that decay; biases and norms are usually not among them.

    Returns:
        Groups for a torch optimizer, with `name` beside `params`, `lr` and `weight_decay`.
    """
    found: list[dict[str, object]] = []
    for group in groups:
        for decay, suffix in ((weight_decay, ""), (0.0, NO_DECAY)):
            chosen = [p for name, p in group.parameters.items() if (name in decayed) == (suffix == "")]
            if chosen:
                found.append(
                    {
                        "params": chosen,
                        "lr": group.learning_rate,
                        "weight_decay": decay,
                        "name": group.label + suffix,
                    }
                )
    return found


def group_rates(groups: Iterable[Mapping[str, Any]], rates: Iterable[Any]) -> dict[str, float]:
    """What a log says of the learning rates: one entry a layer group, whatever of it decays.

    Args:
        groups: As `parameter_groups` made them; those of other optimizers have no name and are left out.
        rates: The rate of each.

    Example:
        >>> group_rates([{"name": "layer 0"}, {"name": "layer 0 (no decay)"}, {"name": "head"}], [0.1, 0.1, 0.2])
        {'learning_rate/layer 0': 0.1, 'learning_rate/head': 0.2}
    """
    named = zip(groups, rates, strict=False)
    return {f"{RATE}{group['name'].removesuffix(NO_DECAY)}": float(r) for group, r in named if "name" in group}


def groups_table(groups: list[LayerGroup], weight_decay: float, starts: Mapping[str, int] | None = None) -> Table:
    """The table printed before training.

    Args:
        groups: As `layer_groups` returns them.
        weight_decay: Of what decays.
        starts: Group name to the optimizer step from which it trains; None leaves the column out.
    """
    table = Table(title="Learning rates by layer", title_justify="left")
    table.add_column("group")
    for heading in ("tensors", "parameters", "learning rate", "weight decay", *(["from step"] if starts else [])):
        table.add_column(heading, justify="right")
    for group in reversed(groups):
        table.add_row(
            group.label,
            str(len(group.parameters)),
            f"{group.size:,}",
            f"{group.learning_rate:.3g}",
            f"{weight_decay:g}",
            *([f"{starts[group.name]:,}"] if starts else []),
        )
    return table


def _check_patterns(patterns: Collection[str], groups: list[LayerGroup]) -> None:
    unused = [written for written in patterns if not any(group.pattern == written for group in groups)]
    if unused:
        names = [plain_name(name) for group in groups for name in group.parameters]
        raise ValueError(
            f"learning_rates: expected patterns that each decide a trained parameter, found {unused[0]!r}, which "
            f"decides none. Names are such as {names[0]} and {names[-1]}; a later pattern wins over an earlier one."
        )
