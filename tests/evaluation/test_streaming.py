"""Metrics from batches and from scores kept in part, against those of the whole matrix."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.evaluation import (
    METRICS,
    Outcome,
    confidence_intervals,
    evaluate_outcome,
    evaluate_predictions,
    keeping,
)
from hf_multilabel.evaluation.curves import ALL_SCORES
from hf_multilabel.evaluation.keeping import RankedScores, ScoreKeeper
from hf_multilabel.evaluation.metrics import label_table
from hf_multilabel.evaluation.streaming import StreamingMetrics, in_units
from hf_multilabel.evaluation.top_outcome import TopOutcome

ROWS, LABELS, TRAINING_ROWS = 61, 12, 500


def draw(seed: int, tied: bool = False) -> tuple[NDArray, NDArray, NDArray]:
    """Probabilities, predictions and targets; some rows without labels, one with all, one label that never holds."""
    rng = np.random.default_rng(seed)
    probs = rng.random((ROWS, LABELS), dtype=np.float32) ** 3
    probs = (np.round(probs * 6) / 6).astype(np.float32) if tied else probs
    targets = rng.random((ROWS, LABELS)) < 0.3 * probs + 0.1
    targets[3], targets[4], targets[:, 5] = False, True, False
    return probs, probs >= 0.5, targets


COUNTS = np.random.default_rng(9).integers(0, 60, LABELS)
KNOWN = {"label_counts": COUNTS, "rows": TRAINING_ROWS}
CASES = [draw(0), draw(1, tied=True)]


def stream(case: tuple[NDArray, ...], order: NDArray, cuts: list[int], **kwargs: object) -> StreamingMetrics:
    state = StreamingMetrics(LABELS, **{**KNOWN, **kwargs})
    for start, stop in pairwise([0, *cuts, len(order)]):
        if stop > start:
            state.update(*(part[order[start:stop]] for part in case))
    return state


@pytest.mark.parametrize("case", CASES, ids=["distinct", "tied"])
@pytest.mark.parametrize("known", [KNOWN, {"label_counts": None, "rows": None}], ids=["counts", "no counts"])
def test_batches_give_the_metrics_of_the_whole(case: tuple[NDArray, ...], known: dict) -> None:
    whole = evaluate_predictions(*case, betas=(2, 0.5), **known)
    found = stream(case, np.arange(ROWS), [7, 8, 40], betas=(2, 0.5), **known).compute()
    left_out = {name for name in whole if name in ALL_SCORES}
    assert left_out == set(ALL_SCORES)
    assert found == pytest.approx({name: value for name, value in whole.items() if name not in left_out}, abs=1e-9)
    assert list(found) == [name for name in whole if name not in left_out]


@pytest.mark.parametrize("case", CASES, ids=["distinct", "tied"])
def test_order_batches_and_merging_change_no_bit(case: tuple[NDArray, ...]) -> None:
    rng = np.random.default_rng(4)
    expected = stream(case, np.arange(ROWS), []).compute()
    for _ in range(5):
        order, cuts = rng.permutation(ROWS), np.sort(rng.integers(0, ROWS, 9)).tolist()
        half = cuts[4]
        one, other = stream(case, order[:half], cuts[:4]), stream(case, order[half:], [c - half for c in cuts[5:]])
        one.merge(other)
        assert one.compute() == expected


def test_a_state_is_small() -> None:
    state = StreamingMetrics(13_000)
    assert state.nbytes <= 64 * 13_000


def test_sums_are_of_whole_units() -> None:
    values = np.random.default_rng(0).random(1000) * 1000
    assert in_units(values) == sum(round(value * 2**52) for value in values.tolist())
    assert in_units([-0.25]) == -(2**50)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"metrics": ["macro_auc"]}, r"metrics: expected some that sums over rows give, found 'macro_auc'"),
        ({"metrics": ["psp_at_k"]}, r"label_counts: expected the training texts of each label, which psp_at_k needs"),
        ({"metrics": ["f1"]}, r"metrics: expected keys of METRICS, found 'f1'"),
        ({"k": [0]}, r"k: expected whole numbers above 0"),
    ],
)
def test_what_no_state_can_give_is_refused(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingMetrics(3, **kwargs)


def test_a_function_that_was_added_is_left_out_for_it_may_read_any_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "mean_probability", lambda outcome: float(outcome.probs.mean()))
    state = StreamingMetrics(2)
    state.update([[0.5, 0.7]], [[0, 1]], [[0, 1]])
    assert "mean_probability" not in state.compute()
    assert evaluate_predictions([[0.5, 0.7]], [[0, 1]], [[0, 1]])["mean_probability"] == pytest.approx(0.6)
    with pytest.raises(ValueError, match="found 'mean_probability', which needs all rows at once"):
        StreamingMetrics(2, metrics=["mean_probability"])


def test_unlike_states_and_empty_ones_are_refused() -> None:
    state = StreamingMetrics(3)
    with pytest.raises(ValueError, match="rows: expected some, found none"):
        state.compute()
    with pytest.raises(ValueError, match="other: expected a state of the same 3 labels"):
        state.merge(StreamingMetrics(4))
    for counts, rows in (([1, 2], 9), ([2, 1], 10)):
        with pytest.raises(ValueError, match=r"other: expected a state with the same label_counts and rows \(9\)"):
            StreamingMetrics(2, label_counts=[2, 1], rows=9).merge(StreamingMetrics(2, label_counts=counts, rows=rows))
    with pytest.raises(ValueError, match="probs: expected 3 labels, found 2"):
        state.update([[0.5, 0.5]], [[0, 0]], [[0, 1]])


def test_places_are_counted_alike_on_a_cpu_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "CHUNK", 20)  # two pairs a block
    rng = np.random.default_rng(0)
    probs = torch.from_numpy(rng.integers(0, 4, (6, 9)).astype(np.float32) / 4)
    row, label = torch.from_numpy(rng.integers(0, 6, 13)), torch.from_numpy(rng.integers(0, 9, 13))
    own = probs[row, label][:, None]
    expected = torch.stack([(probs[row] >= own).sum(1), (probs[row] > own).sum(1)])
    for count in (keeping.count_places, lambda *of: keeping._count_in_blocks(*of[:2], own[:, 0])):
        assert torch.equal(torch.stack(count(probs, row, label)), expected)


def keep(probs: NDArray, targets: NDArray, k: int, seed: int = 0) -> RankedScores:
    keeper = ScoreKeeper(sparse.csr_array(targets), k)
    for rows in np.array_split(np.random.default_rng(seed).permutation(len(probs)), 7):
        keeper.place(keeper.select(rows, torch.from_numpy(probs[rows])))
    return keeper.finish()


@pytest.mark.parametrize("k", [2, 5, 9, 40])
@pytest.mark.parametrize("case", CASES, ids=["distinct", "tied"])
def test_the_keeper_keeps_what_it_says(case: tuple[NDArray, ...], k: int) -> None:
    probs, _, targets = case
    found = keep(probs, targets, k)
    for row in range(ROWS):
        stored = found.top.stored[[row]]
        held, others = np.flatnonzero(targets[row]), np.sort(probs[row][~targets[row]])[::-1]
        spare = max(len(held), k - 1 - len(held)) - len(held)
        assert set(held) <= set(stored.indices)
        np.testing.assert_array_equal(stored.data, probs[row][stored.indices])
        rest = np.sort(np.delete(probs[row], stored.indices))[::-1]
        np.testing.assert_array_equal(rest, others[spare:])
        assert found.top.floor[row] == (rest[0] if len(rest) else 0)
    ranks = Outcome(probs, targets, targets).row_ranks
    np.testing.assert_array_equal(found.at_least, ranks.at_least)
    np.testing.assert_array_equal(found.above, ranks.above)


def test_what_is_kept_depends_on_no_order_and_fits_its_room() -> None:
    rng = np.random.default_rng(3)
    probs = rng.random((500, 300), dtype=np.float32)
    targets = rng.random((500, 300)) < 0.01
    one, other = keep(probs, targets, 20), keep(probs, targets, 20, seed=1)
    np.testing.assert_array_equal(one.top.stored.data, other.top.stored.data)
    np.testing.assert_array_equal(one.top.stored.indices, other.top.stored.indices)
    assert one.nbytes <= 8 * 500 * 20 + 64
    assert one.top.stored.data.dtype == np.float32
    assert one.top.stored.indices.dtype == np.int32


@pytest.mark.parametrize("case", CASES, ids=["distinct", "tied"])
def test_kept_scores_give_the_metrics_of_all(case: tuple[NDArray, ...]) -> None:
    probs, predictions, targets = case
    whole = Outcome(*case, **KNOWN)
    part = TopOutcome(keep(probs, targets, 10), predictions, targets, **KNOWN)
    expected = {name: value for name, value in evaluate_outcome(whole).items() if name not in ALL_SCORES}
    found = evaluate_outcome(part)
    missing = expected.keys() - found.keys()  # ties with scores that were not kept leave the slots open
    assert missing <= {f"macro_{name}_at_{k}" for name in ("precision", "recall", "f1") for k in (1, 3, 5)}
    assert found == pytest.approx({name: value for name, value in expected.items() if name not in missing}, abs=1e-12)
    bounds, of_whole = confidence_intervals(part, resamples=20), confidence_intervals(whole, resamples=20)
    left_out = missing | set(ALL_SCORES)
    assert bounds.keys() == of_whole.keys() - left_out
    for name, ends in bounds.items():
        assert ends == pytest.approx(of_whole[name], abs=1e-12), name
    for here, there in zip(label_table(part, range(LABELS), 0.5), label_table(whole, range(LABELS), 0.5), strict=True):
        assert here == {**there, "auc": None, "ap": None}


def test_slots_are_known_where_the_highest_scores_were_kept() -> None:
    probs, predictions, _ = CASES[0]
    targets = np.random.default_rng(2).permuted(np.eye(ROWS, LABELS, dtype=bool), axis=1)  # none or one a row
    part, whole = TopOutcome(keep(probs, targets, 8), predictions, targets), Outcome(probs, predictions, targets)
    for k in (1, 3, 5):
        np.testing.assert_allclose(part.given_slots(k), whole.given_slots(k))
        np.testing.assert_allclose(part.row_slots(k).toarray(), whole.row_slots(k).toarray())
    assert part.given_slots(8) is None
    assert not {"macro_f1_at_8", "macro_recall_at_8"} & set(evaluate_outcome(part, k=[8]))


def test_every_metric_is_streamed_or_named_as_left_out() -> None:
    assert set(ALL_SCORES) <= set(METRICS)
    state = StreamingMetrics(LABELS, **KNOWN)
    assert {name for _, name, _ in state.calls} | set(ALL_SCORES) >= {
        name for name in METRICS if not name.endswith("_f_beta")
    }


def test_what_does_not_fit_kept_scores_is_refused() -> None:
    probs, predictions, targets = CASES[0]
    with pytest.raises(ValueError, match="targets: expected the .* positives that scores were kept for"):
        TopOutcome(keep(probs, targets, 5), predictions, ~targets)
    with pytest.raises(ValueError, match="k: expected 2 or more, found 1"):
        ScoreKeeper(sparse.csr_array(targets), 1)
    with pytest.raises(ValueError, match="rows: expected each of 61 once, found 61 missing"):
        ScoreKeeper(sparse.csr_array(targets), 5).finish()
    keeper = ScoreKeeper(sparse.csr_array(targets), 5)
    keeper.place(keeper.select(np.arange(ROWS), torch.full((ROWS, LABELS), torch.nan)))
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        keeper.finish()
