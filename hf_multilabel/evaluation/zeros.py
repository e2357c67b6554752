"""What counts 0 whatever a model does, in words for tables and cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def tell_unlabelled(found: Mapping[str, Any]) -> str | None:
    """That texts without a label count 0 in the means over texts, where there are any.

    Args:
        found: Metrics of a decision.

    Example:
        >>> tell_unlabelled({"rows_without_labels": 30})
        '30 texts without a label count 0 in samples F1 and in metrics at k, also where rightly nothing was predicted.'
    """
    if not (empty := found.get("rows_without_labels")):
        return None
    noun = "text without a label counts" if empty == 1 else "texts without a label count"
    return f"{empty:,} {noun} 0 in samples F1 and in metrics at k, also where rightly nothing was predicted."
