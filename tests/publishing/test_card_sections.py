"""A card whose decision changed keeps what else stands there."""

from __future__ import annotations

from hf_multilabel.publishing.card import render_card
from hf_multilabel.publishing.card_sections import replace_decision, split_sections
from tests.publishing.conftest import facts

LINES = [{"label": "a", "support": 3, "threshold": 0.5, "precision": 1.0, "recall": 0.5, "f1": 0.67}]


def new_facts(trained, **changes: object):
    metrics = {"test": {"fixed": {"micro_f1": 0.5, "rows": 7}, "tuned": {"micro_f1": 0.875, "rows": 7}}}
    return facts(trained, metrics=metrics, decision={**trained.model.config.decision, "empty": "abstain"}, **changes)


def test_a_card_nobody_edited_becomes_the_card_of_the_new_decision(trained) -> None:
    for old in (facts(trained), facts(trained, per_label=LINES), facts(trained, metrics={})):
        for new in (new_facts(trained), new_facts(trained, per_label=LINES), facts(trained)):
            assert replace_decision(render_card(old), new) == render_card(new)


def test_what_people_wrote_stays(trained) -> None:
    card = render_card(facts(trained))
    card = card.replace("## How to use\n", "## Thanks\n\nTo all.\n\n## How to use\n").replace(
        "tags:\n", "mine: x\ntags:\n"
    )
    card = card.replace("## Limits\n", "## Notes\n\n```\n## Results\n```\n\n## Limits\n")
    found = replace_decision(card, new_facts(trained))
    assert "To all." in found
    assert "mine: x\n" in found
    assert "```\n## Results\n```" in found
    assert "0.8750" in found
    assert "0.7500" not in found
    assert replace_decision(found, facts(trained)) == card


def test_a_card_of_ones_own_stays_as_it_is(trained) -> None:
    assert replace_decision("# mine\n\n## Story\n", new_facts(trained)) == "# mine\n\n## Story\n"


def test_headings_in_code_are_none() -> None:
    card = "````md\n## A\n```\n## B\n````\n## C\n"
    assert [title for title, _ in split_sections(card)] == ["", "C"]
