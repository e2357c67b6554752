"""Layer-wise learning-rate groups for any backbone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from rich.table import Table
from torch import nn


@dataclass
class LayerGroup:
    """Parameters that share a learning rate: the embeddings, one backbone layer, or the head.

    Args:
        name: `embeddings`, `layer 0` (lowest) upwards, `top` (what the backbone holds above its layers), or `head`
            (pooling and head).
        learning_rate: Peak learning rate of the group.
        parameters: Trainable parameters by their name in the model.
    """

    name: str
    learning_rate: float
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters.values())


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


def freeze_lowest(model: nn.Module, layers: int) -> None:
    """Exclude the embeddings and the lowest layers from training; no gradient is computed below the first trained one.

    Args:
        model: Has an attribute `backbone`.
        layers: How many; 0 changes nothing.

    Raises:
        ValueError: If the backbone has fewer.
    """
    if not layers:
        return
    _, depth = find_layers(model.backbone)
    if not 0 <= layers <= depth:
        raise ValueError(f"freeze_layers: expected 0 to {depth}, the backbone's layers, found {layers!r}. Lower it.")
    frozen = {"embeddings", *(f"layer {d}" for d in range(layers))}
    for group in layer_groups(model, 1.0):
        if group.name in frozen:
            for parameter in group.parameters.values():
                parameter.requires_grad_(False)


def layer_groups(
    model: nn.Module, learning_rate: float, head_learning_rate: float | None = None, layerwise_decay: float = 1.0
) -> list[LayerGroup]:
    """Split a model into groups from the embeddings up to the head, each with its learning rate.

    With D layers, layer d (0 the lowest) trains at learning_rate * decay^(D - 1 - d), the embeddings at
    learning_rate * decay^D. What a backbone holds outside its layers counts as embeddings where its name says so
    (also DeBERTa's relative positions) and otherwise as lying on top, such as a final norm.

    Args:
        model: Has attributes `backbone`, and anything else is head.
        learning_rate: Of the backbone's top layer.
        head_learning_rate: Of pooling and head; None takes learning_rate.
        layerwise_decay: Factor in (0, 1] from one layer to the one below.

    Returns:
        Non-empty groups, lowest first, holding every trainable parameter exactly once.

    Raises:
        ValueError: If the decay leaves (0, 1].

    Cost: O(number of parameters tensors).

    Reference: Howard and Ruder 2018, section 3.2; Sun et al. 2019, section 5.3.
    """
    if not 0 < layerwise_decay <= 1:
        raise ValueError(
            f"layerwise_decay: expected a factor in (0, 1], found {layerwise_decay!r}. 1 trains all layers alike."
        )
    stack, depth = find_layers(model.backbone)
    prefix = f"backbone.{stack}."
    head_rate = learning_rate if head_learning_rate is None else head_learning_rate
    groups = [LayerGroup("embeddings", learning_rate * layerwise_decay**depth)]
    groups += [LayerGroup(f"layer {d}", learning_rate * layerwise_decay ** (depth - 1 - d)) for d in range(depth)]
    groups += [LayerGroup("top", learning_rate), LayerGroup("head", head_rate)]
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if not name.startswith("backbone."):
            group = groups[-1]
        elif depth and name.startswith(prefix):
            group = groups[1 + int(name[len(prefix) :].split(".", 1)[0])]
        else:
            group = groups[0] if "embed" in name else groups[-2]
        group.parameters[name] = parameter
    return [group for group in groups if group.parameters]


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
        for decay, suffix in ((weight_decay, ""), (0.0, " (no decay)")):
            chosen = [p for name, p in group.parameters.items() if (name in decayed) == (suffix == "")]
            if chosen:
                found.append(
                    {
                        "params": chosen,
                        "lr": group.learning_rate,
                        "weight_decay": decay,
                        "name": group.name + suffix,
                    }
                )
    return found


def groups_table(groups: list[LayerGroup], weight_decay: float) -> Table:
    """The table printed before training: group, tensors, parameters, learning rate, weight decay."""
    table = Table(title="Learning rates by layer", title_justify="left")
    table.add_column("group")
    for heading in ("tensors", "parameters", "learning rate", "weight decay"):
        table.add_column(heading, justify="right")
    for group in reversed(groups):
        table.add_row(
            group.name,
            str(len(group.parameters)),
            f"{group.size:,}",
            f"{group.learning_rate:.3g}",
            f"{weight_decay:g}",
        )
    return table
