"""What the tables say."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from hf_multilabel.console import comparison_table, prevalence_table, results_table


def printed(results: dict, **arguments: object) -> str:
    return exported(results_table(results, **arguments))


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


def test_brackets_and_fitted_rows_are_explained_once() -> None:
    found = {"fixed": {"micro_f1": 0.5}, "tuned": {"micro_f1": 0.6, "intervals": {"micro_f1": [0.5, 0.7]}}}
    said = " ".join(printed({"validation": found, "test": found}, fitted=["validation"]).split())
    assert said.count("[low, high]: 95% interval") == 1
    assert "validation: tuned is optimistic, it was fitted on these rows" in said
    assert "test: " not in said
    assert "95%" not in printed({"test": {"fixed": {"micro_f1": 0.5}}})


def test_labels_without_a_text_are_said_to_count_zero() -> None:
    decisions = {
        "fixed": {"macro_f1": 0.4, "macro_f1_present": 0.6, "labels_without_positives": 2},
        "tuned": {"macro_f1": 0.5, "macro_f1_present": 0.75, "labels_without_positives": 2},
    }
    text = printed({"validation": {"fixed": {"macro_f1": 0.9, "labels_without_positives": 0}}, "test": decisions})
    said = " ".join(text.split())
    assert "test: 2 label(s) without a text count 0 in macro_f1; over the others 0.6000 fixed, 0.7500 tuned" in said
    assert "validation: " not in said


def test_a_promise_stands_first_beside_what_it_costs() -> None:
    found = {"micro_f1": 0.6, "samples_recall_present": 0.9321, "samples_precision_present": 0.25}
    found |= {"predicted_per_row": 2.5, "intervals": {"samples_recall_present": [0.91, 0.95]}}
    risk = {"metric": "recall", "target": 0.9, "confidence": 0.95, "controlled": True}
    text = printed({"test": {"fixed": {"micro_f1": 0.5}, "tuned": found}}, decision={"risk": risk})
    assert "0.9321 [0.910, 0.950]" in text
    names = ("samples_recall_present", "samples_precision_present", "predicted_per_row", "micro_f1")
    places = [text.index(f" {name} ") for name in names]
    assert places == sorted(places)
    said = " ".join(text.split())
    assert "promised of tuned: samples_recall_present of at least 0.9 with 95% confidence" in said
    kept = printed({"test": {"tuned": found}}, decision={"risk": risk | {"controlled": False}})
    assert "samples_recall_present" not in kept


def test_a_decision_with_prices_shows_what_its_errors_cost() -> None:
    found = {"mean_cost": 1.25, "wrong_labels": 1200, "missed_labels": 3, "intervals": {"mean_cost": [1, 1.5]}}
    decision = {"objective": "cost_plug_in", "options": {"false_negative_cost": 4.0}}
    said = " ".join(printed({"test": {"tuned": found}}, decision=decision).replace("│", " ").split())
    assert "mean_cost 1.2500 [1.000, 1.500] wrong_labels 1,200 missed_labels 3" in said
    assert "at 1 for a wrong label and 4 for a missed one" in said


def test_texts_without_a_label_are_said_to_count_zero() -> None:
    found = {"samples_f1": 0.1, "rows_without_labels": 1200}
    said = " ".join(printed({"test": {"fixed": found, "tuned": found}}).split())
    assert said.count("test: 1,200 texts without a label count 0 in samples F1 and in metrics at k, also where") == 1
    assert "without" not in printed({"test": {"fixed": found | {"rows_without_labels": 0}}})


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
