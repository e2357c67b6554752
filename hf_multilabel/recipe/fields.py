"""The field types that the sections share: numbers as people write them, and choices out of a registry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")


class Section(BaseModel):
    """A section of a recipe: no unknown keys, no guessed types, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def number(**limits: float) -> Any:
    """A float field within limits (`gt`, `ge`, `lt`, `le`); a quoted number is a number too."""
    return Annotated[float, Field(**limits), BeforeValidator(_from_text)]


def whole(**limits: int) -> Any:
    """An integer field within limits; 1e3 and a quoted number are whole numbers too."""
    return Annotated[int, Field(**limits), BeforeValidator(_from_text), BeforeValidator(_from_float)]


def one_of(names: Iterable[str]) -> Any:
    """A field that takes one of these names."""
    return Literal[tuple(names)]


def parameters(function: Any, but: Iterable[str] = ()) -> list[str]:
    """Names of what a function or class can be called with, without `self` and the given ones."""
    return [name for name in inspect.signature(function).parameters if name not in {"self", *but}]


def contract_error(*problems: tuple[str, str, str, str]) -> PydanticCustomError:
    """What a validator raises for values that are wrong only together.

    Args:
        *problems: Each the key within the section (dotted), what is expected there, what was found, the next step.
    """
    return PydanticCustomError("contract", "values that do not go together", {"problems": problems})


def _from_text(value: Any) -> Any:
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):
        found = float(value)
        return int(found) if found.is_integer() else found
    return value


def _from_float(value: Any) -> Any:
    value = _from_text(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


POSITIVE = whole(ge=1)
