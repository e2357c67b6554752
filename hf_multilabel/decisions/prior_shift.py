"""Prior shift: the labels' shares change, what texts of a label look like does not.

    log-odds there = log-odds here + logit(prevalence there) - logit(prevalence here)

The prevalence here is the mean calibrated probability of the held-out rows: where a fit is unbiased that is the share
of the positives, and a label without one has a prevalence too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from hf_multilabel.evaluation import row_chunks

LEAST = 1e-7  # prevalences closer to 0 or 1 than this are not told apart
FLAT = 1e-6  # ratios of densities closer to 1 say nothing of a share, of ten thousand texts 0.01 in log-likelihood
STEPS = 50  # of a bisection over log-odds from -16 to 16: more than float64 resolves


def mean_probability(log_odds: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of the probabilities of each label: (N, L) -> (L,)."""
    total = np.zeros(log_odds.shape[1])
    for start, stop in row_chunks(*log_odds.shape):
        total += expit(log_odds[start:stop].astype(np.float64)).sum(axis=0)
    return np.clip(total / len(log_odds), LEAST, 1 - LEAST)


def shift_prevalence(log_odds: NDArray[np.floating], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """What to add to the log-odds for the wanted prevalences; 0 where NaN is wanted: (N, L), (L,) -> (L,)."""
    offset = logit(np.clip(wanted, LEAST, 1 - LEAST)) - logit(mean_probability(log_odds))
    return np.where(np.isnan(wanted), 0.0, offset)


def estimate_prevalence(here: NDArray[np.floating], there: NDArray[np.floating]) -> NDArray[np.float64]:
    """Prevalences of unlabelled rows: the fixed point of expectation maximisation, (L,). Saerens et al. 2002.

    EM climbs the likelihood of one number a label, which is concave; halving an interval around its maximum finds the
    point EM tends to, and finds it also where EM would take thousands of steps. Log-odds that are off by the same on
    both sides are not forgiven: calibrate the level of each label first. `prevalence` gives intervals, too.

    NaN for a label all of whose unlabelled log-odds are those of its prevalence: any share explains them alike.

    Args:
        here: Calibrated log-odds of the held-out rows, (N, L).
        there: Calibrated log-odds of the unlabelled rows, (M, L).

    Cost: 50 passes over `there`; memory of one chunk.
    """
    prior = mean_probability(here)
    found = np.empty(len(prior))
    for start, stop in row_chunks(len(prior), len(there)):
        ratio = np.exp(np.clip(there[:, start:stop].astype(np.float64) - logit(prior[start:stop]), -700, 700))  # (M, l)
        low, high = (np.full(stop - start, bound) for bound in (logit(LEAST), logit(1 - LEAST)))
        for _ in range(STEPS):
            middle = (low + high) / 2
            share = expit(middle)
            # derivative of sum log(share * ratio + 1 - share); the ratio is that of the two class densities
            rises = ((ratio - 1) / (share * (ratio - 1) + 1)).sum(axis=0) > 0
            low, high = np.where(rises, middle, low), np.where(rises, high, middle)
        flat = np.abs(ratio - 1).max(axis=0) < FLAT
        found[start:stop] = np.where(flat, np.nan, expit((low + high) / 2))
    return found
