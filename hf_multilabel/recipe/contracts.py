"""From pydantic's errors to findings: where it stands, what the schema expects there, what was found, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from hf_multilabel.errors import Finding, nearest
from hf_multilabel.recipe.reading import Document, Keys, dotted
from hf_multilabel.recipe.secrets import mask, show
from hf_multilabel.recipe.training import HINTS

LIMITS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
NAMES = {"number": "a finite number", "integer": "a whole number", "string": "text", "object": "a mapping"}
LISTED = 20


def contract_findings(error: ValidationError, document: Document, schema: dict[str, Any]) -> dict[Keys, Finding]:
    """One finding for each value that breaks its contract.

    Args:
        error: What pydantic found in `document.values`.
        document: The values and where they stand.
        schema: JSON Schema of the same model; the contract is read from it, so it is written once.

    Returns:
        From the keys of a value to its finding.
    """
    findings: dict[Keys, Finding] = {}
    for problem in error.errors(include_url=False, include_input=False):
        keys = _written_keys(problem["loc"], document.values)
        if problem["type"] == "contract":
            for key, expected, found, fix in problem["ctx"]["problems"]:
                inner = (*keys, *key.split(".")) if key else keys
                findings[inner] = _finding("R103", inner, document, f"{expected}, found {found}", fix)
        elif problem["type"] == "extra_forbidden":
            findings[keys] = _unknown_key(keys, document, schema)
        elif problem["type"] == "missing":
            inner = (*keys, str(problem["loc"][-1]))
            what = f"{describe(schema, inner)}, found no such key"
            findings[inner] = _finding("R103", inner, document, what, "add it")
        elif problem["loc"][-1] == "[key]":
            findings[keys] = _finding(
                "R101", keys, document, f"one of {problem['ctx']['expected']}, found {show(keys[-1])}", "rename it"
            )
        else:
            findings[keys] = _wrong_value(keys, document, schema)
    # A union reports each of its branches; the one that got deepest says what is wrong.
    holders = {keys[:depth] for keys in findings for depth in range(len(keys))}
    return {keys: found for keys, found in findings.items() if keys not in holders}


def describe(schema: dict[str, Any], keys: Keys) -> str:
    """The contract at some keys in words, for instance `a finite number > 0 or null`."""
    fragments = list(_fragments(schema, schema, keys))
    return " or ".join(dict.fromkeys(_in_words(schema, fragment) for fragment in fragments)) or "a value"


def _wrong_value(keys: Keys, document: Document, schema: dict[str, Any]) -> Finding:
    value: Any = document.values
    for key in keys:
        value = value[key]
    expected, fix = describe(schema, keys), "correct the value"
    choices = [name for part in _fragments(schema, schema, keys) for name in part.get("enum", ())]
    near = nearest(str(value), choices) if isinstance(value, str) else None
    if near is not None:
        fix = f"write {near}"
    elif "true or false" in expected and str(value).lower() in ("yes", "no", "on", "off"):
        fix = f"write {'true' if value.lower() in ('yes', 'on') else 'false'}"
    elif "text" in expected.split(" or ") and keys in document.unquoted and value is not None:
        fix = f'quote it: "{document.unquoted[keys]}"'
    return _finding("R103", keys, document, f"{expected}, found {show(value)}", fix)


def _unknown_key(keys: Keys, document: Document, schema: dict[str, Any]) -> Finding:
    name = str(keys[-1])
    known = [key for part in _fragments(schema, schema, keys[:-1]) for key in part.get("properties", ())]
    holder = f"a key of {dotted(keys[:-1])}" if len(keys) > 1 else "a section"
    near = nearest(name, known)
    if keys[0] == "training" and name in HINTS:
        fix = HINTS[name]
    elif near is not None:
        fix = f"write {near}"
    else:
        fix = f"choose among {', '.join(known)}" if len(known) <= LISTED else "see recipes/recipe.schema.json"
    return _finding("R101", keys, document, f"{holder}, found {show(name)}", fix)


def _finding(code: str, keys: Keys, document: Document, what: str, fix: str) -> Finding:
    return Finding(code, document.where(keys), mask(f"expected {what}"), mask(fix))


def _written_keys(loc: tuple[str | int, ...], values: Any) -> Keys:
    """The keys of a value; pydantic adds names of union branches and validators, which no recipe contains."""
    keys: list[str | int] = []
    for part in loc:
        is_item = isinstance(values, list) and isinstance(part, int) and part < len(values)
        if is_item or (isinstance(values, dict) and part in values):
            keys.append(part)
            values = values[part]
    return tuple(keys)


def _fragments(schema: dict[str, Any], fragment: dict[str, Any], keys: Keys) -> Iterator[dict[str, Any]]:
    """The parts of a JSON Schema that apply at some keys, alternatives apart."""
    if "$ref" in fragment:
        yield from _fragments(schema, schema["$defs"][fragment["$ref"].rpartition("/")[2]], keys)
    elif "anyOf" in fragment:
        for alternative in fragment["anyOf"]:
            yield from _fragments(schema, alternative, keys)
    elif not keys:
        yield fragment
    elif isinstance(keys[0], int):
        if "items" in fragment:
            yield from _fragments(schema, fragment["items"], keys[1:])
    elif keys[0] in fragment.get("properties", {}):
        yield from _fragments(schema, fragment["properties"][keys[0]], keys[1:])
    elif isinstance(fragment.get("additionalProperties"), dict):
        yield from _fragments(schema, fragment["additionalProperties"], keys[1:])


def _in_words(schema: dict[str, Any], fragment: dict[str, Any]) -> str:
    if "enum" in fragment:
        return f"one of {', '.join(map(str, fragment['enum']))}"
    if "const" in fragment:
        return show(fragment["const"])
    if fragment.get("type") == "array":
        return f"a list of {describe(schema | fragment['items'], ()) if 'items' in fragment else 'values'}"
    if fragment.get("type") == "boolean":
        return "true or false"
    if fragment.get("minLength") == 1:
        return "text that is not empty"
    if "pattern" in fragment:
        return f"text of the form {fragment['pattern']}"
    limits = " and ".join(f"{sign} {fragment[key]}" for key, sign in LIMITS.items() if key in fragment)
    return f"{NAMES.get(fragment.get('type', ''), fragment.get('type', 'a value'))} {limits}".rstrip()
