"""Every loss once more, from its paper, one float64 number at a time: what the fast ones are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Row = Sequence[float]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def smooth(y: float, smoothing: float) -> float:
    return y * (1 - smoothing) + smoothing / 2


def bce(z: Row, y: Row, pos_weight=None, class_weight=None, smoothing=0.0) -> float:
    cells = []
    for label, (logit, target) in enumerate(zip(z, y, strict=True)):
        if target == -1:
            continue
        p, t = sigmoid(logit), smooth(target, smoothing)
        positive = 1.0 if pos_weight is None else pos_weight[label]
        whole = 1.0 if class_weight is None else class_weight[label]
        cells.append(-whole * (positive * t * math.log(p) + (1 - t) * math.log(1 - p)))
    return mean(cells)


def focal(z: Row, y: Row, class_weight=None, gamma=2.0, alpha=None, smoothing=0.0) -> float:
    cells = []
    for label, (logit, target) in enumerate(zip(z, y, strict=True)):
        if target == -1:
            continue
        p, t = sigmoid(logit), smooth(target, smoothing)
        positive = (1 if alpha is None else alpha) * -((1 - p) ** gamma) * math.log(p)
        negative = (1 if alpha is None else 1 - alpha) * -(p**gamma) * math.log(1 - p)
        whole = 1.0 if class_weight is None else class_weight[label]
        cells.append(whole * (t * positive + (1 - t) * negative))
    return mean(cells)


def asymmetric(z: Row, y: Row, class_weight=None, gamma_pos=0.0, gamma_neg=4.0, clip=0.05, smoothing=0.0) -> float:
    cells = []
    for label, (logit, target) in enumerate(zip(z, y, strict=True)):
        if target == -1:
            continue
        p, t = sigmoid(logit), smooth(target, smoothing)
        q = max(p - clip, 0.0)
        positive = -((1 - p) ** gamma_pos) * math.log(p)
        negative = -(q**gamma_neg) * math.log(1 - q)
        whole = 1.0 if class_weight is None else class_weight[label]
        cells.append(whole * (t * positive + (1 - t) * negative))
    return mean(cells)


def class_balanced(z: Row, y: Row, class_weight=None, gamma=0.0, smoothing=0.0) -> float:
    return focal(z, y, class_weight, gamma=gamma, smoothing=smoothing)


def distribution_balanced(
    z: Row,
    y: Row,
    frequency=None,
    map_alpha=0.1,
    map_beta=10.0,
    map_mu=0.2,
    neg_scale=2.0,
    kappa=0.05,
    gamma=2.0,
    smoothing=0.0,
) -> float:
    counts = [1000 * share for share in frequency]  # of 1000 rows; their number cancels
    labels = len(counts)
    drawn = sum(target / (labels * n) for target, n in zip(y, counts, strict=True) if target != -1)
    cells = []
    for logit, target, n in zip(z, y, counts, strict=True):
        if target == -1:
            continue
        t = smooth(target, smoothing)
        r = 1 / (labels * n) / drawn if drawn else 1.0
        weight = map_alpha + sigmoid(map_beta * (r - map_mu))
        bias = -math.log(1000 / n - 1)
        v = -kappa * bias
        q_positive, q_negative = sigmoid(logit - v), sigmoid(neg_scale * (logit - v))
        none_negative = sigmoid(-neg_scale * (logit - v))  # 1 - q_negative, which float64 rounds to 0
        positive = -((1 - q_positive) ** gamma) * math.log(q_positive)
        negative = -(q_negative**gamma) * math.log(none_negative) / neg_scale
        cells.append(weight * (t * positive + (1 - t) * negative))
    return mean(cells)


def zlpr(z: Row, y: Row, smoothing=0.0) -> float:
    known = [(logit, smooth(target, smoothing)) for logit, target in zip(z, y, strict=True) if target != -1]
    holds = math.log(1 + sum(t * math.exp(-logit) for logit, t in known))
    return holds + math.log(1 + sum((1 - t) * math.exp(logit) for logit, t in known))


def rows_of(name: str, logits: Tensor, targets: Tensor, **values: object) -> Tensor:
    """The loss of each row as its twin computes it, float64."""
    plain = {key: value.tolist() if isinstance(value, Tensor) else value for key, value in values.items()}
    rows = zip(logits.tolist(), targets.tolist(), strict=True)
    return torch.tensor([TWINS[name](z, y, **plain) for z, y in rows], dtype=torch.float64)


TWINS: dict[str, Callable[..., float]] = {
    "bce": bce,
    "weighted_bce": bce,
    "focal": focal,
    "asymmetric": asymmetric,
    "class_balanced": class_balanced,
    "distribution_balanced": distribution_balanced,
    "zlpr": zlpr,
}
