"""How the last linear layer of the head starts: random, at the labels' frequencies, or at a solved linear probe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

# Labels solved together: bounds memory at N * CHUNK * 4 bytes beside the features.
CHUNK = 256


def prior_bias(counts: Sequence[int], rows: int) -> Tensor:
    """Logit of each label's frequency, so that an untrained head predicts base rates and the first steps learn more.

    Counts are smoothed by half a row: a label never or always seen gets a finite bias.

    Args:
        counts: Positives of each label, shape (L,).
        rows: Training rows N.

    Returns:
        Shape (L,), float32.

    Example:
        >>> prior_bias([5], 10)
        tensor([0.])

    Reference: Lin et al. 2017, section 4.1.
    """
    positives = torch.as_tensor(counts, dtype=torch.float64) + 0.5
    return torch.log(positives / (rows + 1 - positives)).float()


def solve_probe(
    features: np.ndarray, targets: csr_matrix, c: float, pos_weight: Tensor | None = None, max_iter: int = 100
) -> tuple[Tensor, Tensor]:
    """One-vs-rest logistic regression on frozen features, all labels of a chunk at once.

    Minimises c * sum_i BCE(x_i w + b, y_i) + |w|^2 / 2 for each label, as scikit-learn's LogisticRegression does,
    with L-BFGS over the stacked weights; the bias is free and starts at the label's prior.

    Args:
        features: Input of the layer to initialise, shape (N, D), float32.
        targets: True where the label holds, shape (N, L).
        c: Inverse strength of the penalty.
        pos_weight: Of the positive term, shape (L,), as in the loss that training goes on with.
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
    weight, bias = torch.zeros(labels, x.shape[1]), prior_bias(counts.tolist(), rows)
    held = np.flatnonzero((counts > 0) & (counts < rows))
    for start in range(0, len(held), CHUNK):
        chunk = held[start : start + CHUNK]
        y = torch.from_numpy(targets[:, chunk].toarray().astype(np.float32))
        w, b = _solve_chunk(x, y, bias[chunk], None if pos_weight is None else pos_weight[chunk], c, max_iter)
        weight[chunk], bias[chunk] = w, b - w @ center
    return weight, bias


def _solve_chunk(
    x: Tensor, y: Tensor, bias: Tensor, pos_weight: Tensor | None, c: float, max_iter: int
) -> tuple[Tensor, Tensor]:
    w = torch.zeros(y.shape[1], x.shape[1], requires_grad=True)
    b = bias.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [w, b], max_iter=max_iter, history_size=20, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        # Divided by c * N, which moves no minimum: fp32 sums over 45,000 rows would lose digits.
        fit = nn.functional.binary_cross_entropy_with_logits(x @ w.T + b, y, pos_weight=pos_weight, reduction="sum")
        fit = fit / len(x)
        loss = fit + w.square().sum() / (2 * c * len(x))
        loss.backward()
        return loss

    optimizer.step(objective)
    return w.detach(), b.detach()


def set_output(output: nn.Linear, weight: Tensor | None, bias: Tensor) -> None:
    """Write a start into the last linear layer; `weight` None keeps the random one."""
    with torch.no_grad():
        if weight is not None:
            output.weight.copy_(weight)
        output.bias.copy_(bias)
