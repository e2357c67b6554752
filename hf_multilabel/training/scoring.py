"""Run a finished model over a dataset: fp32 logits or features, in the dataset's order, on any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor, nn
from tqdm.auto import tqdm

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
    state = PartialState()
    order = np.argsort(np.asarray(dataset["length"]), kind="stable")[::-1]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    training = model.training
    model.eval().to(state.device)
    mine: list[tuple[np.ndarray, np.ndarray]] = []
    bar = tqdm(batches[state.process_index :: state.num_processes], desc=description, disable=not state.is_main_process)
    with torch.inference_mode():
        for rows in bar:
            batch = collator([dataset[int(row)] for row in rows])
            scores = function(model, {name: value.to(state.device) for name, value in batch.items()})
            mine.append((rows, scores.float().cpu().numpy()))
    model.train(training)
    parts = gather_object(mine) if state.num_processes > 1 else mine
    width = parts[0][1].shape[1] if parts else 0
    found = np.empty((len(dataset), width), dtype=np.float32)
    for rows, scores in parts:
        found[rows] = scores
    return found
