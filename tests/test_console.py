"""What the tables say."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from hf_multilabel.console import prevalence_table, results_table


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
