"""What a long step says, where."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from hf_multilabel import progress
from hf_multilabel.console import compared_labels_table, note, results_table, show
from hf_multilabel.progress import Bar, redirected, track


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test moves on."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def advance(clock: list[float], seconds: float, units: int = 100) -> str:
    file = io.StringIO()
    with redirected(file), Bar("scoring", units, "texts") as bar:
        for _ in range(units):
            clock[0] += seconds / units
            bar.update()
    return file.getvalue()


def test_a_log_file_gets_a_line_a_tenth(clock: list[float]) -> None:
    lines = advance(clock, 1000).splitlines()
    assert len(lines) == 10
    assert lines[4].startswith("scoring: 50/100 texts, 10.0 s each, 8 min 20 s left")


def test_quick_steps_leave_no_trace(clock: list[float]) -> None:
    assert advance(clock, 9) == ""


def test_lines_keep_their_distance(clock: list[float]) -> None:
    assert len(advance(clock, 35, 1000).splitlines()) == 3  # a tenth each 3.5 s, a line each 10 s at most


def test_what_was_done_before_does_not_count_for_the_rate(clock: list[float]) -> None:
    bar = Bar("trials", 100, done=90)
    clock[0] += 10
    bar.set(95)
    assert bar.rate() == pytest.approx(0.5)
    assert bar.remaining() == pytest.approx(10)


def test_json_lines(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, "json")
    lines = [json.loads(line) for line in advance(clock, 1000).splitlines()]
    assert lines[1]["event"] == "progress"
    assert (lines[1]["done"], lines[1]["total"], lines[1]["rate"], lines[1]["remaining_s"]) == (20, 100, 0.1, 800)
    file = io.StringIO()
    with redirected(file):
        note("data: [1] row")
        show(results_table({"test": {"fixed": {"micro_f1": 0.5, "intervals": {"micro_f1": [0.4, 0.6]}}}}))
    said, table = (json.loads(line) for line in file.getvalue().splitlines())
    assert said["text"] == "data: [1] row"
    assert table["caption"] == "[low, high]: 95% interval"
    assert table["rows"] == [{"metric": "micro_f1", "test fixed": "0.5000 [0.400, 0.600]"}]


def test_quiet_says_only_what_was_asked_for(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, "quiet")
    assert advance(clock, 1000) == ""
    file = io.StringIO()
    table = results_table({"test": {"fixed": {"micro_f1": 0.5}}})
    with redirected(file):
        note("nothing")
        show(table)
        assert file.getvalue() == ""
        show(table, asked=True)
    assert "0.5000" in file.getvalue()


def test_track_hands_everything_on() -> None:
    assert list(track([1, 2, 3], "counting")) == [1, 2, 3]


def test_label_names_are_whole_in_a_narrow_comparison() -> None:
    name = "protection of minorities and of their languages"
    line = {"label": name, "support": 12345, "first_f1": 0.1234, "second_f1": 0.5678, "only_first": 1234,
            "only_second": 2345, "p_value": 0.01, "p_corrected": 0.02}  # fmt: skip
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(compared_labels_table([line]))
    text = console.export_text()
    letters = "".join(row.split("│")[1].strip().replace(" ", "") for row in text.splitlines() if row.startswith("│"))
    assert letters == name.replace(" ", "")
    assert all(number in text for number in ("12,345", "0.1234", "0.5678", "1,234", "2,345", "0.020"))
    assert "…" not in text
