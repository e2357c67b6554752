"""The stored decision: there, of these labels, valid, and fitted on enough rows of the right kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hf_multilabel.decisions.risk_control import least_rows
from hf_multilabel.publishing.doctor.subject import CONFIG, Subject
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, listed, note, ok, warning
from hf_multilabel.remote_code.calibration_multilabel import is_per_label
from hf_multilabel.remote_code.decision_multilabel import check_decision, check_settings, default_decision, hash_labels

# The standard error of a share near one half is 3.5 points on 200 rows.
FEW_ROWS = 200
# Below about a thousand samples isotonic calibration overfits: https://scikit-learn.org/stable/modules/calibration.html
FEW_CALIBRATED = 1000
# A promise that even a flawless model could only just keep on so many rows says little of this one.
SPARE = 2
KEY = re.compile(r"decision\.(\w+)")


def check_stored_decision(subject: Subject) -> Iterator[Symptom]:
    """What is stored is what this package would accept, and what its evidence is worth."""
    where, decision = f"{CONFIG}:decision", subject.decision
    if decision is None and subject.config.get("decision") is not None:
        what = f"expected a mapping, found a {type(subject.config['decision']).__name__}"
        yield error("decision.settings", where, what, "fit the decision again with hf-multilabel tune")
        return
    if decision is None:
        if subject.config:
            what = "no decision is stored: every consumer cuts where it likes, mostly at 0.5 for all labels"
            fix = "fit one with hf-multilabel tune" if subject.is_ours else "fit and publish thresholds"
            yield note("decision.missing", CONFIG, what, fix)
        return
    faults = list(_find_faults(decision, subject.labels))
    yield from faults
    if faults:
        return
    if {**default_decision(), **decision} == default_decision():
        fix = "fit one with hf-multilabel tune, on rows that took no part in training"
        yield warning("decision.unfitted", where, "nothing was fitted: every label has the cut 0.5", fix)
        return
    rows = decision.get("rows", 0)
    place = str(decision.get("fitted_on") or "given by hand").replace("_", " ")
    yield ok("decision.valid", where, f"belongs to these {len(subject.labels):,} labels; {place}, {rows:,} rows")
    yield from _weigh_rows(decision, rows)
    yield from _weigh_cuts(decision, subject.labels)
    if refitted := decision.get("refitted"):
        data = refitted.get("data") if isinstance(refitted, dict) else None
        what = f"the decision was fitted again after training, on {rows:,} rows of {data or 'unnamed data'}"
        yield note("decision.refitted", f"{where}.refitted", what)


def _find_faults(decision: dict[str, Any], labels: list[str]) -> Iterator[Symptom]:
    """The decision's own check, and beside its first fault the two that must never hide behind another."""
    said = []
    for check, against in ((check_settings, len(labels)), (check_decision, labels)):
        try:
            check(decision, against)  # type: ignore[operator]
        except (ValueError, TypeError, KeyError) as reason:
            said.append(str(reason))
    split = decision.get("fitted_on")
    if split not in (None, "validation", "cross_validation"):
        what = f"expected validation or cross_validation, found {split!r}: scores on those rows are too good to be true"
        fix = "fit it again on validation rows with hf-multilabel tune, and measure on rows it has not seen"
        yield error("decision.fitted_on", f"{CONFIG}:decision.fitted_on", what, fix)
    stored = decision.get("labels_sha256")
    if stored is not None and stored != hash_labels(labels):
        what = f"expected the hash of these {len(labels):,} labels, found that of others: cuts meet wrong labels"
        fix = "restore the label names and their order, or fit the decision again with hf-multilabel tune"
        yield error("decision.labels_sha256", f"{CONFIG}:decision.labels_sha256", what, fix)
    seen = {"fitted_on"} if split not in (None, "validation", "cross_validation") else set()
    seen |= {"labels_sha256"} if stored is not None else set()
    for sentence in dict.fromkeys(said):
        match = KEY.match(sentence)
        key = match.group(1) if match else "settings"
        if key not in seen:
            what = sentence.split(": ", 1)[-1].rstrip(".")
            fix = "fit the decision again with hf-multilabel tune; nothing falls back to 0.5"
            yield error(f"decision.{key}", sentence.split(":")[0], what[:200], fix)
            seen.add(key)


def _weigh_rows(decision: dict[str, Any], rows: int) -> Iterator[Symptom]:
    risk, calibration = decision.get("risk"), decision.get("calibration")
    if isinstance(risk, dict):
        yield from _weigh_promise(risk)
    if is_per_label(calibration):
        fitted = calibration.get("rows") or rows  # type: ignore[union-attr]
        if fitted < FEW_CALIBRATED:
            method = calibration["method"]  # type: ignore[index]
            what = f"{method} calibration of each label was fitted on {fitted:,} rows, fewer than {FEW_CALIBRATED:,}"
            fix = "use one temperature for all labels, or more rows"
            yield note("decision.calibration_rows", f"{CONFIG}:decision.calibration", what, fix)
    if decision.get("fitted_on") and rows < FEW_ROWS:
        what = f"the cuts were fitted on {rows:,} rows, fewer than {FEW_ROWS}"
        fix = "fit them on more rows, or on all of them: decision.cross_validation='{folds: 5}'"
        yield warning("decision.rows", f"{CONFIG}:decision.rows", what, fix)


def _weigh_promise(risk: dict[str, Any]) -> Iterator[Symptom]:
    where = f"{CONFIG}:decision.risk"
    rows = risk.get("rows", 0)
    if risk.get("controlled") is False:
        what = "no cut keeps the promise that was asked for"
        yield warning("decision.promise", where, what, "lower the target, or train a better model")
        return
    asked = {risk.get("metric"): risk.get("target"), "confidence": risk.get("confidence")}
    try:
        least = least_rows({str(key): value for key, value in asked.items() if value is not None})
    except (ValueError, TypeError):
        return
    if rows < SPARE * least:
        what = f"the guarantee rests on {rows:,} rows; below {least:,} even a flawless model gets none"
        yield note("decision.promise_rows", where, what, "fit it on more rows")


def _weigh_cuts(decision: dict[str, Any], labels: list[str]) -> Iterator[Symptom]:
    cuts = decision["thresholds"]
    if decision["rule"] not in ("threshold", "threshold_top_k") or not isinstance(cuts, list):
        return
    for value, fate in ((0, "predicted for every text"), (1, "predicted for practically no text")):
        if at := [name for name, cut in zip(labels, cuts, strict=True) if cut == value]:
            what = f"a cut of {value}: {fate}, {len(at):,} labels: {listed(at)}"
            fix = "look at these labels' rows: they are too few or all alike"
            yield note(f"decision.cut_{value}", f"{CONFIG}:decision.thresholds", what, fix)
