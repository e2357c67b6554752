"""Cuts from expected counts: against slow loops, against a generic optimiser, and where the truth is known."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.optimize import minimize

from hf_multilabel.decisions.logistic import fit_counted, fit_levels
from hf_multilabel.decisions.plug_in import WIDTH, Axis, Grid, expected_cuts, lowest_cuts
from hf_multilabel.decisions.thresholds import fit_thresholds
from hf_multilabel.evaluation import as_label_sets
from hf_multilabel.evaluation.scores import TopScores


def draw(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of a long tail of labels, and what came true."""
    rng = np.random.default_rng(seed)
    logits = np.log(0.3 / np.arange(1, labels + 1)) + 2 * rng.normal(size=(rows, labels))
    probs = 1 / (1 + np.exp(-logits))
    return probs, rng.random((rows, labels)) < probs


def middle(probs: np.ndarray, targets: np.ndarray, cuts: np.ndarray) -> float:
    decided = probs >= cuts
    both = 2 * (decided & targets).sum(0), decided.sum(0) + targets.sum(0)
    return (both[0].sum() / both[1].sum() + (both[0] / np.maximum(both[1], 1)).mean()) / 2


def test_counted_fits_are_the_minimum_that_a_generic_optimiser_finds() -> None:
    rng, axis = np.random.default_rng(0), Axis.down_to(0.1)
    place = np.arange(axis.bins)
    count = rng.integers(0, 20, (3, axis.bins)) * (place > axis.bins // 3)
    share = 1 / (1 + np.exp(4 - 8 * place / axis.bins))
    positives = rng.binomial(count, share).astype(float)
    theta = fit_counted(
        axis.design,
        *(torch.from_numpy(values) for values in (count, positives)),
        torch.tensor([[1.0, 1.0, 0.0]]).double().expand(3, -1),
        floor=[0.01, 0.01, -np.inf],
        strength=0.0,
    ).numpy()
    design = axis.design.numpy()

    def loss(values: np.ndarray, label: int) -> float:
        odds = values @ design
        return float((count[label] * np.logaddexp(0, odds) - positives[label] * odds).sum())

    for label in range(3):
        best = minimize(loss, [1, 1, 0], args=(label,), bounds=[(0.01, None), (0.01, None), (None, None)])
        assert loss(theta[label], label) <= best.fun + 1e-3


def test_what_labels_have_in_common_is_the_minimum_that_a_generic_optimiser_finds() -> None:
    rng, axis = np.random.default_rng(1), Axis.down_to(0.1)
    design, level = axis.design.numpy(), np.array([-1.5, 0.0, 1.0])
    count = rng.integers(0, 20, (3, axis.bins))
    share = 1 / (1 + np.exp(2 - 0.7 * level[:, None] - design[0] - 0.5 * design[1]))
    positives = rng.binomial(count, share).astype(float)
    found = fit_levels(
        axis.design,
        *(torch.from_numpy(values) for values in (level, count, positives)),
        start=[1.0, 1.0, 0.0],
        floor=[0.01, 0.01, -np.inf],
        strength=0.0,
    ).numpy()

    def loss(values: np.ndarray) -> float:
        odds = values[:3] @ design + values[3] * level[:, None]
        return float((count * np.logaddexp(0, odds) - positives * odds).sum())

    bounds = [(0.01, None), (0.01, None), (None, None), (None, None)]
    best = minimize(loss, [1, 1, 0, 0], bounds=bounds)
    assert loss(found) <= best.fun + 1e-3
    assert found[3] == pytest.approx(0.7, abs=0.15)


def test_labels_that_a_loss_has_moved_by_their_frequency_get_the_cuts_they_had_before() -> None:
    """As `pos_weight` does: the logits of rare labels are higher, and the best label sets are the same."""
    fresh, truth = draw(20_000, 30, 98)
    gaps = []
    for seed in range(6):
        probs, targets = draw(200, 30, seed)
        rise = np.log(np.arange(1, 31))  # how much rarer each label is
        reached = []
        for moved in (0.0, rise):
            scores, unseen = (1 / (1 + np.exp(-(np.log(p / (1 - p)) + moved))) for p in (probs, fresh))
            reached.append(middle(unseen, truth, fit_thresholds(scores, targets, "balanced")))
        gaps.append(reached[0] - reached[1])
    assert np.mean(gaps) < 0.006  # toward a centre that is the same for all labels it was 0.011


@pytest.mark.parametrize("seed", range(8))
def test_the_cuts_are_those_of_a_slow_search_over_all_bins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probs, targets = draw(int(rng.integers(30, 200)), int(rng.integers(1, 7)), seed)
    targets[0, 0] = True
    held = as_label_sets(targets, probs.shape, "targets")
    least = lowest_cuts(probs, held)
    grid = Grid.count(probs, held, least)
    theta, axis = grid.theta.numpy(), grid.axis
    odds = np.log(probs / (1 - probs))
    place = np.clip(np.floor((odds - axis.start) / WIDTH), 0, axis.bins - 1)
    edges = np.arange(axis.bins) * WIDTH + axis.start
    present = np.flatnonzero(targets.any(0))
    caught, taken, whole = np.zeros((3, len(present), axis.bins))
    for number, label in enumerate(present):
        known = probs[:, label] >= least[label]
        value = 1 / (1 + np.exp(-(theta[number] @ axis.design.numpy())))[place[:, label].astype(int)]
        for cut in range(axis.bins):
            above = known & (place[:, label] >= cut)
            caught[number, cut], taken[number, cut] = value[above].sum(), above.sum()
        whole[number] = value[known].sum() + (targets[:, label] & ~known).sum()
    f1 = 2 * caught / np.maximum(taken + whole, 1e-300)
    best, labels = f1.argmax(1), range(len(present))
    for _ in range(30):
        pooled = taken[labels, best].sum() + whole[:, 0].sum()
        micro = 2 * caught[labels, best].sum() / pooled
        gain = f1 / probs.shape[1] + (2 * caught - micro * taken) / pooled
        before, best = best, gain.argmax(1)
        if (before == best).all():
            break
    expected = np.maximum(1 / (1 + np.exp(-edges[best])), least[present])
    np.testing.assert_allclose(expected_cuts(probs, held)[present], expected, rtol=1e-9)


def test_few_rows_are_enough_where_cuts_of_the_rows_themselves_fall_short() -> None:
    """With 150 rows: nearer to the best cuts there are than those that follow the rows, and never far off."""
    fresh, truth = draw(40_000, 12, 99)
    grid = np.linspace(0.05, 0.6, 100)
    f1 = [
        [2 * (t & (p >= c)).sum() / ((p >= c).sum() + t.sum()) for c in grid]
        for p, t in zip(fresh.T, truth.T, strict=True)
    ]
    ideal = middle(fresh, truth, grid[np.argmax(f1, axis=1)])
    lost = {"balanced": [], "macro_f1": []}
    for seed in range(10):
        probs, targets = draw(150, 12, seed)
        for rule, gaps in lost.items():
            gaps.append(ideal - middle(fresh, truth, fit_thresholds(probs, targets, rule)))
    assert np.mean(lost["balanced"]) < 0.6 * np.mean(lost["macro_f1"])
    assert np.mean(lost["balanced"]) < 0.03


def test_scores_too_low_for_a_cut_change_nothing() -> None:
    probs, targets = draw(300, 5, 1)
    held = as_label_sets(targets, probs.shape, "targets")
    least = lowest_cuts(probs, held)
    assert (least <= np.quantile(probs[targets], 0.05, method="lower")).all()
    other = np.where((probs < least) & ~targets, probs / 3, probs)
    np.testing.assert_array_equal(expected_cuts(probs, held), expected_cuts(other, held))


@pytest.mark.parametrize("shift", [-8, -20, -60])
def test_logits_far_below_zero_are_cut_as_well(shift: int) -> None:
    """As of a million rare labels, or of a head that starts at their frequencies."""
    probs, targets = draw(1000, 8, 5)
    logits = np.log(probs / (1 - probs))
    lower = 1 / (1 + np.exp(-np.clip(logits + shift, -80, None)))
    reached = [middle(p, targets, fit_thresholds(p, targets, "balanced")) for p in (probs, lower)]
    assert abs(reached[0] - reached[1]) < 0.01


def test_many_labels_are_counted_in_blocks_to_the_same_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    probs, targets = draw(200, 40, 2)
    held = as_label_sets(targets, probs.shape, "targets")
    whole = expected_cuts(probs, held)
    monkeypatch.setattr("hf_multilabel.decisions.plug_in.BLOCK", 7 * 192)
    monkeypatch.setattr("hf_multilabel.decisions.plug_in.DENSE", 10)
    np.testing.assert_array_equal(expected_cuts(probs, held), whole)


def test_a_label_nobody_can_rank_takes_no_row_by_chance_and_one_without_a_positive_none() -> None:
    rng = np.random.default_rng(0)
    probs, targets = draw(300, 3, 3)
    probs[:, 2], targets[:, 2] = rng.random(300) * 0.02, False
    targets[:, 1] = rng.random(300) < 0.01
    cuts = expected_cuts(probs, sparse.csr_array(targets))
    assert cuts[2] == 1
    assert (probs[:, 1] >= cuts[1]).mean() < 0.2


def test_where_not_enough_is_kept_the_cuts_are_not_trusted() -> None:
    probs, targets = draw(300, 12, 4)
    held = as_label_sets(targets, probs.shape, "targets")
    kept = TopScores.of(probs, held, 1)
    assert not kept.knows(expected_cuts(kept, held))
    sharp = np.where(targets, 0.3 + 0.7 * probs, probs / 2)
    enough = TopScores.of(sharp, held, 8)
    assert enough.ceiling > 0
    np.testing.assert_array_equal(expected_cuts(enough, held), expected_cuts(sharp, held))
