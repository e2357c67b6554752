"""Training modes and penalties in two gloo processes against one: one launch for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from hf_multilabel.training.trainer import MultiLabelTrainer

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.distributed
MODES = {
    "gradual": {"backbone_mode": "gradual", "unfreeze_after": 2, "head_l1": 0.01, "head_l2": 0.02},
    "head_first": {"backbone_mode": "head_first", "unfreeze_after": 3, "optimizer": "sgd_momentum"},
    "adapters": {"peft": {"method": "lora", "r": 2}, "backbone_mode": "head_first", "unfreeze_after": 2},
}
# four rows a step: one process with one batch of them, two processes with two batches of one row each
COMMON = {"max_steps": 8, "max_grad_norm": 0.5}


@pytest.fixture(scope="module")
def launched(
    tiny_backbone_folder: Path, tiny_label_names: list[str], rows: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("modes")
    common = {
        **COMMON,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "precision": "fp32",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "train_sampling_strategy": "sequential",
    }
    plan = {
        "backbone": str(tiny_backbone_folder),
        "labels": tiny_label_names,
        "rows": rows.to_dict(),
        "runs": {name: {**common, "save_strategy": "no", **values} for name, values in MODES.items()},
    }
    # between the second and the third part that joins
    plan["runs"]["gradual"] |= {"save_strategy": "steps", "save_steps": 5, "resume": 5}
    plan["runs"]["stopped"] = {**common, "save_strategy": "no", "stop": {"process": 1, "step": 5}}
    (out / "plan.json").write_text(json.dumps(plan))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
        *(str(Path(__file__).with_name("train_modes.py")), str(out / "plan.json"), str(out)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize("name", MODES)
def test_two_processes_train_as_one(name: str, launched: Path, make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    found = json.loads((launched / f"{name}.json").read_text())
    assert found["processes"] == 2
    assert found.get("resumed") is (True if name == "gradual" else None)
    assert found["sums"][0] == found["sums"][1]  # what was switched on later is synchronised too
    one = make_trainer(**COMMON, **MODES[name])
    one.train()
    losses = [entry["loss"] for entry in one.state.log_history if "loss" in entry]
    np.testing.assert_allclose(found["losses"], losses, atol=1e-5)
    weights = load_file(launched / f"{name}.safetensors")
    for key, weight in one.model.state_dict().items():
        torch.testing.assert_close(
            weights[key], weight, atol=2e-5, rtol=1e-3, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_all_processes_stop_where_one_hears_a_signal(launched: Path) -> None:
    found = json.loads((launched / "stopped.json").read_text())
    assert found["stops"] == [[5, 143], [5, 143]]
    assert found["resumed"] is True
