"""Label sets that maximise the expected F1 of their row, for calibrated probabilities of independent labels.

Among all sets of k labels the k most probable ones are best (Lewis 1995). With the labels in that order, C_k the number
of true ones among the first k and R_k among the rest, the expected F1 of the first k is

    f_k = sum_c  2 c P(C_k = c) E[1 / (k + c + R_k)],      f_0 = P(no label is true)

where F1 of two empty sets is 1. P(C_k) grows with k by one label a step; e_k(a) = E[1 / (a + R_k)] grows downward,
e_(k-1)(a) = p_k e_k(a + 1) + (1 - p_k) e_k(a), from e_L(a) = 1 / a.

Reference: Ye et al. 2012, section 3; Jansche 2007; Waegeman et al. 2014 on the assumption.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Labels of a row that can be chosen. Up to as many labels are computed exactly.
TOP = 128
# Rows are computed in blocks of about this many numbers.
ROOM = 1 << 22


def expected_f1_sets(probs: Tensor, least: int = 0, most: int | None = None) -> Tensor:
    """The label set of the highest expected F1 of each row, of equals the smallest; of equal labels the lower id.

    Of more than TOP labels only the TOP most probable ones of a row can be chosen. The number of true ones among the
    others is taken to be Poisson with their summed probability, which moves its distribution by no more than the sum of
    their squares (Le Cam 1960).

    Args:
        probs: Calibrated probabilities in [0, 1], float64, shape (n, L).
        least: Fewest labels of a row.
        most: Most labels of a row, or None.

    Returns:
        True where the label is in the set, bool, shape (n, L).

    Cost: O(L log L + m^2) a row, m = min(L, TOP); m^2 numbers a row of one block.

    Example:
        >>> expected_f1_sets(torch.tensor([[0.4, 0.35, 0.05], [0.1, 0.05, 0.05]], dtype=torch.float64)).tolist()
        [[True, True, False], [False, False, False]]
    """
    if torch.compiler.is_exporting():  # a graph has no loop over a number of blocks that only its reader knows
        return _best_sets(probs, least, most)
    if probs.numel() == 0:
        return torch.zeros_like(probs, dtype=torch.bool)
    chosen = torch.empty_like(probs, dtype=torch.bool)
    rows = max(1, ROOM // min(probs.shape[1], TOP) ** 2)
    for block, out in zip(probs.split(rows), chosen.split(rows), strict=True):
        out.copy_(_best_sets(block, least, most))
    return chosen


def _best_sets(probs: Tensor, least: int, most: int | None) -> Tensor:
    """`expected_f1_sets` of a few rows."""
    size = min(probs.shape[1], TOP)
    ordered, ids = probs.sort(dim=1, descending=True, stable=True)
    value = expected_f1(ordered)[:, least : (size if most is None else most) + 1]
    if value.shape[1]:
        sizes = torch.arange(value.shape[1], device=probs.device).expand_as(value)
        worse = value < value.max(1, keepdim=True).values
        best = least + sizes.masked_fill(worse, value.shape[1]).min(1, keepdim=True).values  # (n, 1)
    else:
        best = torch.full_like(ids[:, :1], least)
    chosen = torch.arange(probs.shape[1], device=probs.device) < best  # (n, L), of the labels in order
    return torch.zeros_like(chosen).scatter(1, ids, chosen)


def expected_f1(ordered: Tensor) -> Tensor:
    """Expected F1 of the first k labels for k = 0 .. m: descending probabilities (n, L) -> (n, m + 1)."""
    size = min(ordered.shape[1], TOP)
    top = ordered[:, :size]
    counts = [torch.ones_like(top[:, :1])]  # P(C_k = 0 .. k), (n, k + 1)
    for k in range(size):
        p, last = top[:, k : k + 1], counts[-1]
        zero = torch.zeros_like(p)
        counts.append(torch.cat([last * (1 - p), zero], 1) + torch.cat([zero, last * p], 1))
    rest = _inverse_mean(
        ordered[:, size:].sum(1, keepdim=True), size, ordered.shape[1]
    )  # e_m(a) for a = 1 .. 2 m, (n, 2 m)
    values = []
    for k in range(size, 0, -1):
        caught = torch.arange(1, k + 1, dtype=ordered.dtype, device=ordered.device)
        values.append(2 * (caught * counts[k][:, 1:] * rest[:, k : 2 * k]).sum(1))  # a = k + caught stands at a - 1
        p = top[:, k - 1 : k]
        rest = p * rest[:, 1 : 2 * k] + (1 - p) * rest[:, : 2 * k - 1]
    values.append((1 - ordered).prod(1))
    return torch.stack(values[::-1], dim=1)


def _inverse_mean(mean: Tensor, size: int, total: int) -> Tensor:
    """E[1 / (a + R)] of a Poisson R for a = 1 .. 2 size: its means (n, 1) -> (n, 2 size).

    It is the integral of t^(a - 1) exp(-mean (1 - t)) over [0, 1]: Gauss-Legendre, exact where the mean is 0.
    """
    power = torch.arange(2 * size, dtype=mean.dtype, device=mean.device)
    # up to TOP labels there is no rest, whatever the texts
    if total <= size or not mean.any():
        return (1 / (power + 1)).expand(mean.shape[0], -1)
    step = torch.arange(1, size + 64, dtype=mean.dtype, device=mean.device)
    side = step / (4 * step**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(side, 1) + torch.diag(side, -1))
    t, weight = (nodes + 1) / 2, vectors[0] ** 2  # (G,): Golub and Welsch 1969
    return torch.exp(-mean * (1 - t)) @ (weight[:, None] * t[:, None] ** power)  # (n, G) @ (G, 2 size)
