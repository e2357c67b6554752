"""End a training at a step, with a checkpoint, where a signal asks for it: clusters send SIGTERM before they kill.

    one process hears a signal -> all agree as a step ends -> the evaluation that is due -> checkpoint -> Interrupted

The Trainer's own `enable_jit_checkpoint` hears SIGTERM alone, lets each process choose its step, and returns from it as
from a training that is complete.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import distributed
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from hf_multilabel.errors import Interrupted
from hf_multilabel.progress import is_first, mode

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Launchers and `timeout` pass on what the whole group got already: within so many seconds it is the same signal.
ECHO = 1.0
# Arguments of a training that goes on: saved in full, even if not the best, and nothing dropped or read at its end.
UNFINISHED = {
    "save_strategy": SaveStrategy.STEPS,
    "save_only_model": False,
    "save_total_limit": None,
    "load_best_model_at_end": False,
}


@contextmanager
def stop_on_signals(trainer: Trainer, resume_command: str) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the training inside with a checkpoint of the step; a second acts at once.

    A signal that finds no step to end any more acts when the training is over. Outside the main thread, where Python
    takes no handlers, signals do what they did.

    Args:
        trainer: What is trained inside.
        resume_command: Said to whoever stopped it.

    Raises:
        Interrupted: Naming the checkpoint and the command, on every process.
    """
    args = trainer.args
    stop, before = StopAtStep(), {name: getattr(args, name) for name in UNFINISHED}
    trainer.add_callback(stop)
    try:
        with stop.hearing():
            yield
    finally:
        trainer.remove_callback(stop)
        for name, value in before.items():
            setattr(args, name, value)
    if stop.agreed:
        trainer.accelerator.wait_for_everyone()  # a launcher ends the others as soon as one has ended
        said = f"stopped by {signal.Signals(stop.agreed).name} after step {trainer.state.global_step} of"
        raise Interrupted(
            stop.agreed, f"{said} {trainer.state.max_steps}, saved in {stop.checkpoint}; go on with: {resume_command}"
        )
    if stop.heard:
        signal.raise_signal(stop.heard)


class StopAtStep(TrainerCallback):
    """Ends a training for the first signal that any of its processes hears, at the same step on all of them.

    Added last: what the Trainer's own callback asks for at a step or an epoch is known by then.
    """

    def __init__(self) -> None:
        self.heard = self.agreed = 0
        self.when = 0.0
        self.checkpoint: Path | None = None
        self.handlers: dict[int, Any] = {}
        self.sent: tuple[torch.Tensor, torch.cuda.Event] | None = None

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Take the place of the handlers of the signals that are not ignored, and give it back."""
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.getsignal(number) for number in SIGNALS}
            self.handlers = {n: handler for n, handler in self.handlers.items() if handler != signal.SIG_IGN}
        for number in self.handlers:
            signal.signal(number, self.hear)
        try:
            yield
        finally:
            for number, handler in self.handlers.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Keep the first signal; give any later one to whoever would have had it."""
        if not self.heard:
            self.heard, self.when = number, time.monotonic()
            if is_first() and mode() == "auto":
                text = f"\n{signal.Signals(number).name}: saving after this step; a second signal stops at once\n"
                with contextlib.suppress(OSError):
                    os.write(2, text.encode())  # print may be what was interrupted
        elif time.monotonic() - self.when > ECHO:
            signal.signal(number, self.handlers[number] or signal.SIG_DFL)
            signal.raise_signal(number)

    def agree(self, args: TrainingArguments) -> int:
        """The signal that one of the processes has heard, the same number on all; 0 for none.

        On a GPU it is that of the step before: to read the newest would wait for all work that is under way there.
        """
        if args.world_size == 1:
            return self.heard
        flag = torch.full((1,), self.heard, device=args.device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        if flag.device.type != "cuda":
            return int(flag)
        last, self.sent = self.sent, (flag.to("cpu", non_blocking=True), torch.cuda.Event())
        self.sent[1].record()
        if last is None:
            return 0
        last[1].synchronize()
        return int(last[0])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the training where a signal was heard, and save; what an epoch evaluates at its end comes first."""
        self.agreed = self.agreed or self.agree(args)
        if self.agreed:
            control.should_training_stop = True
            control.should_save = not _is_at_end(state)
            for name, value in UNFINISHED.items():
                setattr(args, name, value)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save at the end of an epoch; in its midst, where the Trainer comes by as well, leave its end for later."""
        if self.agreed:
            control.should_save = _is_at_end(state)
            control.should_log &= control.should_save
            control.should_evaluate &= control.should_save

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep the name of the checkpoint."""
        self.checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _is_at_end(state: TrainerState) -> bool:
    """Whether an epoch, or the training, is over."""
    return float(state.epoch or 0.0).is_integer() or state.global_step >= state.max_steps
