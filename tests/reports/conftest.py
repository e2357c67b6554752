"""One small and one large label set as reports see them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from hf_multilabel.decisions.top_decision import decide_top
from hf_multilabel.evaluation.keeping import RankedScores, ScoreKeeper
from hf_multilabel.evaluation.outcomes import Outcome, as_label_sets
from hf_multilabel.evaluation.top_outcome import TopOutcome
from hf_multilabel.remote_code.decision_multilabel import default_decision
from hf_multilabel.reports.evidence import RunEvidence

HOSTILE = ["<script>alert(1)</script>", "$x^2$ \\frac", "{{ 7 * 7 }}", "a\u202eb", "日本語の名前", "x" * 300]
HISTORY = [
    {"step": step, "loss": 1 / step, "learning_rate": 1e-3, "learning_rate/head": 1e-3, "learning_rate/layer 0": 1e-5}
    for step in range(1, 6)
]
HISTORY += [{"step": 5, "eval_loss": 0.3, "eval_micro_f1": 0.5, "pooled_cosine": 0.2, "prediction_spread": 0.4}]
HISTORY += [{"step": 5, "train_runtime": 1.0}]


def draw_case(rows: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, truths and training counts of labels that get rarer, all by chance."""
    rng = np.random.default_rng(seed)
    base = 0.7 / (np.arange(labels) + 2) ** 0.9
    held = rng.random((rows, labels)) < base
    logits = rng.normal(size=(rows, labels)) + 2.5 * held + np.log(base)
    return (1 / (1 + np.exp(-logits))).astype(np.float32), held, (base * 1000).astype(int)


def keep(probs: np.ndarray, held: np.ndarray, k: int) -> RankedScores:
    import torch

    keeper = ScoreKeeper(as_label_sets(held, held.shape, "targets"), k)
    keeper.place(keeper.select(np.arange(len(probs)), torch.from_numpy(probs)))
    return keeper.finish()


@pytest.fixture(scope="session")
def evidence_of() -> Callable[..., RunEvidence]:
    """`evidence_of(rows, labels, kept=None)`: a run by chance, with names that are hostile."""

    def make(rows: int, labels: int, kept: int | None = None, cut: float = 0.4, **facts: object) -> RunEvidence:
        probs, held, counts = draw_case(rows, labels)
        decision = default_decision() | {"thresholds": cut}
        if kept is None:
            outcome = Outcome(probs, probs >= cut, held, counts, 1000)
        else:
            scores = keep(probs, held, kept)
            predicted, _ = decide_top(scores.top, decision)
            outcome = TopOutcome(scores, predicted, sparse.csr_array(held), counts, 1000)
        names = [*HOSTILE, *(f"label {i}" for i in range(labels))][:labels]
        facts = {"texts": [f"text {row} <img src=x onerror=alert(2)>" for row in range(rows)], **facts}
        return RunEvidence.of(
            outcome, name="run", split="test", labels=names, decision=decision, history=HISTORY,
            layer_cosines=[0.4, 0.8, 0.995], **facts,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def small(evidence_of: Callable[..., RunEvidence]) -> RunEvidence:
    """60 texts, six hostile labels."""
    return evidence_of(60, 6)


@pytest.fixture(scope="session")
def large(evidence_of: Callable[..., RunEvidence]) -> RunEvidence:
    """40 texts, 1,200 labels of which 20 scores a text were kept."""
    return evidence_of(40, 1200, 20)
