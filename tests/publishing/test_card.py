from __future__ import annotations

import html
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from hf_multilabel.publishing.card import describe_decision, escape, readdress_card, render_card
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


def test_the_hub_can_read_the_metadata(trained: Trained) -> None:
    card = ModelCard(
        render_card(facts(trained, base_model="org/encoder", dataset_id="org/data", dataset="Data", tags=["law"]))
    )
    assert card.data.tags == ["multi-label", "hf_multilabel", "text-classification", "law"]
    assert (card.data.pipeline_tag, card.data.license, card.data.language) == ("text-classification", "cc0-1.0", ["en"])
    assert (card.data.base_model, card.data.datasets) == ("org/encoder", ["org/data"])
    assert card.data.widget == [{"text": text} for text in trained.texts[:2]]
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_args, result.metric_value) == ("f1", {"average": "micro"}, 0.75)
    assert (result.dataset_type, result.dataset_split) == ("org/data", "test")
    assert "python/object" not in card.content


def test_results_show_the_fixed_cut_beside_the_tuned_decision(trained: Trained) -> None:
    table = read_tables(render_card(facts(trained)))[0]
    assert table == [["metric", "fixed 0.5", "stored decision"], ["micro F1", "0.5000", "0.7500"], ["rows", "7", "7"]]


def test_many_metrics_are_folded_behind_the_headline(trained: Trained) -> None:
    tuned = {f"recall_at_{k}": 0.5 for k in range(1, 20)} | {"micro_f1": 0.75}
    card = render_card(facts(trained, metrics={"test": {"tuned": tuned | {"intervals": {"micro_f1": [0.7, 0.8]}}}}))
    shown, folded = read_tables(card)[:2]
    assert shown[1] == ["micro F1", "-", "0.7500"]
    assert (len(shown), len(folded)) == (13, 9)
    assert "8 more metrics" in card
    assert "intervals" not in card


def test_scores_on_validation_are_called_optimistic(trained: Trained) -> None:
    card = render_card(facts(trained, metrics={"validation": {"tuned": {"micro_f1": 0.9}}}))
    assert "the right column is optimistic" in card
    assert read_tables(card)[0][1] == ["micro F1", "-", "0.9000"]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_label_is_shown_as_it_is_and_never_as_markup(trained: Trained, name: str) -> None:
    labels = [name, "other"]
    recipe = f"labels: ['{name}', '```', '`````']\n"
    card = render_card(
        facts(
            trained, labels=labels, per_label=[line(name), line("other", 1)], recipe=recipe, name=name, examples=[name]
        )
    )
    card.encode("utf-8")
    table = read_tables(card)[-1]
    shown = re.sub(r"[\x00-\x1f\ud800-\udfff]+", " ", name).strip()
    assert [html.unescape(cell) for cell in table[1]] == [shown, "3", "0.2500", "1.0000", "0.5000", "0.6667"]
    assert table[2][0] == "other"
    assert not re.search("<(?!/?(details|summary)>)", re.sub("```.*?\n`+\n", "", ModelCard(card).text, flags=re.DOTALL))
    headings = re.findall(
        "^#+ (.*)$", re.sub("(`{3,}).*?\n\\1\n", "", ModelCard(card).text, flags=re.DOTALL), flags=re.MULTILINE
    )
    assert headings[1:] == ["How to use", "Results", "The decision", "Labels", "Recipe", "Limits"]
    for block in re.findall("^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL):
        compile(block, "card", "exec")


def test_links_mentions_and_formulas_stay_text() -> None:
    assert "://" not in escape("http://evil.example")
    assert "www." not in escape("www.evil.example")
    assert not set("@$\\") & set(escape("@everyone $$x$$ \\(y\\)"))


def test_thousands_of_labels_are_folded_to_the_most_frequent(trained: Trained) -> None:
    labels = [f"label {number}" for number in range(4271)]
    card = render_card(facts(trained, labels=labels, per_label=[line(name, i) for i, name in enumerate(labels)]))
    assert "<summary>The 50 most frequent of 4,271 labels</summary>" in card
    assert [row[0] for row in read_tables(card)[-1][1:]] == labels[:-51:-1]
    assert len(card) < 20_000


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"thresholds": [0.2, 0.4, 0.9]}, "the threshold of that label: 3 thresholds between 0.2 and 0.9, median 0.4."),
        ({"rule": "top_k", "top_k": 5}, "The 5 labels with the highest probabilities are predicted."),
        ({"rule": "threshold_top_k", "top_k": 5}, "Of those, the 5 with the highest probabilities are kept."),
        ({"empty": "at_least_one"}, "A text none of whose labels passes gets the one that comes closest."),
        ({"max_labels": 3}, "Every text gets at most 3 labels."),
        ({"calibration": {"method": "temperature"}}, "Probabilities are calibrated first (temperature)."),
        (
            {"fitted_on": "validation", "rows": 1500, "objective": "macro_f1", "expected": {"macro_f1": 0.71}},
            "fitted on validation rows, 1,500 of them; on other rows they give about macro F1 0.7100.",
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
            "9 of them in 3 folds; on other rows they give about macro F1 0.7000 (0.6000 to 0.7500).",
        ),
    ],
)
def test_the_decision_is_told_in_words(changes: dict, sentence: str) -> None:
    decision = {"rule": "threshold", "thresholds": 0.5, "empty": "allow", "objective": "fixed"} | changes
    assert sentence in " ".join(describe_decision(decision, 3))


def test_empty_facts_leave_their_sections_out(trained: Trained) -> None:
    card = render_card(facts(trained, metrics={}, recipe="", examples=[], license=None, languages=[]))
    headings = re.findall("^## (.*)$", card, flags=re.MULTILINE)
    assert headings == ["How to use", "The decision", "Limits"]
    assert "None" not in card
    assert not ModelCard(card).data.eval_results


def test_data_and_environment_are_listed(trained: Trained) -> None:
    data = {
        "rows": {"train": 1200, "test": 150},
        "labels": len(LABELS),
        "duplicates": [],
        "share_cut": np.float64(0.125),
    }
    card = render_card(facts(trained, data=data, environment={"torch": "2.13.0"}, dataset="arXiv slice"))
    table = read_tables(card)[-1][1:]
    assert table == [
        ["rows, train", "1,200"],
        ["rows, test", "150"],
        ["labels", "5"],
        ["duplicates", "none"],
        ["share cut", "0.1250"],
    ]
    assert "- torch: 2.13.0" in card


def test_a_card_is_readdressed_once() -> None:
    card = 'model_id = "runs/x"\nlater\nmodel_id = "mine"\n'
    assert readdress_card(card, "user/\\1") == 'model_id = "user/\\\\1"\nlater\nmodel_id = "mine"\n'
