"""Run a finished model over a dataset: fp32 logits or features, in the dataset's order, on any number of processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from scipy import sparse
from torch import Tensor, nn

from hf_multilabel.console import note
from hf_multilabel.evaluation.keeping import KEEP_SCORES, KeptBlock, RankedScores, ScoreKeeper, is_kept_in_part
from hf_multilabel.evaluation.outcomes import as_label_sets
from hf_multilabel.progress import track
from hf_multilabel.remote_code.calibration_multilabel import calibrate
from hf_multilabel.remote_code.decision_multilabel import SETTINGS, decide
from hf_multilabel.remote_code.windows_multilabel import cut_windows, mean_over_windows

Batch = Mapping[str, Tensor]


def model_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits of a batch, shape (N, L)."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return model(**inputs).logits


def head_features(model: nn.Module, batch: Batch) -> Tensor:
    """What the last linear layer of the head was made for, of a batch, shape (N, D); of windows the mean."""
    seen: list[Tensor] = []
    # not the layer's own input: some heads use its rows one by one
    hook = model.head.register_forward_pre_hook(lambda head, inputs: seen.append(head.features(*inputs)))
    try:
        model_logits(model, batch)
    finally:
        hook.remove()
    cut = None if model.config.windows is None else cut_windows(batch["attention_mask"], model.config.windows)
    return seen[0] if cut is None else mean_over_windows(seen[0], cut.owner, len(batch["attention_mask"]))


def score_dataset(
    model: nn.Module,
    dataset: Dataset,
    collator: Callable[[list[dict]], Batch],
    *,
    batch_size: int = 32,
    function: Callable[[nn.Module, Batch], Tensor] = model_logits,
    description: str = "scoring",
) -> np.ndarray:
    """Apply a model to every row.

    Rows are sorted by length, so that little is padded, and put back. Whole batches are dealt out to the processes:
    a batch is the same for any number of them, and so are its logits. Nothing is cast: an fp32 model gives the scores
    that whoever loads it gets, also after training in bf16.

    Args:
        model: In any mode; evaluated in eval mode, without gradients, on the device of this process.
        dataset: Has a column `length` and what the collator needs, N rows.
        collator: Rows to tensors.
        batch_size: Rows of one forward pass.
        function: (model, batch) to a tensor of shape (B, width).
        description: Beside the progress bar.

    Returns:
        Array of shape (N, width), float32, rows in the dataset's order, on every process.

    Cost: One forward pass; 4 * N * width bytes on every process.
    """
    batches = _run(model, dataset, collator, batch_size, function, description)
    mine = [(rows, scores.float().cpu().numpy()) for rows, scores in batches]
    parts = gather_object(mine) if PartialState().num_processes > 1 else mine
    width = parts[0][1].shape[1] if parts else 0
    found = np.empty((len(dataset), width), dtype=np.float32)
    for rows, scores in parts:
        found[rows] = scores
    return found


def score_split(
    model: nn.Module,
    dataset: Dataset,
    collator: Callable[[list[dict]], Batch],
    targets: sparse.csr_array,
    keep: int | None = None,
    **kwargs: Any,
) -> np.ndarray | RankedScores:
    """All logits of a small label set, else the highest probabilities of each row and those of its positives.

    Args:
        model: As of `score_dataset`.
        dataset: As of `score_dataset`.
        collator: As of `score_dataset`.
        targets: True label sets in the dataset's order, (N, L).
        keep: Scores kept a row, see `ScoreKeeper`; from L on, all logits are. None: all up to `SMALL_LABEL_SET` labels,
            `KEEP_SCORES` above.
        **kwargs: As of `score_dataset`; and `calibration` of kept scores, see `keep_scores`.
    """
    if not is_kept_in_part(targets.shape[1], keep):
        return score_dataset(model, dataset, collator, **kwargs)
    return keep_scores(model, dataset, collator, targets, k=keep or KEEP_SCORES, **kwargs)


def keep_scores(
    model: nn.Module,
    dataset: Dataset,
    collator: Callable[[list[dict]], Batch],
    targets: sparse.csr_array,
    *,
    k: int = KEEP_SCORES,
    calibration: dict[str, Any] | None = None,
    batch_size: int = 32,
    description: str = "scoring",
) -> RankedScores:
    """Apply a model to every row and keep the highest probabilities of each, and those of its positives.

    Batches, processes and precision are those of `score_dataset`.

    Args:
        model: As of `score_dataset`.
        dataset: As of `score_dataset`.
        collator: As of `score_dataset`.
        targets: True label sets in the dataset's order, (N, L).
        k: Of the size: 8 k bytes a row, see `ScoreKeeper`.
        calibration: As stored in a decision: probabilities are kept as it makes them.
        batch_size: Rows of one forward pass.
        description: Beside the progress bar.

    Returns:
        The kept scores, rows in the dataset's order, on every process. They `decide_again` by another pass where they
        do not tell all labels of a text.

    Cost: One forward pass; 8 * N * k bytes on every process, and one batch.
    """
    state, keeper = PartialState(), ScoreKeeper(as_label_sets(targets, targets.shape, "targets"), k)
    blocks: list[KeptBlock] = []
    for rows, logits in _run(model, dataset, collator, batch_size, model_logits, description):
        block = keeper.select(rows, torch.sigmoid(calibrate(logits.float(), calibration)))
        if state.num_processes > 1:
            blocks.append(block)
        else:
            keeper.place(block)
    for block in gather_object(blocks) if state.num_processes > 1 else ():
        keeper.place(block)
    return replace(keeper.finish(), decide_again=Decider(model, dataset, collator, batch_size, description))


@dataclass
class Decider:
    """Decides a dataset by all scores and keeps none of them: only label sets, of each decision once.

    Whoever asks runs the model over all rows alone, whatever the number of processes.

    Args:
        model: As of `score_dataset`.
        dataset: As of `score_dataset`.
        collator: As of `score_dataset`.
        batch_size: Rows of one forward pass.
        description: Beside the progress bar.

    Cost: One forward pass a decision; memory of a batch and the label sets.
    """

    model: nn.Module
    dataset: Dataset
    collator: Callable[[list[dict]], Batch]
    batch_size: int
    description: str
    found: dict[str, sparse.csr_array] = field(default_factory=dict, repr=False)

    def __call__(self, decision: dict[str, Any]) -> sparse.csr_array:
        """The label sets of all rows, bool CSR (N, L)."""
        key = json.dumps({name: decision[name] for name in SETTINGS})
        if key not in self.found:
            note(f"{self.description}: the scores kept do not tell all labels of every text; deciding with all scores")
            self.found[key] = self._decide(decision)
        return self.found[key]

    def _decide(self, decision: dict[str, Any]) -> sparse.csr_array:
        order, parts = [], []
        about = f"deciding {self.description}"
        for rows, logits in _run(
            self.model, self.dataset, self.collator, self.batch_size, model_logits, about, alone=True
        ):
            order.append(rows)
            parts.append(sparse.csr_array(decide(logits.float(), decision).cpu().numpy()))
        return sparse.vstack(parts, format="csr")[np.argsort(np.concatenate(order))]


def _run(
    model: nn.Module,
    dataset: Dataset,
    collator: Callable[[list[dict]], Batch],
    batch_size: int,
    function: Callable[[nn.Module, Batch], Tensor],
    description: str,
    alone: bool = False,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """The batches of this process, all of them if it works alone: rows, and what the function gives for them."""
    state = PartialState()
    order = np.argsort(np.asarray(dataset["length"]), kind="stable")[::-1]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    training = model.training
    model.eval().to(state.device)
    mine = batches if alone else batches[state.process_index :: state.num_processes]
    try:
        for rows in track(mine, description, "batches", said=state.is_main_process):
            batch = collator([dataset[int(row)] for row in rows])
            with torch.inference_mode():
                scores = function(model, {name: value.to(state.device) for name, value in batch.items()})
            yield rows, scores
    finally:
        model.train(training)
