"""The texts that are shown, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hf_multilabel.evaluation.comparison import compare_labels, compare_runs
from hf_multilabel.reports.differences import changed_texts, count_changes, pair_sections, show_change
from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.page import Page, Texts, render_page
from hf_multilabel.reports.worst import show_text, surprise_of, worst_texts


def test_surprise_counts_wrong_decisions_only(small: RunEvidence) -> None:
    probs, true = np.asarray(small.scores, np.float64), small.targets.toarray()
    wrong = true != (probs >= 0.4)
    expected = np.where(wrong, -np.log(np.where(true, probs, 1 - probs)), 0).sum(axis=1)
    assert surprise_of(small) == pytest.approx(expected)
    worst = worst_texts(small, 5)
    assert worst[0].id == str(expected.argmax())
    assert {label.kind for shown in worst for label in shown.labels} <= {"right", "missed", "wrong"}


def test_scores_kept_in_part_surprise_alike(evidence_of: Callable[..., RunEvidence]) -> None:
    whole, kept = evidence_of(80, 30), evidence_of(80, 30, 28)  # enough that every label above its cut was kept
    assert surprise_of(kept) == pytest.approx(surprise_of(whole))
    assert show_text(kept, 3) == show_text(whole, 3)


def test_without_errors_nothing_is_shown(small: RunEvidence) -> None:
    assert worst_texts(replace(small, predictions=small.targets)) == []


@pytest.mark.parametrize("kept", [None, 16])
def test_two_runs_side_by_side(evidence_of: Callable[..., RunEvidence], kept: int | None) -> None:
    first, second = evidence_of(80, 30, kept, 0.6), evidence_of(80, 30, kept, 0.4)
    found = count_changes(first, second)
    before, after, true = (run.toarray() for run in (first.predictions, second.predictions, first.targets))
    assert found["gained_right"].tolist() == (after & ~before & true).sum(axis=0).tolist()
    assert found["lost_wrong"].sum() == 0  # a lower cut loses nothing
    changed = int((before != after).any(axis=1).sum())
    assert f"{changed} of 80 texts got other labels" in changed_texts(first, second)[0].lines[0]
    row = int((before != after).any(axis=1).argmax())
    kinds = {label.name: label.kind for label in show_change(first, second, row).labels}
    for label in np.flatnonzero(after[row] & ~before[row]):
        assert kinds[first.labels[label]] == f"gained, {'rightly' if true[row, label] else 'wrongly'}"
    metrics = {name: vars(value) for name, value in compare_runs(first.outcome, second.outcome, resamples=50).items()}
    sections = pair_sections(first, second, metrics, compare_labels(first.outcome, second.outcome, first.labels))
    better = "second" if metrics["micro_f1"]["difference"] > 0 else "first"
    said = sections[0].blocks[1].lines[0]
    assert said.startswith(f"micro F1: the {better} run is better by ") or "micro F1: no difference found" in said
    assert "macro F1: " in said
    page = Page("pair", sections)
    assert set(page.pictures) == {"difference_metrics", "difference_labels", "difference_texts"}
    assert any(isinstance(block, Texts) for section in sections for block in section.blocks)
    assert "<script>alert" not in render_page(page)
