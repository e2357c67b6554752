from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from sklearn.metrics.pairwise import cosine_similarity

from hf_multilabel.training.collapse import (
    Look,
    dead_labels,
    find_collapse,
    look_at,
    mean_pairwise_cosine,
    spread_of_predictions,
)
from hf_multilabel.training.trainer import MultiLabelTrainer

RNG = np.random.default_rng(0)
PROBS = RNG.random((20, 3))
TARGETS = RNG.random((20, 3)) < 0.5
RATES = np.full(3, 0.45)


def test_mean_pairwise_cosine_equals_all_pairs() -> None:
    states = RNG.normal(size=(9, 5)) + 1
    pairs = [cosine_similarity(states)[i, j] for i, j in itertools.combinations(range(9), 2)]
    assert mean_pairwise_cosine(states) == pytest.approx(np.mean(pairs))
    assert mean_pairwise_cosine(np.ones((4, 5))) == pytest.approx(1.0)


def test_spread_equals_a_loop() -> None:
    slow = [np.mean([(p - column.mean()) ** 2 for p in column]) for column in PROBS.T]
    perfect = [column.mean() * (1 - column.mean()) for column in PROBS.T]
    assert spread_of_predictions(PROBS) == pytest.approx(sum(slow) / sum(perfect))


def test_dead_labels_never_rise_where_they_hold() -> None:
    probs, targets = np.full((6, 4), 0.3), np.zeros((6, 4), dtype=bool)
    targets[:3] = True
    targets[2, 2] = False
    probs[1, 1] = 0.31  # rises once where it holds
    probs[5, 0] = 0.9  # rises, but where it does not hold
    assert dead_labels(probs, targets, np.full(4, 0.3)) == [0, 3]  # label 2 holds twice: not judged


@pytest.mark.parametrize(
    ("look", "done", "expected"),
    [
        (Look(PROBS, 0.5), 1.0, []),
        (Look(PROBS, 0.995), 0.2, []),  # states may draw together for a while
        (Look(PROBS, 0.995), 0.4, ["one pooled state"]),
        (Look(PROBS, 0.98), 1.0, []),  # nearer than at the start, but no point
        (Look(np.full((20, 3), 0.6), 0.5), 0.2, []),  # every run starts so
        (Look(np.full((20, 3), 0.6), 0.5), 0.4, ["the same probabilities, 0.600"]),
        (Look(np.full((20, 3), 0.4), 0.5), 0.6, ["the same probabilities", "3 labels are never predicted"]),
        (Look(np.full((20, 3), np.nan), 0.5), 0.2, ["no longer finite"]),
    ],
)
def test_symptoms(look: Look, done: float, expected: list[str]) -> None:
    found = find_collapse(look, 0.9, TARGETS, RATES, ["a", "b", "c"], done)
    assert len(found) == len(expected)
    for (seen, tried), part in zip(found, expected, strict=True):
        assert part in seen
        assert tried


def test_states_that_were_alike_from_the_start_are_no_collapse() -> None:
    assert find_collapse(Look(PROBS, 0.995), 0.99, TARGETS, RATES, ["a", "b", "c"], 1.0) == []


def looks(trainer: MultiLabelTrainer) -> list[dict]:
    return [entry for entry in trainer.state.log_history if "dead_labels" in entry]


def test_base_rates_count_soft_labels_as_probabilities(
    make_trainer: Callable[..., MultiLabelTrainer], rows: Dataset
) -> None:
    trainer = make_trainer()
    plain = trainer._base_rates()
    np.testing.assert_allclose(plain, np.array([5, 6, 5, 11, 0]) / 12)
    rest = [[]] * 11
    # the first text holds markets and news: 0.75 of markets, and 0.25 of politics besides
    trainer.train_dataset = rows.add_column("soft_ids", [[0, 1], *rest]).add_column(
        "soft_values", [[0.75, 0.25], *rest]
    )
    np.testing.assert_allclose(trainer._base_rates() - plain, np.array([-0.25, 0.25, 0, 0, 0]) / 12)


def test_a_collapsed_run_is_said_once_with_step_and_cause(
    make_trainer: Callable[..., MultiLabelTrainer], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(max_steps=20, learning_rate=0.1)
    trainer.train()
    warnings = [record.getMessage() for record in caplog.records if "collapse" in record.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("collapse at step 8: all texts get one pooled state (mean cosine 1.0000, 0.9")
    assert "Worth trying: a lower training.learning_rate" in warnings[0]
    assert [entry["step"] for entry in looks(trainer)] == [0, 4, 8, 12, 16, 20]
    assert sum("collapse" in entry for entry in looks(trainer)) == 1


def test_a_diverged_run_is_said(
    make_trainer: Callable[..., MultiLabelTrainer], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(max_steps=20, learning_rate=1e20, optimizer="sgd", max_grad_norm=0.0)
    trainer.train()
    assert "logits are no longer finite" in caplog.text
    json.dumps(looks(trainer), allow_nan=False)


def test_a_run_that_learns_nothing_is_said(
    make_trainer: Callable[..., MultiLabelTrainer], caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(max_steps=20, learning_rate=1e-7).train()
    assert "collapse at step 8: all texts get the same probabilities" in caplog.text


def test_a_healthy_run_is_quiet(
    make_trainer: Callable[..., MultiLabelTrainer], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(max_steps=30)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert "collapse" not in caplog.text
    assert looks(trainer)[-1]["prediction_spread"] > 0.1


def test_looking_changes_nothing(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    with_alarm = make_trainer(dropout=0.2, max_steps=20)
    with_alarm.train()
    without = make_trainer(dropout=0.2, max_steps=20, collapse_alarm=False)
    without.train()
    assert looks(with_alarm)
    assert not looks(without)
    for one, other in zip(with_alarm.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_resumed_run_remembers(
    make_trainer: Callable[..., MultiLabelTrainer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"max_steps": 20, "learning_rate": 0.1, "save_strategy": "steps", "save_steps": 10}
    whole = make_trainer(**values)
    whole.train()
    caplog.clear()
    resumed = make_trainer(**values)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
    assert "collapse at" not in caplog.text
    assert looks(resumed) == looks(whole)


def test_a_few_steps_are_not_judged(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    trainer = make_trainer(max_steps=5, learning_rate=0.1)
    trainer.train()
    assert not looks(trainer)


def test_a_head_on_token_states_shows_their_mean(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    trainer = make_trainer()
    batch = trainer.data_collator([trainer.eval_dataset[i] for i in range(12)])
    pooled = look_at(trainer.model, [batch])
    trainer.model.pooling = None
    trainer.model.head.forward = lambda states, mask, pooled: torch.zeros(len(states), 5)
    assert look_at(trainer.model, [batch]).cosine == pytest.approx(pooled.cosine)
