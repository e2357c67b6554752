"""From logits to calibrated log-odds: the only implementation of the calibration that a decision stores.

    {"method": "platt", "parameters": {"slope": [...], "intercept": [...], "offset": [...]}}

Every method grows strictly with the logit, so that a label's texts keep their order and every cut on probabilities is
one on logits. `offset`, which any method may have, is added last: the shift of log-odds to another prevalence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Knots are looked up in blocks of about this many logits: the indices of 6,000 x 4,271 at once would take 200 MB.
BLOCK = 1 << 20
CPU = torch.device("cpu")  # also where models are built on the meta device


def calibrate(logits: Tensor, calibration: dict[str, Any] | None) -> Tensor:
    """Calibrated log-odds; their sigmoid is the calibrated probability.

    Args:
        logits: float32 or float64, shape (N, L).
        calibration: As stored in a decision; None changes nothing.

    Returns:
        Shape, dtype and device of `logits`.

    Cost: a few passes over the logits; isotonic a binary search each, O(BLOCK) memory beside the result.

    Example:
        >>> calibrate(torch.tensor([[3.0]]), {"method": "temperature", "parameters": {"temperature": 2.0}})
        tensor([[1.5000]])
    """
    if calibration is None:
        return logits
    parameters = calibration["parameters"]
    values = {name: _on_cpu(value) for name, value in parameters.items()}
    found = CALIBRATIONS[calibration["method"]][0](logits, **{k: v for k, v in values.items() if k != "offset"})
    return found + _like(values["offset"], logits) if "offset" in values else found


def check_calibration(calibration: Any, num_labels: int) -> None:
    """Refuse what `calibrate` could not apply to this many labels, or what would not grow with the logit.

    Raises:
        ValueError: If the method is unknown, a parameter is missing, unknown or of another length than the labels,
            a number is not finite, or the calibration is not strictly monotone.
    """
    if calibration is None:
        return
    contract = 'null or {"method": ..., "parameters": {...}} with a method of ' + ", ".join(CALIBRATIONS)
    method = calibration.get("method") if isinstance(calibration, dict) else None
    if not isinstance(method, str) or method not in CALIBRATIONS:
        raise _error("calibration", contract, calibration)
    needed, parameters = CALIBRATIONS[method][1], calibration.get("parameters")
    if not isinstance(parameters, dict) or not set(needed) <= set(parameters) <= {*needed, "offset"}:
        found = sorted(parameters) if isinstance(parameters, dict) else parameters
        raise _error("calibration.parameters", f"{', '.join(needed) or 'offset'} for {method}", found)
    values = {name: _numbers(name, value) for name, value in parameters.items()}
    if method == "isotonic":
        _check_knots(values, num_labels)
    for name, value in values.items():
        if name not in ("x", "y") and value.shape not in ((), (num_labels,)):
            expected = f"one number or {num_labels}, one a label"
            raise _error(f"calibration.parameters.{name}", expected, f"shape {tuple(value.shape)}")
        if name in POSITIVE and not (value > 0).all():
            raise _error(f"calibration.parameters.{name}", "numbers above 0", value.min().item())


def is_per_label(calibration: dict[str, Any] | None) -> bool:
    """Whether it belongs to one label list, in its order."""
    return calibration is not None and any(isinstance(v, (list, tuple)) for v in calibration["parameters"].values())


def _temperature(logits: Tensor, temperature: Tensor) -> Tensor:
    """Logit / temperature. Guo et al. 2017."""
    return logits / _like(temperature, logits)


def _platt(logits: Tensor, slope: Tensor, intercept: Tensor) -> Tensor:
    """Slope x logit + intercept. Platt 1999."""
    return logits * _like(slope, logits) + _like(intercept, logits)


def _beta(logits: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """A log(p) - b log(1 - p) + c, with p the sigmoid of the logit. Kull et al. 2017."""
    log_odds = _like(a, logits) * functional.logsigmoid(logits) + _like(b, logits) * functional.softplus(logits)
    return log_odds + _like(c, logits)


def isotonic(logits: Tensor, size: Tensor, x: Tensor, y: Tensor, slope: Tensor) -> Tensor:
    """Straight lines between the knots (x, y) of a label, beyond them with its slope.

    Args:
        logits: Shape (N, L).
        size: Knots of each label, (L,).
        x: Logits of all knots, label after label, each label's ascending, (K,).
        y: Their calibrated log-odds, (K,).
        slope: Beyond a label's first and last knot, () or (L,).
    """
    return read_knots(logits, *(table.to(logits.device) for table in knot_tables(size, x, y, slope)))


def knot_tables(size: Tensor, x: Tensor, y: Tensor, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The knots as a table a label, W the most of any; arguments as of `isotonic`, on the CPU.

    Returns:
        x (L, W), +inf where a label has no more; y (L, W); slopes before the first and after each knot (L, W + 1); the
        number of knots (L, 1).
    """
    sizes, labels = size.long(), len(size)
    label = torch.repeat_interleave(torch.arange(labels, device=CPU), sizes)  # (K,)
    place = torch.arange(len(x), device=CPU) - torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    width = int(sizes.max()) if labels else 0
    xs = torch.full((labels, width), math.inf, dtype=torch.float64, device=CPU)
    ys = torch.zeros_like(xs)
    xs[label, place], ys[label, place] = x, y
    slopes = slope.expand(labels)[:, None].repeat(1, width + 1)  # (L, W + 1)
    inner = (place[1:] > 0).nonzero().squeeze(1) + 1
    slopes[label[inner], place[inner]] = (y[inner] - y[inner - 1]) / (x[inner] - x[inner - 1])
    return xs, ys, slopes, sizes[:, None]


def read_knots(logits: Tensor, xs: Tensor, ys: Tensor, slopes: Tensor, last: Tensor) -> Tensor:
    """The lines of `knot_tables` at the logits: (N, L) -> (N, L)."""
    if torch.compiler.is_exporting():  # a graph has no loop over a number of blocks that only its reader knows
        return _between(logits, xs, ys, slopes, last)
    result = torch.empty_like(logits)
    rows = max(1, BLOCK // max(1, len(xs)))
    for block, out in zip(logits.split(rows), result.split(rows), strict=True):
        out.copy_(_between(block, xs, ys, slopes, last))
    return result


def _between(logits: Tensor, xs: Tensor, ys: Tensor, slopes: Tensor, last: Tensor) -> Tensor:
    wide = logits.double().T.contiguous()  # (L, n); in float32 two knots could fall together
    passed = torch.searchsorted(xs, wide, right=True).minimum(last)  # +inf is no knot
    anchor = (passed - 1).clamp(min=0)
    found = ys.gather(1, anchor) + slopes.gather(1, passed) * (wide - xs.gather(1, anchor))
    return torch.where(wide.isnan(), wide, found).T.to(logits.dtype)


def _prior_shift(logits: Tensor) -> Tensor:
    """The logit itself: the offset is all there is. Saerens et al. 2002."""
    return logits


def _on_cpu(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64, device=CPU)


def _like(value: Tensor, logits: Tensor) -> Tensor:
    return value.to(device=logits.device, dtype=logits.dtype)


def _check_knots(values: dict[str, Tensor], num_labels: int) -> None:
    size, x, y = values["size"], values["x"], values["y"]
    whole = size.shape == (num_labels,) and bool((size >= 1).all()) and bool((size == size.floor()).all())
    if not whole or x.shape != (int(size.sum()),) or y.shape != x.shape:
        expected = f"{num_labels} sizes of at least 1, and as many x and y as they sum to"
        raise _error("calibration.parameters", expected, f"{size.numel()} sizes, {x.numel()} x, {y.numel()} y")
    same = torch.ones(max(0, len(x) - 1), dtype=torch.bool, device=CPU)
    same[size.long().cumsum(0)[:-1] - 1] = False  # from a label's last knot to the next label's first
    for name, value in (("x", x), ("y", y)):
        if not (value.diff()[same] > 0).all():
            raise _error(f"calibration.parameters.{name}", "ascending numbers within each label", "others")


def _numbers(name: str, value: Any) -> Tensor:
    try:
        found = _on_cpu(value)
    except (TypeError, ValueError, RuntimeError):
        found = _on_cpu(math.nan)
    if not found.isfinite().all() or isinstance(value, (bool, str)):
        raise _error(f"calibration.parameters.{name}", "finite numbers", value if found.ndim == 0 else "others")
    return found


def _error(key: str, contract: str, found: Any) -> ValueError:
    return ValueError(f"decision.{key}: expected {contract}, found {found!r}. Fit the calibration again.")


POSITIVE = ("temperature", "slope", "a", "b")
CALIBRATIONS: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "temperature": (_temperature, ("temperature",)),
    "temperature_per_label": (_temperature, ("temperature",)),
    "platt": (_platt, ("slope", "intercept")),
    "beta": (_beta, ("a", "b", "c")),
    "isotonic": (isotonic, ("size", "x", "y", "slope")),
    "prior_shift": (_prior_shift, ()),
}
