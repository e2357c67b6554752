"""What the tables say."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from hf_multilabel.console import comparison_table, prevalence_table, results_table


def printed(results: dict) -> str:
    return exported(results_table(results))


def exported(table: Table) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_scores_stand_with_their_intervals() -> None:
    tuned = {"micro_f1": 0.61234, "samples_f1": 0.5, "intervals": {"micro_f1": [0.6, 0.6254], "samples_f1": [0.4, 0.6]}}
    text = printed({"test": {"fixed": {"micro_f1": 0.5, "samples_f1": None}, "tuned": tuned}})
    assert "0.6123 [0.600, 0.625]" in text
    assert "0.5000 [0.400" not in text  # samples_f1 is not among the metrics shown with an interval
    assert "0.5000" in text
    assert "macro_f1" not in text


def test_labels_without_a_text_are_said_to_count_zero() -> None:
    decisions = {
        "fixed": {"macro_f1": 0.4, "macro_f1_present": 0.6, "labels_without_positives": 2},
        "tuned": {"macro_f1": 0.5, "macro_f1_present": 0.75, "labels_without_positives": 2},
    }
    text = printed({"validation": {"fixed": {"macro_f1": 0.9, "labels_without_positives": 0}}, "test": decisions})
    said = " ".join(text.split())
    assert "test: 2 label(s) without a text count 0 in macro_f1; over the others 0.6000 fixed, 0.7500 tuned" in said
    assert "validation: " not in said


def test_prevalences_show_what_is_not_known_and_how_many_are_left_out() -> None:
    row = {"label": "[a]", "labelled": 0.125, "estimated": 0.25, "low": 0.2, "high": 0.305}
    unknown = {"label": "b", "labelled": 0.0, **dict.fromkeys(("estimated", "low", "high"), float("nan"))}
    text = exported(prevalence_table([row, unknown, row], 48, 1200, "new.txt", shown=2))
    said = " ".join(text.replace("\u2502", " ").split())
    assert "of 48 labelled rows, and estimated for the 1,200 texts of new.txt" in said
    assert "[a] 12.50% 25.00% 20.00% to 30.50%" in said
    assert "b 0.00% - -" in said
    assert "... 1 more, which differ less" in said


def compared(micro: float, macro: float, p_value: float, decisions: tuple[str, ...] = ()) -> str:
    found = {"first": 0.5, "second": 0.5, "low": -0.1, "high": 0.1}
    differences = {
        "micro_f1": {**found, "difference": micro, "p_value": 0.72},
        "macro_f1": {**found, "difference": macro, "p_value": p_value},
        "hamming_loss": {**found, "difference": -0.1, "p_value": 0.004},
    }
    return " ".join(exported(comparison_table("a", "[b]", differences, decisions)).split())


def test_a_comparison_says_which_is_better() -> None:
    said = compared(0.02, 0.0312, 0.004)
    assert "micro_f1: no difference found (p 0.720); macro_f1: 2 is better by 0.0312 (p 0.004)" in said
    assert "macro_f1: 1 is better by 0.0312 (p 0.049)" in compared(0.02, -0.0312, 0.049)
    assert "macro_f1: no difference found (p 0.050)" in compared(0.02, -0.0312, 0.05)
    assert "p: of single tests, not corrected for their number" in said
    assert "hamming_loss (lower is better)" in said
    assert "_f1 (lower" not in said


def test_a_comparison_says_when_decisions_are_of_two_kinds() -> None:
    assert "decisions differ: cost_plug_in, balanced" in compared(0, 0, 1, ("cost_plug_in", "balanced"))
    assert "decisions differ" not in compared(0, 0, 1, ("balanced", "balanced"))
