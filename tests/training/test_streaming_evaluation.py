"""Evaluations that keep no logits: the same metrics, on one process and on two."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.sparse import csr_array

from hf_multilabel.evaluation import keeping
from hf_multilabel.evaluation.curves import ALL_SCORES
from hf_multilabel.evaluation.keeping import RankedScores, is_kept_in_part
from hf_multilabel.judging import judge, measure
from hf_multilabel.remote_code.decision_multilabel import decide, default_decision
from hf_multilabel.training import scoring
from hf_multilabel.training import trainer as trainers
from hf_multilabel.training.scoring import keep_scores, score_dataset, score_split
from hf_multilabel.training.trainer import MultiLabelTrainer, fixed_metrics

ROOT = Path(__file__).resolve().parents[2]
UNTIMED = ("runtime", "per_second", "preparation_time")


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.endswith(UNTIMED)}


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five labels are many."""
    monkeypatch.setattr(trainers, "SMALL_LABEL_SET", 4)
    monkeypatch.setattr(keeping, "SMALL_LABEL_SET", 4)
    monkeypatch.setattr(scoring, "KEEP_SCORES", 4)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("size", [4, 5, 12])
def test_streamed_metrics_are_those_of_all_logits(
    size: int, make_trainer: Callable[..., MultiLabelTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(per_device_eval_batch_size=size)
    seen = []
    monkeypatch.setattr(trainers, "fixed_metrics", lambda prediction: seen.append(1))  # not called
    monkeypatch.setattr(trainer, "compute_metrics", trainers.fixed_metrics)
    found = timeless(trainer.evaluate())
    assert not seen
    assert trainer.streamed is None
    monkeypatch.setattr(trainer, "compute_metrics", fixed_metrics)  # somebody's own: the logits are kept for it
    expected = timeless(trainer.evaluate())
    assert set(expected) - set(found) == {f"eval_{name}" for name in ALL_SCORES}
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-9)
    assert {"eval_micro_f1", "eval_loss", "eval_ndcg_at_5"} <= set(found)


@pytest.mark.usefixtures("many")
def test_no_logits_are_kept(make_trainer: Callable[..., MultiLabelTrainer], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(num_train_epochs=2, eval_strategy="epoch")
    outputs = []
    loop = MultiLabelTrainer.evaluation_loop

    def watch(self: MultiLabelTrainer, *args: object, **kwargs: object) -> object:
        outputs.append(loop(self, *args, **kwargs))
        return outputs[-1]

    monkeypatch.setattr(MultiLabelTrainer, "evaluation_loop", watch)
    trainer.train()
    assert [output.predictions is output.label_ids is None for output in outputs] == [True, True]
    assert [output.num_samples for output in outputs] == [12, 12]
    history = [entry for entry in trainer.state.log_history if "eval_macro_f1" in entry]
    assert len(history) == 2


@pytest.mark.usefixtures("many")
def test_who_asks_for_logits_gets_them(make_trainer: Callable[..., MultiLabelTrainer], rows: Dataset) -> None:
    trainer = make_trainer()
    assert trainer.predict(rows).predictions.shape == (12, 5)
    shapes = []
    trainer.compute_metrics = lambda prediction: shapes.append(prediction.predictions.shape) or {}
    trainer.evaluate()
    assert shapes == [(12, 5)]
    trainer.compute_metrics = fixed_metrics
    trainer.args.prediction_loss_only = True
    assert "eval_micro_f1" not in trainer.evaluate()


@pytest.mark.usefixtures("many")
def test_a_best_metric_that_is_left_out_is_refused(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    with pytest.raises(ValueError, match="metric_for_best_model: expected a metric that sums over rows give"):
        make_trainer(metric_for_best_model="macro_auc")


def test_small_label_sets_keep_all_metrics(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    assert {f"eval_{name}" for name in ALL_SCORES} <= set(make_trainer().evaluate())


def test_kept_scores_are_the_highest_of_all(
    make_trainer: Callable[..., MultiLabelTrainer], rows: Dataset, tiny_targets: np.ndarray
) -> None:
    trainer = make_trainer()
    model, collator, targets = trainer.model.train(), trainer.data_collator, csr_array(tiny_targets)
    probs = torch.from_numpy(score_dataset(model, rows, collator, batch_size=5)).sigmoid().numpy()
    found = keep_scores(model, rows, collator, targets, k=4, batch_size=5)
    assert model.training
    row, label = found.top.stored.nonzero()
    np.testing.assert_allclose(found.top.stored.data, probs[row, label], rtol=1e-6)
    assert found.top.stored.nnz < probs.size
    halved = {"method": "temperature", "parameters": {"temperature": 2.0}}
    calibrated = keep_scores(model, rows, collator, targets, k=4, batch_size=5, calibration=halved)
    expected = 1 / (1 + np.exp(-np.log(found.top.floor / (1 - found.top.floor)) / 2))
    np.testing.assert_allclose(calibrated.top.floor, expected, rtol=1e-5)


@pytest.mark.usefixtures("many")
def test_a_split_is_measured_alike_from_kept_scores(
    make_trainer: Callable[..., MultiLabelTrainer], rows: Dataset, tiny_targets: np.ndarray
) -> None:
    trainer = make_trainer()
    with torch.no_grad():
        trainer.model.head.output.bias.copy_(torch.tensor([-1.5, -1.5, -1.5, 3.0, -4.0]))
    arguments = (trainer.model, rows, trainer.data_collator, csr_array(tiny_targets))
    kept, logits = score_split(*arguments), score_split(*arguments, 5)
    assert is_kept_in_part(5, None)
    assert isinstance(kept, RankedScores)
    assert logits.shape == (12, 5)
    decision = default_decision() | {"thresholds": 0.55}
    found, expected = (measure(scores, arguments[3], decision) for scores in (kept, logits))
    for name in ("fixed", "tuned"):
        assert found[name].pop("rows_unsettled") == 0
        assert set(found[name]) <= set(expected[name]) - set(ALL_SCORES)
        assert found[name] == pytest.approx({metric: expected[name][metric] for metric in found[name]}, abs=1e-6)
        assert {"micro_f1", "macro_f1", "lrap", "precision_at_1", "ndcg_at_5"} <= set(found[name])


def test_texts_that_kept_scores_do_not_tell_are_decided_again(
    make_trainer: Callable[..., MultiLabelTrainer],
    rows: Dataset,
    tiny_targets: np.ndarray,
    capsys: pytest.CaptureFixture,
) -> None:
    trainer, targets = make_trainer(), csr_array(tiny_targets)
    arguments = (trainer.model, rows, trainer.data_collator, targets)
    kept, logits = keep_scores(*arguments, k=3), score_split(*arguments, 5)
    halved = {"method": "temperature", "parameters": {"temperature": 2.0}}
    for change in ({"thresholds": 0.2}, {"thresholds": [0.2, 0.3, 0.1, 0.6, 0.2], "max_labels": 4}):
        decision = default_decision() | change
        found, expected = (measure(scores, targets, decision, intervals=True)["tuned"] for scores in (kept, logits))
        assert found.pop("rows_unsettled") == 0
        ends, known = found.pop("intervals"), expected.pop("intervals")
        assert found == pytest.approx({metric: expected[metric] for metric in found}, abs=1e-6)
        assert ends["micro_f1"] == pytest.approx(known["micro_f1"], abs=1e-6)
    assert capsys.readouterr().err.count("deciding with all scores") >= 2
    calibrated = keep_scores(*arguments, k=3, calibration=halved)
    decision = default_decision() | {"thresholds": 0.3, "calibration": halved}
    sets = judge(calibrated, targets, decision).predictions
    assert np.array_equal(sets.toarray(), decide(torch.from_numpy(logits), decision).numpy())


def test_scores_kept_in_part_say_where_they_make_results_too_good(capsys: pytest.CaptureFixture) -> None:
    probs = np.tile(np.array([0.9, 0.8, 0.7, 0.6, 0.55], np.float32), (3, 1))
    targets = csr_array(np.eye(3, 5, dtype=bool))
    keeper = keeping.ScoreKeeper(targets, 3)
    keeper.place(keeper.select(np.arange(3), torch.from_numpy(probs)))
    low, high = (default_decision() | {"thresholds": cut} for cut in (0.5, 0.95))
    found = measure(keeper.finish(), targets, low)["tuned"]
    exact = measure(np.log(probs / (1 - probs)), targets, low)["tuned"]
    assert found["rows_unsettled"] == 3
    assert found["micro_f1"] > exact["micro_f1"]
    said = " ".join(capsys.readouterr().err.split())
    assert "tuned: 3 of 3 texts may get labels whose scores were not kept" in said
    assert "too good here. Raise evaluation.keep_scores." in said
    assert measure(keeper.finish(), targets, high)["tuned"]["rows_unsettled"] == 0


def test_calibrated_decisions_need_calibrated_scores(tiny_targets: np.ndarray) -> None:
    halved = {"method": "temperature", "parameters": {"temperature": 2.0}}
    kept = RankedScores(None, None, None)
    with pytest.raises(ValueError, match="calibrated: expected what was kept of the calibrated scores"):
        measure(kept, csr_array(tiny_targets), default_decision() | {"calibration": halved})


@pytest.mark.distributed
@pytest.mark.usefixtures("many")
def test_two_processes_measure_what_one_does(
    tiny_backbone_folder: Path, tiny_label_names: list[str], rows: Dataset, tmp_path: Path
) -> None:
    plan = {"backbone": str(tiny_backbone_folder), "labels": tiny_label_names, "rows": rows.to_dict()}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    script = Path(__file__).with_name("evaluate_streaming.py")
    runpy.run_path(str(script))["main"](plan, tmp_path / "1.json")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [*start, str(script), str(tmp_path / "plan.json"), str(tmp_path / "2.json")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {processes: json.loads((tmp_path / f"{processes}.json").read_text()) for processes in (1, 2)}
    assert [results[processes].pop("processes") for processes in (1, 2)] == [1, 2]
    assert results[1].keys() == results[2].keys()
    for name, expected in results[1].items():
        assert results[2][name] == expected, name
