"""Decisions against what a user would write instead, in time: exact cuts, from all scores and from a part of them.

    python benchmarks/decisions.py                    # all parts; about a minute on two cores
    python benchmarks/decisions.py --only thresholds  # one part

Both sides of a ratio run in turns, five times or more; printed are the medians, their ratio and the ratios of the
quartiles. Both do the same work: cuts per label of the highest F1 on the same rows. CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy
import sklearn
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import f1_score, precision_recall_curve

from hf_multilabel.decisions.risk_control import fit_risk
from hf_multilabel.decisions.thresholds import fit_cuts
from hf_multilabel.evaluation import TopScores, as_label_sets

REPEATS = 5
RISK_SIZE = (2_000, 500)
RISK_REPEATS = 3  # MAPIE takes ten seconds and more
RISKS = (
    ({"recall": 0.9}, "crc"),
    ({"recall": 0.9, "confidence": 0.9}, "rcps"),
    ({"precision": 0.8, "confidence": 0.9}, "ltt"),
)
SIZES = ((5_000, 200), (5_000, 4_000))
GRID = np.arange(0.01, 1, 0.01)


def draw(rows: int, labels: int, seed: int = 0) -> tuple[NDArray[np.float32], sparse.csr_array]:
    """Probabilities and label sets of a long tail: about three labels a text, rare ones ranked worse."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, labels + 1)
    share = np.minimum(3 * share / share.sum(), 0.5).astype(np.float32)
    held = rng.random((rows, labels), dtype=np.float32) < share
    strength = np.linspace(5, 3, labels, dtype=np.float32)
    logits = np.log(share / (1 - share)) + rng.standard_normal((rows, labels), dtype=np.float32) + strength * held
    return 1 / (1 + np.exp(-logits)), as_label_sets(sparse.csr_array(held), held.shape, "targets")


def grid_cuts(probs: NDArray[np.float32], targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What tutorials do: `f1_score` of 99 cuts a label."""
    return np.array(
        [
            GRID[np.argmax([f1_score(truth, scores >= cut, zero_division=0) for cut in GRID])]
            for scores, truth in zip(probs.T, targets.T, strict=True)
        ]
    )


def curve_cuts(probs: NDArray[np.float32], targets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The better recipe: the highest F1 of each label's precision-recall curve, every cut point."""
    found = []
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", UserWarning)  # labels without a positive
        for scores, truth in zip(probs.T, targets.T, strict=True):
            precision, recall, cuts = precision_recall_curve(truth, scores)
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[:-1]
            found.append(cuts[np.argmax(f1)])
    return np.array(found)


def in_turns(sides: dict[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, NDArray[np.float64]]:
    """CPU seconds of each side, A B A B: name to (repeats,)."""
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, call in sides.items():
            start = time.process_time()
            call()
            spent[name].append(time.process_time() - start)
    return {name: np.array(seconds) for name, seconds in spent.items()}


def report(what: str, slow: NDArray[np.float64], fast: NDArray[np.float64]) -> None:
    """One line: medians, their ratio, and the ratios of opposite quartiles."""
    (s1, s2, s3), (f1, f2, f3) = (np.percentile(seconds, (25, 50, 75)) for seconds in (slow, fast))
    print(f"{what:<66} {s2:9.4f} s {f2:9.4f} s {s2 / f2:9.2f}x  ({s1 / f3:.2f} to {s3 / f1:.2f})", flush=True)


def thresholds() -> None:
    """Exact cuts per label against one sort, a grid of cuts and precision-recall curves."""
    for rows, labels in SIZES:
        probs, held = draw(rows, labels)
        targets = held.toarray()
        print(f"\nthresholds: N={rows:,}, L={labels:,}, {held.nnz / rows:.2f} labels a text")
        spent = in_turns(
            {
                "sort": lambda probs=probs: np.sort(probs, axis=0),
                **{rule: lambda rule=rule, probs=probs, held=held: fit_cuts(probs, held, rule) for rule in FITTED},
            }
        )
        for rule in FITTED:
            report(f"{rule} / np.sort of the scores by label", spent[rule], spent["sort"])
        # a loop over labels takes as long as it has labels: some, from the head to the tail, stand for all
        for name, cuts, many in (("precision_recall_curve", curve_cuts, 200), ("f1_score at 99 cuts", grid_cuts, 8)):
            some = np.linspace(0, labels - 1, many).astype(int)
            part = np.asfortranarray(probs[:, some]), np.asfortranarray(targets[:, some])
            loop = in_turns({name: lambda cuts=cuts, part=part: cuts(*part)})[name] * labels / many
            report(f"{name} ({many} labels, scaled) / macro_f1", loop, spent["macro_f1"])


def sparse_scores() -> None:
    """Cuts from a fixed number of kept scores under ever more labels, and how fast the time grows with them."""
    counts = (1_000, 10_000, 100_000, 1_000_000)
    print("\nsparse scores: 5,000 texts, 50 scores kept each")
    cases = {labels: kept_scores(labels) for labels in counts}
    for rule in ("macro_f1", "micro_f1", "balanced"):
        spent = in_turns({str(n): lambda case=case, rule=rule: fit_cuts(*case, rule) for n, case in cases.items()})
        medians = [np.median(spent[str(n)]) for n in counts]
        exponent = np.polyfit(np.log(counts), np.log(medians), 1)[0]
        times = ", ".join(f"L={n:,}: {seconds:.4f} s" for n, seconds in zip(counts, medians, strict=True))
        print(f"{rule}: {times}; time grows with L to the power {exponent:.2f}", flush=True)


def kept_scores(labels: int) -> tuple[TopScores, sparse.csr_array]:
    """The same 50 scores of 5,000 texts, their labels drawn from the first thousand of a list of any length."""
    rng = np.random.default_rng(0)
    ids = np.sort(np.argsort(rng.random((5_000, 1_000)), axis=1)[:, :50], axis=1)
    scores = rng.random(ids.shape, dtype=np.float32) * np.float32(0.9) + np.float32(0.05)
    stored = sparse.csr_array((scores.ravel(), ids.ravel(), np.arange(5_001) * 50), shape=(5_000, labels))
    rows, places = np.nonzero(rng.random(ids.shape) < scores**4)
    held = sparse.csr_array((np.ones(len(rows), bool), (rows, ids[rows, places])), shape=(5_000, labels))
    return TopScores(stored, np.full(5_000, 0.05, np.float32)), as_label_sets(held, held.shape, "targets")


def risk() -> None:
    """A guaranteed recall or precision against MAPIE, which tabulates the losses of every row at 100 cuts."""
    if importlib.util.find_spec("mapie") is None:
        print("risk control: left out, MAPIE is not installed (pip install mapie)")
        return
    from mapie.risk_control import MultiLabelClassificationController

    probs, held = draw(*RISK_SIZE)
    held = as_label_sets((held + first_labels(probs)).astype(bool), held.shape, "targets")  # MAPIE refuses empty rows
    dense = held.toarray().astype(int)
    for promise, method in RISKS:
        metric, target = next(iter(promise.items()))

        def theirs(metric: str = metric, target: float = target, promise: dict = promise, method: str = method) -> None:
            controller = MultiLabelClassificationController(
                lambda x: x, metric, method, target, promise.get("confidence"), random_state=0
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                controller.calibrate(probs, dense)

        def ours(promise: dict = promise) -> None:
            fit_risk(probs, held, promise)

        spent = in_turns({"mapie": theirs, "ours": ours}, RISK_REPEATS)
        report(f"{promise} at N=2,000, L=500: MAPIE / ours, time", spent["mapie"], spent["ours"])
        most = {name: peak_memory(call) for name, call in (("mapie", theirs), ("ours", ours))}
        print(f"  memory at its peak: {most['mapie'] / 1e6:.1f} MB / {most['ours'] / 1e6:.3f} MB", end="")
        print(f" = {most['mapie'] / most['ours']:.0f}x")


def first_labels(probs: NDArray[np.float32]) -> sparse.csr_array:
    """The most probable label of each row."""
    rows = np.arange(len(probs))
    return sparse.csr_array((np.ones(len(rows), bool), (rows, probs.argmax(axis=1))), shape=probs.shape)


def peak_memory(call: Callable[[], object]) -> int:
    """Bytes allocated at most during a call, beyond its input."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def machine() -> str:
    """What the numbers depend on."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "")
    flags = next((line for line in info.splitlines() if line.startswith("flags")), "").split()
    vector = ", ".join(flag for flag in ("avx2", "avx512f", "avx512_bf16") if flag in flags) or "none known"
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    versions += f", scikit-learn {sklearn.__version__}"
    return f"{model or platform.machine()}, {os.cpu_count()} CPUs, vectors {vector}; {versions}"


FITTED = ("macro_f1", "micro_f1", "balanced", "micro_f1_per_label")
PARTS: dict[str, Callable[[], None]] = {"thresholds": thresholds, "sparse_scores": sparse_scores, "risk": risk}


def main() -> None:
    """Run the parts and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeat for several")
    print(machine())
    for part in parser.parse_args().only or PARTS:
        PARTS[part]()


if __name__ == "__main__":
    main()
