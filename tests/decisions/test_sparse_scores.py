"""Scores kept in part: the cuts of all scores wherever the fit says so, cautious ones elsewhere, whatever L."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from hf_multilabel.decisions import THRESHOLD_RULES, fit_decision, fit_thresholds
from hf_multilabel.decisions.thresholds import fit_cuts
from hf_multilabel.evaluation import TopScores, as_label_sets
from tests.decisions.brute_force import f_beta, scored

NEEDED = {"precision_at_least": {"precision": 0.5}, "recall_at_least": {"recall": 0.5}}
RULES = sorted(rule for rule in THRESHOLD_RULES if rule != "f_star_half")
OVERALL = ["precision_at_least", "recall_at_least", "cost"]


def keep(probs: np.ndarray, targets: np.ndarray, k: int) -> TopScores:
    return TopScores.of(probs, as_label_sets(targets, probs.shape, "targets"), k)


def realistic(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    share = 0.5 / np.arange(1, labels + 1)
    targets = rng.random((rows, labels)) < share
    logits = np.log(share / (1 - share)) + 4 * targets + rng.normal(size=(rows, labels))
    return (1 / (1 + np.exp(-logits))).astype(np.float32), targets


@settings(deadline=None, max_examples=150)
@given(
    scored(positive=True) | scored(np.float64, positive=True), st.integers(1, 8), st.sampled_from(RULES), st.booleans()
)
def test_an_exact_fit_decides_as_that_of_all_scores(case: tuple, k: int, rule: str, overall: bool) -> None:
    probs, targets = case
    held = as_label_sets(targets, probs.shape, "targets")
    options = NEEDED.get(rule, {}) | ({"scope": "overall"} if overall and rule in OVERALL else {})
    scores = keep(probs, targets, k)
    cuts, exact = fit_cuts(scores, held, rule, **options)
    if exact:
        expected = fit_cuts(probs, held, rule, **options)[0]
        np.testing.assert_array_equal(probs.astype(float) >= cuts, probs.astype(float) >= expected)
    elif rule not in ("balanced", "cardinality"):
        # counts too low found a cut that counts too high do not trust
        assert scores.ceiling >= 0


def test_a_drawn_cut_is_exact_only_if_it_is_known_from_where() -> None:
    probs = np.array([[0.268, 0.078], [0.191, 0.882]])
    held = as_label_sets(np.array([[1, 0], [1, 1]]), probs.shape, "targets")
    hidden = TopScores(sparse.csr_array([[0.268, 0.0], [0.191, 0.882]]), np.array([0.178, 0.1]))
    # the global cut takes 0.191 and lies half-way to the next lower score: 0.078, but it may be up to 0.178
    assert fit_cuts(hidden, held, "balanced")[1] is False
    for shrinkage in (0.0, np.inf):  # nothing is drawn
        cuts, exact = fit_cuts(hidden, held, "balanced", shrinkage=shrinkage)
        assert exact
        expected = fit_cuts(probs, held, "balanced", shrinkage=shrinkage)[0]
        np.testing.assert_array_equal(probs >= cuts, probs >= expected)
    assert fit_cuts(TopScores(hidden.stored, np.full(2, 0.08)), held, "balanced")[1] is False


@pytest.mark.parametrize("seed", range(8))
def test_a_chosen_shrinkage_is_exact_or_not_called_so(seed: int) -> None:
    probs, targets = realistic(60, 8, seed)
    held = as_label_sets(targets, probs.shape, "targets")
    found = {k: fit_cuts(keep(probs, targets, k), held, "balanced", shrinkage="auto") for k in (2, 7)}
    expected = fit_cuts(probs, held, "balanced", shrinkage="auto")[0]
    for k, (cuts, exact) in found.items():
        assert exact or k == 2
        if exact:
            np.testing.assert_array_equal(probs.astype(float) >= cuts, probs.astype(float) >= expected)


@settings(deadline=None, max_examples=60)
@given(scored(positive=True), st.sampled_from(RULES))
def test_all_scores_kept_give_the_same_cuts(case: tuple, rule: str) -> None:
    probs, targets = case
    options = NEEDED.get(rule, {})
    scores = keep(probs, targets, probs.shape[1])
    assert scores.ceiling < 0
    np.testing.assert_array_equal(
        fit_thresholds(scores, targets, rule, **options), fit_thresholds(probs, targets, rule, **options)
    )


@pytest.mark.parametrize("rule", RULES)
def test_enough_scores_kept_are_exact_and_say_so(rule: str) -> None:
    probs, targets = realistic(400, 30, 0)
    held = as_label_sets(targets, probs.shape, "targets")
    found, exact = fit_cuts(keep(probs, targets, 20), held, rule, **NEEDED.get(rule, {}))
    assert exact or rule == "recall_at_least"
    if exact:
        np.testing.assert_allclose(found, fit_cuts(probs, held, rule, **NEEDED.get(rule, {}))[0], atol=1e-3)


@settings(deadline=None, max_examples=100)
@given(scored(positive=True), st.integers(1, 3))
def test_cautious_cuts_are_no_worse_than_they_look(case: tuple, k: int) -> None:
    """Counts too high bound F from below: what is fitted with them is really reached."""
    probs, targets = case
    held = as_label_sets(targets, probs.shape, "targets")
    cuts, exact = fit_cuts(keep(probs, targets, k), held, "precision_at_least", precision=0.5, scope="overall")
    decided = probs.astype(float) >= cuts
    assert exact or cuts[0] == 1 or (decided & targets).sum() >= 0.5 * decided.sum()


def draw_tied(seed: int) -> tuple[np.ndarray, np.ndarray, TopScores]:
    """A few rows with many equal scores, the highest of each kept, under floors as low as can be or higher."""
    rng = np.random.default_rng(seed)
    shape, steps = rng.integers(1, 9, 2), rng.choice([3, 6, 12, 1000])
    probs = (rng.integers(0, steps + 1, shape) / steps) ** rng.choice([1, 3])
    probs = probs.astype(rng.choice([np.float32, np.float64]))
    targets = rng.random(shape) < rng.choice([0.1, 0.3, 0.6])
    targets[0, 0] = True
    scores = keep(probs, targets, int(rng.integers(1, shape[1] + 1)))
    raised = np.minimum(scores.floor + rng.choice([0, 0, 0.1]), 1).astype(probs.dtype)
    return probs, targets, TopScores(scores.stored, raised)


def test_cardinality_is_exact_only_if_no_unknown_score_may_bring_it_nearer() -> None:
    probs = np.array([[0.9, 0.5, 0.4, 0.1], [0.8, 0.45, 0.3, 0.2]])
    held = as_label_sets(probs > 0.85, probs.shape, "targets")
    assert fit_cuts(TopScores.of(probs, held, 1), held, "cardinality", mean_labels=2.0)[1] is False
    cuts, exact = fit_cuts(TopScores.of(probs, held, 1), held, "cardinality", mean_labels=1.0)
    assert exact
    assert (probs >= cuts).sum() == 2
    # three are as near as two: of two equally near the higher cut
    assert fit_cuts(TopScores.of(probs, held, 1), held, "cardinality", mean_labels=1.25)[1] is True
    nothing = TopScores(sparse.csr_array((2, 4), dtype=np.float32), np.full(2, 0.5, np.float32))
    none = sparse.csr_array((2, 4), dtype=bool)
    assert fit_thresholds(nothing, none, "cardinality").tolist() == [1.0] * 4
    known = 0
    for seed in range(800):
        probs, targets, scores = draw_tied(seed)
        held = as_label_sets(targets, probs.shape, "targets")
        mean_labels = [None, 0.1, 0.5, 1.0, 2.0, 2.5, 4.0][seed % 7]
        cuts, exact = fit_cuts(scores, held, "cardinality", mean_labels=mean_labels)
        if exact:
            expected = fit_cuts(probs, held, "cardinality", mean_labels=mean_labels)[0]
            np.testing.assert_array_equal(probs >= cuts, probs >= expected, err_msg=f"seed {seed}")
        known += exact and scores.ceiling >= 0
    assert known > 100


def find_kept(scores: TopScores) -> np.ndarray:
    kept = np.zeros(scores.shape, bool)
    kept[np.repeat(np.arange(scores.shape[0]), np.diff(scores.stored.indptr)), scores.stored.indices] = True
    return kept


def test_the_ceiling_of_a_label_is_the_highest_floor_that_may_hide_it() -> None:
    for seed in range(200):
        probs, _, scores = draw_tied(seed)
        kept = find_kept(scores)
        slow = [
            max([float(f) for f, known in zip(scores.floor, column, strict=True) if not known] + [-1])
            for column in kept.T
        ]
        np.testing.assert_array_equal(scores.ceiling_by_label, slow)


@pytest.mark.parametrize("shape", [(300, 1200, 64), (200, 300, 30)])
def test_a_label_with_no_known_score_is_not_always_predicted(shape: tuple[int, int, int]) -> None:
    rows, labels, kept = shape
    probs, targets = realistic(rows, labels, 0)
    cuts, exact = fit_cuts(keep(probs, targets, kept), as_label_sets(targets, probs.shape, "t"), "scut_fbr")
    whole = fit_thresholds(probs, targets, "scut_fbr")
    assert not exact
    assert cuts.min() > 0
    assert (probs >= cuts).sum() <= (probs >= whole).sum()


def test_the_fallback_of_a_cautious_fit_takes_no_score_that_is_not_known() -> None:
    cautious = 0
    for seed in range(600):
        probs, targets, scores = draw_tied(seed)
        held = as_label_sets(targets, probs.shape, "targets")
        floor = [0.3, 0.5, 0.8, 1.0][seed % 4]
        cuts, exact = fit_cuts(scores, held, "scut_fbr", fbr_floor=floor)
        careful = TopScores(scores.stored, scores.floor, unstored_at_floor=True)
        poor = THRESHOLD_RULES["scut_fbr"](careful, held, fbr_floor=floor, fbr_fallback="never") == 1
        if exact or scores.ceiling == 1:
            continue
        taken = (probs.astype(float) >= cuts) & poor
        np.testing.assert_array_equal(taken, taken & find_kept(scores), err_msg=f"seed {seed}")
        # of a highest score that is known just that
        known = poor & (scores.stored.toarray().max(axis=0) > scores.ceiling_by_label)
        np.testing.assert_array_equal(taken[:, known], (probs == probs.max(axis=0))[:, known], err_msg=f"seed {seed}")
        cautious += poor.any()
    assert cautious > 100


@pytest.mark.parametrize("scope", ["label", "overall"])
def test_a_cautious_cut_for_recall_is_the_highest_that_reaches_it(scope: str) -> None:
    cautious = 0
    for seed in range(300):
        probs, targets, scores = draw_tied(seed)
        held = as_label_sets(targets, probs.shape, "targets")
        recall = [0.3, 0.6, 0.9, 1.0][seed % 4]
        cuts, exact = fit_cuts(scores, held, "recall_at_least", recall=recall, scope=scope)
        if exact:
            continue
        groups = [np.ones(probs.shape[1], bool)] if scope == "overall" else np.eye(probs.shape[1], dtype=bool)
        for group in groups:
            own = np.sort(probs[:, group][targets[:, group]])[::-1].astype(float)
            if not len(own):
                continue
            # most of all scores are unknown: what is known is how many positives a cut keeps
            least = own[int(np.ceil(recall * len(own) - 1e-9)) - 1]
            decided = probs.astype(float)[:, group] >= cuts[group]
            assert (decided & targets[:, group]).sum() == (own >= least).sum(), f"seed {seed}"
            cautious += 1
    assert cautious > 50


def test_an_inexact_fit_warns_and_a_decision_records_it() -> None:
    probs, targets = realistic(200, 30, 1)
    names = [f"label {i}" for i in range(30)]
    with pytest.warns(
        UserWarning, match="probs: expected all scores that the cuts of macro_f1 .* Keep more scores a row"
    ):
        fit_thresholds(keep(probs, targets, 1), targets, "macro_f1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_thresholds(keep(probs, targets, 25), targets, "micro_f1")
    with pytest.warns(UserWarning, match="the cuts are cautious") as said:
        rough = fit_decision(keep(probs, targets, 1), targets, names, "macro_f1")
    assert [warning.filename for warning in said] == [__file__]
    assert (rough["exact"], rough["in_sample"]) == (False, {})
    fine = fit_decision(keep(probs, targets, 25), targets, names, "micro_f1")
    whole = fit_decision(probs, targets, names, "micro_f1")
    assert fine.pop("exact") is True
    assert fine["in_sample"] == pytest.approx(whole["in_sample"])
    assert f_beta(probs >= fine["thresholds"], targets) == pytest.approx(fine["in_sample"]["micro_f1"])


def test_dense_truths_are_taken_and_others_named() -> None:
    probs, targets = realistic(20, 5, 0)
    np.testing.assert_array_equal(
        TopScores.of(probs, targets, 2).stored.toarray(), keep(probs, targets, 2).stored.toarray()
    )
    with pytest.raises(ValueError, match=r"targets: expected shape \(20, 5\), found \(19, 5\)"):
        TopScores.of(probs, targets[1:], 2)


def wide(labels: int) -> tuple[TopScores, sparse.csr_array]:
    """The same scores under label lists of different lengths."""
    rng = np.random.default_rng(0)
    ids = np.sort(rng.permuted(np.tile(np.arange(1000), (2000, 1)), axis=1)[:, :20], axis=1)
    scores = rng.random((2000, 20)).astype(np.float32)
    indptr = np.arange(0, 2001) * 20
    stored = sparse.csr_array((scores.ravel(), ids.ravel(), indptr), shape=(2000, labels))
    true = scores > 0.9
    rows, places = np.nonzero(true)
    held = sparse.csr_array((np.ones(len(rows), bool), (rows, ids[rows, places])), shape=(2000, labels))
    return TopScores(stored, np.full(2000, 0.01, np.float32)), as_label_sets(held, held.shape, "targets")


def test_time_does_not_grow_with_the_labels() -> None:
    def seconds(labels: int, rule: str) -> float:
        scores, held = wide(labels)
        start = time.process_time()
        fit_cuts(scores, held, rule)
        return time.process_time() - start

    for rule in ("macro_f1", "micro_f1", "balanced"):
        few, many = (min(seconds(labels, rule) for _ in range(3)) for labels in (1_000, 100_000))
        assert many < 3 * few + 0.05  # a hundred times the labels, and an (L,) result


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TopScores(sparse.csr_array((2, 3), dtype=np.float32), np.zeros(3)), r"floor: expected shape \(2,\)"),
        (lambda: TopScores(sparse.csr_array([[1.5]]), np.zeros(1)), r"stored: expected values in \[0, 1\], found 1.5"),
        (lambda: TopScores(sparse.csr_array([[0.5]]), np.array([np.nan])), r"floor: expected values in \[0, 1\]"),
        (
            lambda: fit_thresholds(TopScores(sparse.csr_array([[0.5, 0.0]]), np.zeros(1)), [[0, 1]]),
            "probs: expected the scores of all positives, found none at row 0, label 1",
        ),
        (
            lambda: fit_thresholds(TopScores(sparse.csr_array([[0.5, 0.0]]), np.zeros(1)), [[1, 0]], "f_star_half"),
            "f_star_half: expected all scores",
        ),
    ],
)
def test_wrong_scores_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
