"""A card whose decision changed, or that is written anew, keeps what people wrote there."""

from __future__ import annotations

import hashlib

import pytest

from hf_multilabel.publishing.card import render_card
from hf_multilabel.publishing.card_sections import (
    edited_parts,
    generated_parts,
    record_parts,
    replace_generated,
    replace_measured,
    split_parts,
    update_record,
)
from tests.publishing.conftest import facts

LINES = [{"label": "a", "support": 3, "threshold": 0.5, "precision": 1.0, "recall": 0.5, "f1": 0.67}]


def new_facts(trained, **changes: object):
    metrics = {"test": {"fixed": {"micro_f1": 0.5, "rows": 7}, "tuned": {"micro_f1": 0.875, "rows": 7}}}
    decision = {**trained.model.config.decision, "empty": "abstain"}
    return facts(trained, **{"metrics": metrics, "decision": decision, "answers": [{"no": 0.9}], **changes})


def edit(card: str) -> str:
    card = card.replace("## How to use\n", "## Thanks\n\nTo all.\n\n## How to use\n")
    card = card.replace("tags:\n", "mine: x\ntags:\n")
    return card.replace("## Limits\n", "## Notes\n\n```\n## Results\n```\n\n## Limits\n\nMind the gap.\n")


def test_the_parts_are_the_card(trained) -> None:
    for card in (render_card(facts(trained)), "# no block\n\n## A\n", "---\n# a comment\nk: v\n---\nx\n", ""):
        assert "".join(text for _, text in split_parts(card)) == card


def test_a_card_nobody_edited_becomes_the_card_of_the_new_decision(trained) -> None:
    for old in (facts(trained), facts(trained, per_label=LINES), facts(trained, metrics={})):
        card = render_card(old)
        for new in (new_facts(trained), new_facts(trained, per_label=LINES), facts(trained)):
            assert replace_measured(card, render_card(new), record_parts(card)) == render_card(new)


def test_what_people_wrote_stays_when_the_decision_changes(trained) -> None:
    card = render_card(facts(trained))
    record, edited = record_parts(card), edit(card)
    found = replace_measured(edited, render_card(new_facts(trained)), record)
    assert "To all." in found
    assert "mine: x\n" in found
    assert "Mind the gap." in found
    assert "```\n## Results\n```" in found
    assert "0.8750" in found
    assert "0.7500" not in found
    assert replace_measured(found, card, update_record(record, edited, found)) == edited


def test_examples_for_the_widget_stay_if_people_chose_them(trained) -> None:
    card = render_card(facts(trained))
    record = record_parts(card)
    assert "output:" in replace_measured(card, render_card(new_facts(trained)), record)
    mine = card.replace("widget:\n", "widget:\n- text: mine\n")
    assert "output:" not in replace_measured(mine, render_card(new_facts(trained)), record).split("model-index")[0]


def test_written_anew_it_keeps_only_what_people_wrote(trained) -> None:
    card = render_card(facts(trained))
    record, fresh = record_parts(card), render_card(new_facts(trained, license="mit", recipe="", training={"steps": 3}))
    assert replace_generated(card, fresh, record) == (fresh, [])
    found, kept = replace_generated(edit(card), fresh, record)
    assert kept == ["mine:", "## Thanks", "## Notes", "## Limits"]
    for text in ("To all.", "mine: x", "Mind the gap.", "license: mit", "3 steps", "0.8750"):
        assert text in found
    assert "model: {pooling" not in found


def test_a_part_taken_away_by_hand_stays_away_and_measured_ones_come_back(trained) -> None:
    card = render_card(facts(trained, per_label=LINES))
    record, parts = record_parts(card), dict(split_parts(card))
    less = card.replace(parts["## How to use"], "").replace(parts["## Labels"], "")
    found, kept = replace_generated(less, card, record)
    assert "## How to use" not in found
    assert "## Labels" in found
    assert kept == ["## How to use"]


def test_the_record_knows_an_edit_through_any_number_of_changes(trained) -> None:
    card = render_card(facts(trained))
    record, now = record_parts(card), edit(card)
    for new in (new_facts(trained), facts(trained), new_facts(trained)):
        changed = replace_measured(now, render_card(new), record)
        record, now = update_record(record, now, changed), changed
        assert edited_parts(now, record) == ["mine:", "## Thanks", "## Notes", "## Limits"]


@pytest.mark.parametrize("edited", [False, True])
def test_a_manifest_from_before_knows_only_whether_the_card_was_edited(trained, edited: bool) -> None:
    card = render_card(facts(trained))
    manifest = {"files": {"README.md": {"sha256": hashlib.sha256(card.encode()).hexdigest()}}}
    now = edit(card) if edited else card
    assert generated_parts(manifest, now.encode()) == ({} if edited else record_parts(card))
    fresh = render_card(new_facts(trained, license="mit"))
    found, _ = replace_generated(now, fresh, generated_parts(manifest, now.encode()))
    assert ("license: mit" in found) is not edited
    assert "0.8750" in found


def test_a_card_of_ones_own_stays_as_it_is(trained) -> None:
    mine = "# mine\n\n## Story\n"
    assert replace_measured(mine, render_card(new_facts(trained)), {}) == mine


def test_headings_in_code_are_none() -> None:
    card = "````md\n## A\n```\n## B\n````\n## C\n"
    assert [title for title, _ in split_parts(card)] == ["# ", "## C"]
