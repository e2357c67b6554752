from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_multilabel import default_decision
from hf_multilabel.errors import EnvironmentFault
from hf_multilabel.publishing.bundle import publish_staged, stage_bundle, verify_bundle
from hf_multilabel.publishing.proof import child_environment, compare, prove_bundle
from hf_multilabel.publishing.reproduction import near_a_cut
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities


def test_a_staged_bundle_gives_the_same_elsewhere_and_keeps_the_proof(trained, tmp_path: Path) -> None:
    staging = stage_bundle(tmp_path / "run", **trained.arguments)
    proof = prove_bundle(staging, *trained.evidence)
    publish_staged(staging, proof=proof)
    assert len(np.unique(trained.predictions, axis=0)) >= 3  # one label set for all texts would prove little
    assert proof["rows"] == len(trained.texts)
    assert proof["max_abs_logit_difference"] <= 1e-5
    assert proof["label_sets_equal"] is True
    assert proof["rows_near_a_cut"] == 0
    assert verify_bundle(tmp_path / "run")["proof"] == proof


def test_a_shipped_file_that_needs_the_package_is_found_out(finished: Path, trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    with (folder / "heads_multilabel.py").open("a") as file:
        file.write("\nfrom hf_multilabel.errors import Finding\n")
    with pytest.raises(EnvironmentFault, match="expected a folder that loads with transformers alone.*hf_multilabel"):
        prove_bundle(folder, *trained.evidence)


def expected_and_found() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    logits = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    predictions = logits > 0
    return (
        logits,
        predictions,
        {"logits": logits.copy(), "predictions": predictions.copy(), "near": np.zeros((6, 3), bool)},
    )


@pytest.mark.parametrize("value", [0.0011, float("nan"), float("inf")])
def test_logits_beyond_the_tolerance_are_named_by_row_and_label(value: float) -> None:
    logits, predictions, found = expected_and_found()
    found["logits"][4, 2] += value
    with pytest.raises(EnvironmentFault, match=r"instead of .* in row 4 for 'c', 1 rows in all"):
        compare("run", "abc", logits, predictions, found)


def test_a_model_with_other_labels_is_refused_by_shape() -> None:
    logits, predictions, found = expected_and_found()
    with pytest.raises(EnvironmentFault, match=r"expected logits of shape \(6, 2\), found shape \(6, 3\)"):
        compare("run", "abc", logits[:, :2], predictions[:, :2], found)


def test_label_sets_may_differ_only_where_a_probability_lies_on_its_cut() -> None:
    logits, predictions, found = expected_and_found()
    found["predictions"][3, 1] ^= True
    with pytest.raises(EnvironmentFault, match=r"1 rows with another, first row 3 in \['b'\]"):
        compare("run", "abc", logits, predictions, found)
    found["near"][3, 0] = True
    with pytest.raises(EnvironmentFault, match="first row 3"):
        compare("run", "abc", logits, predictions, found)
    found["near"][3, 1] = True
    report = compare("run", "abc", logits, predictions, found)
    assert (report["rows_near_a_cut"], report["label_sets_equal"]) == (1, False)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"thresholds": [0.1, 0.3, 0.5, 0.7]},
        {"empty": "at_least_one"},
        {"max_labels": 2},
        {"min_labels": 2},
        {"rule": "top_k", "top_k": 2},
    ],
)
def test_whatever_a_small_change_can_flip_counts_as_near_a_cut(settings: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    decision = default_decision() | settings
    # around a coarse grid: many probabilities lie almost on cuts and many almost tie
    probs = torch.randint(0, 11, (400, 4), generator=generator).double() / 10
    probs = (probs + (torch.rand(probs.shape, generator=generator, dtype=torch.float64) - 0.5) * 0.8e-5).clamp(0, 1)
    near, decided = near_a_cut(probs, decision), decide_probabilities(probs, decision)
    flipped = torch.zeros_like(decided)
    for _ in range(60):
        change = (torch.rand(probs.shape, generator=generator, dtype=torch.float64) - 0.5) * 0.9e-5
        flipped |= decide_probabilities((probs + change).clamp(0, 1), decision) != decided
    assert flipped.any()
    assert not (flipped & ~near).any()
    far = (torch.rand((400, 4), generator=generator, dtype=torch.float64) * 0.7 + 0.15).round(decimals=3) + 0.0005
    assert near_a_cut(far, decision).double().mean() < 0.05


def test_the_proof_runs_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "ACCELERATE_USE_FSDP", "HF_TOKEN"):
        monkeypatch.setenv(name, "1")
    variables = child_environment(tmp_path)
    assert not {"WORLD_SIZE", "RANK", "MASTER_ADDR", "ACCELERATE_USE_FSDP", "HF_TOKEN"} & set(variables)
    assert variables["HF_MODULES_CACHE"].startswith(str(tmp_path))
