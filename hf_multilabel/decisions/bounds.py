"""Tests of a mean risk: is it at most alpha, given the losses of n independent rows in [0, 1]?

Each is a test of "the risk exceeds alpha" that is wrongly rejected with probability delta at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom


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


def passes_betting(losses: NDArray[np.float64], alpha: float, delta: float) -> NDArray[np.bool_]:
    """Whether a gambler who bets against "the risk exceeds alpha" multiplies a stake by 1 / delta: bool (V,).

    Row after row the stake is multiplied by 1 + nu (alpha - loss), nu chosen from the rows before: were the mean loss
    above alpha, the stake would fall on average, and reach 1 / delta with probability delta at most (Ville). Bets
    follow the mean and the spread seen so far, so that losses of little spread need few rows.

    Args:
        losses: In [0, 1], candidates by rows in the order of the bets, (V, N).
        alpha: The risk that is allowed.
        delta: Level of each test.

    Cost: a few passes over the losses.

    Reference: Waudby-Smith and Ramdas 2024, sections 4 and B.3 (bets aGRAPA); Bates et al. 2021, section 3.1.3.
    """
    seen = np.arange(1, losses.shape[1] + 1)
    mean = (0.5 + np.cumsum(losses, axis=1)) / (seen + 1)
    spread = (0.25 + np.cumsum((losses - mean) ** 2, axis=1)) / (seen + 1)
    mean = np.concatenate([np.full((len(losses), 1), 0.5), mean[:, :-1]], axis=1)
    spread = np.concatenate([np.full((len(losses), 1), 0.25), spread[:, :-1]], axis=1)
    gain = alpha - mean
    bet = np.clip(gain / (spread + gain**2), 0, 0.9 / (1 - alpha))  # below 1 / (1 - alpha) no row takes it all
    stake = np.cumsum(np.log1p(bet * (alpha - losses)), axis=1)
    return np.asarray(stake.max(axis=1) > np.log(1 / delta))
