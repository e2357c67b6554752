"""`section.key=value` on the command line: read with the same YAML rules and kept with its own place."""

from __future__ import annotations

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.recipe.reading import Document, Keys, Place, read_text
from hf_multilabel.recipe.secrets import SECRET_KEY, one_line, show


def apply_override(document: Document, override: str) -> None:
    """Change one value of a recipe, its place included; what is wrong is added to the document's findings.

    Args:
        document: A recipe as read, with a mapping at the top.
        override: `section.key=value`; the value is YAML and is typed as in a file. null clears a key.
    """
    name, equals, text = override.partition("=")
    keys: Keys = tuple(name.strip().split("."))
    shown = f"{one_line(name)}=***" if SECRET_KEY.search(name.strip().rpartition(".")[2]) else one_line(override)
    place = Place(f"override {shown}")
    if not equals or len(keys) < 2 or not all(keys):
        found = "no =" if not equals else f"the key {show(name)}"
        what = f"expected section.key=value, found {found}"
        fix = f"{keys[0]}.KEY=VALUE" if equals and all(keys) else "training.max_steps=30"
        document.findings.append(Finding("R107", str(place), what, f"write for instance {fix}"))
        return
    if keys in document.places and document.places[keys].is_override:
        what = f"expected each key once, found another {document.places[keys]}"
        document.findings.append(Finding("R107", str(place), what, "keep one of the two"))
        return
    try:
        value = read_text(text, lambda line, column: place)
    except InputError as error:
        document.findings.extend(error.findings)
        return
    document.findings.extend(value.findings)
    if _holds(document, keys[:-1], place):
        _replace(document, keys, value, place)


def _holds(document: Document, keys: Keys, place: Place) -> bool:
    """Make sure that mappings lead to a key; False, with a finding, where another value stands in the way."""
    inner = document.values
    for depth, key in enumerate(keys, start=1):
        if inner.get(key) is None:
            inner[key] = {}
            document.places.setdefault(keys[:depth], place)
        inner = inner[key]
        if not isinstance(inner, dict):
            what = f"expected a mapping at {'.'.join(map(str, keys[:depth]))}, found {show(inner)}"
            document.findings.append(Finding("R107", str(place), what, "override that key itself"))
            return False
    return True


def _replace(document: Document, keys: Keys, value: Document, place: Place) -> None:
    for known in (document.places, document.unquoted):
        for old in [old for old in known if old[: len(keys)] == keys]:
            del known[old]
    inner = document.values
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value.values
    document.places |= {(*keys, *found): place for found in value.places}
    document.unquoted |= {(*keys, *found): text for found, text in value.unquoted.items()}
