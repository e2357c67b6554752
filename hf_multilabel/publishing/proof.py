"""Proof that a bundle gives elsewhere what the trained model gave here, before a run says done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from hf_multilabel.errors import EnvironmentFault, Finding
from hf_multilabel.publishing import reproduction
from hf_multilabel.publishing.bundle import label_names

# Float32 sums may be rounded in another order. MiniLM with logits up to 10: 0 in the same batches, 5e-6 in others.
TOLERANCE = 1e-4
# Loading and scoring a few hundred texts on a CPU takes seconds to minutes; beyond this something hangs.
PATIENCE_S = 1800
# What a launcher sets for its own processes: the proof is one process more and belongs to no group.
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_", "GROUP_", "ROLE_", "TORCHELASTIC_")
DROPPED = (*LAUNCHER, "ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def prove_bundle(
    folder: str | Path,
    texts: Sequence[str],
    logits: np.ndarray,
    predictions: np.ndarray,
    max_length: int,
    batch_size: int,
) -> dict[str, Any]:
    """Load a bundle in a process that cannot import hf_multilabel and compare what it gives.

    Logits must agree within `TOLERANCE`. Label sets must be equal, except for labels whose probability lies within 1e-5
    of their cut: rows that have one are counted.

    Args:
        folder: The bundle, staged or published.
        texts: N texts.
        logits: What the trained model gave for them, float32 on the CPU, shape (N, L); `reproduction.score_texts` gives
            them in the same batches with the same padding.
        predictions: Its label sets, bool, shape (N, L).
        max_length: Tokens kept of a text.
        batch_size: Texts a batch.

    Returns:
        rows, max_abs_logit_difference, label_sets_equal, rows_near_a_cut, tolerance.

    Raises:
        EnvironmentFault: If the bundle doesn't load there, or anything differs.

    Cost: One start of Python with torch and transformers, and N forward passes on the CPU.
    """
    found = _reproduce(Path(folder).resolve(), texts, max_length, batch_size)
    labels = label_names(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")))
    return compare(str(folder), labels, np.asarray(logits), np.asarray(predictions, dtype=bool), found)


def compare(
    where: str, labels: Sequence[str], logits: np.ndarray, predictions: np.ndarray, found: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Compare what was expected with what a bundle gave.

    Args:
        where: Folder, for the message.
        labels: Label names by id.
        logits: Expected, shape (N, L).
        predictions: Expected, bool, shape (N, L).
        found: `logits`, `predictions` and `near`, each of shape (N, L).

    Returns:
        As `prove_bundle`.

    Raises:
        EnvironmentFault: As `prove_bundle`.
    """
    if logits.shape != found["logits"].shape:
        raise _differs("P202", where, f"logits of shape {logits.shape}", f"shape {found['logits'].shape}")
    difference = np.abs(logits.astype(np.float64) - found["logits"])  # (N, L)
    wrong = ~(difference <= TOLERANCE)  # a NaN is wrong too
    if wrong.any():
        row, label = np.argwhere(wrong)[0]
        expected = f"logits within {TOLERANCE} of the trained model's"
        message = f"{found['logits'][row, label]} instead of {logits[row, label]} in row {row} for {labels[label]!r}"
        raise _differs("P202", where, expected, f"{message}, {int(wrong.any(1).sum())} rows in all")
    flipped = predictions != found["predictions"]
    unexcused = (flipped & ~found["near"]).any(1)
    if unexcused.any():
        row = int(np.flatnonzero(unexcused)[0])
        names = [str(labels[label]) for label in np.flatnonzero(flipped[row])]
        message = f"{int(unexcused.sum())} rows with another, first row {row} in {names[:5]}"
        raise _differs("P203", where, "the trained model's label sets", message)
    return {
        "rows": len(logits),
        "max_abs_logit_difference": float(difference.max(initial=0.0)),
        "label_sets_equal": not flipped.any(),
        "rows_near_a_cut": int(found["near"].any(1).sum()),
        "tolerance": TOLERANCE,
    }


def _reproduce(folder: Path, texts: Sequence[str], max_length: int, batch_size: int) -> dict[str, np.ndarray]:
    request = {"folder": str(folder), "texts": list(texts), "max_length": max_length, "batch_size": batch_size}
    with tempfile.TemporaryDirectory(prefix="proof-") as temporary:
        exchange = Path(temporary)
        # escaped, so that a lone surrogate in a text survives the file
        content = json.dumps(request | {"threads": torch.get_num_threads()}, ensure_ascii=True)
        (exchange / "request.json").write_text(content, encoding="ascii")
        # -P keeps this folder's file names off the path; PYTHONPATH and user site stay, torch may come from there
        command = [sys.executable, "-P", str(Path(reproduction.__file__).resolve()), str(exchange)]
        environment = child_environment(exchange)
        try:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                cwd=exchange, timeout=PATIENCE_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise _differs("P201", str(folder), "a folder that loads", f"no answer in {PATIENCE_S} s") from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise _differs("P201", str(folder), "a folder that loads with transformers alone", last)
        with safe_open(exchange / "answer.safetensors", framework="np") as answer:
            # loaded from elsewhere it would prove nothing about the files in the folder
            if "transformers_modules" not in answer.metadata()["model_class"]:
                raise _differs("P201", str(folder), "the shipped model class", answer.metadata()["model_class"])
            return {name: answer.get_tensor(name) for name in answer.keys()}  # noqa: SIM118 - not a mapping


def child_environment(exchange: Path) -> dict[str, str]:
    """The proof's variables: no Hub, no token, no GPU, no process group, and a module cache nothing was left in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "HF_MODULES_CACHE": str(exchange / "modules"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def _differs(code: str, where: str, expected: str, found: str) -> EnvironmentFault:
    fix = "report this with the folder's manifest.json; checkpoints of the run are kept"
    return EnvironmentFault(Finding(code, where, f"expected {expected}, found {found}", fix))
