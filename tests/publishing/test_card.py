from __future__ import annotations

import html
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from hf_multilabel.decisions.thresholds import THRESHOLD_RULES
from hf_multilabel.publishing.card import readdress_card, render_card
from hf_multilabel.publishing.card_decision import PURPOSES, describe_decision
from hf_multilabel.publishing.card_text import escape
from hf_multilabel.remote_code.decision_multilabel import EMPTY, RULES
from tests.publishing.conftest import LABELS, Trained, facts

HOSTILE = [
    "a|b",
    "`code`",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "[link](http://evil.example)",
    "https://evil.example and www.evil.example",
    "**bold** _it_ ~~gone~~",
    "two\nlines\r\n| x | y |",
    "\\(x\\) $$y$$",
    "&lt; &amp;",
    "--- ```",
    "# heading",
    "@everyone",
    "",
    "naïve 标签",
    "lone \ud800 surrogate \x00",
]


HEADINGS = [
    "How to use", "Examples", "Results", "The decision", "Labels", "Figures", "Training data", "Training", "Limits",
]  # fmt: skip


def read_tables(card: str) -> list[list[list[str]]]:
    """The tables a reader sees, as rows of cells of text."""
    shown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(ModelCard(card).text)
    tables = []
    for table in re.findall("<table>(.*?)</table>", shown, flags=re.DOTALL):
        rows = re.findall("<tr>(.*?)</tr>", table, flags=re.DOTALL)
        tables.append([re.findall("<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL) for row in rows])
    return tables


def line(label: str, support: int = 3) -> dict:
    return {"label": label, "support": support, "threshold": 0.25, "precision": 1.0, "recall": 0.5, "f1": 2 / 3}


METRICS = {
    "fixed": {"micro_f1": 0.5, "macro_f1": 0.25, "head_labels": 2, "head_micro_f1": 0.5, "tail_labels": 0, "rows": 7},
    "tuned": {
        **{"micro_f1": np.float32(0.75), "macro_f1": 0.5, "hamming_loss": 0.125, "macro_auc": None, "rows": 7},
        **{"head_labels": 2, "head_micro_f1": 0.625, "tail_labels": 0, "recall_at_7": 0.5, "predicted_per_row": 1.5},
        "intervals": {"micro_f1": [0.70049, 0.8], "head_micro_f1": [0.5, 0.7]},
    },
}


def text_of(card: str) -> str:
    return ModelCard(card).text


def test_the_hub_can_read_the_metadata(trained: Trained) -> None:
    changes = {"base_model": "org/encoder", "dataset_id": "org/data", "dataset": "Data", "tags": ["law"]}
    answers = [{LABELS[0]: np.float32(0.91239), LABELS[3]: 0.5}, {}]
    card = ModelCard(render_card(facts(trained, metrics={"test": METRICS}, answers=answers, **changes)))
    assert card.data.tags == ["multi-label", "hf_multilabel", "text-classification", "law"]
    assert (card.data.pipeline_tag, card.data.license, card.data.language) == ("text-classification", "cc0-1.0", ["en"])
    assert (card.data.base_model, card.data.datasets) == ("org/encoder", ["org/data"])
    outputs = [{"label": "0010", "score": 0.9124}, {"label": LABELS[3], "score": 0.5}]
    assert card.data.widget == [{"text": trained.texts[0], "output": outputs}, {"text": trained.texts[1]}]
    assert [(result.metric_name, result.metric_type, result.metric_value) for result in card.data.eval_results] == [
        ("micro F1", "f1", 0.75),
        ("macro F1", "f1", 0.5),
        ("hamming loss", "hamming_loss", 0.125),
    ]
    assert card.data.eval_results[0].metric_args == {"average": "micro"}
    assert {(found.dataset_type, found.dataset_split) for found in card.data.eval_results} == {("org/data", "test")}
    assert card.data.metrics == ["f1", "hamming_loss"]
    assert "python/object" not in card.content


def test_results_show_the_fixed_cut_beside_the_tuned_decision_and_its_interval(trained: Trained) -> None:
    card = render_card(facts(trained, metrics={"test": METRICS}, data={"cardinality": {"test": 1.25}}))
    headline, parts, others = read_tables(card)[:3]
    assert headline[:2] == [
        ["metric", "fixed 0.5", "stored decision", "95% interval"],
        ["micro F1", "0.5000", "0.7500", "0.700–0.800"],
    ]
    assert headline[-1] == ["macro AUC", "-", "-", "-"]
    assert parts[1:] == [["head", "2", "0.5000", "0.6250", "0.500–0.700", "-", "-", "-"]]
    assert [line[0] for line in others[1:]] == ["rows", "recall@7", "predicted per row"]
    assert others[1] == ["rows", "7", "7", ""]
    assert "<summary>2 more metrics</summary>" in card  # rows are none
    assert "A text gets 1.50 labels on average, and 1.25 hold." in card
    assert "count 0" not in card


def test_where_no_label_is_absent_nothing_stands_twice_and_a_dash_is_explained(trained: Trained) -> None:
    tuned = METRICS["tuned"] | {"macro_f1_present": 0.5, "classwise_ece": 0.1, "labels_without_positives": 0}
    tuned["intervals"] = {name: [0.0, 1.0] for name, value in tuned.items() if name not in ("classwise_ece", "rows")}
    card = render_card(facts(trained, metrics={"test": METRICS | {"tuned": tuned}}))
    assert "macro F1 present" not in card
    assert "No interval is computed for classwise ECE." in card
    absent = tuned | {"labels_without_positives": 1}
    assert "macro F1 present" in render_card(facts(trained, metrics={"test": METRICS | {"tuned": absent}}))
    few = tuned | {"intervals": {"micro_f1": [0.7, 0.8]}}
    card = render_card(facts(trained, metrics={"test": METRICS | {"tuned": few}}))
    assert "No interval is computed for metrics with a dash." in card


def test_the_command_names_the_columns_of_the_run(trained: Trained) -> None:
    card = render_card(facts(trained, text=["title", "body text"]))
    assert "texts.csv --text title --text 'body text' --output labels.csv" in card


def test_limits_name_the_file_of_a_decision_fitted_elsewhere(trained: Trained) -> None:
    assert "belong to texts like the training data." in render_card(facts(trained))
    decision = trained.model.config.decision | {"refitted": {"data": "new_rows.csv"}}
    card = render_card(facts(trained, decision=decision))
    assert "texts like those of new\\_rows.csv, on which they were fitted." in card


def test_results_show_what_was_promised_first(trained: Trained) -> None:
    tuned = METRICS["tuned"] | {"samples_precision_present": 0.75}
    risk = {"metric": "precision", "target": 0.7, "confidence": 0.9, "controlled": True, "sentence": "Guaranteed: all."}
    shown = facts(
        trained, metrics={"test": METRICS | {"tuned": tuned}}, decision=trained.model.config.decision | {"risk": risk}
    )
    card = render_card(shown)
    assert read_tables(card)[0][1] == ["samples precision present", "-", "0.7500", "-"]
    assert "Promised is a samples precision present of at least 0.7 with 90% confidence; here it is 0.7500." in card


def test_results_show_costs_first(trained: Trained) -> None:
    tuned = METRICS["tuned"] | {"mean_cost": 1.5, "wrong_labels": 1200}
    card = render_card(facts(trained, metrics={"test": METRICS | {"tuned": tuned}}))
    assert read_tables(card)[0][1:3] == [["mean cost", "-", "1.5000", "-"], ["wrong labels", "-", "1,200", ""]]


def test_results_say_what_counts_zero_whatever_is_predicted(trained: Trained) -> None:
    tuned = METRICS["tuned"] | {"rows_without_labels": 1, "labels_without_positives": 2}
    card = render_card(facts(trained, metrics={"test": METRICS | {"tuned": tuned}}))
    assert "1 text without a label counts 0 in samples F1" in card
    assert "2 labels without a text here count 0 in macro F1." in card
    assert "the choice of these 7 rows" in card


def test_results_that_kept_scores_make_too_good_are_called_so(trained: Trained) -> None:
    tuned = METRICS["tuned"] | {"rows": 7, "rows_unsettled": 3}
    card = render_card(facts(trained, metrics={"test": METRICS | {"tuned": tuned}}))
    assert "3 of 7 texts may get labels whose scores were not kept." in card


@pytest.mark.parametrize(("tuned", "said"), [(0.4, True), (0.6, False)])
def test_a_decision_that_did_not_pay_is_called_so(trained: Trained, tuned: float, said: bool) -> None:
    metrics = {"fixed": {"micro_f1": 0.5, "macro_f1": 0.5}, "tuned": {"micro_f1": tuned, "macro_f1": 0.4}}
    assert ("did not pay" in render_card(facts(trained, metrics={"test": metrics}))) is said


def test_scores_on_validation_are_called_optimistic(trained: Trained) -> None:
    card = render_card(facts(trained, metrics={"validation": {"tuned": {"micro_f1": 0.9}}}))
    assert "looks better here than it is" in card
    assert read_tables(card)[0][1] == ["micro F1", "-", "0.9000", "-"]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_label_is_shown_as_it_is_and_never_as_markup(trained: Trained, name: str) -> None:
    labels = [name, "other"]
    recipe = f"labels: ['{name}', '```', '`````']\n"
    card = render_card(
        facts(
            trained,
            labels=labels,
            per_label=[line(name), line("other", 1)],
            recipe=recipe,
            name=name,
            folder=name,
            examples=[name],
            answers=[{name: 0.75}],
            dataset=name or "data",
            architecture=name,
            base_model="org/encoder",
            figures={"figures/a.png": name},
            shortened=[name],
            changes=[("data.max_rows", name, "-")],
            limits=[name],
        )
    )
    card.encode("utf-8")
    table = next(table for table in read_tables(card) if table[0][0] == "label")
    shown = re.sub(r"[\x00-\x1f\ud800-\udfff]+", " ", name).strip()
    assert [html.unescape(cell) for cell in table[1]] == [shown, "3", "0.2500", "1.0000", "0.5000", "0.6667"]
    assert table[2][0] == "other"
    prose = re.sub("(`{3,}).*?\n\\1\n", "", text_of(card), flags=re.DOTALL)
    assert not re.search("<(?!/?(details|summary)>)", prose)
    seen = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(prose)
    assert not re.search(r"<(script|a|s|del|i|em)\b", seen)
    assert re.findall('<img src="([^"]*)"', seen) == ["figures/a.png"]
    assert "49" not in prose.replace("{{ 7 * 7 }}", "")
    assert re.findall("^#+ (.*)$", prose, flags=re.MULTILINE)[1:] == HEADINGS
    assert ModelCard(card).data.widget[0]["text"] == re.sub(r"[\x00-\x1f\ud800-\udfff]+", " ", name)
    for block in re.findall("^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL):
        compile(block, "card", "exec")


def test_links_mentions_and_formulas_stay_text() -> None:
    assert "://" not in escape("http://evil.example")
    assert "www." not in escape("www.evil.example")
    assert not set("@$\\") & set(escape("@everyone $$x$$ \\(y\\)"))


@pytest.mark.parametrize(("labels", "folded"), [(20, False), (21, True), (200, True)])
def test_many_labels_are_folded(trained: Trained, labels: int, folded: bool) -> None:
    names = [f"label {number}" for number in range(labels)]
    card = render_card(facts(trained, labels=names, per_label=[line(name, i) for i, name in enumerate(names)]))
    assert (f"<summary>All {labels} labels</summary>" in card) is folded
    assert [row[0] for row in read_tables(card)[-1][1:]] == names[::-1]
    assert ("Labels: label 0, label 1" in card) is (labels <= 30)
    assert "10 labels have a support below 10" in card


def test_of_thousands_of_labels_the_most_frequent_and_the_worst_are_shown(trained: Trained) -> None:
    labels = [f"label {number}" for number in range(4271)]
    lines = [line(name, i) | {"training": 2 * i, "f1": i % 1000 / 1000} for i, name in enumerate(labels)]
    card = render_card(facts(trained, labels=labels, per_label=lines))
    frequent, worst = read_tables(card)[-2:]
    assert "<summary>The 25 most frequent of 4,271 labels</summary>" in card
    assert "<summary>The 25 with the lowest F1 among 4,261 with 10 rows or more</summary>" in card
    assert [row[0] for row in frequent[1:]] == labels[:-26:-1]
    assert frequent[1][1:3] == ["8,540", "4,270"]
    assert [row[-1] for row in worst[1:]] == sorted(row[-1] for row in worst[1:])
    assert worst[1][0] == "label 4000"
    assert len(card) < 20_000


def test_every_objective_and_rule_has_its_words() -> None:
    assert set(PURPOSES) == {*THRESHOLD_RULES, "risk"}
    for rule in RULES:
        for empty in EMPTY:
            decision = {"rule": rule, "thresholds": 0.5, "empty": empty, "top_k": 3}
            assert {"Rule", "Made for", "Not good for"} <= set(describe_decision(decision, 4))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"thresholds": [0.2, 0.4, 0.9]}, "the threshold of that label: 3 thresholds between 0.2 and 0.9, median 0.4."),
        ({"rule": "top_k", "top_k": 5}, "The 5 labels with the highest probabilities are predicted."),
        ({"rule": "threshold_top_k", "top_k": 5}, "Of those, the 5 with the highest probabilities are kept."),
        ({"empty": "at_least_one"}, "A text none of whose labels passes gets the one that comes closest."),
        ({"max_labels": 3}, "Every text gets at most 3 labels. A text may get no label at all."),
        ({"min_labels": 1}, "Every text gets at least 1 label."),
        ({"rule": "top_k", "top_k": 1}, "The 1 label with the highest probability is predicted."),
        ({"risk": {"sentence": "Guaranteed: 0.9."}, "objective": "risk"}, "Guaranteed: 0.9. A promise: the threshold"),
        ({"in_sample": {"macro_f1": 0.9, "x": 1}}, "On the fitted rows themselves, which flatters: macro F1 0.9000."),
        (
            {"threshold_intervals": {"level": 0.95, "resamples": 40, "low": [0.1, 0.2, 0.3], "high": [0.2, 0.5, 0.9]}},
            "anew 40 times, the middle 95% of a label's thresholds spread over 0.30 (median of the labels).",
        ),
        ({"refitted": {"data": "x.csv", "settings": ["decision.empty=allow"]}}, "tune on x.csv, with decision.empty"),
        (
            {"refitted": {"prevalence": {"file": "new.txt", "texts": 1200}}},
            "Made for label prevalences estimated from 1,200 unlabelled texts of new.txt.",
        ),
        (
            {"calibration": {"method": "platt", "prevalence": {"cs": 0.25, "math": 0.001}}},
            "(platt). They are then shifted to other prevalences than those of the fitted rows: cs 25%, math 0.1%; "
            "other labels keep their share.",
        ),
        (
            {"calibration": {"method": "prior_shift", "prevalence": dict.fromkeys("abcdefg", 0.5)}},
            "Probabilities are shifted to other prevalences than those of the fitted rows: a 50%, b 50%, c 50%, d 50%, "
            "e 50% and 2 more",
        ),
        (
            {"calibration": {"method": "platt", "parameters": {"offset": [0.1, 0, 0]}}},
            "labels are as frequent as they were labelled, not as in the prevalences that probabilities are shifted to",
        ),
        ({"calibration": {"method": "temperature"}}, "Probabilities are calibrated first (temperature)."),
        (
            {"fitted_on": "validation", "rows": 1500, "objective": "macro_f1", "expected": {"macro_f1": 0.71}},
            "Fitted on 1,500 validation rows. Expected on as many other rows like these: macro F1 0.7100.",
        ),
        (
            {
                "fitted_on": "cross_validation",
                "rows": 9,
                "folds": 3,
                "expected": {
                    "macro_f1": 0.7,
                    "macro_f1_present": 0.8,
                    "folds": 3,
                    "intervals": {"macro_f1": [0.6, 0.75]},
                },
            },
            "Fitted on 9 rows held out by cross-validation in 3 folds. Expected on as many other rows like these: "
            "macro F1 0.7000 (95%: 0.600–0.750); each row was judged by a decision fitted without it, in 3 folds.",
        ),
    ],
)
def test_the_decision_is_told_in_words(changes: dict, sentence: str) -> None:
    decision = {"rule": "threshold", "thresholds": 0.5, "empty": "allow", "objective": "fixed"} | changes
    assert sentence in " ".join(word for sentences in describe_decision(decision, 3).values() for word in sentences)


@pytest.mark.parametrize(
    "changes",
    [{"rule": "top_k", "top_k": 2}, {"min_labels": 1}, {"rule": "expected_f1", "min_labels": 1}]
    + [
        {"rule": "top_k", "top_k": 1, "empty": "at_least_one"},
        {"rule": "threshold_top_k", "top_k": 2, "min_labels": 1},
    ],
)
def test_where_no_set_is_empty_nothing_is_said_of_empty_ones(changes: dict) -> None:
    decision = {"rule": "threshold", "thresholds": 0.5, "empty": "allow", "objective": "fixed"} | changes
    rule = " ".join(describe_decision(decision, 3)["Rule"])
    assert "no label at all" not in rule
    assert "comes closest" not in rule


def test_empty_facts_leave_their_sections_out(trained: Trained) -> None:
    card = render_card(facts(trained, metrics={}, recipe="", examples=[], license=None, languages=[]))
    headings = re.findall("^## (.*)$", card, flags=re.MULTILINE)
    assert headings == ["How to use", "The decision", "Limits"]
    assert "None" not in card
    assert not ModelCard(card).data.eval_results
    assert ModelCard(card).data.get("widget") is None


def test_data_and_training_are_told(trained: Trained) -> None:
    data = {
        "rows": {"train": 1200, "test": 150},
        "rows_in_source": {"train": 9000, "test": 150},
        "cardinality": {"train": 1.234, "test": 2},
        "splits": {"train": "given", "test": "stratified"},
        "duplicates": {"between_splits": {"train/test": 3}},
        "truncated_share": {"train": np.float64(0.125), "test": 0.0},
        "windows_per_text": {"train": 1.5},
        "imbalance": {"max_ir": 7.48},
        "fingerprints": {"train": "abc"},
    }
    training = {"steps": 126, "epochs": 2.0, "seconds": 237.7, "num_processes": 2, "hardware": "one H200"}
    training |= {"parameters": 1000, "trained_parameters": 400, "python": "3.11", "libraries": {"torch": "2.13.0"}}
    card = render_card(facts(trained, data=data, training=training, dataset="arXiv slice"))
    table, more = read_tables(card)[-2:]
    assert table == [
        ["split", "rows", "of", "labels a text", "cut at 16 tokens"],
        ["train", "1,200", "9,000", "1.23", "12.5%"],
        ["test", "150", "150", "2.00", "0.0%"],
    ]
    assert more[1:] == [["windows per text, train", "1.5000"]]
    for sentence in (
        "The test split was drawn from the training rows, stratified by label.",
        "Texts that stand in two splits: 3 of train and test.",
        "The most frequent label holds 7.5 times as often as the rarest.",
        "126 steps, 2 epochs. 3 min 58 s on 2 processes, each on one H200. 1,000 parameters, 400 of them trained.",
        "Python 3.11, torch 2.13.0.",
    ):
        assert sentence in card


def test_a_shortened_run_says_so_at_the_top(trained: Trained) -> None:
    card = render_card(facts(trained, shortened=["It used 96 of 1,000 train rows (data.max\\_rows)."]))
    assert card.index("**A shortened run.** It used 96 of 1,000 train rows") < card.index("## How to use")
    assert "shortened" not in render_card(facts(trained))


def test_a_figure_that_is_no_path_is_refused(trained: Trained) -> None:
    with pytest.raises(ValueError, match="figures: expected paths"):
        render_card(facts(trained, figures={"javascript:alert(1)": "x"}))


@pytest.mark.parametrize("old", ["runs/x", "me/my-model", "it's; rm -rf", 'a"b\\c', "naïve 标签"])
def test_lines_to_copy_are_readdressed(trained: Trained, old: str) -> None:
    card = render_card(facts(trained, folder=old, repo_id=None)) + 'model_id = "mine"\n'
    expected = render_card(facts(trained, folder=old, repo_id="user/new \\1")) + 'model_id = "mine"\n'
    assert readdress_card(card, "user/new \\1") == expected
    assert readdress_card("# nothing to copy\n", "user/new") == "# nothing to copy\n"
