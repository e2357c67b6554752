"""What a training ran on, in words, so that a time means something to others."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")


def describe_device(device: torch.device) -> str:
    """One process's share of the machine: its GPU, or the threads it computes with and their processor.

    Example:
        >>> describe_device(torch.device("cpu")).startswith(f"{torch.get_num_threads()} thread")
        True
    """
    if device.type == "cuda":
        return f"one {torch.cuda.get_device_name(device)}"
    if device.type != "cpu":
        return f"one {device.type} device of a {platform.machine()} machine"
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''} of a CPU ({cpu_name()})"


def cpu_name(info: Path = CPU_INFO) -> str:
    """The processor as Linux names it, else as Python does."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next((name for name in named if name), platform.processor() or platform.machine() or "unknown")
