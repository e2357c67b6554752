"""The eight real datasets: formats as users bring them, with the counts their readme states."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hf_multilabel.data.loading import load_data
from hf_multilabel.errors import InputError

RealData = Callable[[str], Path]

OPTIONS = {
    "quickstart": {"id": "id"},
    "arxiv_topics": {"id": "ID", "text": ["TITLE", "ABSTRACT"], "labels": None},
    "eurlex57k": {"id": "celex_id", "labels": "eurovoc_concepts", "duplicates": "warn", "unseen_labels": "keep"},
    "eurlex4k": {"id": "celex", "unseen_labels": "keep"},
    "jigsaw": {"id": "id", "text": "comment_text", "labels": None},
    "goemotions": {"id": "comment_id", "duplicates": "warn"},
    "stackexchange_cooking": {
        "id": "id",
        "text": ["title", "content"],
        "labels": "tags",
        "label_delimiter": " ",
        "strip_html": True,
    },
}
OPTIONS["stackexchange_robotics"] = OPTIONS["stackexchange_cooking"]
EXPECTED = {
    "quickstart": ((1000, 150, 250), 8, 1.6),
    "arxiv_topics": ((19330, 2280, 2349), 8, 1.34),
    "eurlex57k": ((45000, 6000, 6000), 4271, 5.07),
    "eurlex4k": ((8085, 1082, 1084), 3141, 5.26),
    "jigsaw": ((35265, 2360, 4704), 6, 0.55),
    "goemotions": ((43410, 5426, 5427), 28, 1.18),
    "stackexchange_cooking": (15404, 736, 2.3),
    "stackexchange_robotics": (2771, 231, 2.34),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_counts(real_data: RealData, name: str) -> None:
    data = load_data(real_data(name), **OPTIONS[name])
    rows, labels, cardinality = EXPECTED[name]
    counted = tuple(data.statistics["rows"].values())
    assert (counted if isinstance(rows, tuple) else sum(counted)) == rows
    assert len(data.labels) == data.statistics["labels"] == labels
    assert data.statistics["cardinality"]["train"] == pytest.approx(cardinality, abs=0.03)
    matrix = data.label_matrix("train")
    assert tuple(matrix.getnnz(axis=0)) == data.labels.counts


def test_goemotions_shares_37_texts_between_train_and_test(real_data: RealData) -> None:
    data = load_data(real_data("goemotions"), duplicates="warn")
    assert data.statistics["duplicates"]["between_splits"]["train/test"] == 37
    with pytest.raises(InputError, match="found 37 rows of test"):
        load_data(real_data("goemotions"))


def test_eurlex57k_has_163_labels_only_outside_training(real_data: RealData) -> None:
    data = load_data(real_data("eurlex57k"), **OPTIONS["eurlex57k"])
    assert data.statistics["unseen_labels"]["count"] == 163
    duplicates = data.statistics["duplicates"]
    assert sum(duplicates["within_splits"].values()) + sum(duplicates["between_splits"].values()) == 14
    with pytest.raises(InputError, match="and 143 more of 163 findings"):
        load_data(real_data("eurlex57k"), **{**OPTIONS["eurlex57k"], "unseen_labels": "error"})


def test_eurlex57k_concepts_by_name(real_data: RealData) -> None:
    folder = real_data("eurlex57k")
    data = load_data(folder, **OPTIONS["eurlex57k"], label_names=folder / "eurovoc_concepts.json", max_rows=100)
    assert len(data.labels) == 7201
    assert data.statistics["unseen_labels"]["never"] == 7201 - 4271
    assert "domestic trade" in data.labels.names


def test_eurlex57k_stays_small_and_quick(real_data: RealData) -> None:
    code = (
        "import re, sys\n"
        # not ru_maxrss, which begins at what the parent held when it forked
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "from hf_multilabel.data.loading import load_data\n"
        "before = peak()\n"
        "load_data(sys.argv[1], labels='eurovoc_concepts', duplicates='warn', unseen_labels='keep')\n"
        "print(before, peak())\n"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(real_data("eurlex57k"))], capture_output=True, text=True, check=True
    )
    before, peak = (int(kilobytes) / 1024 for kilobytes in done.stdout.split())
    assert peak < 1500
    # the texts are 196 MB
    assert peak - before < 800
    assert time.perf_counter() - start < 60


def test_tags_never_leave_training_without_a_row(real_data: RealData) -> None:
    data = load_data(real_data("stackexchange_robotics"), **OPTIONS["stackexchange_robotics"])
    assert min(data.labels.counts) > 0
    assert data.statistics["unseen_labels"]["count"] == 0
    assert not any("<p>" in text for text in data.splits["train"]["text"])
