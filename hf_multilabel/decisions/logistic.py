"""Logistic fits of many labels at once, each drawn toward a common one: what all parametric calibrations are.

    p = sigmoid(theta . phi(logit)),  phi one to three functions of the logit, theta at least `floor`

The common fit theta_0 counts as `strength` positives of each label: its information matrix at theta_0, scaled to that
many, is the precision of the label's prior. A label with n positives so goes about n / (n + strength) of the way from
the common fit to its own, in every direction alike, and one whose positives are perfectly separated stays finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

STRENGTH = 10.0  # positives that a common fit counts for, measured: docs/decisions.md
FLOOR = 0.01  # least slope: a label whose scores rank nothing gets nearly one probability, and keeps its order
BLOCK = 1 << 20  # logits held as features at a time
STEPS = 50
HALVINGS = 30
TOLERANCE = 1e-8
NEAR = 1e-3  # of a floor
COARSE = 1e-4  # on a grid, where the logits themselves are rounded
RIDGE = 1e-6  # keeps directions apart that equal logits leave open

Features = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class Prior:
    """Where the parameters are drawn to: centre (G, K), precision (G, K, K)."""

    centre: Tensor
    precision: Tensor


@dataclass(frozen=True)
class Block:
    """Some labels with their features: design (G, K, N), sums of the features over the positives (G, K).

    `count`, (G, N), says how many rows stand for each entry of the design; None: one.
    """

    design: Tensor
    positive: Tensor
    count: Tensor | None = None

    def measure(self, theta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Loss (G,), gradient (G, K), curvature (G, K, K) and weight, the sum of p (1 - p), (G,), at theta (G, K)."""
        odds = (theta[:, None, :] @ self.design).squeeze(1)  # (G, 1, K) @ (G, K, N) -> (G, N)
        probs, cost = odds.sigmoid(), functional.softplus(odds, threshold=40)
        weight = probs * (1 - probs)
        if self.count is not None:
            probs, cost, weight = probs * self.count, cost * self.count, weight * self.count
        loss = cost.sum(1) - (theta * self.positive).sum(1)
        gradient = (self.design @ probs[:, :, None]).squeeze(2) - self.positive
        curvature = (self.design * weight[:, None, :]) @ self.design.transpose(1, 2)
        return loss, gradient, curvature, weight.sum(1)


def fit_common(
    logits: NDArray[np.floating],
    targets: sparse.csr_array,
    features: Features,
    start: list[float],
    floor: list[float],
    strength: float,
) -> Tensor:
    """One theta for all labels, drawn toward `start` with the weight of `strength` positives, (K,).

    Args:
        logits: Shape (N, L).
        targets: Canonical CSR, shape (N, L).
        features: From logits to K arrays of their shape.
        start: The theta that leaves logits as they are, K numbers.
        floor: Least value of each parameter, K numbers.
        strength: Positives that the prior counts for.

    Cost: about eight Newton steps, each a few passes over the logits; memory of one block.
    """

    def measure(theta: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        parts = zip(
            *(block.measure(theta.expand(len(block.design), -1)) for _, block in _blocks(logits, targets, features)),
            strict=True,
        )
        return tuple(torch.cat(part).sum(0, keepdim=True) for part in parts)

    centre = torch.tensor([start], dtype=torch.float64)
    prior = _prior(measure, centre, strength)
    return _minimise(measure, prior, torch.tensor(floor, dtype=torch.float64))[0]


def fit_each(
    logits: NDArray[np.floating],
    targets: sparse.csr_array,
    features: Features,
    common: Tensor,
    floor: list[float],
    strength: float,
) -> NDArray[np.float64]:
    """A theta for each label, drawn toward the common one with the weight of `strength` positives, (L, K).

    Args:
        logits: Shape (N, L).
        targets: Canonical CSR, shape (N, L).
        features: From logits to K arrays of their shape.
        common: What `fit_common` found, (K,).
        floor: Least value of each parameter, K numbers.
        strength: Positives that the common fit counts for.

    Cost: about five Newton steps, each a few passes over the logits; memory of one block.
    """
    theta = torch.empty(logits.shape[1], len(common), dtype=torch.float64)
    for labels, block in _blocks(logits, targets, features):

        def measure(theta: Tensor, active: Tensor, block: Block = block) -> tuple[Tensor, ...]:
            return Block(block.design[active], block.positive[active]).measure(theta)

        prior = _prior(measure, common.expand(len(block.design), -1), strength)
        theta[labels] = _minimise(measure, prior, torch.tensor(floor, dtype=torch.float64))
    return theta.numpy()


def fit_counted(
    design: Tensor, count: Tensor, positives: Tensor, centre: Tensor, *, floor: list[float], strength: float
) -> Tensor:
    """`fit_each` of scores that are only counted on a grid, theta (L, K).

    Args:
        design: Features of the grid's points, (K, B).
        count: Rows of each label at each point, (L, B).
        positives: Those of them that have the label, (L, B).
        centre: The theta that each label's is drawn to, (L, K).
        floor: Least value of each parameter, K numbers.
        strength: Positives that the centre counts for.

    Cost: about ten Newton steps of L B K^2 operations each; memory of a few arrays (L, K, B).
    """
    sums = positives @ design.T  # (L, B) @ (B, K) -> (L, K)

    def measure(theta: Tensor, active: Tensor) -> tuple[Tensor, ...]:
        return Block(design.expand(len(active), -1, -1), sums[active], count[active].double()).measure(theta)

    bound = torch.tensor(floor, dtype=torch.float64)
    return _minimise(measure, _prior(measure, centre, strength), bound, COARSE)


def fit_levels(
    design: Tensor,
    level: Tensor,
    count: Tensor,
    positives: Tensor,
    *,
    start: list[float],
    floor: list[float],
    strength: float,
) -> Tensor:
    """What labels have in common: theta . phi + slope level, one theta and slope for all, (K + 1,).

    Args:
        design: Features of the grid's points, (K, B).
        level: A number of each group of labels, (U,).
        count: Rows of each group at each point, (U, B).
        positives: Those of them that have the label, (U, B).
        start: The theta that leaves logits as they are, K numbers; the slope starts at 0.
        floor: Least value of each parameter, K numbers; the slope has none.
        strength: Positives that the start counts for.

    Cost: about ten Newton steps of U B K^2 operations each.
    """
    levels = level[:, None, None].expand(-1, 1, design.shape[1])
    features = torch.cat([design.expand(len(level), -1, -1), levels], dim=1)  # (U, K + 1, B)
    block = Block(features, (features @ positives[:, :, None]).squeeze(2), count.double())

    def measure(theta: Tensor, _: Tensor) -> tuple[Tensor, ...]:
        return tuple(part.sum(0, keepdim=True) for part in block.measure(theta.expand(len(level), -1)))

    centre = torch.tensor([[*start, 0.0]], dtype=torch.float64)
    bound = torch.tensor([*floor, -np.inf], dtype=torch.float64)
    return _minimise(measure, _prior(measure, centre, strength), bound, COARSE)[0]


def _blocks(
    logits: NDArray[np.floating], targets: sparse.csr_array, features: Features
) -> Iterator[tuple[slice, Block]]:
    """Ranges of labels, a block of features for each."""
    by_label = targets.T.tocsr()
    step = max(1, BLOCK // max(1, len(logits)))
    for start in range(0, logits.shape[1], step):
        labels = slice(start, min(start + step, logits.shape[1]))
        values = torch.from_numpy(np.ascontiguousarray(logits[:, labels].T, dtype=np.float64))  # (G, N)
        design = torch.stack(features(values), dim=1)  # (G, K, N)
        held = by_label[labels].tocoo()
        label, row = torch.from_numpy(held.row.astype(np.int64)), torch.from_numpy(held.col.astype(np.int64))
        positive = torch.zeros(design.shape[:2], dtype=torch.float64).index_add_(0, label, design[label, :, row])
        yield labels, Block(design, positive)


def _prior(measure: Callable[..., tuple[Tensor, ...]], centre: Tensor, strength: float) -> Prior:
    """The information at the centre as if there were `strength` positives."""
    _, _, curvature, weight = measure(centre, torch.arange(len(centre)))
    unit = curvature / weight.clamp(min=1e-300)[:, None, None] + RIDGE * torch.eye(centre.shape[1])
    return Prior(centre, max(strength, RIDGE) * unit)


def _minimise(
    measure: Callable[..., tuple[Tensor, ...]], prior: Prior, floor: Tensor, tolerance: float = TOLERANCE
) -> Tensor:
    """Projected Newton steps, halved where the loss would rise: (G, K). Convex, so that the minimum is the only one."""

    def penalised(theta: Tensor, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, gradient, curvature, _ = measure(theta, active)
        off, precision = theta - prior.centre[active], prior.precision[active]
        pull = (precision @ off[:, :, None]).squeeze(2)
        return loss + 0.5 * (off * pull).sum(1), gradient + pull, curvature + precision

    theta = torch.maximum(prior.centre, floor)
    active = torch.arange(len(theta))
    loss, gradient, curvature = penalised(theta, active)
    for _ in range(STEPS):
        step = _direction(theta[active], gradient, curvature, floor)
        moving = step.abs().amax(1) > tolerance
        active, step = active[moving], step[moving]
        loss, gradient, curvature = loss[moving], gradient[moving], curvature[moving]
        if not len(active):
            break
        for _ in range(HALVINGS):
            trial = torch.maximum(theta[active] - step, floor)
            new = penalised(trial, active)
            worse = new[0] > loss + 1e-10 * (1 + loss.abs())
            if not worse.any():
                break
            step = torch.where(worse[:, None], step / 2, step)
        theta[active] = trial
        loss, gradient, curvature = new
    return theta


def _direction(theta: Tensor, gradient: Tensor, curvature: Tensor, floor: Tensor) -> Tensor:
    """The Newton step among the parameters that may move: (G, K).

    One that would leave through its floor goes onto it, also from a little above: a step that is cut short there would
    have to be halved again and again (Bertsekas 1982).
    """
    held = (theta <= floor + NEAR) & (gradient > 0)
    free = torch.where(held, theta - floor, gradient)
    either = held[:, :, None] | held[:, None, :]
    open_ = torch.where(either, torch.eye(theta.shape[1], dtype=torch.float64), curvature)
    return torch.linalg.solve(open_, free)
