from __future__ import annotations

import os

import pytest
import torch

from hf_multilabel.training.threads import share_cores


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("processes", "cores", "expected"), [(1, 8, 8), (2, 8, 4), (3, 2, 1)])
def test_accelerate_launch_gets_its_share(
    processes: int, cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    assert share_cores() == expected


def test_other_processes_keep_what_torch_chose() -> None:
    torch.set_num_threads(1)
    assert share_cores() == 1


def test_a_given_number_wins() -> None:
    assert share_cores(2) == 2
