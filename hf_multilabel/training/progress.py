"""The progress bar of a training: the log lines of the Trainer, without what only files and trackers are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import ProgressCallback

from hf_multilabel.training.groups import RATE


class Progress(ProgressCallback):
    """The Trainer's own, which would print the learning rates of all groups of layers in every line."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        """Print a line above the bar."""
        shown = {name: value for name, value in (logs or {}).items() if not name.startswith(RATE)}
        super().on_log(args, state, control, logs=shown, **kwargs)
