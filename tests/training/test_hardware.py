from __future__ import annotations

from pathlib import Path

import torch

from hf_multilabel.training.hardware import cpu_name, describe_device


def test_a_cpu_is_named_with_its_threads(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\nmodel name\t: other\n")
    assert cpu_name(info) == "Some CPU: 3 GHz"
    assert cpu_name(tmp_path / "none")
    torch.set_num_threads(2)
    assert describe_device(torch.device("cpu")) == f"2 threads of a CPU ({cpu_name()})"
    torch.set_num_threads(1)
    assert describe_device(torch.device("cpu")).startswith("1 thread of")
