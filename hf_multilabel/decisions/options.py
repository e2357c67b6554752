"""What the options of threshold rules may be, and what is said of those that they may not."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hf_multilabel.decisions.constraints import SCOPES
from hf_multilabel.decisions.rare_labels import FALLBACKS, SHRINKAGE
from hf_multilabel.errors import nearest
from hf_multilabel.remote_code.decision_multilabel import RULES

# contract, test, example
OPTIONS: dict[str, tuple[str, Callable[[Any], bool], Any]] = {
    "threshold": ("a number in [0, 1]", lambda value: 0 <= value <= 1, 0.5),
    "shrinkage": ("a number of at least 0, or auto", lambda value: value == "auto" or value >= 0, SHRINKAGE),
    "beta": ("a number above 0, at most a million", lambda value: 0 < value <= 1e6, 1.0),
    "scope": (f"one of {', '.join(SCOPES)}", lambda value: value in SCOPES, "label"),
    "precision": ("a number above 0, at most 1", lambda value: 0 < value <= 1, 0.9),
    "recall": ("a number above 0, at most 1", lambda value: 0 < value <= 1, 0.9),
    "false_positive_cost": ("a number above 0", lambda value: 0 < value < float("inf"), 1.0),
    "false_negative_cost": ("a number above 0", lambda value: 0 < value < float("inf"), 1.0),
    "mean_labels": ("a number above 0", lambda value: 0 < value < float("inf"), 3.0),
    "fbr_floor": ("a number in [0, 1]", lambda value: 0 <= value <= 1, 0.3),
    "fbr_fallback": (f"one of {', '.join(FALLBACKS)}", lambda value: value in FALLBACKS, "highest"),
}


def check_values(options: Mapping[str, Any]) -> None:
    """Refuse values out of range or of another type; what a rule that was added takes is its own to check.

    Raises:
        ValueError: If one is.
    """
    for name, value in options.items():
        if name not in OPTIONS:
            continue
        contract, holds, example = OPTIONS[name]
        try:
            held = bool(holds(value))
        except (TypeError, ValueError):  # a text, a list or an array where a number is to be
            held = False
        if not held:
            raise ValueError(f"{name}: expected {contract}, found {reprlib.repr(value)}. Try {example}.")


def unknown_objective(objective: object, known: Iterable[str]) -> str:
    """The message about an objective that there is not.

    Example:
        >>> unknown_objective("macro-f1", ["micro_f1", "macro_f1"])
        "objective: expected one of micro_f1, macro_f1, found 'macro-f1'. Did you mean macro_f1?"
        >>> unknown_objective("top_k", ["fixed"])
        "objective: expected one of fixed, found 'top_k'. It is a rule: pass rule='top_k' to fit_decision."
    """
    names = list(known)
    near = nearest(str(objective), names)
    step = f"Did you mean {near}?" if near else "Choose one of them."
    if objective in RULES:
        beside = " beside objective='fixed'" if objective == "expected_f1" else ""
        step = f"It is a rule: pass rule={objective!r}{beside} to fit_decision."
    return f"objective: expected one of {', '.join(names)}, found {objective!r}. {step}"


def unknown_option(name: str, objective: str, taken: Sequence[str], takers: Sequence[str]) -> str:
    """The message about an option that an objective does not take.

    Args:
        name: Of the option.
        objective: That does not take it.
        taken: Options it takes.
        takers: Objectives that take this one.

    Example:
        >>> unknown_option("precison", "precision_at_least", ["threshold", "precision"], [])
        "options: expected threshold or precision under precision_at_least, found 'precison'. Did you mean precision?"
        >>> unknown_option("beta", "fixed", ["threshold"], ["micro_f1"])
        "beta: expected the objective micro_f1, found 'fixed'. Leave beta out."
    """
    if takers:
        return f"{name}: expected the objective {' or '.join(takers)}, found {objective!r}. Leave {name} out."
    near = nearest(name, taken)
    step = f"Did you mean {near}?" if near else "Leave it out."
    return f"options: expected {' or '.join(taken)} under {objective}, found {name!r}. {step}"
