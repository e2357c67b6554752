"""The real weights on the bundled texts: better than random ones, weighted for rare labels, at rest for an epoch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import set_seed

from hf_multilabel.assets import recipes_folder
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.data.batching import tokenize
from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.losses import build_loss
from hf_multilabel.recipe import load_recipe
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.scoring import score_dataset
from hf_multilabel.training.trainer import MultiLabelTrainer
from hf_multilabel.workflow import train

ROWS = {"train": 192, "test": 200}
TOKENS = 32
RARE = 0.15  # a rare label holds on less than this share of the training rows


@pytest.fixture(scope="module")
def splits(minilm: Backbone) -> tuple[list[str], dict[str, Dataset], dict[str, np.ndarray]]:
    """Label names, the first rows of each bundled split as tokens, and their labels as a bool matrix."""
    files = {split: recipes_folder() / "data" / "quickstart" / f"{split}.jsonl" for split in ROWS}
    rows = {split: [json.loads(line) for line in file.open(encoding="utf-8")] for split, file in files.items()}
    names = sorted({name for row in rows["train"] for name in row["labels"]})
    tokens, targets = {}, {}
    for split, count in ROWS.items():
        chosen = rows[split][:count]
        targets[split] = np.array([[name in row["labels"] for name in names] for row in chosen])
        labels = [np.flatnonzero(row).tolist() for row in targets[split]]
        texts = Dataset.from_dict({"text": [row["text"] for row in chosen], "labels": labels})
        tokens[split] = tokenize(texts, minilm.tokenizer, TOKENS)[0]
    return names, tokens, targets


@pytest.fixture(scope="module")
def score_test_rows(
    minilm: Backbone, splits: tuple, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[bool, str], np.ndarray]:
    """`score_test_rows(pretrained, loss)`: probabilities of the test rows after one epoch; each run only once."""
    names, tokens, targets = splits
    args = MultiLabelTrainingArguments(
        output_dir=str(tmp_path_factory.mktemp("pretrained")),
        num_train_epochs=1,
        per_device_train_batch_size=16,
        learning_rate=1e-4,
        head_learning_rate=5e-3,
        save_strategy="no",
        report_to="none",
        precision="fp32",
        use_cpu=True,
        disable_tqdm=True,
    )

    @cache
    def run(pretrained: bool, loss: str) -> np.ndarray:
        set_seed(0)
        weights = {"pos_weight": {"rule": "neg_pos_ratio"}} if loss == "weighted_bce" else {}
        trainer = MultiLabelTrainer(
            model=build_model(replace(minilm, pretrained=pretrained), names, attention_dropout=0.0),
            args=args,
            loss=build_loss(loss, targets["train"].sum(0).tolist(), ROWS["train"], **weights),
            train_dataset=tokens["train"],
            processing_class=minilm.tokenizer,
        )
        trainer.train()
        return torch.from_numpy(score_dataset(trainer.model, tokens["test"], trainer.data_collator)).sigmoid().numpy()

    return run


def test_pretrained_weights_beat_random_ones_of_the_same_encoder(
    score_test_rows: Callable[[bool, str], np.ndarray], splits: tuple
) -> None:
    truth = splits[2]["test"]
    found = {}
    for pretrained in (True, False):
        probs = score_test_rows(pretrained, "bce")
        found[pretrained] = evaluate_predictions(probs, probs >= 0.5, truth)
    # measured with two seeds: lrap .84 and .86 to .68 and .62, macro_auc .83 and .84 to .60 and .61
    assert found[True]["lrap"] > found[False]["lrap"] + 0.08
    assert found[True]["macro_auc"] > found[False]["macro_auc"] + 0.08


def test_weighted_loss_finds_rare_labels_that_the_plain_one_misses(
    score_test_rows: Callable[[bool, str], np.ndarray], splits: tuple
) -> None:
    rare = splits[2]["train"].mean(0) < RARE
    truth = splits[2]["test"][:, rare]
    assert truth.any(0).sum() >= 3
    found = {}
    for loss in ("bce", "weighted_bce"):
        probs = score_test_rows(True, loss)[:, rare]
        found[loss] = evaluate_predictions(probs, probs >= 0.5, truth)
    # measured with two seeds: recall .75 and .79 to 0, F1 .29 and .38 to 0
    assert found["weighted_bce"]["macro_recall"] > found["bce"]["macro_recall"] + 0.3
    assert found["weighted_bce"]["macro_f1"] > found["bce"]["macro_f1"] + 0.08


def test_a_recipes_backbone_rests_for_its_epoch_and_trains_in_the_next(minilm: Backbone, tmp_path: Path) -> None:
    values = [
        "data.max_rows={train: 48, validation: 16, test: 16}",
        f"data.max_length={TOKENS}",
        "training.backbone_mode=head_first",
        "training.unfreeze_after=1 epoch",
        "training.num_train_epochs=2",
        "training.per_device_train_batch_size=12",
        "training.freeze_layers=0",
        "training.head_init=random",
        "training.save_strategy=steps",
        "training.save_steps=2",
        "training.save_only_model=true",
        f"training.output_dir={tmp_path}",
    ]
    train(load_recipe("quickstart", values))
    names = [f"checkpoint-{step}" for step in (2, 4, 6, 8)]  # four steps an epoch
    stored = {name: load_file(tmp_path / name / "model.safetensors") for name in names}
    encoder = {f"backbone.{name}": weight for name, weight in build_model(minilm, ["a"]).backbone.state_dict().items()}
    moved = [
        {name for name, weight in encoder.items() if not torch.equal(weights[name], weight)}
        for weights in stored.values()
    ]
    assert moved == [set(), set(), set(encoder), set(encoder)]
    heads = [weights["head.output.weight"] for weights in stored.values()]
    assert all(not torch.equal(before, after) for before, after in zip(heads, heads[1:], strict=False))
    final = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(final[name], weight) for name, weight in stored["checkpoint-8"].items())
