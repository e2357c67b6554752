"""The next trial of a search: values drawn from `space` by optuna."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hf_multilabel.recipe.reading import Keys
from hf_multilabel.studies.cells import Cell, is_group, short_names, varied_keys
from hf_multilabel.studies.sections import RangeSection

# What optuna stores as a choice without a warning; others go by their JSON.
PLAIN = (bool, int, float, str, type(None))


def draw_cell(trial: Any, space: Mapping[str, Any]) -> Cell:
    """The values of one trial.

    Args:
        trial: As of `optuna.Study.ask`, or another object with its `suggest_` functions.
        space: Recipe key to list or range; or a name to choices, each from recipe key to a value, list or range. What
            a choice holds is drawn only where it is chosen.
    """
    names, cell = short_names(varied_keys(space)), Cell({}, {})
    for key, entry in space.items():
        if is_group(entry):
            choice = trial.suggest_categorical(key, list(entry))
            cell = cell | Cell({}, {key: choice})
            for inner, value in entry[choice].items():
                cell = cell | _draw(trial, inner, value, f"{key}={choice}:{inner}", ("space", key, choice), names)
        else:
            cell = cell | _draw(trial, key, entry, key, ("space",), names)
    return cell


def read_range(entry: Any) -> RangeSection | None:
    """A range, or None for what is a fixed value.

    Raises:
        ValidationError: If it is a mapping with low or high but no valid range.
    """
    if isinstance(entry, dict) and ({"low", "high"} & entry.keys()):
        return RangeSection.model_validate(entry)
    return None


def range_problems(entry: Any) -> list[tuple[str, str, str]]:
    """What is wrong with a range: each the key, what was expected, and the next step."""
    try:
        read_range(entry)
    except ValidationError as error:
        found = []
        for problem in error.errors(include_url=False, include_input=False):
            if problem["type"] == "contract":
                found += [
                    (key, f"{expected}, found {seen}", fix) for key, expected, seen, fix in problem["ctx"]["problems"]
                ]
            else:
                key = str(problem["loc"][0]) if problem["loc"] else ""
                known = ", ".join(RangeSection.model_fields)
                found.append((key, f"{problem['msg'].lower()} among {known}", "write {type: float, low: 1, high: 2}"))
        return found
    return []


def _draw(trial: Any, key: str, entry: Any, name: str, place: Keys, names: Mapping[str, str]) -> Cell:
    origin = {key: (*place, key)}
    if isinstance(entry, list):
        value = _draw_choice(trial, name, entry)
        return Cell({key: value}, {names[key]: value}, origin)
    limits = read_range(entry)
    if limits is None:
        return Cell({key: entry}, {}, origin)
    if limits.type == "int":
        value = trial.suggest_int(name, int(limits.low), int(limits.high), step=int(limits.step or 1), log=limits.log)
    else:
        value = trial.suggest_float(name, limits.low, limits.high, step=limits.step, log=limits.log)
    return Cell({key: value}, {names[key]: value}, origin)


def _draw_choice(trial: Any, name: str, choices: list[Any]) -> Any:
    if all(isinstance(choice, PLAIN) for choice in choices):
        return trial.suggest_categorical(name, choices)
    return json.loads(trial.suggest_categorical(name, [json.dumps(choice) for choice in choices]))
