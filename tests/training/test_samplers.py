from __future__ import annotations

import numpy as np
import pytest

from hf_multilabel.training.samplers import LengthGroupedSampler

LENGTHS = np.random.default_rng(0).integers(4, 128, 1003)


def test_every_row_comes_once() -> None:
    assert sorted(LengthGroupedSampler(LENGTHS, 8, seed=0)) == list(range(1003))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    one, other = LengthGroupedSampler(LENGTHS, 8, seed=3), LengthGroupedSampler(LENGTHS, 8, seed=3)
    np.random.seed(1)  # global generators have no say
    assert list(one) == list(other)
    other.set_epoch(1)
    assert list(one) != list(other)
    one.set_epoch(1)
    assert list(one) == list(other)
    assert list(LengthGroupedSampler(LENGTHS, 8, seed=4)) != list(LengthGroupedSampler(LENGTHS, 8, seed=3))


def test_a_step_pads_little() -> None:
    order = np.array(list(LengthGroupedSampler(LENGTHS, 8, seed=0)))[:1000].reshape(-1, 8)
    grouped = LENGTHS[order].max(1).sum() * 8 / LENGTHS.sum()
    mixed = LENGTHS[np.arange(1000)].reshape(-1, 8).max(1).sum() * 8 / LENGTHS.sum()
    assert grouped < 1.1 < 1.5 < mixed


def test_lengths_do_not_run_from_short_to_long() -> None:
    order = np.array(list(LengthGroupedSampler(LENGTHS, 8, seed=0)))[:1000].reshape(-1, 8)
    means = LENGTHS[order].mean(1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


@pytest.mark.parametrize("rows", [1, 7, 8, 9])
def test_fewer_rows_than_a_step(rows: int) -> None:
    assert sorted(LengthGroupedSampler(LENGTHS[:rows], 8, seed=0)) == list(range(rows))


def test_drawn_rows_are_ordered_like_all_rows() -> None:
    def draw(epoch: int) -> np.ndarray:
        return np.random.default_rng(epoch).integers(0, 1003, 1003)

    sampler = LengthGroupedSampler(LENGTHS, 8, seed=0, draw=draw)
    assert sorted(sampler) == sorted(draw(0).tolist())
    sampler.set_epoch(2)
    assert sorted(sampler) == sorted(draw(2).tolist())
    padding = np.ptp(LENGTHS[np.array(list(sampler))[:1000].reshape(-1, 8)], axis=1)
    assert padding.mean() < 10
