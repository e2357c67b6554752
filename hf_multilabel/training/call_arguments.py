"""Keyword arguments as a recipe gives them, checked against the signature of what will be called with them.

A problem is (key, what is expected, what was found, the next step), the form in which recipes report it with its line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hf_multilabel.errors import nearest

Problem = tuple[str, str, str, str]


def argument_problems(
    key: str,
    function: Callable[..., Any],
    given: Mapping[str, Any],
    but: Collection[str] = (),
    unchecked: Collection[str] = (),
) -> list[Problem]:
    """What keeps a function from being called with the given arguments: unknown, absent or of another type.

    Types follow from the defaults, as most libraries annotate them loosely: `True` stands for true or false, 0.9 for a
    number, (0.9, 0.999) for a list of two numbers, "cos" for text.

    Args:
        key: Where the arguments stand, for instance `optimizer_args`.
        function: Function or class.
        given: Arguments by name.
        but: Names that are filled in elsewhere.
        unchecked: Names whose values are of another type than the function's, checked elsewhere.

    Returns:
        One problem an argument.

    Example:
        >>> argument_problems("args", lambda rate=0.1: None, {"rat": 1})
        [('args.rat', 'one of rate', "'rat'", 'write rate')]
    """
    known = known_arguments(function, but)
    found = []
    for name, value in given.items():
        if name not in known:
            expected = f"one of {', '.join(known)}" if known else "no arguments"
            near = nearest(name, known)
            found.append((f"{key}.{name}", expected, repr(name), f"write {near}" if near else "remove it"))
        elif name not in unchecked and (expected := _expected(known[name])) and not _fits(value, known[name]):
            found.append((f"{key}.{name}", expected, repr(value), "correct the value"))
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            found.append((key, f"the argument {name}", repr(dict(given)), "add it"))
    return found


def known_arguments(function: Callable[..., Any], but: Collection[str] = ()) -> dict[str, inspect.Parameter]:
    """Parameters that may be given by name, in their order."""
    parameters = inspect.signature(function).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: found for name, found in parameters.items() if name not in but and found.kind in named}


def as_tuples(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments, lists as the tuples that optimizers want."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}


def describe_problem(problem: Problem) -> str:
    """A problem as the message of a ValueError."""
    key, expected, found, fix = problem
    return f"{key}: expected {expected}, found {found}. {fix[0].upper()}{fix[1:]}."


def raise_problem(problems: Sequence[Problem]) -> None:
    """Raise the first problem, or return if there is none.

    Raises:
        ValueError: If there is one.
    """
    if problems:
        raise ValueError(describe_problem(problems[0]))


def _expected(parameter: inspect.Parameter) -> str:
    """The type in words; empty if anything may be given."""
    default = parameter.default
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, (int, float)):
        return "a number"
    if isinstance(default, str):
        return "text"
    if isinstance(default, tuple):
        return f"a list of {len(default)} numbers"
    annotation = "" if parameter.annotation is parameter.empty else str(parameter.annotation)
    null = " or null" if default is None else ""
    if "bool" in annotation:
        return f"true or false{null}"
    return f"a number{null}" if "float" in annotation or "int" in annotation else ""


def _fits(value: Any, parameter: inspect.Parameter) -> bool:
    expected = _expected(parameter)
    if value is None:
        return expected.endswith(" or null")
    if expected.startswith("true or false"):
        return isinstance(value, bool)
    if expected.startswith("a number"):
        return _is_number(value)
    if expected == "text":
        return isinstance(value, str)
    return isinstance(value, (list, tuple)) and len(value) == len(parameter.default) and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
