"""The data section of a report: its tables hold what can be counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hf_multilabel.data.loading import load_data
from hf_multilabel.data.profile import profile_data
from hf_multilabel.data.profile.facts import DataProfile
from hf_multilabel.reports.data_report import profile_blocks
from hf_multilabel.reports.page import Heading, Page, Picture, Prose, Section, Table, render_page

pytest.importorskip("matplotlib")
ROWS = {
    "train": [("one two", ["a"]), ("one two three", ["a", "b"]), ("one two", ["a", "b"]), ("four", [])],
    "test": [("one two", ["c"]), ("five six", ["a"])],
}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> DataProfile:
    """Four training rows, one text twice; two test rows, one of them known, with a label that training lacks."""
    folder = tmp_path_factory.mktemp("rows")
    for split, rows in ROWS.items():
        lines = [json.dumps({"text": text, "labels": labels}) for text, labels in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    data = load_data(folder, validation_size=0, duplicates="warn", unseen_labels="keep")
    return profile_data(data, "rows", max_length=2, near=False)


@pytest.fixture(scope="module")
def parts(profile: DataProfile) -> dict[str, list[Any]]:
    """Heading to the blocks below it."""
    found: dict[str, list[Any]] = {}
    for block in profile_blocks(profile):
        if isinstance(block, Heading):
            found[block.text] = []
        else:
            found[list(found)[-1]].append(block)
    return found


def test_splits(parts: dict[str, list[Any]]) -> None:
    (table,) = parts["Splits"]
    assert table.columns == ["", "train", "test"]
    assert table.rows == [
        ("rows", 4, 2),
        ("where from", "given", "given"),
        ("labels a row (cardinality)", 5 / 4, 2 / 2),
        ("share of all labels (density)", pytest.approx(5 / 12), pytest.approx(2 / 6)),
        ("rows without labels", 1, 0),
        ("different label sets", 3, 2),  # a, ab and none; c and a
        ("label sets of one row alone", 2, 2),
        ("labels present", 2, 2),
        ("labels missing", 1, 1),  # c; b
    ]


def test_copies_leakage_and_missing_labels(parts: dict[str, list[Any]]) -> None:
    (table,) = parts["To look at before training"]
    assert table.rows == [
        ("texts repeated in train", 1, ""),
        ("texts repeated in test", 0, ""),
        ("texts of test also in train", 1, ""),
        ("labels not in train that another split has", 1, "c"),
        ("labels not in test that another split has", 1, "b"),
    ]


def test_imbalance_and_lengths(parts: dict[str, list[Any]]) -> None:
    said, picture = parts["Imbalance"]
    # IRLbl 3/3 and 3/2: mean 1.25, deviation 0.3536; of the two rows with both, 1 - sqrt(1.5) / 1.25 = 0.0202
    assert said.lines == ["MeanIR 1.25, CVIR 0.283, SCUMBLE 0.010."]
    assert isinstance(picture, Picture)
    _, table = parts["Lengths in words"]
    assert table.rows == [("train", 4, 1, 2, 2, 2, 3, 1 / 4), ("test", 2, 2, 2, 2, 2, 2, 0.0)]


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 400])
def test_nothing_leaves_the_page(profile: DataProfile, tmp_path: Path, browser: Any, width: int) -> None:
    file = tmp_path / "data.html"
    blocks = [Prose(["What the run's data hold."]), *profile_blocks(profile)]
    file.write_text(render_page(Page("run", [Section("data", "Data", blocks)])), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 800})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth")
    broken = page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length")
    images = page.evaluate("document.images.length")
    page.close()
    assert (wide, broken, images, said) == (width, 0, 4, [])
    assert sum(isinstance(block, Table) for block in blocks) == 4
