from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.losses import build_loss, weighted_bce
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.scoring import head_features, model_logits, score_dataset
from hf_multilabel.training.trainer import MultiLabelTrainer

COUNTS = [4, 5, 5, 11, 0]


@pytest.fixture
def rows(tiny_backbone: Backbone, tiny_texts: list[str], tiny_targets: np.ndarray) -> Dataset:
    ids = tiny_backbone.tokenizer(tiny_texts)["input_ids"]
    labels = [np.flatnonzero(row).tolist() for row in tiny_targets]
    return Dataset.from_dict({"input_ids": ids, "labels": labels, "length": [len(row) for row in ids]})


def make(backbone: Backbone, rows: Dataset, folder: Path, **values: object) -> MultiLabelTrainer:
    torch.manual_seed(0)
    model = build_model(backbone, [f"label {i}" for i in range(5)], dropout=0.0)
    settings = {"precision": "fp32", "logging_steps": 1, "learning_rate": 1e-2, "use_cpu": True, "disable_tqdm": True}
    args = MultiLabelTrainingArguments(output_dir=str(folder), save_strategy="no", **{**settings, **values})
    loss = build_loss("weighted_bce", COUNTS, 12, pos_weight={"rule": "neg_pos_ratio", "cap": 3.0})
    return MultiLabelTrainer(
        model=model, args=args, loss=loss, train_dataset=rows, eval_dataset=rows, processing_class=backbone.tokenizer
    )


def losses(trainer: MultiLabelTrainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("strategy", ["sequential", "group_by_length", "random"])
def test_loss_scale_is_exact_under_accumulation(
    strategy: str, tiny_backbone: Backbone, rows: Dataset, tmp_path: Path
) -> None:
    found = {}
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        trainer = make(
            tiny_backbone,
            rows,
            tmp_path,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=2,
            train_sampling_strategy=strategy,
        )
        found[batch] = losses(trainer)
    assert len(found[4]) == 6
    np.testing.assert_allclose(found[2], found[4], atol=1e-6)
    np.testing.assert_allclose(found[1], found[4], atol=1e-6)


def test_uneven_last_step_weighs_rows_alike(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    ten = rows.select(range(10))  # 4 + 4 + 2 rows; accumulated as (4), (4 + 2): a mean of means would differ
    settings = {"train_sampling_strategy": "sequential", "num_train_epochs": 1}
    wide = losses(make(tiny_backbone, ten, tmp_path, per_device_train_batch_size=10, **settings))
    narrow = losses(
        make(tiny_backbone, ten, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=3, **settings)
    )
    np.testing.assert_allclose(narrow, wide, atol=1e-6)


def test_equals_a_plain_loop(tiny_backbone: Backbone, rows: Dataset, tiny_targets: np.ndarray, tmp_path: Path) -> None:
    trainer = make(
        tiny_backbone,
        rows,
        tmp_path,
        per_device_train_batch_size=4,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        head_learning_rate=2e-2,
        max_grad_norm=0,
        optim="adamw_torch",
    )
    torch.manual_seed(0)
    twin = build_model(tiny_backbone, [f"label {i}" for i in range(5)], dropout=0.0).train()
    found = losses(trainer)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(twin.backbone.parameters()), "lr": 1e-2},
            {"params": list(twin.head.parameters()), "lr": 2e-2},
        ],
        weight_decay=0.0,
    )
    pos_weight = torch.tensor([min((12 - count) / count, 3.0) if count else 1.0 for count in COUNTS])
    expected = []
    for step in range(3):
        batch = trainer.data_collator([rows[i] for i in range(4 * step, 4 * step + 4)])
        targets = torch.from_numpy(tiny_targets[4 * step : 4 * step + 4]).float()
        logits = twin(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        loss = weighted_bce(logits, targets, pos_weight=trainer.row_loss.weights["pos_weight"])
        for group, rate in zip(optimizer.param_groups, (1e-2, 2e-2), strict=True):
            group["lr"] = rate * (1 - step / 3)  # linear, no warm-up
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert torch.allclose(trainer.row_loss.weights["pos_weight"][:4], pos_weight[:4], atol=1e-6)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bf16_stays_out_of_evaluation(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    trainer = make(tiny_backbone, rows, tmp_path, precision="bf16", num_train_epochs=1)
    trainer.train()
    predicted = trainer.predict(rows).predictions
    with torch.inference_mode():
        model = trainer.accelerator.unwrap_model(trainer.model).eval()
        batch = trainer.data_collator([rows[i] for i in range(len(rows))])
        expected = model_logits(model, batch).numpy()
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


def test_bf16_is_used_in_training(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    trainer = make(tiny_backbone, rows, tmp_path, precision="bf16", max_steps=1)
    seen = []
    trainer.model.backbone.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda module, inputs, output: seen.append(output.dtype)
    )
    trainer.model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer.train()
    assert seen == [torch.bfloat16, torch.float32]


def test_evaluation_reports_metrics_at_one_half(
    tiny_backbone: Backbone, rows: Dataset, tiny_targets: np.ndarray, tmp_path: Path
) -> None:
    trainer = make(tiny_backbone, rows, tmp_path)
    metrics = trainer.evaluate()
    logits = score_dataset(trainer.model, rows, trainer.data_collator, batch_size=5)
    predicted = logits >= 0
    true_positive = (predicted & tiny_targets).sum()
    assert metrics["eval_micro_f1"] == pytest.approx(2 * true_positive / (predicted.sum() + tiny_targets.sum()))


def test_evaluate_before_train_changes_nothing(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    one, other = (make(tiny_backbone, rows, tmp_path, max_steps=3) for _ in range(2))
    other.evaluate()
    assert losses(one) == losses(other)


def test_scores_come_in_the_order_of_the_rows(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    trainer = make(tiny_backbone, rows, tmp_path)
    scores = score_dataset(trainer.model, rows, trainer.data_collator, batch_size=4)
    slow = [score_dataset(trainer.model, rows.select([i]), trainer.data_collator)[0] for i in range(len(rows))]
    np.testing.assert_allclose(scores, slow, atol=1e-5)
    np.testing.assert_allclose(trainer.predict(rows).predictions, scores, atol=1e-5)


def test_head_features_explain_the_logits(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    trainer = make(tiny_backbone, rows, tmp_path)
    features = score_dataset(trainer.model, rows, trainer.data_collator, function=head_features)
    logits = score_dataset(trainer.model, rows, trainer.data_collator)
    output = trainer.model.head.output
    np.testing.assert_allclose(
        features @ output.weight.detach().numpy().T + output.bias.detach().numpy(), logits, atol=1e-5
    )


def test_whole_model_optimizers_refuse_layer_rates(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    trainer = make(tiny_backbone, rows, tmp_path, head_learning_rate=1e-2)
    trainer.args.optim = OptimizerNames.LOMO  # set late, for its package need not be there
    with pytest.raises(ValueError, match=r"training\.optim: expected an optimizer that takes parameter groups"):
        trainer.create_optimizer()


def test_resume_continues_bit_for_bit(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "save_strategy": "steps", "save_steps": 2}

    def weights(trainer: MultiLabelTrainer) -> torch.Tensor:
        return torch.cat([parameter.detach().ravel() for parameter in trainer.model.parameters()])

    def build(folder: Path) -> MultiLabelTrainer:
        trainer = make(tiny_backbone, rows, folder)
        args = MultiLabelTrainingArguments(
            output_dir=str(folder), precision="fp32", use_cpu=True, disable_tqdm=True, learning_rate=1e-2, **settings
        )
        torch.manual_seed(0)
        model = build_model(tiny_backbone, [f"label {i}" for i in range(5)], dropout=0.1)
        return MultiLabelTrainer(
            model=model, args=args, loss=trainer.row_loss, train_dataset=rows, processing_class=tiny_backbone.tokenizer
        )

    whole = build(tmp_path / "whole")
    whole.train()
    resumed = build(tmp_path / "whole")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert torch.equal(weights(whole), weights(resumed))


def test_drawn_rows_are_trained_on(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    trainer, epochs = make(tiny_backbone, rows, tmp_path, num_train_epochs=2), []

    def draw(epoch: int) -> np.ndarray:
        epochs.append(epoch)
        return np.full(len(rows), epoch)

    trainer.draw_rows = draw
    for strategy in ("group_by_length", "random"):
        trainer.args.train_sampling_strategy = strategy
        assert list(trainer._get_train_sampler()) == [0] * len(rows)
    trainer.train()
    assert set(epochs) == {0, 1}


def test_multi_hot_labels_are_refused_not_read_as_ids(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    dense = rows.remove_columns("labels").add_column("labels", [[0.0, 1.0, 0.0, 0.0, 0.0]] * len(rows))
    with pytest.raises(ValueError, match="Pass the ids of a row's labels"):
        make(tiny_backbone, dense, tmp_path, max_steps=1).train()


def test_a_dataset_without_lengths_is_grouped_all_the_same(
    tiny_backbone: Backbone, rows: Dataset, tmp_path: Path
) -> None:
    plain = make(tiny_backbone, rows.remove_columns("length"), tmp_path, max_steps=3)
    assert losses(plain) == losses(make(tiny_backbone, rows, tmp_path, max_steps=3))


def test_stock_arguments_are_refused_by_name(tiny_backbone: Backbone, rows: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="args: expected MultiLabelTrainingArguments"):
        MultiLabelTrainer(
            model=build_model(tiny_backbone, ["a"]), args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
        )
