from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.precision import autocast, choose_precision, has_native_bf16


def test_auto_looks_at_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_multilabel.training.precision.has_native_bf16", lambda: True)
    assert choose_precision("auto") == "bf16"
    monkeypatch.setattr("hf_multilabel.training.precision.has_native_bf16", lambda: False)
    assert choose_precision("auto") == "fp32"


@pytest.mark.skipif(torch.cuda.is_available() or not Path("/proc/cpuinfo").exists(), reason="reads the flags of a CPU")
def test_agrees_with_the_kernel_about_the_cpu() -> None:
    flags = Path("/proc/cpuinfo").read_text()
    assert has_native_bf16() == ("avx512_bf16" in flags or "amx_bf16" in flags or "amx_tile" in flags)


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="precision: expected one of"):
        choose_precision("float16")


def test_autocast_casts_for_bf16_only() -> None:
    x = torch.ones(2, 2)
    with autocast("bf16", "cpu"):
        assert (x @ x).dtype == torch.bfloat16
    with autocast("fp32", "cpu"):
        assert (x @ x).dtype == torch.float32


def test_arguments_leave_evaluation_in_fp32(tmp_path: Path) -> None:
    args = MultiLabelTrainingArguments(output_dir=str(tmp_path), bf16=True, use_cpu=True)
    assert (args.precision, args.bf16, args.fp16) == ("bf16", False, False)


@pytest.mark.parametrize(
    ("values", "match"),
    [({"precision": "half"}, "precision: expected"), ({"head_init": "zeros"}, "head_init: expected one of random")],
)
def test_arguments_refuse_unknown_names(tmp_path: Path, values: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MultiLabelTrainingArguments(output_dir=str(tmp_path), **values)


def test_every_argument_of_ours_has_help() -> None:
    fields = MultiLabelTrainingArguments.__dataclass_fields__
    ours = [name for name in MultiLabelTrainingArguments.__annotations__]
    assert all(fields[name].metadata["help"].endswith((".", ")")) for name in ours)
