"""What happens during a trial: the curve, the signs that it diverges, and whether going on is worth it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from scipy.sparse import csr_matrix
from torch import nn
from transformers import TrainerCallback

from hf_multilabel.evaluation.metrics import METRICS, metric_calls
from hf_multilabel.judging import judge
from hf_multilabel.remote_code.decision_multilabel import default_decision
from hf_multilabel.training.scoring import score_dataset

Batches = Callable[[list[dict]], Mapping[str, torch.Tensor]]


class Watch(TrainerCallback):
    """Measures some rows of each split at evenly spaced steps, the first before training, and ends hopeless trials.

    Args:
        metric: As metrics.json calls it, or loss.
        rows: Split to its rows and their true label sets, validation first.
        collator: Rows to tensors.
        loss: (logits (N, L), targets (N, L)) to the loss of each row (N,).
        points: Measurements after the start.
        batch_size: Rows of one forward pass.
        report: Gets each validation value and its number, from 0; says whether to end the trial.
        progress: Gets the steps done and all steps.
    """

    def __init__(
        self,
        metric: str,
        rows: Mapping[str, tuple[Dataset, csr_matrix]],
        collator: Batches,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        points: int,
        batch_size: int,
        report: Callable[[float, int], bool] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.metric, self.rows, self.collator, self.loss = metric, rows, collator, loss
        self.points, self.batch_size, self.report, self.progress = points, batch_size, report, progress
        self.curve: list[dict[str, Any]] = []
        self.losses: list[tuple[int, float]] = []
        self.ended: str | None = None
        self.steps: set[int] = set()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        """Measure the start."""
        self.steps = {math.ceil(state.max_steps * point / self.points) for point in range(1, self.points + 1)}
        self._look(model, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        """Measure where it is time."""
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)
        if state.global_step in self.steps and self.ended is None:
            self._look(model, state, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Keep the training loss; one that is not finite ends the trial."""
        if "loss" in (logs or {}):
            loss = float(logs["loss"])
            self.losses.append((state.global_step, loss))
            if not math.isfinite(loss):
                self._end("diverged", control)

    def _look(self, model: nn.Module, state: Any, control: Any) -> None:
        found: dict[str, Any] = {"step": state.global_step}
        for split, (dataset, targets) in self.rows.items():
            logits = score_dataset(model, dataset, self.collator, batch_size=self.batch_size, description=split)
            if not np.isfinite(logits).all():
                self._end("diverged", control)
                return
            truth = torch.from_numpy(targets.toarray().astype(np.float32))
            device = next(model.parameters()).device  # weights of the loss lie there, too
            with torch.no_grad():
                rows = self.loss(torch.from_numpy(logits).to(device), truth.to(device))
            found[f"{split}_loss"] = float(rows.mean())
            if self.metric != "loss":
                found[f"{split}_{self.metric}"] = measure_one(self.metric, logits, targets)
        self.curve.append(found)
        value = found[f"validation_{self.metric}"]
        stop = self.report is not None and value is not None and self.report(value, len(self.curve) - 1)
        if stop and state.global_step < state.max_steps:
            self._end("pruned", control)

    def _end(self, how: str, control: Any) -> None:
        self.ended = how
        control.should_training_stop = True


def measure_one(metric: str, logits: np.ndarray, targets: csr_matrix) -> float | None:
    """One metric at a cut of 0.5.

    Args:
        metric: As metrics.json calls it.
        logits: Shape (N, L).
        targets: True where the label holds, shape (N, L).
    """
    depth = metric.rpartition("_at_")[2]
    calls = {shown: (name, given) for shown, name, given in metric_calls(k=[int(depth)] if depth.isdigit() else [1])}
    name, parameters = calls[metric]
    value = METRICS[name](judge(logits, targets, default_decision()), *parameters)
    return None if value is None else float(value)


def evenly(rows: int, most: int) -> np.ndarray:
    """At most so many of so many rows, evenly spaced.

    Example:
        >>> evenly(10, 3).tolist()
        [0, 4, 9]
    """
    return np.linspace(0, rows - 1, min(rows, most)).astype(int)
