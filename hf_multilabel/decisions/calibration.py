"""Calibration: logits of held-out rows to probabilities that mean what they say, label by label.

Fitted on logits, applied by `remote_code.calibration_multilabel`. Labels are never fitted alone: see `logistic`. A
label without a positive keeps nearly the common fit, moved down as far as the absence of positives is evidence.

Calibrating on the rows that the cuts are fitted on uses these rows twice. A calibration that grows strictly with the
logit moves a label's own cut along with its scores and changes no set; only what compares labels with each other (one
cut for all, shrinkage, ranks) sees it, so the second use adds little optimism. A guarantee of `risk_control` is
another matter: it needs rows that a calibration per label has not seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from hf_multilabel.decisions.isotonic import fit_knots
from hf_multilabel.decisions.logistic import FLOOR, STRENGTH, fit_common, fit_each
from hf_multilabel.decisions.prior_shift import estimate_prevalence, shift_prevalence
from hf_multilabel.errors import nearest
from hf_multilabel.evaluation import as_label_sets
from hf_multilabel.evaluation.outcomes import as_scores
from hf_multilabel.remote_code.calibration_multilabel import calibrate

DIGITS = 9  # of stored numbers: more than float32 resolves
FEW = 100  # logits that may all lie in [0, 1] by chance

Fit = Callable[[NDArray[np.floating], sparse.csr_array, float], dict[str, Any]]


def temperature(logits: NDArray[np.floating], targets: sparse.csr_array, strength: float) -> dict[str, Any]:
    """One temperature for all labels. Keeps the order of all scores, also between labels. Guo et al. 2017."""
    slope = fit_common(logits, targets, _slope, [1.0], [FLOOR], strength)
    return {"temperature": 1 / slope.item()}


def temperature_per_label(logits: NDArray[np.floating], targets: sparse.csr_array, strength: float) -> dict[str, Any]:
    """A temperature for each label, drawn toward the common one. Moves no probability across 0.5."""
    common = fit_common(logits, targets, _slope, [1.0], [FLOOR], strength)
    return {"temperature": 1 / fit_each(logits, targets, _slope, common, [FLOOR], strength)[:, 0]}


def platt(logits: NDArray[np.floating], targets: sparse.csr_array, strength: float) -> dict[str, Any]:
    """Slope and intercept for each label, drawn toward the common ones. Platt 1999."""
    floor = [FLOOR, -np.inf]
    common = fit_common(logits, targets, _line, [1.0, 0.0], floor, strength)
    theta = fit_each(logits, targets, _line, common, floor, strength)
    return {"slope": theta[:, 0], "intercept": theta[:, 1]}


def beta(logits: NDArray[np.floating], targets: sparse.csr_array, strength: float) -> dict[str, Any]:
    """Platt's with a slope of its own on either side of 0.5, drawn toward the common ones. Kull et al. 2017."""
    floor = [FLOOR, FLOOR, -np.inf]
    common = fit_common(logits, targets, _sides, [1.0, 1.0, 0.0], floor, strength)
    theta = fit_each(logits, targets, _sides, common, floor, strength)
    return {"a": theta[:, 0], "b": theta[:, 1], "c": theta[:, 2]}


def isotonic(logits: NDArray[np.floating], targets: sparse.csr_array, strength: float) -> dict[str, Any]:
    """Platt's, bent where the rows say so: a strictly growing broken line for each label. Zadrozny and Elkan 2002."""
    line = platt(logits, targets, strength)
    return fit_knots(logits, targets, line["slope"], line["intercept"], strength)


def prior_shift(logits: NDArray[np.floating], targets: sparse.csr_array, strength: float) -> dict[str, Any]:
    """Nothing but the offset that `prevalence` asks for."""
    return {}


def fit_calibration(
    logits: ArrayLike | Tensor,
    targets: Any,
    method: str = "platt",
    *,
    strength: float | None = None,
    prevalence: Mapping[str, float] | None = None,
    unlabelled: ArrayLike | Tensor | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Fit a calibration on held-out rows.

    Args:
        logits: Finite, shape (N, L), array or tensor.
        targets: 1 where the label holds, else 0, shape (N, L), dense or CSR.
        method: Key of `CALIBRATORS`.
        strength: Positives that the common fit counts for in each label; None: the measured default.
        prevalence: Label to the share of texts it will hold for where the model is used; other labels keep theirs.
        unlabelled: Logits of texts from there, shape (M, L), whose prevalences are then estimated.
        labels: Label names in the order of their ids; needed beside `prevalence`.

    Returns:
        `{"method": ..., "parameters": {...}}` as a decision stores it: plain numbers and lists.

    Raises:
        ValueError: If shapes or values are wrong, the method is unknown, a label of `prevalence` is not among
            `labels`, both ways to a prevalence are given, or neither for prior_shift.

    Warns:
        UserWarning: If probabilities seem to be given, not logits.

    Cost: about a dozen passes over the logits, isotonic two sorts more; memory of a few blocks.

    Example:
        >>> fit_calibration([[4.0], [-4.0], [4.0], [-4.0]], [[1], [0], [0], [1]], "temperature")["method"]
        'temperature'
    """
    scores = as_logits(logits)
    held = as_label_sets(targets, scores.shape, "targets")
    there = None if unlabelled is None else as_logits(unlabelled, "unlabelled")
    return calibrate_checked(
        scores, held, method, strength=strength, prevalence=prevalence, unlabelled=there, labels=labels
    )


def calibrate_checked(
    scores: NDArray[np.floating],
    held: sparse.csr_array,
    method: str,
    *,
    strength: float | None = None,
    prevalence: Mapping[str, float] | None = None,
    unlabelled: NDArray[np.floating] | None = None,
    labels: Sequence[str] | None = None,
) -> dict[str, Any]:
    """`fit_calibration` of checked logits and label sets.

    Raises:
        ValueError: As `fit_calibration`.
    """
    if method not in CALIBRATORS:
        near = nearest(method, CALIBRATORS)
        step = f"Did you mean {near}?" if near else "Choose one of them."
        raise ValueError(f"method: expected one of {', '.join(CALIBRATORS)}, found {method!r}. {step}")
    if strength is not None and not strength >= 0:
        raise ValueError(f"strength: expected a number of at least 0, found {strength!r}. Try {STRENGTH}.")
    found = CALIBRATORS[method](scores, held, STRENGTH if strength is None else strength)
    parameters = {name: _plain(value) for name, value in found.items()}
    calibration = {"method": method, "parameters": parameters}
    offset = _offset(scores, calibration, prevalence, unlabelled, labels)
    if offset is None and method == "prior_shift":
        raise ValueError("prevalence: expected label: share, or unlabelled logits, found neither. Give one of the two.")
    if offset is not None:
        parameters["offset"] = _plain(offset)
    return calibration


def as_logits(logits: ArrayLike | Tensor, where: str = "logits") -> NDArray[np.floating]:
    """Logits as a float32 or float64 array, uncopied where they are one.

    Raises:
        ValueError: If some are not given, the shape is not (N, L) with N, L > 0, or a value is not finite.

    Warns:
        UserWarning: In the name of whoever called the caller, if more than `FEW` all look like probabilities.
    """
    scores = as_scores(logits, where, np.float64)
    if not np.isfinite(scores.sum(dtype=np.float64)):
        row, label = np.argwhere(~np.isfinite(scores))[0]
        found = f"{scores[row, label]} at row {row}, label {label}"
        raise ValueError(f"{where}: expected finite numbers, found {found}. Look at what the model returns.")
    if scores.size > FEW and scores.min() >= 0 and 0 < scores.max() <= 1:  # all 0: a layer that was never trained
        warnings.warn(
            f"{where}: expected log-odds of any size, found {scores.size:,} numbers in [0, 1], which look like "
            "probabilities. Pass log(p / (1 - p)) of each probability p.",
            stacklevel=3,
        )
    return scores


def log_odds(logits: NDArray[np.floating], calibration: dict[str, Any]) -> NDArray[np.floating]:
    """Calibrated log-odds, (N, L)."""
    return calibrate(torch.from_numpy(np.require(logits, requirements=["C", "W"])), calibration).numpy()


def _offset(
    logits: NDArray[np.floating],
    calibration: dict[str, Any],
    prevalence: Mapping[str, float] | None,
    unlabelled: NDArray[np.floating] | None,
    labels: Sequence[str] | None,
) -> NDArray[np.float64] | None:
    """The shift of the log-odds to the prevalence given or estimated, (L,)."""
    if prevalence is None and unlabelled is None:
        return None
    if prevalence is not None and unlabelled is not None:
        raise ValueError("prevalence: expected null beside unlabelled, found both. Give one of the two.")
    here = log_odds(logits, calibration)
    if unlabelled is not None:
        if unlabelled.shape[1] != logits.shape[1]:
            raise ValueError(f"unlabelled: expected {logits.shape[1]} labels, found {unlabelled.shape[1]}. Align them.")
        return shift_prevalence(here, estimate_prevalence(here, log_odds(unlabelled, calibration)))
    if labels is None:
        raise ValueError("labels: expected the names of all labels beside prevalence, found None. Pass labels.")
    names = {name: label for label, name in enumerate(labels)}
    wanted = np.full(logits.shape[1], np.nan)
    for name, share in (prevalence or {}).items():
        if name not in names:
            raise ValueError(unknown_label(name, names))
        if not 0 < share < 1:
            raise ValueError(f"prevalence.{name}: expected a number between 0 and 1, found {share!r}. Correct it.")
        wanted[names[name]] = share
    return shift_prevalence(here, wanted)


def _plain(value: Any) -> Any:
    """Floats or a list of them, with no more digits than matter."""
    many = np.asarray(value, np.float64)
    rounded = [float(f"{number:.{DIGITS}g}") for number in many.ravel()]
    return rounded if many.ndim else rounded[0]


def _slope(logits: Tensor) -> list[Tensor]:
    return [logits]


def _line(logits: Tensor) -> list[Tensor]:
    return [logits, torch.ones_like(logits)]


def _sides(logits: Tensor) -> list[Tensor]:
    return [functional.logsigmoid(logits), functional.softplus(logits, threshold=40), torch.ones_like(logits)]


CALIBRATORS: dict[str, Fit] = {
    "temperature": temperature,
    "temperature_per_label": temperature_per_label,
    "platt": platt,
    "beta": beta,
    "isotonic": isotonic,
    "prior_shift": prior_shift,
}


def unknown_label(name: str, labels: Iterable[str]) -> str:
    """The message about a prevalence of a label that there is not.

    Example:
        >>> unknown_label("toxc", ["toxic", "mild"])
        "prevalence: expected names among the labels, found 'toxc'. Correct the name: did you mean 'toxic'?"
    """
    near = nearest(name, labels)
    meant = f": did you mean {near!r}?" if near else "."
    return f"prevalence: expected names among the labels, found {name!r}. Correct the name{meant}"
