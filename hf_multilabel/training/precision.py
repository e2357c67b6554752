"""bf16 where the hardware multiplies it natively; found by looking, not by trying."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

PRECISIONS = ("auto", "bf16", "fp16", "fp32")


def has_native_bf16() -> bool:
    """Whether matrix products in bf16 are faster than in fp32 on this machine.

    A GPU needs compute capability 8.0 or more, a CPU AVX512_BF16 or AMX: without them bf16 is emulated, up to
    50 times slower than fp32.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available():
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_precision(precision: str) -> str:
    """Resolve `auto` to bf16 or fp32; other names stay.

    Raises:
        ValueError: If the name is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}. Choose one of them."
        )
    if precision == "auto":
        return "bf16" if has_native_bf16() else "fp32"
    return precision


def autocast(precision: str, device_type: str) -> AbstractContextManager[object]:
    """The autocast context of a training step: bf16 casts, every other precision leaves the step alone."""
    if precision == "bf16":
        return torch.autocast(device_type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
