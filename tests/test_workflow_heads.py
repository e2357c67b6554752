"""Every head from one recipe line: trained, proved without the package, and started at label names where asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hf_multilabel import HEADS
from hf_multilabel.inference import FinishedModel
from hf_multilabel.recipe import load_recipe
from hf_multilabel.workflow import train

QUICK = [
    "data.max_rows={train: 64, validation: 48, test: 16}",
    "data.max_length=32",
    "training.max_steps=2",
    "training.per_device_train_batch_size=8",
    "training.save_strategy=no",
    "training.freeze_layers=0",
    "model.backbone_sha256=null",
]


def run(backbone: Path, folder: Path, *overrides: str) -> FinishedModel:
    settings = [*QUICK, f"model.backbone={backbone}", f"training.output_dir={folder}", *overrides]
    train(load_recipe("quickstart", settings))
    return FinishedModel.load(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_every_head_trains_from_one_line(head: str, tiny_backbone_folder: Path, tmp_path: Path) -> None:
    model = run(tiny_backbone_folder, tmp_path / "run", f"model.head={head}").model
    assert model.config.head == head
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_labels_start_at_their_names(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    names = ["model.head=label_attention", "model.head_kwargs={label_init: names}", "training.head_init=prior"]
    model = run(tiny_backbone_folder, tmp_path / "run", *names, "training.head_learning_rate=1.0e-9").model
    queries = model.head.queries.detach()
    assert queries.shape == (8, 32)
    assert torch.linalg.matrix_rank(queries) >= 7  # one direction is lost with the common centre
    assert model.head.output.bias.std() > 0.1  # the prior too
