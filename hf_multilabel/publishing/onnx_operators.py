"""ONNX translations of the torch operators that torch.onnx has none for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

OPSET = 20


def translations() -> dict[Any, Callable[..., Any]]:
    """Torch operator to a function that builds its ONNX nodes, for `torch.onnx.export(custom_translation_table=...)`.

    Raises:
        ImportError: If onnxscript is not installed.
    """
    from onnx import TensorProto
    from onnxscript import opset20 as op

    def sort_stable(self: Any, *, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        """TopK of all values: of equals the lower index comes first, so the operator's definition says."""
        size = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]), axis=0)  # (1,)
        # not every runtime sorts bytes; the values sorted here are flags or float64
        wide = op.Cast(self, to=TensorProto.DOUBLE)
        values, order = op.TopK(wide, size, axis=dim, largest=int(descending), sorted=1)
        return op.CastLike(values, self), order

    def searchsorted(
        sorted_sequence: Any,
        self: Any,
        *,
        out_int32: bool = False,
        right: bool = False,
        side: str | None = None,
        sorter: Any = None,
    ) -> Any:
        """How many entries of a row do not lie above the value (right), or lie below it: (L, W), (L, n) -> (L, n)."""
        if out_int32 or sorter is not None or side is not None:
            raise NotImplementedError("searchsorted: expected ids in int64 of a sorted sequence, and right.")
        entries = op.Unsqueeze(sorted_sequence, op.Constant(value_ints=[1]))  # (L, 1, W)
        values = op.Unsqueeze(self, op.Constant(value_ints=[2]))  # (L, n, 1)
        passed = op.GreaterOrEqual(values, entries) if right else op.Greater(values, entries)  # (L, n, W)
        return op.ReduceSum(op.Cast(passed, to=TensorProto.INT64), op.Constant(value_ints=[2]), keepdims=0)

    return {torch.ops.aten.sort.stable: sort_stable, torch.ops.aten.searchsorted.Tensor: searchsorted}
