"""A recipe given as text, for the tests of the recipe room."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_multilabel.errors import InputError
from hf_multilabel.recipe import Recipe, load_recipe

VALID = "data: {source: owner/dataset}\nmodel: {backbone: owner/model}\n"


def load(text: str | bytes, *overrides: str) -> Recipe:
    """Write recipes/x.yaml into the working folder and load it."""
    Path("recipes").mkdir(exist_ok=True)
    Path("recipes/x.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_recipe("recipes/x.yaml", overrides)


def refuse(text: str | bytes, *overrides: str) -> str:
    """The findings of a recipe that must not load, one a line."""
    with pytest.raises(InputError) as caught:
        load(text, *overrides)
    message = str(caught.value)
    assert all(line.startswith(("error[R", "... and ")) for line in message.splitlines())
    return message
