"""Prevalences where a model is used, from texts there that nobody has labelled, and how far they are chance.

The labelled rows are calibrated and tell what scores of a label look like; `estimate_prevalence` then finds the shares
that explain the scores of the texts. For the interval both are drawn anew and everything is fitted again. What it does
not show: that texts of a label may look otherwise there, and that a label with few positives is calibrated much like
the others, which moves its estimate the same way in every draw. Of fewer than `TELLING` nothing is estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from torch import Tensor

from hf_multilabel.decisions.calibration import as_logits, calibrate_checked, log_odds
from hf_multilabel.decisions.prior_shift import STEPS, estimate_prevalence
from hf_multilabel.decisions.uncertainty import LEAST, RESAMPLES, WORK
from hf_multilabel.evaluation import as_label_sets
from hf_multilabel.evaluation.intervals import check_resampling

# What sets the level of each label's scores: a level that is off is taken for a prevalence that is.
LEVELLING = ("platt", "beta", "isotonic")
PASSES = 12  # over the labelled rows, of a calibration
# Labelled rows with a label, and without it, that an estimate takes: of fewer, the calibration is that of other labels,
# and what it is off by is taken for a prevalence.
TELLING = 10


@dataclass(frozen=True)
class PrevalenceEstimate:
    """Shares of the texts for which labels hold, (L,) each.

    Args:
        labelled: Among the labelled rows.
        estimated: Among the unlabelled texts; NaN where the rows do not tell: a label of fewer than `TELLING` of
            them, or lacking to fewer, or whose scores are all the same.
        low: Lower end of the interval, NaN likewise.
        high: Upper end, NaN likewise.
        texts: Unlabelled ones.
    """

    labelled: NDArray[np.float64]
    estimated: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    texts: int

    def known(self, labels: Sequence[str]) -> dict[str, float]:
        """Label to its estimated share, as `fit_calibration` takes them."""
        shares = zip(labels, self.estimated.tolist(), strict=True)
        return {label: float(f"{share:.7g}") for label, share in shares if not np.isnan(share)}

    def intervals(self, labels: Sequence[str]) -> dict[str, list[float]]:
        """Label to [low, high]."""
        ends = zip(labels, self.low.tolist(), self.high.tolist(), strict=True)
        return {label: [float(f"{end:.4g}") for end in pair] for label, *pair in ends if not np.isnan(pair[0])}

    def lines(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """A row a label, with its name and the numbers above; first the label whose share differs most."""
        order = np.argsort(-np.abs(np.nan_to_num(self.estimated - self.labelled)), kind="stable")
        names = ("labelled", "estimated", "low", "high")
        return [{"label": labels[i]} | {name: float(getattr(self, name)[i]) for name in names} for i in order]


def fit_prevalence(
    logits: ArrayLike | Tensor,
    targets: Any,
    unlabelled: ArrayLike | Tensor,
    method: str = "platt",
    *,
    level: float = 0.95,
    resamples: int | None = None,
    seed: int = 0,
) -> PrevalenceEstimate:
    """Estimate the share of unlabelled texts for which each label holds.

    Texts are a sample: a label that none of M seems to have is given half a text, 0.5 / M, or its share of the labelled
    rows if that is lower; and no interval ends below the share that M texts may miss by chance.

    Args:
        logits: Finite, of the labelled rows, shape (N, L).
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        unlabelled: Finite, of the texts, shape (M, L).
        method: Of `LEVELLING`.
        level: Confidence of the intervals, above 0 and below 1.
        resamples: Draws of rows and texts, B; None: 100, down to 40 where there are many scores.
        seed: Of the draws.

    Raises:
        ValueError: If shapes, values or settings are wrong.

    Cost: B + 1 calibrations, and B + 1 times 50 passes over `unlabelled`.

    Example:
        >>> seen = np.repeat([[9.0], [-9.0]], 50, axis=0)
        >>> fit_prevalence(seen, seen > 0, np.repeat([[9.0], [-9.0]], [20, 80], axis=0)).estimated.round(2)
        array([0.2])

    Reference: Saerens et al. 2002; Alexandari et al. 2020 on why it wants a calibration of each label's level.
    """
    if method not in LEVELLING:
        raise ValueError(f"method: expected one of {', '.join(LEVELLING)}, found {method!r}. Choose one of them.")
    here, there = as_logits(logits), as_logits(unlabelled, "unlabelled")
    held = as_label_sets(targets, here.shape, "targets")
    if there.shape[1] != here.shape[1]:
        raise ValueError(f"unlabelled: expected {here.shape[1]} labels, found {there.shape[1]}. Align them.")
    work = (STEPS * len(there) + PASSES * len(here)) * here.shape[1]
    drawn = int(np.clip(WORK // work, LEAST, RESAMPLES)) if resamples is None else resamples
    check_resampling(level, drawn)
    found = _estimate(here, held, there, method)
    rng, draws = np.random.default_rng(seed), np.empty((drawn, here.shape[1]))
    for number in range(drawn):
        rows, texts = (np.sort(rng.integers(0, len(some), len(some))) for some in (here, there))
        draws[number] = _estimate(here[rows], held[rows], there[texts], method)
    blank = np.isnan(found) | np.isnan(draws).all(axis=0)
    draws[:, blank] = 0.5  # of no use, and a quantile of nothing warns
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    counts = held.sum(axis=0)
    labelled = counts / len(here)
    half, missed = 0.5 / len(there), 1 - ((1 - level) / 2) ** (1 / len(there))
    found = np.clip(found, np.minimum(half, labelled), np.maximum(1 - half, labelled))
    # at either end all draws agree, however few texts there are
    low, high = np.minimum(np.minimum(low, found), 1 - missed), np.maximum(np.maximum(high, found), missed)
    told = (counts >= TELLING) & (counts <= len(here) - TELLING) & ~blank
    estimated, low, high = (np.where(told, values, np.nan) for values in (found, low, high))
    return PrevalenceEstimate(labelled, estimated, low, high, len(there))


def _estimate(
    here: NDArray[np.floating], held: sparse.csr_array, there: NDArray[np.floating], method: str
) -> NDArray[np.float64]:
    """Shares by one calibration, (L,)."""
    calibration = calibrate_checked(here, held, method)
    return estimate_prevalence(log_odds(here, calibration), log_odds(there, calibration))
