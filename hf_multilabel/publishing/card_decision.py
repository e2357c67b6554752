"""The decision in words: what it does, how it came about, what it was made for and what it is no good for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from hf_multilabel.publishing.card_text import number, pretty, span

# Objective -> what the thresholds were chosen for, what they are not good for.
PURPOSES: dict[str, tuple[str, str]] = {
    "fixed": (
        "Nothing was fitted: the threshold was given.",
        "A loss that weighs labels, and labels that are rare, move probabilities away from 0.5: fit thresholds on "
        "labelled texts before the label sets matter.",
    ),
    "micro_f1": (
        "One threshold for all labels, the one with the best F1 over all (text, label) pairs together.",
        "Rare labels: the frequent ones set the threshold.",
    ),
    "macro_f1": (
        "Each label has the threshold of its own best F1, rare labels as much as frequent ones.",
        "Labels with few fitted rows, whose thresholds are chance, and uses where a wrong label on a frequent topic "
        "costs most.",
    ),
    "balanced": (
        "The best mean of micro F1 and macro F1, both estimated from calibrated probabilities: a label with many "
        "fitted rows has its own threshold, one with few, or none that would pay, stays near the common one.",
        "A fixed precision or recall: neither was asked for, and labels differ in both.",
    ),
    "samples_f1": (
        "One threshold for all labels, the one with the best F1 of a text on average.",
        "Rare labels, which few texts have.",
    ),
    "micro_f1_per_label": (
        "A threshold for each label, together those of the best F1 over all (text, label) pairs.",
        "Rare labels: one that costs more than it adds is hardly ever predicted.",
    ),
    "scut_fbr": (
        "Each label has the threshold of its own best F1; where that F1 was too low to be trusted, hardly any text "
        "gets the label.",
        "Finding rare labels: those with a low F1 are given up.",
    ),
    "precision_at_least": (
        "As many labels as possible at a given precision on the fitted rows.",
        "Recall, which may be low, and a promise: the precision was reached on the fitted rows, not guaranteed on "
        "others.",
    ),
    "recall_at_least": (
        "As few wrong labels as possible at a given recall on the fitted rows.",
        "Precision, which may be low, and a promise: the recall was reached on the fitted rows, not guaranteed on "
        "others.",
    ),
    "cardinality": (
        "As many labels a text on average as hold.",
        "Which labels they are: only their number was looked at.",
    ),
    "cost": (
        "The lowest cost on the fitted rows, at given prices of a wrong and a missed label.",
        "Other prices: fit again with yours.",
    ),
    "cost_plug_in": (
        "The lowest expected cost at given prices of a wrong and a missed label, if the probabilities are right.",
        "Probabilities that are not calibrated, and other prices.",
    ),
    "f_star_half": (
        "Half the F1 that the probabilities promise, which is the best threshold if they are right; true labels were "
        "not looked at.",
        "Probabilities that are not calibrated.",
    ),
    "risk": (
        "A promise: the threshold is the one that keeps it.",
        "Texts unlike the fitted ones, for which the promise does not hold, and the measure it does not speak of.",
    ),
}
RULES = {
    "top_k": ("A fixed number of labels, for instance as suggestions to choose from.", "Texts with fewer labels."),
    "expected_f1": (
        "The best F1 of a text, if the probabilities are right.",
        "Probabilities that are not calibrated, and rare labels.",
    ),
}
EMPTY = {
    "allow": "A text may get no label at all.",
    "at_least_one": "A text none of whose labels passes gets the one that comes closest.",
    "abstain": "A text none of whose labels passes gets none: the model abstains.",
}
ROWS = {"validation": "validation rows", "cross_validation": "rows held out by cross-validation"}
EXPECTED = ("micro_f1", "macro_f1")
# Labels whose prevalences are listed.
SHOWN = 5


def describe_decision(decision: Mapping[str, Any], num_labels: int) -> dict[str, list[str]]:
    """The decision in words: headings with their sentences.

    Example:
        >>> describe_decision({"rule": "threshold", "thresholds": 0.5, "empty": "allow"}, 3)["Rule"][0]
        'A label is predicted when its probability is at least 0.5, for all 3 labels.'
    """
    purpose, unfit = PURPOSES.get(
        decision.get("objective", "fixed"), (f"{pretty(decision.get('objective'))}.", "Anything else.")
    )
    found = {
        "Rule": list(_describe_rule(decision, num_labels)),
        "Guarantee": [decision["risk"]["sentence"]] if decision.get("risk") else [],
        "Made for": [purpose, *_describe_options(decision)],
        "Not good for": [unfit],
        "Evidence": list(_describe_evidence(decision)),
    }
    if decision["rule"] in ("top_k", "expected_f1"):
        # their sets follow from the probabilities alone
        found["Made for"], found["Not good for"] = [RULES[decision["rule"]][0]], [RULES[decision["rule"]][1]]
    return {title: sentences for title, sentences in found.items() if sentences}


def tell_decision(decision: Mapping[str, Any], num_labels: int) -> list[str]:
    """The same as sentences in a row, without what other uses would need."""
    found = describe_decision(decision, num_labels)
    return [sentence for title, said in found.items() if title != "Not good for" for sentence in said]


def _describe_rule(decision: Mapping[str, Any], num_labels: int) -> Iterator[str]:
    rule = decision["rule"]
    if calibration := decision.get("calibration"):
        yield from _describe_calibration(calibration, num_labels)
    if rule == "top_k":
        one = decision["top_k"] == 1
        which = "label with the highest probability is" if one else "labels with the highest probabilities are"
        yield f"The {decision['top_k']} {which} predicted."
    elif rule == "expected_f1":
        yield "A text gets the set of labels with the highest expected F1; there are no thresholds."
    else:
        yield f"A label is predicted when its probability is at least {_describe_cuts(decision, num_labels)}."
    if rule == "threshold_top_k":
        yield f"Of those, the {decision['top_k']} with the highest probabilities are kept."
    for key, word in (("min_labels", "at least"), ("max_labels", "at most")):
        if decision.get(key):
            noun = "label" if decision[key] == 1 else "labels"
            yield f"Every text gets {word} {decision[key]} {noun}."
    if rule != "top_k" and not decision.get("min_labels"):
        yield EMPTY[decision.get("empty", "allow")]


def _describe_calibration(calibration: Mapping[str, Any], num_labels: int) -> Iterator[str]:
    fitted = calibration["method"] != "prior_shift"
    if fitted:
        yield f"Probabilities are calibrated first ({pretty(calibration['method'])})."
    if not _is_shifted(calibration):
        return
    shares = calibration.get("prevalence", {})  # a decision of an older version does not say which
    named = ", ".join(f"{label} {100 * share:.3g}%" for label, share in list(shares.items())[:SHOWN])
    more = f" and {len(shares) - SHOWN:,} more" if len(shares) > SHOWN else ""
    others = "; other labels keep their share" if len(shares) < num_labels else ""
    listed = f": {named}{more}{others}" if shares else ""
    who = "They are then" if fitted else "Probabilities are"
    yield f"{who} shifted to other prevalences than those of the fitted rows{listed}."


def _is_shifted(calibration: Mapping[str, Any] | None) -> bool:
    return calibration is not None and ("prevalence" in calibration or "offset" in calibration.get("parameters", {}))


def _describe_cuts(decision: Mapping[str, Any], num_labels: int) -> str:
    cuts = np.atleast_1d(np.asarray(decision["thresholds"], dtype=np.float64))
    if len(cuts) == 1:
        return f"{cuts[0]:.4g}, for all {num_labels:,} labels"
    spread = f"between {cuts.min():.4g} and {cuts.max():.4g}, median {np.median(cuts):.4g}"
    return f"the threshold of that label: {len(cuts):,} thresholds {spread}"


def _describe_options(decision: Mapping[str, Any]) -> Iterator[str]:
    if options := decision.get("options"):
        yield "Settings: " + ", ".join(f"{pretty(key)} {_plain(value)}" for key, value in options.items()) + "."


def _describe_evidence(decision: Mapping[str, Any]) -> Iterator[str]:
    if decision.get("fitted_on"):
        folds = f" in {decision['folds']} folds" if "folds" in decision else ""
        yield f"Fitted on {decision.get('rows', 0):,} {ROWS.get(decision['fitted_on'], decision['fitted_on'])}{folds}."
    if expected := decision.get("expected"):
        scores = ", ".join(_describe_scores(expected))
        yield f"Expected on as many other rows like these: {scores}{_describe_method(expected)}."
    elif missing := decision.get("expected_missing"):
        yield f"Expected on as many other rows like these: not known; {missing}."
    if inside := decision.get("in_sample"):
        scores = ", ".join(f"{pretty(name)} {number(inside[name])}" for name in EXPECTED if name in inside)
        yield f"On the fitted rows themselves, which flatters: {scores}."
    if _is_shifted(decision.get("calibration")):
        yield (
            "Scores and reliability are those of rows in which labels are as frequent as they were labelled, not as in "
            "the prevalences that probabilities are shifted to."
        )
    if spread := decision.get("threshold_intervals"):
        width = float(np.median(np.subtract(spread["high"], spread["low"])))
        yield (
            f"Fitted again on rows drawn anew {spread['resamples']} times, the middle {spread['level']:.0%} of a "
            f"label's thresholds spread over {width:.2f} (median of the labels)."
        )
    if again := decision.get("refitted"):
        data = f" on {again['data']}" if again.get("data") else ""
        settings = f", with {', '.join(again['settings'])}" if again.get("settings") else ""
        yield f"Fitted again after training, with hf-multilabel tune{data}{settings}."
        if there := again.get("prevalence"):
            yield f"Made for label prevalences estimated from {there['texts']:,} unlabelled texts of {there['file']}."


def _describe_scores(expected: Mapping[str, Any]) -> Iterator[str]:
    bounds = expected.get("intervals", {})
    for name in EXPECTED:
        if name in expected:
            ends = f" (95%: {span(bounds[name])})" if name in bounds else ""
            yield f"{pretty(name)} {number(expected[name])}{ends}"


def _describe_method(expected: Mapping[str, Any]) -> str:
    if "folds" not in expected:
        return ""
    times = f", drawn {expected['repeats']} times" if expected.get("repeats", 1) > 1 else ""
    return f"; each row was judged by a decision fitted without it, in {expected['folds']} folds{times}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
