"""The collapse alarm: notices during training that a model no longer tells texts or labels apart."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import TrainerCallback

logger = logging.getLogger(__name__)

ROWS = 64
LOOKS = 5
# A shorter run has had no chance yet.
FEWEST_STEPS = 20
# At the start of every run predictions are base rates and states draw together for a while; labels wake one by one.
ALIKE_FROM, DEAD_LABELS_FROM = 0.4, 0.6
# A label that rises above its base rate on none of three texts where it holds has not been learned at all.
POSITIVES = 3
# Variance of the predictions over texts, as a share of that of perfect ones.
CONSTANT = 1e-3
# Pooled states of some encoders are alike from the start: only a spread that shrinks to a tenth is a collapse.
SHRUNK, ALIKE = 0.1, 0.9
SHOWN = 5


@dataclass(frozen=True)
class Look:
    """What the model gives for the sample.

    Args:
        probs: Shape (N, L), float32.
        cosine: Mean cosine of the pooled states over all pairs of texts.
    """

    probs: np.ndarray
    cosine: float


def mean_pairwise_cosine(states: np.ndarray) -> float:
    """Mean cosine over all pairs of different rows, (|sum_i u_i|^2 - N) / (N (N - 1)) with u_i = x_i / |x_i|.

    Args:
        states: Shape (N, H), N at least 2.

    Cost: O(N H); no N x N matrix.

    Example:
        >>> mean_pairwise_cosine(np.array([[1.0, 0.0], [0.0, 2.0]]))
        0.0
    """
    rows = len(states)
    units = states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
    return float((np.square(units.sum(0)).sum() - rows) / (rows * (rows - 1)))


def spread_of_predictions(probs: np.ndarray) -> float:
    """Variance of the predictions over texts, as a share of that of perfect predictions with the same means.

    sum_l Var_i(p_il) / sum_l m_l (1 - m_l): 1 if every prediction is 0 or 1, 0 if all texts get the same ones.

    Args:
        probs: Shape (N, L).

    Example:
        >>> spread_of_predictions(np.array([[0.0], [1.0]])), spread_of_predictions(np.array([[0.5], [0.5]]))
        (1.0, 0.0)
    """
    means = probs.mean(0)
    return float(probs.var(0).sum() / max((means * (1 - means)).sum(), 1e-12))


def dead_labels(probs: np.ndarray, targets: np.ndarray, base_rates: np.ndarray) -> list[int]:
    """Labels whose probability exceeds their base rate on no text where they hold.

    Args:
        probs: Shape (N, L).
        targets: True where the label holds, shape (N, L).
        base_rates: Frequency of each label in training, shape (L,).

    Returns:
        Their ids. Labels with fewer than three such texts are not judged, nor those that hold for half of all texts:
        they are predicted at their base rate.
    """
    highest = np.where(targets, probs, -np.inf).max(0)
    judged = (targets.sum(0) >= POSITIVES) & (base_rates < 0.5)
    return np.flatnonzero(judged & (highest <= base_rates)).tolist()


def find_collapse(
    look: Look, start: float, targets: np.ndarray, base_rates: np.ndarray, names: Sequence[str], done: float
) -> list[tuple[str, str]]:
    """What is wrong with a model at some point of its training.

    Args:
        look: The model now.
        start: Mean cosine when training began.
        targets: True where the label holds, shape (N, L).
        base_rates: Shape (L,).
        names: Of the labels.
        done: Share of the run that is over.

    Returns:
        Each what was seen and what is worth trying, the likeliest cause first.
    """
    if not (np.isfinite(look.probs).all() and math.isfinite(look.cosine)):
        tried = "training.precision: fp32, or a lower training.learning_rate"
        return [("logits are no longer finite", tried)]
    found = []
    if done >= ALIKE_FROM and look.cosine >= ALIKE and 1 - look.cosine <= SHRUNK * (1 - start):
        seen = f"all texts get one pooled state (mean cosine {look.cosine:.4f}, {start:.4f} at the start)"
        found.append((seen, "a lower training.learning_rate, more warmup_steps, or backbone_mode: head_first"))
    if done >= ALIKE_FROM and spread_of_predictions(look.probs) <= CONSTANT:
        seen = f"all texts get the same probabilities, {look.probs.mean():.3f} on average"
        tried = "training.head_init: probe, a higher head_learning_rate, or pooling: mean with a sentence encoder"
        found.append((seen, tried))
    dead = dead_labels(look.probs, targets, base_rates) if done >= DEAD_LABELS_FROM else []
    if dead:
        shown = ", ".join(names[label] for label in dead[:SHOWN]) + (", ..." if len(dead) > SHOWN else "")
        seen = f"{len(dead)} labels are never predicted above their base rate where they hold: {shown}"
        found.append((seen, "loss.pos_weight: {rule: neg_pos_sqrt}, training.head_init: probe, or more epochs"))
    return found


class CollapseAlarm(TrainerCallback):
    """Looks at a fixed sample five times a run and warns once.

    Every look goes to the log as `pooled_cosine`, `prediction_spread` and `dead_labels`; the warning as `collapse`. It
    draws no random number and leaves the model as it was: training is the same with and without it.

    Args:
        rows: Held-out rows; at most 64 of them, evenly spaced, are looked at.
        collator: Rows to tensors.
        base_rates: Frequency of each label in training, shape (L,).
        names: Of the labels.

    Cost: Six forward passes of 64 rows a run.
    """

    def __init__(
        self, rows: Dataset, collator: Callable[..., Mapping[str, Tensor]], base_rates: np.ndarray, names: Sequence[str]
    ) -> None:
        chosen = np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)
        # like lengths together: little is padded
        ordered = sorted((rows[int(row)] for row in chosen), key=lambda row: len(row["input_ids"]))
        self.batches = [collator(ordered[start : start + ROWS // 4]) for start in range(0, len(ordered), ROWS // 4)]
        self.targets = torch.cat([batch["labels"] for batch in self.batches]).numpy() > 0.5
        self.base_rates, self.names = base_rates, names
        self.start = math.nan
        self.steps: set[int] = set()

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        """Measure the start; a resumed run reads it from its log, and a run of a few steps has nothing to tell."""
        if state.max_steps < FEWEST_STEPS:
            return
        self.steps = {math.ceil(state.max_steps * look / LOOKS) for look in range(1, LOOKS + 1)}
        looks = [entry["pooled_cosine"] for entry in state.log_history if entry.get("pooled_cosine") is not None]
        self.start = looks[0] if looks else self._log(state, look_at(model, self.batches)).cosine

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        """Look, and warn if nothing was said before."""
        if state.global_step not in self.steps:
            return
        look = self._log(state, look_at(model, self.batches))
        if any("collapse" in entry for entry in state.log_history):
            return
        done = state.global_step / state.max_steps
        found = find_collapse(look, self.start, self.targets, self.base_rates, self.names, done)
        if found:
            seen = "; ".join(what for what, _ in found)
            state.log_history[-1]["collapse"] = seen
            if state.is_world_process_zero:
                logger.warning("collapse at step %d: %s. Worth trying: %s.", state.global_step, seen, found[0][1])

    def _log(self, state: Any, look: Look) -> Look:
        spread = spread_of_predictions(look.probs)
        state.log_history.append(
            {
                # a NaN is no JSON
                "pooled_cosine": round(look.cosine, 6) if math.isfinite(look.cosine) else None,
                "prediction_spread": round(spread, 8) if math.isfinite(spread) else None,
                "dead_labels": len(dead_labels(look.probs, self.targets, self.base_rates)),
                "epoch": state.epoch,
                "step": state.global_step,
            }
        )
        return look


def look_at(model: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> Look:
    """Probabilities and pooled states of some batches, in eval mode and fp32; the model's mode is put back.

    A head that reads token states is given no pooled one: their mean stands in for it.
    """
    pooled: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        states, mask, given = inputs
        weights = mask.unsqueeze(-1).to(states.dtype)  # (N, T, 1)
        mean = (states * weights).sum(1) / weights.sum(1).clamp(min=1)  # (N, H)
        pooled.append((mean if given is None else given).double().cpu())

    device, training = next(model.parameters()).device, model.training
    hook = model.head.register_forward_pre_hook(keep)
    model.eval()
    try:
        with torch.no_grad():
            inputs = [{name: batch[name].to(device) for name in batch if name != "labels"} for batch in batches]
            probs = torch.cat([model(**batch).logits.float().sigmoid().cpu() for batch in inputs])
    finally:
        hook.remove()
        model.train(training)
    return Look(probs.numpy(), mean_pairwise_cosine(torch.cat(pooled).numpy()))
