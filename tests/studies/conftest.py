"""A study of the tiny encoder, and a way to write another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HEADER = """
recipe: quickstart
overrides:
  model.backbone: {backbone}
  model.backbone_sha256: null
  data.max_rows: {{train: 32, validation: 24, test: 24}}
  data.max_length: 16
  training.max_steps: 4
  training.per_device_train_batch_size: 8
  training.head_init: prior
  training.freeze_layers: 0
  training.logging_steps: 1
metric: micro_auc
report: [test]
curve: {{points: 2, rows: 16}}
output_dir: {folder}
"""
GRID = """
grid:
  optimizer:
    Adam: {training.optimizer: adam, training.learning_rate: [1.0e-3, 1.0e-4]}
    SGD: {training.optimizer: sgd, training.learning_rate: 1.0e+30}
"""


@pytest.fixture
def write_study(tiny_backbone_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """`write_study(text)` writes a study file whose base trains the tiny encoder four steps."""

    def write(text: str = GRID, folder: str = "study") -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(HEADER.format(backbone=tiny_backbone_folder, folder=tmp_path / folder) + text)
        return path

    return write
