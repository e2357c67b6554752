"""From `grid` and `space` to what a trial changes: recipe keys with their values, and how people call them."""

from __future__ import annotations

import functools
import itertools
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_multilabel.recipe.reading import Keys


@dataclass(frozen=True)
class Cell:
    """One combination of values.

    Args:
        values: Recipe key to value.
        labels: What varies, by its short name, to the value as people read it; the first is the group.
        origins: Recipe key to where the value stands in the study file.
    """

    values: dict[str, Any]
    labels: dict[str, Any]
    origins: dict[str, Keys] = field(default_factory=dict)

    def __or__(self, other: Cell) -> Cell:
        """Both cells' values; those of the other win."""
        return Cell(self.values | other.values, self.labels | other.labels, self.origins | other.origins)

    @property
    def name(self) -> str:
        """All labels in one line."""
        return describe(self.labels)


def describe(labels: Mapping[str, Any]) -> str:
    """Labels in one line, names of groups without their key.

    Example:
        >>> describe({"optimizer": "Adam", "learning_rate": 0.001})
        'Adam, learning_rate 0.001'
    """
    shown = [value if isinstance(value, str) else f"{key} {show_value(value)}" for key, value in labels.items()]
    return ", ".join(map(str, shown))


def show_value(value: Any) -> str:
    """A value as tables show it.

    Example:
        >>> show_value(0.00001), show_value(None), show_value({"rule": "n"})
        ('1e-05', 'null', '{"rule": "n"}')
    """
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def short_names(keys: list[str]) -> dict[str, str]:
    """Recipe keys by their last part, or in full where two end alike.

    Example:
        >>> short_names(["training.seed", "data.seed", "model.head"])
        {'training.seed': 'training.seed', 'data.seed': 'data.seed', 'model.head': 'head'}
    """
    ends = [key.rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def written(value: Any) -> str:
    """A value as YAML 1.2 on one line, typed as it is.

    Example:
        >>> written({"rate": 1e-05, "name": "no"})
        '{"rate": 1.0e-05, "name": "no"}'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, float):
        text = repr(value)  # 1e-05 without a point is text to YAML
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return json.dumps(value, ensure_ascii=False)


def grid_cells(grid: Mapping[str, Any]) -> list[Cell]:
    """Every combination of a grid, in the order of the file.

    Args:
        grid: Recipe key to list of values; or a name to choices, each from recipe key to a value or a list of them.

    Example:
        >>> [cell.name for cell in grid_cells({"how": {"a": {"x.y": [1, 2]}, "b": {"x.y": 3}}})]
        ['a, y 1', 'a, y 2', 'b']
    """
    names = short_names(varied_keys(grid))
    return _combine([_axis(key, entry, ("grid", key), names) for key, entry in grid.items()])


def varied_keys(entries: Mapping[str, Any]) -> list[str]:
    """Recipe keys that a grid or space varies, each once."""
    found: dict[str, None] = {}
    for key, entry in entries.items():
        inner = [inner for choice in entry.values() for inner in choice] if is_group(entry) else [key]
        found |= dict.fromkeys(inner)
    return list(found)


def is_group(entry: Any) -> bool:
    """Whether an entry of a grid or space names choices of keys that vary together."""
    return isinstance(entry, dict) and all(isinstance(choice, dict) for choice in entry.values())


def _axis(key: str, entry: Any, place: Keys, names: Mapping[str, str]) -> list[Cell]:
    if not is_group(entry):
        return [Cell({key: value}, {names[key]: value}, {key: (*place, i)}) for i, value in enumerate(entry)]
    return [
        Cell({}, {key: choice}) | inner
        for choice, values in entry.items()
        for inner in _choice(values, (*place, choice), names)
    ]


def _choice(values: Mapping[str, Any], place: Keys, names: Mapping[str, str]) -> list[Cell]:
    """The combinations within one choice; only what has several values is named."""
    axes = []
    for key, value in values.items():
        here = (*place, key)
        if isinstance(value, list):
            axes.append([Cell({key: v}, {names[key]: v}, {key: (*here, i)}) for i, v in enumerate(value)])
        else:
            axes.append([Cell({key: value}, {}, {key: here})])
    return _combine(axes)


def _combine(axes: Sequence[Sequence[Cell]]) -> list[Cell]:
    """Every combination of one cell of each axis, the last axis fastest."""
    return [functools.reduce(operator.or_, parts, Cell({}, {})) for parts in itertools.product(*axes)]
