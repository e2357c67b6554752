"""Tests of a mean risk: is it at most alpha, given the losses of n independent rows in [0, 1]?

Each is a test of "the risk exceeds alpha" that is wrongly rejected with probability delta at most.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom

STAKES = (1.0, 1.4, 2.0, 2.8, 4.0)  # bets of the gamblers, as multiples of the best bet on losses of 0 or 1


def hoeffding_bentkus(
    risk: NDArray[np.float64], rows: NDArray[np.int64], alpha: float, delta: float
) -> NDArray[np.bool_]:
    """Whether each mean loss is low enough, by the lower of two p-values: bool (V,).

    p = min(exp(-n h(min(r, alpha), alpha)), e P(Binomial(n, alpha) <= ceil(n r))), with h the binary relative entropy.

    Args:
        risk: Mean losses, (V,).
        rows: Rows they are means of, (V,).
        alpha: The risk that is allowed.
        delta: Level of each test.

    Reference: Bates et al. 2021, section 3.1.
    """
    passed: NDArray[np.bool_] = np.asarray(hoeffding(risk, rows, alpha) <= delta)
    # the binomial tail is dear and only asked where it may decide
    left = np.flatnonzero(~passed & (risk < alpha))
    passed[left] = bentkus(risk[left], rows[left], alpha) <= delta
    return passed


def hoeffding(risk: NDArray[np.float64], rows: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """Hoeffding's p-values, (V,)."""
    low = np.clip(risk, 0, alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(low > 0, low * np.log(low / alpha), 0) + (1 - low) * np.log((1 - low) / (1 - alpha))
    return np.exp(-rows * entropy)


def bentkus(risk: NDArray[np.float64], rows: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """Bentkus' p-values, (V,)."""
    # a sum of fractions may end 1e-12 above a whole number
    return np.asarray(np.e * binom.cdf(np.ceil(rows * risk - 1e-9), rows, alpha), np.float64)


def passes_betting(losses: NDArray[np.float64], alpha: float, delta: float) -> bool:
    """Whether gamblers who bet against "the risk exceeds alpha" multiply their stakes by 1 / delta.

    Row after row a stake is multiplied by 1 + nu (alpha - loss): were the mean loss above alpha, it would fall on
    average, and the mean of several stakes reach 1 / delta with probability delta at most (Ville). Each gambler's nu is
    fixed before a row is seen, so that no loss that grows can turn a failed test into a passed one: where losses rise
    with a cut, one search by halves replaces a test of every cut. Bets that follow the rows seen so far would pass
    fewer tests besides: the right size is known well enough beforehand, sqrt(2 log(1 / delta) / (n variance)) with a
    variance of at most alpha (1 - alpha), and `STAKES` are its multiples for losses of less spread.

    Args:
        losses: In [0, 1], in the order of the bets, (N,).
        alpha: The risk that is allowed.
        delta: Level of the test.

    Cost: one pass over the losses for each stake.

    Reference: Waudby-Smith and Ramdas 2024, section 4 and its mixtures of fixed bets; Bates et al. 2021, section 3.1.3.
    """
    size = math.sqrt(2 * math.log(1 / delta) / (max(1, len(losses)) * alpha * (1 - alpha)))
    bets = np.minimum(size * np.array(STAKES), 0.999 / (1 - alpha))  # below 1 / (1 - alpha) no row takes it all
    stakes = np.cumsum(np.log1p(bets[:, None] * (alpha - losses)), axis=1)
    return bool(logsumexp(stakes, axis=0).max(initial=-np.inf) > math.log(len(STAKES) / delta))
