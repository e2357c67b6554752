"""Which objective for the decision? Test scores of every rule on saved scores of real runs, and what was promised.

    python benchmarks/quality.py --scores scores ...                # keeps scores/DATASET-METHOD-SEED.npz of its runs
    python benchmarks/objectives.py scores/*-ours-*.npz             # the tables, on the published splits
    python benchmarks/objectives.py scores/*-ours-*.npz --draws 20  # on validation and test rows drawn anew
    python benchmarks/objectives.py --run runs/eurlex scores/*.npz  # a finished run's own splits beside them
    python benchmarks/objectives.py --cells one.json two.json       # the tables of what --output wrote before

Every rule is fitted on the validation rows in four ways: on all of them (tuned), as the mean of the cuts of five folds
(crossed), and with each label's own cut drawn toward the global one, n / (n + c) of the way for n positives, at c = 1
and c = 10 (shrunk). Under `balanced`, tuned is c = 0, and c = 1 is the default. Test rows are scored for the table and
choose nothing.

Published test splits are not always like the validation split (arxiv_topics: the scores at a fixed 0.5 differ by more
than chance), and one split of some thousand rows tells rules apart to a point at best. --draws puts the validation and
test rows of a run together, none of which it was trained on, and divides them by chance into as many of either as
before, again and again; every cell is then a mean over draws, and over the runs (seeds) of the same dataset.

`promised` counts the cells of tuned and crossed, and of `balanced` in every way, whose 95% interval, known before any
test row is seen and made for as many rows as were fitted, holds the test score, micro-F1 and macro-F1 each counting.
`bootstrap` is the interval a user would make instead, for the first draw: fit on rows drawn with replacement, judge on
those left out, 2.5% to 97.5% of 100 resamples (20 where there are more than two million scores). Judged on those rows
as they are, about 37% of all, it is for no number of rows in particular; `as many` judges on as many as were fitted,
drawn from them with replacement, as the promise is made.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.data.loading import load_data
from hf_multilabel.decisions.evidence import fit_with_evidence
from hf_multilabel.decisions.f_cuts import macro_f1, micro_f1, micro_f1_per_label
from hf_multilabel.decisions.rare_labels import SHRINKAGE, draw_cuts
from hf_multilabel.decisions.thresholds import fit_cuts
from hf_multilabel.evaluation.metrics import evaluate_outcome
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.folds import MANY, PARTS, PARTS_OF_MANY, draw_folds
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import recipe_of
from hf_multilabel.remote_code.decision_multilabel import decide

METRICS = ("micro_f1", "macro_f1")
FOLDS, RESAMPLES = 5, 100
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
OWN_CUTS = {"macro_f1": macro_f1, "micro_f1_per_label": micro_f1_per_label}
SHRUNK = (SHRINKAGE, 10)
BOOTSTRAPS = ("bootstrap", "bootstrap, as many")
WAYS = ("tuned", "crossed", *(f"shrunk, c={c:g}" for c in SHRUNK))
Cell = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One model on the rows it was not trained on.

    Args:
        dataset: Runs of the same dataset are averaged.
        probs: Validation rows, then test rows, (N, L).
        truth: Their label sets, CSR (N, L).
        fitted: How many of them are validation rows.
    """

    dataset: str
    probs: NDArray
    truth: sparse.csr_array
    fitted: int

    @classmethod
    def of(cls, dataset: str, found: Mapping[str, NDArray]) -> Run:
        """From arrays by split, as quality.py keeps them."""
        splits = ("validation", "test")
        probs = np.clip(np.concatenate([found[split] for split in splits]), LEAST, 1 - LEAST)
        truth = sparse.csr_array(np.concatenate([found[f"{split}_targets"] for split in splits]))
        return cls(dataset, probs, truth, len(found["validation"]))

    def divide(self, draw: int | None) -> Rows:
        """Rows to fit on and rows to judge on: None, the published splits, or a draw from both together."""
        order = np.arange(len(self.probs)) if draw is None else np.random.default_rng(draw).permutation(len(self.probs))
        return Rows(self, order[: self.fitted], order[self.fitted :])


class Rows:
    """Scores and label sets to fit on, and others to judge on."""

    def __init__(self, run: Run, fitted: NDArray, judged: NDArray) -> None:
        self.labels = [str(label) for label in range(run.probs.shape[1])]
        self.probs, self.held = np.ascontiguousarray(run.probs[fitted]), run.truth[fitted]
        self.new_probs, self.truth = np.ascontiguousarray(run.probs[judged]), run.truth[judged]
        self.logits, self.new_logits = (np.log(each) - np.log1p(-each) for each in (self.probs, self.new_probs))
        self.many = self.probs.size > MANY
        self.size = (len(self.labels), len(self.probs), len(self.new_probs))

    def folds(self, average: bool) -> list[list[NDArray]]:
        """Fitted rows of each fold, drawn as often as the package draws them."""
        k = FOLDS if average else PARTS_OF_MANY if self.many else PARTS
        apart = np.arange(len(self.probs))
        return [draw_folds(self.held, apart, k, seed) for seed in range(1 if self.many else 2)]


def measure(rows: Rows, rule: str) -> Iterator[Cell]:
    """The cells of a rule: test scores, and the interval promised before."""
    settings = RULES[rule]
    fits = [("tuned", settings, False)]
    if settings["objective"] != "fixed" and "calibration" not in settings and settings.get("shrinkage") != "auto":
        fits.append(("crossed", settings, True))
    if rule == "balanced":
        fits += [(f"shrunk, c={c:g}", settings | {"shrinkage": c}, False) for c in SHRUNK]
    for way, given, average in fits:
        folds = rows.folds(average)
        decision = fit_with_evidence(rows.logits, rows.held, rows.labels, folds, average=average, resamples=0, **given)
        predicted = decide(torch.from_numpy(rows.new_logits), decision).numpy()
        yield cell(rows, rule, way, predicted) | {"promised": decision["expected"]["intervals"]}
    if rule in OWN_CUTS:
        shared, own = micro_f1(rows.probs, rows.held), OWN_CUTS[rule](rows.probs, rows.held)
        for c in SHRUNK:
            cuts = draw_cuts(rows.probs, np.bincount(rows.held.indices, minlength=len(own)), shared, own, c)
            yield cell(rows, rule, f"shrunk, c={c:g}", rows.new_probs >= cuts)


def cell(rows: Rows, rule: str, way: str, predicted: NDArray) -> Cell:
    """Test scores of label sets."""
    outcome = Outcome(rows.new_probs, predicted, rows.truth)
    return {"rule": rule, "way": way, "scores": evaluate_outcome(outcome, metrics=METRICS)}


def bootstrap(rows: Rows, rule: str) -> dict[str, dict[str, list[float]]] | None:
    """The intervals by refitting on drawn rows and judging on those left out; None for rules that calibrate."""
    settings = {name: value for name, value in RULES[rule].items() if name != "objective"}
    if {"calibration", "rule"} & set(settings) or settings.get("shrinkage") == "auto":
        return None
    rng, number = np.random.default_rng(0), len(rows.probs)
    drawn: dict[str, list[dict[str, float]]] = {kind: [] for kind in BOOTSTRAPS}
    for _ in range(RESAMPLES // 5 if rows.many else RESAMPLES):
        inside = rng.integers(0, number, number)
        cuts, _ = fit_cuts(rows.probs[inside], rows.held[inside], RULES[rule]["objective"], **settings)
        left = np.setdiff1d(np.arange(number), inside)
        for kind, judged in zip(BOOTSTRAPS, (left, rng.choice(left, number)), strict=True):
            outcome = Outcome(rows.probs[judged], rows.probs[judged] >= cuts, rows.held[judged])
            drawn[kind].append(evaluate_outcome(outcome, metrics=METRICS))
    ends = [0.025, 0.975]
    return {
        kind: {name: np.quantile([each[name] for each in found], ends).tolist() for name in METRICS}
        for kind, found in drawn.items()
    }


def measure_run(run: Run, rules: Sequence[str], draws: int) -> Iterator[Cell]:
    """All cells of a run, on its published splits or on draws."""
    for draw in range(draws) if draws else [None]:
        rows = run.divide(draw)
        for rule in rules:
            spread = bootstrap(rows, rule) if not draw else None
            for found in measure(rows, rule):
                yield found | {"draw": draw, "bootstrap": spread, "size": rows.size}


def by_way(cells: Sequence[Cell]) -> dict[tuple[str, str], NDArray]:
    """(rule, way) -> micro-F1, macro-F1 and their mean of every run and draw, in per cent: (R, 3)."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    for each in cells:
        scores = [each["scores"][name] for name in METRICS]
        found.setdefault((each["rule"], each["way"]), []).append([*scores, float(np.mean(scores))])
    return {way: 100 * np.array(scores) for way, scores in found.items()}


def print_table(dataset: str, cells: Sequence[Cell]) -> None:
    """Markdown: micro-F1 / macro-F1 and their mean of every rule and way."""
    found = by_way(cells)
    times = len(found[next(iter(found))])
    counted = "{:,} labels, {:,} rows to fit, {:,} to judge".format(*cells[0]["size"])
    print(f"\n**{dataset}**: {counted}, {times} times\n")
    print(f"| rule | {' | '.join(WAYS)} |\n|---{'|---' * len(WAYS)}|")
    for rule in RULES:
        means = [found[rule, way].mean(axis=0) if (rule, way) in found else None for way in WAYS]
        if any(mean is not None for mean in means):
            texts = ["-" if mean is None else "{:.1f} / {:.1f} ({:.1f})".format(*mean) for mean in means]
            print(f"| {rule} | {' | '.join(texts)} |", flush=True)


def print_summary(cells: Mapping[str, Sequence[Cell]]) -> None:
    """How far each cell is behind the best of its dataset, and how often the promises were kept."""
    behind: dict[tuple[str, str], list[str]] = {}
    gaps: dict[tuple[str, str], list[float]] = {}
    for found in map(by_way, cells.values()):
        best = max(found.values(), key=lambda scores: scores[:, 2].mean())[:, 2]
        for way, scores in found.items():
            lead = best - scores[:, 2]
            error = f" ± {lead.std(ddof=1) / len(lead) ** 0.5:.2f}" if len(lead) > 1 and lead.any() else ""
            behind.setdefault(way, []).append(f"{lead.mean():.2f}{error}")
            gaps.setdefault(way, []).append(lead.mean())
    print("\nPoints of (micro-F1 + macro-F1) / 2 behind the best cell of the same dataset, ± the error by draws\n")
    print(f"| rule, way | mean | {' | '.join(cells)} |\n|---|---{'|---' * len(cells)}|")
    for way, gap in sorted(gaps.items(), key=lambda item: np.mean(item[1])):
        print(f"| {', '.join(way)} | {np.mean(gap):.2f} | {' | '.join(behind[way])} |")
    print(
        "\nIntervals that hold the score\n\n| dataset | promised | " + " | ".join(BOOTSTRAPS) + " |\n|---|---|---|---|"
    )
    for dataset, found in {**cells, "all": [each for some in cells.values() for each in some]}.items():
        promised = [share_kept(found, lambda each: each.get("promised"))]
        others = [share_kept(found, lambda each, kind=kind: resampled(each, kind)) for kind in BOOTSTRAPS]
        print(f"| {dataset} | {' | '.join(promised + others)} |")
    for kind in BOOTSTRAPS:
        print_widths(kind, [each for some in cells.values() for each in some])


def resampled(cell: Cell, kind: str) -> dict[str, list[float]] | None:
    """The bootstrap's intervals of a cell; it fits as `tuned` does."""
    return cell["bootstrap"][kind] if cell["bootstrap"] and cell["way"] == "tuned" else None


def share_kept(cells: Sequence[Cell], interval: Callable[[Cell], dict[str, list[float]] | None]) -> str:
    """How many intervals hold the score."""
    kept = [
        found[name][0] <= each["scores"][name] <= found[name][1]
        for each in cells
        if (found := interval(each))
        for name in METRICS
    ]
    return f"{np.mean(kept):.0%} of {len(kept):,}" if kept else "-"


def print_widths(kind: str, cells: Sequence[Cell]) -> None:
    """Promised intervals beside those of a bootstrap."""
    both = [
        (each["promised"][name], found[name]) for each in cells if (found := resampled(each, kind)) for name in METRICS
    ]
    if both:
        widths = np.array([[high - low for low, high in pair] for pair in both])
        ratios, wide = widths[:, 0] / widths[:, 1], 100 * widths.mean(axis=0)
        print(
            f"Width, promised / {kind}: median {np.median(ratios):.2f}, {ratios.min():.2f} to {ratios.max():.2f} "
            f"over {len(ratios)} cells; mean width {wide[0]:.1f} / {wide[1]:.1f} points"
        )


def score_run(folder: Path) -> Run:
    """A finished run's validation and test rows."""
    finished = FinishedModel.load(str(folder))
    recipe = recipe_of(finished, [])
    data = load_data(**recipe.data.load_arguments())
    found = {}
    for split in ("validation", "test"):
        targets = data.label_matrix(split)
        logits = finished.scorer(data.splits[split], targets, len(data.labels), 32, split)()
        found[split] = torch.as_tensor(logits).sigmoid().numpy()
        found[f"{split}_targets"] = targets.toarray()
    return Run.of(folder.name, found)


def main() -> None:
    """Fit, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="*", type=Path, help="files that quality.py --scores wrote")
    parser.add_argument("--run", action="append", type=Path, default=[], help="the folder of a finished run")
    parser.add_argument("--only", action="append", choices=RULES, help="a rule; repeat it for several")
    parser.add_argument("--draws", type=int, default=0, help="of validation and test rows; 0: the published splits")
    parser.add_argument("--output", type=Path, help="also write the cells there, JSON")
    parser.add_argument("--cells", nargs="+", type=Path, default=[], help="files that --output wrote, also shown")
    options = parser.parse_args()
    if not options.scores and not options.run and not options.cells:
        parser.error("expected files of scores, --run or --cells. Run benchmarks/quality.py --scores first.")
    runs: dict[str, list[Run]] = {}
    for file in options.scores:
        run = Run.of(file.stem.rsplit("-", 1)[0], np.load(file))
        runs.setdefault(run.dataset, []).append(run)
    for folder in options.run:
        runs[folder.name] = [score_run(folder)]
    cells: dict[str, list[Cell]] = {}
    for file in options.cells:
        for dataset, found in json.loads(file.read_text(encoding="utf-8")).items():
            cells.setdefault(dataset, []).extend(found)
    for dataset, found in cells.items():
        print_table(dataset, found)
    for dataset, some in runs.items():
        rules = options.only or list(RULES)
        cells[dataset] = [found for run in some for found in measure_run(run, rules, options.draws)]
        print_table(dataset, cells[dataset])
        if options.output:
            options.output.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    print_summary(cells)


if __name__ == "__main__":
    main()
