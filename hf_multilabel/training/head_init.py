"""How the head starts: its last layer random, at the labels' frequencies or a solved probe; labels at their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.remedies import with_synthetic
from hf_multilabel.losses.registry import WeightedLoss
from hf_multilabel.remote_code.poolings_multilabel import MeanPooling
from hf_multilabel.training.adapters import trained_part
from hf_multilabel.training.distributed import on_main
from hf_multilabel.training.precision import autocast
from hf_multilabel.training.scoring import head_features, score_dataset
from hf_multilabel.training.trainer import MultiLabelTrainer

# Labels solved together: bounds memory at N * CHUNK * 4 bytes beside the features.
CHUNK = 256


def prior_bias(counts: Sequence[int], rows: int | Sequence[int], pos_weight: Tensor | None = None) -> Tensor:
    """Logit of each label's frequency, so that an untrained head predicts base rates and the first steps learn more.

    Counts are smoothed by half a row: a label never or always seen gets a finite bias. Under a loss that weighs
    positives, the bias is where that loss is least: log(weight) higher.

    Args:
        counts: Positives of each label, shape (L,).
        rows: Training rows N; or for each label those on which it is known, shape (L,).
        pos_weight: Of the loss's positive term, shape (L,).

    Returns:
        Shape (L,), float32.

    Example:
        >>> prior_bias([5], 10)
        tensor([0.])

    Reference: Lin et al. 2017, section 4.1.
    """
    positives = torch.as_tensor(counts, dtype=torch.float64) + 0.5
    bias = torch.log(positives / (torch.as_tensor(rows) + 1 - positives))
    return (bias if pos_weight is None else bias + pos_weight.double().cpu().log()).float()


def solve_probe(
    features: np.ndarray,
    targets: csr_matrix,
    c: float,
    pos_weight: Tensor | None = None,
    unknown: csr_matrix | None = None,
    max_iter: int = 100,
) -> tuple[Tensor, Tensor]:
    """One-vs-rest logistic regression on frozen features, all labels of a chunk at once.

    Minimises c * sum_i BCE(x_i w + b, y_i) + |w|^2 / 2 for each label, as scikit-learn's LogisticRegression does,
    with L-BFGS over the stacked weights; the bias is free and starts at the label's prior.

    Args:
        features: Input of the layer to initialise, shape (N, D), float32.
        targets: True where the label holds, shape (N, L); of soft labels where they are at least 0.5, for a start
            needs no more.
        c: Inverse strength of the penalty.
        pos_weight: Of the positive term, shape (L,), as in the loss that training goes on with.
        unknown: True where nobody knows, shape (N, L); these cells have no say. None: all are known.
        max_iter: L-BFGS iterations a chunk of 256 labels.

    Returns:
        weight (L, D) and bias (L,), float32. Labels without a positive get weight 0 and their prior.

    Cost: O(max_iter N D L) FLOP, O(N (D + 256)) memory.

    Reference: Kumar et al. 2022, section 3.3 (a probed head keeps fine-tuning from distorting the features).
    """
    rows, labels = targets.shape
    x = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    center = x.mean(0)
    x = x - center  # the bias absorbs the mean; L-BFGS converges several times faster
    counts = np.asarray(targets.sum(0)).ravel()
    known = rows - (np.zeros(labels, np.int64) if unknown is None else unknown.getnnz(axis=0))
    weight, bias = torch.zeros(labels, x.shape[1]), prior_bias(counts.tolist(), known.tolist(), pos_weight)
    held = np.flatnonzero((counts > 0) & (counts < known))
    for start in range(0, len(held), CHUNK):
        chunk = held[start : start + CHUNK]
        y = torch.from_numpy(targets[:, chunk].toarray().astype(np.float32))
        cells = None if unknown is None else torch.from_numpy(1 - unknown[:, chunk].toarray().astype(np.float32))
        w, b = _solve_chunk(x, y, cells, bias[chunk], None if pos_weight is None else pos_weight[chunk], c, max_iter)
        weight[chunk], bias[chunk] = w, b - w @ center
    return weight, bias


def _solve_chunk(
    x: Tensor, y: Tensor, cells: Tensor | None, bias: Tensor, pos_weight: Tensor | None, c: float, max_iter: int
) -> tuple[Tensor, Tensor]:
    w = torch.zeros(y.shape[1], x.shape[1], requires_grad=True)
    b = bias.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [w, b], max_iter=max_iter, history_size=20, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        # Divided by c * N, which moves no minimum: fp32 sums over 45,000 rows would lose digits.
        fit = nn.functional.binary_cross_entropy_with_logits(
            x @ w.T + b, y, cells, pos_weight=pos_weight, reduction="sum"
        )
        fit = fit / len(x)
        loss = fit + w.square().sum() / (2 * c * len(x))
        loss.backward()
        return loss

    optimizer.step(objective)
    return w.detach(), b.detach()


@torch.no_grad()
def encode_names(model: nn.Module, tokenizer: Any, names: Sequence[str], batch_size: int = 64) -> Tensor:
    """Label names as the model encodes texts: through its backbone and pooling, the mean where its head has none.

    Args:
        model: A `MultiLabelForSequenceClassification`; encodes in eval mode, on its device.
        tokenizer: Of its backbone.
        names: In the order of their ids.
        batch_size: Names of one forward pass.

    Returns:
        Shape (L, H), float32, on the model's device; for the head's `init_label_queries`.

    Cost: One forward pass over the names.
    """
    device, training = next(model.parameters()).device, model.training
    pooling = MeanPooling(0) if model.pooling is None else model.pooling
    found = []
    model.eval()
    for start in range(0, len(names), batch_size):
        batch = tokenizer(
            list(names[start : start + batch_size]), padding=True, truncation=True, return_tensors="pt"
        ).to(device)
        encoded = model.backbone(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        pooler_output = getattr(encoded, "pooler_output", None)
        found.append(pooling(encoded.last_hidden_state.float(), batch["attention_mask"], pooler_output))
    model.train(training)
    return torch.cat(found)


def set_output(output: nn.Linear, weight: Tensor | None, bias: Tensor) -> None:
    """Write a start into the last linear layer; `weight` None keeps the random one."""
    with torch.no_grad():
        if weight is not None:
            output.weight.copy_(weight)
        output.bias.copy_(bias)


def start_labels(trainer: MultiLabelTrainer, data: MultiLabelData) -> None:
    """Start the label queries of a head that asks for it at what the labels' names stand for."""
    head = trained_part(trainer.model.head)
    if head.label_init == "names":
        head.init_label_queries(encode_names(trainer.model, trainer.processing_class, data.labels.names))


def start_head(trainer: MultiLabelTrainer, data: MultiLabelData, balance: Mapping[str, Any] | None) -> None:
    """Set the last layer as `training.head_init` says; the same on every process."""
    args, model, rows = trainer.args, trainer.model, trainer.train_dataset
    output = trained_part(model.head).output
    if args.head_init == "random":
        return
    pos_weight = trainer.row_loss.weights.get("pos_weight") if isinstance(trainer.row_loss, WeightedLoss) else None
    if args.head_init == "prior":
        set_output(output, None, prior_bias(data.labels.counts, data.known_rows(), pos_weight))
        return
    # in the precision of training, which goes on from here
    with autocast(args.precision, args.device.type):
        features = score_dataset(
            model,
            rows,
            trainer.data_collator,
            batch_size=args.eval_batch_size,
            function=head_features,
            description="linear probe",
        )
    features, targets, unknown = with_synthetic(features, data, balance)
    set_output(output, *on_main(solve_probe, features, targets, args.probe_c, pos_weight, unknown))
