"""Which objective for the decision? Test scores of every rule on saved scores of real runs, and what was promised.

    python benchmarks/quality.py --scores scores ...                # keeps scores/DATASET-METHOD-SEED.npz of its runs
    python benchmarks/objectives.py scores/*-ours-0.npz             # the tables
    python benchmarks/objectives.py --run runs/eurlex scores/*.npz  # a finished run's own splits beside them

Every rule is fitted on the validation rows in four ways: on all of them (tuned), as the mean of the cuts of five folds
(crossed), and with each label's own cut drawn toward the global one, n / (n + c) of the way for n positives, at c = 1
and c = 10 (shrunk). Under `balanced`, tuned is c = 0. Test rows are scored once for the table and choose nothing.

`promised` counts the cells of tuned and crossed, and of `balanced` in every way, whose 95% interval, known before any
test row is seen, holds the test score, micro-F1 and macro-F1 each counting. A promise is about rows like the
validation rows; the score of the test rows has an error of its own that it knows nothing of: `error` adds the standard
error of the test score to the interval. Published test splits are not always like the validation split (arxiv_topics:
the scores at a fixed 0.5 differ by more than chance); --resplits draws both anew from their rows together, as often as
said. `bootstrap` is the interval a user would make instead: fit on rows drawn with replacement, judge on those left
out, 2.5% to 97.5% of 100 draws (20 where
there are more than two million scores).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.data.loading import load_data
from hf_multilabel.data.splitting import kfold
from hf_multilabel.decisions.evidence import fit_with_evidence
from hf_multilabel.decisions.f_cuts import macro_f1, micro_f1, micro_f1_per_label
from hf_multilabel.decisions.rare_labels import draw_cuts
from hf_multilabel.decisions.thresholds import fit_cuts
from hf_multilabel.evaluation.intervals import confidence_intervals
from hf_multilabel.evaluation.metrics import evaluate_outcome
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import recipe_of
from hf_multilabel.remote_code.decision_multilabel import decide

METRICS = ("micro_f1", "macro_f1")
PARTS, FOLDS, DRAWS = 10, 5, 100
MANY = 2_000_000  # scores: then a fifth of the draws
LEAST = 1e-7  # probabilities are kept away from 0 and 1, where fp32 has no logit
# Rule: settings of the decision. Calibrated ones go with cuts that need calibrated probabilities.
RULES: dict[str, dict[str, Any]] = {
    "fixed (0.5)": {"objective": "fixed"},
    "micro_f1": {"objective": "micro_f1"},
    "macro_f1": {"objective": "macro_f1"},
    "micro_f1_per_label": {"objective": "micro_f1_per_label"},
    "samples_f1": {"objective": "samples_f1"},
    "scut_fbr": {"objective": "scut_fbr"},
    "cardinality": {"objective": "cardinality"},
    "f_star_half, platt": {"objective": "f_star_half", "calibration": "platt"},
    "expected_f1, platt": {"objective": "fixed", "rule": "expected_f1", "calibration": "platt"},
    "balanced": {"objective": "balanced", "shrinkage": 0},
    "balanced, auto": {"objective": "balanced", "shrinkage": "auto"},
}
RESPLIT = ("micro_f1", "macro_f1", "balanced")
OWN_CUTS = {"macro_f1": macro_f1, "micro_f1_per_label": micro_f1_per_label}
SHRUNK = (1, 10)
WAYS = ("tuned", "crossed", *(f"shrunk, c={c}" for c in SHRUNK))


class Rows:
    """Probabilities and label sets of the validation and test rows of one run."""

    def __init__(self, found: Mapping[str, NDArray]) -> None:
        self.probs = {split: np.clip(found[split], LEAST, 1 - LEAST) for split in ("validation", "test")}
        self.logits = {split: np.log(probs) - np.log1p(-probs) for split, probs in self.probs.items()}
        self.truth = {split: sparse.csr_array(found[f"{split}_targets"]) for split in self.probs}
        self.labels = [str(label) for label in range(self.truth["test"].shape[1])]

    def folds(self, k: int) -> list[NDArray]:
        """Validation rows of each fold."""
        return [held for _, held in kfold(sparse.csr_matrix(self.truth["validation"]), k)]

    def score(self, predicted: NDArray, split: str = "test") -> Outcome:
        """Label sets beside the truth."""
        return Outcome(self.probs[split], predicted, self.truth[split])


def measure(rows: Rows, rule: str) -> Iterator[dict[str, Any]]:
    """The cells of a rule: test scores, their standard error, and the interval promised before."""
    settings = RULES[rule]
    fits = [("tuned", settings, False)]
    if settings["objective"] != "fixed" and "calibration" not in settings and settings.get("shrinkage") != "auto":
        fits.append(("crossed", settings, True))
    if rule == "balanced":
        fits += [(f"shrunk, c={c}", settings | {"shrinkage": c}, False) for c in SHRUNK]
    for way, given, average in fits:
        parts = rows.folds(FOLDS if average else PARTS)
        decision = fit_with_evidence(
            rows.logits["validation"],
            rows.truth["validation"],
            rows.labels,
            [parts],
            average=average,
            resamples=0,
            **given,
        )
        predicted = decide(torch.from_numpy(rows.logits["test"]), decision).numpy()
        yield cell(rows, rule, way, predicted) | {"promised": decision["expected"]["intervals"]}
    if rule in OWN_CUTS:
        probs, held = as_float(rows.probs["validation"]), rows.truth["validation"]
        shared, own = micro_f1(probs, held), OWN_CUTS[rule](probs, held)
        for c in SHRUNK:
            cuts = draw_cuts(probs, np.bincount(held.indices, minlength=len(own)), shared, own, c)
            yield cell(rows, rule, f"shrunk, c={c}", rows.probs["test"] >= cuts)


def as_float(probs: NDArray) -> NDArray:
    """Contiguous, as the rules take them."""
    return np.ascontiguousarray(probs)


def cell(rows: Rows, rule: str, way: str, predicted: NDArray) -> dict[str, Any]:
    """Test scores of label sets with their standard errors."""
    outcome = rows.score(predicted)
    bounds = confidence_intervals(outcome, metrics=METRICS)
    found = evaluate_outcome(outcome, metrics=METRICS)
    errors = {name: (bounds[name][1] - bounds[name][0]) / (2 * 1.96) for name in METRICS}
    return {"rule": rule, "way": way, "scores": found, "errors": errors}


def resplit(rows: Rows, rule: str, times: int) -> list[tuple[float, float, float, float]]:
    """Score, low, high and standard error of each metric, with validation and test rows drawn from both together."""
    found, size = [], len(rows.probs["validation"])
    logits = np.concatenate([rows.logits[split] for split in ("validation", "test")])
    truth = sparse.vstack([rows.truth[split] for split in ("validation", "test")], format="csr")
    for seed in range(times):
        order = np.random.default_rng(seed).permutation(len(logits))
        drawn = Rows.__new__(Rows)
        drawn.labels = rows.labels
        drawn.logits = {"validation": logits[order[:size]], "test": logits[order[size:]]}
        drawn.truth = {"validation": truth[order[:size]], "test": truth[order[size:]]}
        drawn.probs = {split: 1 / (1 + np.exp(-values)) for split, values in drawn.logits.items()}
        one = next(measure(drawn, rule))
        found += [(one["scores"][name], *one["promised"][name], one["errors"][name]) for name in METRICS]
    return found


def bootstrap(rows: Rows, rule: str) -> dict[str, list[float]] | None:
    """The interval by refitting on drawn rows and judging on those left out; None for rules that calibrate."""
    settings = {name: value for name, value in RULES[rule].items() if name != "objective"}
    if {"calibration", "rule"} & set(settings) or settings.get("shrinkage") == "auto":
        return None
    probs, held = as_float(rows.probs["validation"]), rows.truth["validation"]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS if probs.size < MANY else DRAWS // 5):
        inside = rng.integers(0, len(probs), len(probs))
        left = np.setdiff1d(np.arange(len(probs)), inside)
        cuts, _ = fit_cuts(probs[inside], held[inside], RULES[rule]["objective"], **settings)
        outcome = Outcome(probs[left], probs[left] >= cuts, held[left])
        drawn.append(evaluate_outcome(outcome, metrics=METRICS))
    return {name: np.quantile([found[name] for found in drawn], [0.025, 0.975]).tolist() for name in METRICS}


def print_table(name: str, rows: Rows, cells: list[dict[str, Any]]) -> None:
    """Markdown: micro-F1 / macro-F1 and their mean of every rule and way."""
    counted = ", ".join(f"{len(rows.probs[split]):,} {split}" for split in ("validation", "test"))
    print(f"\n**{name}**: {len(rows.labels):,} labels, {counted} rows\n")
    print(f"| rule | {' | '.join(WAYS)} |\n|---{'|---' * len(WAYS)}|")
    for rule in RULES:
        shown = {found["way"]: found["scores"] for found in cells if found["rule"] == rule}
        texts = [
            f"{100 * shown[way]['micro_f1']:.1f} / {100 * shown[way]['macro_f1']:.1f} ({100 * middle(shown[way]):.1f})"
            if way in shown
            else "-"
            for way in WAYS
        ]
        print(f"| {rule} | {' | '.join(texts)} |")


def middle(scores: Mapping[str, float]) -> float:
    """(micro-F1 + macro-F1) / 2."""
    return (scores["micro_f1"] + scores["macro_f1"]) / 2


def print_summary(found: dict[str, list[dict[str, Any]]]) -> None:
    """How far each cell is behind the best of its dataset, and how often the promises were kept."""
    behind: dict[tuple[str, str], list[float]] = {}
    for cells in found.values():
        best = max(middle(each["scores"]) for each in cells)
        for each in cells:
            behind.setdefault((each["rule"], each["way"]), []).append(100 * (best - middle(each["scores"])))
    print("\nPoints of (micro-F1 + macro-F1) / 2 behind the best cell of the same dataset\n")
    print(f"| rule, way | mean | {' | '.join(found)} |\n|---|---{'|---' * len(found)}|")
    for (rule, way), gaps in sorted(behind.items(), key=lambda item: np.mean(item[1])):
        print(f"| {rule}, {way} | {np.mean(gaps):.2f} | {' | '.join(f'{gap:.2f}' for gap in gaps)} |")
    pairs = [(each, name) for cells in found.values() for each in cells if "promised" in each for name in METRICS]
    ends = [(each["scores"][name], *each["promised"][name], each["errors"][name]) for each, name in pairs]
    kept = np.mean([low <= score <= high for score, low, high, _ in ends])
    wider = [
        abs(score - (low + high) / 2) <= np.hypot((high - low) / 2, 1.96 * error) for score, low, high, error in ends
    ]
    print(
        f"\nPromised intervals that hold the test score: {kept:.0%} of {len(ends)}; with its error {np.mean(wider):.0%}"
    )
    both = [
        (each["promised"][name], each["bootstrap"][name])
        for each, name in pairs
        if each.get("bootstrap") and each["way"] == "tuned"
    ]
    widths = np.array([[high - low for low, high in pair] for pair in both])
    if len(widths):
        ratios = widths[:, 0] / widths[:, 1]
        middle_ratio, wide = np.median(ratios), 100 * widths.mean(axis=0)
        print(
            f"Width, promised / bootstrap: median {middle_ratio:.2f}, {ratios.min():.2f} to {ratios.max():.2f} over "
            f"{len(ratios)} cells; mean width {wide[0]:.1f} / {wide[1]:.1f} points"
        )


def share_kept(ends: list[tuple[float, float, float, float]]) -> str:
    """How many intervals hold the score, as they are and with the error of the score."""
    kept = np.mean([low <= score <= high for score, low, high, _ in ends])
    wider = [
        abs(score - (low + high) / 2) <= np.hypot((high - low) / 2, 1.96 * error) for score, low, high, error in ends
    ]
    return f"{kept:.0%} of {len(ends)}; with its error {np.mean(wider):.0%}"


def score_run(folder: Path) -> dict[str, NDArray]:
    """Probabilities and label sets of a finished run's validation and test rows."""
    finished = FinishedModel.load(str(folder))
    recipe = recipe_of(finished, [])
    data = load_data(**recipe.data.load_arguments())
    found = {}
    for split in ("validation", "test"):
        targets = data.label_matrix(split)
        logits = finished.scorer(data.splits[split], targets, len(data.labels), 32, split)()
        found[split] = torch.as_tensor(logits).sigmoid().numpy()
        found[f"{split}_targets"] = targets.toarray()
    return found


def main() -> None:
    """Fit, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="*", type=Path, help="files that quality.py --scores wrote")
    parser.add_argument("--run", action="append", type=Path, default=[], help="the folder of a finished run")
    parser.add_argument("--only", action="append", choices=RULES, help="a rule; repeat it for several")
    parser.add_argument("--resplits", type=int, default=0, help="draws of validation and test rows from both together")
    parser.add_argument("--output", type=Path, help="also write the cells there, JSON")
    options = parser.parse_args()
    if not options.scores and not options.run:
        parser.error("expected files of scores or --run, found neither. Run benchmarks/quality.py --scores first.")
    found: dict[str, list[dict[str, Any]]] = {}
    drawn: list[tuple[float, float, float, float]] = []
    sources = [(file.stem, lambda file=file: np.load(file)) for file in options.scores]
    sources += [(folder.name, lambda folder=folder: score_run(folder)) for folder in options.run]
    for name, read in sources:
        rows = Rows(read())
        found[name] = []
        for rule in options.only or RULES:
            spread = bootstrap(rows, rule)
            found[name] += [each | {"bootstrap": spread} for each in measure(rows, rule)]
        print_table(name, rows, found[name])
        if options.output:
            options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if options.resplits:
            drawn += [each for rule in RESPLIT for each in resplit(rows, rule, options.resplits)]
    print_summary(found)
    if drawn:
        print(f"\nWith rows drawn anew ({', '.join(RESPLIT)}): " + share_kept(drawn))


if __name__ == "__main__":
    main()
