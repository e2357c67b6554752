"""Trains four steps with the trackers named; a figure stands in the folder, as a report leaves it there."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import hf_multilabel.workflow as workflow
from hf_multilabel.recipe import load_recipe

backbone, folder, trackers, *more = sys.argv[1:]
sys.path += more  # where a tracker is installed that is not beside us


def leave_a_figure(recipe: object, target: Path, *args: object) -> None:
    (target / "figures").mkdir()
    Image.new("RGB", (40, 30), "red").save(target / "figures" / "curves.png")


workflow.publish = leave_a_figure
overrides = [
    "data.max_rows={train: 96, validation: 48, test: 48}",
    "data.max_length=32",
    "training.max_steps=4",
    "training.logging_steps=2",
    "training.eval_strategy=steps",
    "training.eval_steps=2",
    "training.per_device_train_batch_size=8",
    "training.head_init=prior",
    "training.head_learning_rate=1e-3",
    "training.freeze_layers=0",
    "model.backbone_sha256=null",
    f"model.backbone={backbone}",
    f"training.output_dir={folder}",
    f"training.report_to=[{trackers}]",
    "training.project=topics",
]
workflow.train(load_recipe("quickstart", overrides))
