"""The cards under model_cards/ are whole: the Hub reads them, their figures are there and small, nothing leaks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hf_multilabel.assets import asset_folder, recipes_folder

FOLDER = asset_folder("model_cards")
CARDS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


def test_there_are_cards_of_shipped_recipes_and_the_list_names_them() -> None:
    names = {path.stem for path in CARDS}
    assert "quickstart" in names
    assert names <= {path.stem for path in recipes_folder().glob("*.yaml")}
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w.]+\.md)\)", listed)) == {path.name for path in CARDS}


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_card_is_whole(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    card = ModelCard(content)
    assert {"micro F1", "macro F1"} <= {result.metric_name for result in card.data.eval_results}
    assert card.data.pipeline_tag == "text-classification"
    shown = re.findall(r"!\[.+?\]\((.*?)\)", card.text)
    assert all((FOLDER / name).stat().st_size < 60_000 for name in shown)
    there = {f"{path.stem}/{found.name}" for found in (FOLDER / path.stem).glob("*")}
    assert there == set(shown)
    assert not re.search(r"/(home|root|work|tmp|Users)/|hf_[A-Za-z]{20,}", content)
    for block in re.findall(r"^```python\n(.*?)^```", content, flags=re.MULTILINE | re.DOTALL):
        compile(block, path.name, "exec")
