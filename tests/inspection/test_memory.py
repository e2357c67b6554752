"""The memory estimate beside the peak of real training steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hf_multilabel.backbones import Backbone

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [["data.max_length=64"], ["training.freeze_layers=0", "training.precision=fp32"]])
def test_the_estimate_is_near_the_measured_peak(overrides: list[str], minilm: Backbone, tmp_path: Path) -> None:
    run = [*overrides, "training.max_steps=4", "training.save_strategy=no", f"training.output_dir={tmp_path / 'run'}"]
    command = [sys.executable, str(ROOT / "benchmarks/memory.py"), "--one", *run]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] > found["before"]
    assert 0.75 < found["estimate"] / found["peak"] < 1.33
