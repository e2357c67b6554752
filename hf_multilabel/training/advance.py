"""How far training and its evaluations are, with the last loss, the rate and the remaining time."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import has_length

from hf_multilabel.progress import Bar


class Advance(TrainerCallback):
    """A bar for the steps, and one for each evaluation while it runs; lines in a log file, see `progress`."""

    def __init__(self) -> None:
        self.steps: Bar | None = None
        self.batches: Bar | None = None
        self.last: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar; a resumed run begins where it was."""
        if state.is_world_process_zero:
            self.steps = Bar("training", state.max_steps, "steps", done=state.global_step).__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move on."""
        if self.steps is not None:
            self.steps.set(state.global_step, self._note())

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Keep the losses for the bar."""
        for key, shown in (("loss", "loss"), ("eval_loss", "validation loss")):
            if isinstance((logs or {}).get(key), float):
                self.last[shown] = logs[key]

    def on_prediction_step(
        self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **kwargs: Any
    ) -> None:
        """Move on in an evaluation."""
        if not (state.is_world_process_zero and has_length(eval_dataloader)):
            return
        if self.batches is None:
            self.batches = Bar("evaluating", len(eval_dataloader), "batches").__enter__()
        self.batches.update()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar of the evaluation."""
        self._close("batches")

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """Close it after a prediction."""
        self._close("batches")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar of the steps."""
        self._close("steps")

    def _note(self) -> str:
        return ", ".join(f"{name} {value:.4g}" for name, value in self.last.items())

    def _close(self, name: str) -> None:
        bar = getattr(self, name)
        if bar is not None:
            bar.__exit__()
            setattr(self, name, None)
