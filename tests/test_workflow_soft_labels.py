"""A whole run on probabilities: a recipe line brings them, and the first loss is theirs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_multilabel.data.batching import MultiLabelCollator
from hf_multilabel.data.loading import load_data
from hf_multilabel.measurement import evaluate
from hf_multilabel.preparing import new_model, prepare_backbone, tokenize_splits
from hf_multilabel.recipe import load_recipe
from hf_multilabel.workflow import train

RECIPE = """
data:
  source: notes.csv
  id: id
  labels: [sport, money]
  soft_labels: true
  max_length: 16
model:
  backbone: {backbone}
  dropout: 0
  config_overrides: {{hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}}
loss: {{name: bce}}
training:
  output_dir: {folder}
  max_steps: 2
  per_device_train_batch_size: 64
  logging_steps: 1
  eval_strategy: "no"
  head_init: random
  precision: fp32
"""


Cells = dict[str, tuple[float, ...]]


def write_notes(path: Path, told: Cells) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("id", "text", "sport", "money"), *((key, f"late goal {key}", *row) for key, row in told.items())]
        )


@pytest.fixture
def told(tmp_path: Path) -> Cells:
    """60 texts in notes.csv; id to what it says of the two labels."""
    rng = np.random.default_rng(0)
    rows = {f"r{i}": tuple(rng.choice([0.0, 1.0, 0.3, 0.6, 0.95], 2).tolist()) for i in range(60)}
    write_notes(tmp_path / "notes.csv", rows)
    return rows


def test_first_loss_is_the_cross_entropy_to_the_probabilities(
    tiny_backbone_folder: Path, tmp_path: Path, told: Cells
) -> None:
    folder = tmp_path / "run"
    (tmp_path / "notes.yaml").write_text(RECIPE.format(backbone=tiny_backbone_folder, folder=folder))
    recipe = load_recipe(tmp_path / "notes.yaml")
    metrics = train(recipe)
    history = json.loads((folder / "history.json").read_text())

    # all training rows are one batch: the first loss is that of the untrained model on them
    data = load_data(**recipe.data.load_arguments())
    backbone = prepare_backbone(recipe, data)
    model = new_model(recipe, backbone, data, 42).eval()
    rows = tokenize_splits(data, backbone, 16).splits["train"]
    batch = MultiLabelCollator(backbone.tokenizer, 2)([rows[i] for i in range(len(rows))])
    targets = np.array([told[name] for name in data.splits["train"]["id"]])
    np.testing.assert_allclose(batch.pop("labels").numpy(), targets, rtol=1e-6)
    with torch.no_grad():
        probs = 1 / (1 + np.exp(-model(**batch).logits.double().numpy()))

    def cross_entropy(y: np.ndarray) -> float:
        return float(-(y * np.log(probs) + (1 - y) * np.log(1 - probs)).mean())

    assert history[0]["step"] == 1
    assert history[0]["loss"] == pytest.approx(cross_entropy(targets), abs=2e-6)
    assert abs(cross_entropy(targets) - cross_entropy(targets >= 0.5)) > 1e-3

    assert metrics["data"]["soft_labels"]["cells"] == int(((targets > 0) & (targets < 1)).sum())
    assert set(metrics["data"]["soft_labels"]["cells_rounded"]) == {"validation", "test"}
    hard = {name: tuple(int(y >= 0.5) for y in told[name]) for name in data.splits["test"]["id"]}
    write_notes(tmp_path / "hard.csv", hard)
    assert evaluate(str(folder), None) == evaluate(str(folder), str(tmp_path / "hard.csv"), ["data.soft_labels=false"])
