"""A trainer on the tiny model and the twelve texts, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.training.adapters import add_adapters
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.trainer import MultiLabelTrainer

QUICK = {
    "precision": "fp32",
    "use_cpu": True,
    "disable_tqdm": True,
    "save_strategy": "no",
    "logging_steps": 1,
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 4,
    "train_sampling_strategy": "sequential",
}


@pytest.fixture(scope="session")
def rows(tiny_backbone: Backbone, tiny_texts: list[str], tiny_targets: np.ndarray) -> Dataset:
    """The twelve texts, tokenized."""
    ids = tiny_backbone.tokenizer(tiny_texts)["input_ids"]
    labels = [np.flatnonzero(row).tolist() for row in tiny_targets]
    return Dataset.from_dict({"input_ids": ids, "labels": labels, "length": [len(row) for row in ids]})


@pytest.fixture
def make_trainer(
    tiny_backbone: Backbone, rows: Dataset, tiny_label_names: list[str], tmp_path: Path
) -> Callable[..., MultiLabelTrainer]:
    """`make_trainer(dropout=0.0, peft=None, folder=None, **arguments)`: three steps an epoch."""

    def make(
        dropout: float = 0.0, peft: dict | None = None, folder: Path | None = None, **values: object
    ) -> MultiLabelTrainer:
        torch.manual_seed(0)
        model = build_model(tiny_backbone, tiny_label_names, dropout=dropout)
        return MultiLabelTrainer(
            model=add_adapters(model, **peft) if peft else model,
            args=MultiLabelTrainingArguments(output_dir=str(folder or tmp_path), **{**QUICK, **values}),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=tiny_backbone.tokenizer,
        )

    return make


@pytest.fixture
def train_and_resume(make_trainer: Callable[..., MultiLabelTrainer], tmp_path: Path) -> Callable[..., None]:
    """`train_and_resume(steps, **arguments)`: resumed after each of the steps, a run ends where it ends without."""

    def check(steps: tuple[int, ...], **values: object) -> None:
        values = {"dropout": 0.1, "num_train_epochs": 2, "folder": tmp_path / "run", **values}
        whole = make_trainer(save_strategy="steps", save_steps=1, **values)
        whole.train()
        for step in steps:
            resumed = make_trainer(**values)
            resumed.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{step}"))
            assert resumed.state.global_step == whole.state.global_step == 6
            found, expected = resumed.model.state_dict(), whole.model.state_dict()
            assert found.keys() == expected.keys()
            for name, weight in expected.items():
                assert torch.equal(found[name], weight), (step, name)

    return check
