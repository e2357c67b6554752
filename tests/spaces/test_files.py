"""The files of a Space by themselves: what they import, cuts that move, bars of 6 and of 4,271 labels, CSV files."""

from __future__ import annotations

import ast
import csv
import doctest
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_multilabel.backbones import Backbone
from hf_multilabel.prediction import FORMULA, as_cell
from hf_multilabel.publishing import space
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities, default_decision
from tests.spaces.conftest import LABELS, Tiny, make_tiny

LIMITS = {"bytes": 10_000, "rows": 5, "columns": 4, "characters": 100}
Files = Callable[[str], ModuleType]


class Seen(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_they_import_nothing_but_gradio_transformers_and_torch() -> None:
    # starlette serves gradio's pages and comes with it
    allowed = {*sys.stdlib_module_names, "gradio", "starlette", "transformers", "torch", "bars", "batch", "labelling"}
    for path in space.TEMPLATE.glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        named = [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]
        found = [getattr(node, "module", None) or node.names[0].name for node in named]
        assert found
        assert {name.split(".")[0] for name in found} <= allowed, path


@given(cut=st.floats(0, 1), shift=st.floats(-4, 4))
def test_a_cut_moves_on_the_scale_of_log_odds(files: Files, cut: float, shift: float) -> None:
    moved = files("labelling").move_cut(cut, shift)
    expected = (torch.tensor(cut, dtype=torch.float64).logit() - shift).sigmoid().item()
    assert moved == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert 0 <= moved <= 1


@pytest.mark.parametrize("thresholds", [0.3, [0.2, 0.4, 0.9]])
@pytest.mark.parametrize(
    "bounds", [{}, {"max_labels": 1}, {"empty": "at_least_one"}, {"rule": "threshold_top_k", "top_k": 2}]
)
def test_only_the_cuts_of_a_copy_move(files: Files, thresholds: object, bounds: dict) -> None:
    stored = default_decision() | {"thresholds": thresholds} | bounds
    kept = dict(stored)
    moved = files("labelling").move_cuts(stored, 1.0)
    assert stored == kept
    assert {key for key in stored if stored[key] != moved[key]} == {"thresholds"}
    probs = torch.rand(50, 3)
    assert decide_probabilities(probs, moved).sum() >= decide_probabilities(probs, stored).sum()


def test_the_model_keeps_its_decision_and_a_shift_of_nothing_is_the_stored_one(labeller, tiny: Tiny) -> None:
    logits = labeller.logits(tiny.texts[3])
    assert torch.allclose(logits, tiny.logits(tiny.texts[3]), atol=1e-5)
    before = labeller.judge(logits)
    assert labeller.judge(logits, 4.0).decided != before.decided
    assert labeller.judge(logits, 0.0) == before
    assert [name for name, chosen in zip(LABELS, before.decided, strict=True) if chosen] == tiny.labels(tiny.texts[3])
    assert before.cuts == before.stored == tiny.model.config.decision["thresholds"]


@pytest.mark.parametrize("rule", [{"rule": "top_k", "top_k": 2}, {"rule": "expected_f1"}])
def test_a_rule_without_cuts_has_none_to_show_or_move(
    labeller, tiny: Tiny, files: Files, monkeypatch: pytest.MonkeyPatch, rule: dict
) -> None:
    monkeypatch.setattr(tiny.model.config, "decision", tiny.model.config.decision | rule)
    judged = labeller.judge(tiny.logits(tiny.texts[0]), 2.0)
    assert not labeller.has_cuts
    assert judged.cuts is None
    assert judged.decided == tiny.model.decide(tiny.logits(tiny.texts[0]))[0].tolist()
    shown = files("bars").answer(LABELS, judged, 12, "text")
    assert "cut" not in Seen(shown).text
    assert 'class="cut' not in shown


@given(st.text(), st.text())
def test_what_is_shown_of_a_name_is_the_name(files: Files, name: str, text: str) -> None:
    labelling, bars = files("labelling"), files("bars")
    judged = labelling.Judgement([0.9], [0.5], [0.5], [True])
    shown = bars.answer([name], judged, 12, text)
    assert set(Seen(shown).tags) == set(Seen(bars.answer(["x"], judged, 12, "x")).tags)
    assert "${" not in shown
    assert "{{" not in shown
    if not any(character in name for character in "\0\r") and not any("\ud800" <= c <= "\udfff" for c in name):
        assert name in Seen(shown).text


def test_of_many_labels_the_best_and_the_decided_are_shown(
    files: Files, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    names = [f"label {number}" for number in range(4_271)]
    texts = ["the senate debates doping in sport", "late goal wins the cup final"]
    many = make_tiny(tiny_backbone, names, texts, tmp_path / "many")
    many.model.config.decision["thresholds"] = [0.999] * 4_000 + [0.2] * 271
    labelling, bars = files("labelling"), files("bars")
    judged = labelling.Labeller(FakePipe(many)).judge(many.logits(texts[0]))
    decided = [name for name, chosen in zip(names, judged.decided, strict=True) if chosen]
    assert decided == many.labels(texts[0])
    most = bars.MOST_BARS
    assert len(decided) > most
    started = time.perf_counter()
    shown = bars.answer(names, judged, 12, texts[0])
    assert time.perf_counter() - started < 0.5
    assert f"{len(decided):,} labels of 4,271 decided" in Seen(shown).text
    assert most <= shown.count('<li class="bar') <= most + 12
    assert f"and {len(decided) - most:,} more" in Seen(shown).text
    assert f"{len(decided) - most:,} of them decided" in Seen(shown).text
    few = labelling.Labeller(FakePipe(many)).judge(many.logits(texts[0]), -4.0)
    shown = bars.answer(names, few, 12, texts[0])
    order = sorted(range(len(names)), key=lambda label: -few.probabilities[label])
    kept = [names[label] for label in order if few.decided[label]][:most]
    assert kept
    assert all(f"<bdi>{name}</bdi>" in shown for name in kept)
    assert shown.count('<li class="bar') <= 12 + len(kept)


class FakePipe:
    """What a labeller takes of a pipeline when logits are at hand."""

    def __init__(self, tiny: Tiny) -> None:
        self.model = tiny.model


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_whatever_separates_its_cells(files: Files, tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "in.csv"
    rows = [["id", "text"], ["1", 'a "b", c; d\te'], ["2", "two\r\nlines \u2028 one cell"]]
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)
    table = files("batch").read_table(path, LIMITS)
    assert [table.header, *table.rows] == rows


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text\n" + b"x" * 10_000, "10,005 bytes; at most 10,000"),
        (b"text\n\xff", "no UTF-8"),
        ("text\nx".encode("utf-16"), "no UTF-8"),
        (b"text\na\0b", "zero bytes"),
        (b" \n\n", "empty"),
        (b"text\n\n", "no row below"),
        (b"text\n" + b"x\n" * 6, "more than 5 rows"),
        (b"text\n" + b"x" * 101, "Row 1 has a cell of 101 characters"),
        (b"x" * 101 + b"\nx", "The first line has a cell of 101 characters"),
        (b'text\n"x', "no CSV at line 2"),
        (b'text\n"x"y', "no CSV at line 2"),
        (b"a,b\n1\n", "Row 1 has 1 cells, the first line names 2"),
        (b"a,b,c,d,e\n1,2,3,4,5\n", "5 columns; at most 4"),
        (b"a,a,a\n1,2,3\n", "3 columns are called “a”"),
    ],
)
def test_a_table_beyond_its_limits_is_refused(files: Files, tmp_path: Path, content: bytes, said: str) -> None:
    batch = files("batch")
    with pytest.raises(batch.Refused, match=said):
        batch.read_table(write(tmp_path / "in.csv", content), LIMITS)


def test_a_cell_longer_than_the_csv_reader_takes_is_refused(files: Files, tmp_path: Path) -> None:
    batch = files("batch")
    limits = LIMITS | {"bytes": 1 << 20, "characters": 1 << 20}
    before = csv.field_size_limit(131_072)  # its default; other modules of this process may have raised it
    try:
        with pytest.raises(batch.Refused, match="no CSV at line 2: field larger"):
            batch.read_table(write(tmp_path / "in.csv", "text\n" + "x" * 200_000), limits)
    finally:
        csv.field_size_limit(before)


def test_the_widest_header_is_refused_at_once(files: Files, tmp_path: Path) -> None:
    batch = files("batch")
    path = write(tmp_path / "in.csv", "," * 1_999_999)
    started = time.perf_counter()
    with pytest.raises(batch.Refused, match="2,000,000 columns; at most 100"):
        batch.read_table(path, space.LIMITS)
    assert time.perf_counter() - started < 2


def test_a_column_that_is_missing_is_named_beside_those_that_are_there(files: Files) -> None:
    batch = files("batch")
    table = batch.Table(["id", "body"], [["1", "x"]])
    assert batch.texts_of(table, "body") == ["x"]
    for column in ("text", "", None):
        with pytest.raises(batch.Refused, match="The file has “id”, “body”"):
            batch.texts_of(table, column)


@pytest.mark.parametrize("names", [["a", "b"], ["a|a", "b"]])
def test_rows_come_back_in_order_with_their_labels_best_first(files: Files, names: list[str], tmp_path: Path) -> None:
    batch, labelling = files("batch"), files("labelling")
    scores = {"none": [0.1, 0.2], "both": [0.6, 0.9], "one": [0.7, 0.1]}
    judge = lambda text: labelling.Judgement(scores[text], None, None, [p > 0.5 for p in scores[text]])  # noqa: E731
    table = batch.Table(
        ["decided_labels", "text", "=id"], [["old", text, "-1"] for text in ("none", "both", " ", "one")]
    )
    found = list(batch.label_rows(table, ["none", "both", " ", "one"], names, judge))
    both, one = ("b|a", "a") if names[0] == "a" else ('["b", "a|a"]', '["a|a"]')
    assert found == [
        ["text", "=id", "decided_labels", "decided_probabilities"],
        ["none", "-1", "", ""],
        ["both", "-1", both, "0.900000|0.600000"],
        [" ", "-1", "", ""],
        ["one", "-1", one, "0.700000"],
    ]
    batch.write_table(tmp_path / "out.csv", found)
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as stream:
        written = list(csv.reader(stream))
    assert written[0][1] == "'=id"
    assert written[1] == ["none", "'-1", "", ""]
    assert batch.read_table(tmp_path / "out.csv", LIMITS).rows == written[1:]


def test_every_cell_the_package_itself_keeps_from_running_is_kept_here_too(files: Files) -> None:
    batch = files("batch")
    assert set(FORMULA) <= set(batch.FORMULA)
    assert all(batch.as_cell(f"{mark}x") == as_cell(f"{mark}x") for mark in FORMULA)


def test_its_examples_and_pages_hold(files: Files) -> None:
    for name in ("bars", "batch", "labelling"):
        found = doctest.testmod(files(name))
        assert found.attempted
        assert not found.failed
