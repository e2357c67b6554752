"""Push the model of every save while training goes on: each push is one commit that loads and decides.

    checkpoint-N/ -> a bundle of its own beside it (hard links; adapters merged) -> a thread pushes it -> it goes

The Trainer's own pushes are not used: they make two commits of one save, build on no known commit, and write into the
run's folder.
"""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_multilabel.console import note
from hf_multilabel.errors import EnvironmentFault, Finding
from hf_multilabel.publishing.bundle import CARD, MANIFEST, describe, dump_manifest, label_names, link
from hf_multilabel.publishing.hub import Target, push_files
from hf_multilabel.publishing.last_checkpoint import LAST, TRAINER_STATE
from hf_multilabel.training.adapters import CONFIG, adapter_files

# The Trainer's names.
STRATEGIES = ("end", "every_save", "checkpoint", "all_checkpoints")
RESUMABLE = frozenset({"checkpoint", "all_checkpoints"})
STAGED = ".pushing-"
# What a checkpoint holds beside the model. The arguments are neither needed to go on nor fit to be shown: they name
# folders of this machine; peft's card does too.
STATE = ("*.pt", "*.pth", "*.bin", TRAINER_STATE, "adapter_*", CARD)
UNSHOWN = ("training_args.bin", CARD)


@dataclass(frozen=True)
class Described:
    """What a push says of a model in training.

    Args:
        card: README.md.
        files: Further files, among them recipe.yaml and metrics.json.
    """

    card: str
    files: Mapping[str, str | bytes]


class PushSaves(TrainerCallback):
    """Push every save; on the main process, in the background, one push at a time.

    A save that comes while the last one is still on its way is left out. A push that fails is said once, and the
    training goes on: the finished model is pushed afterwards anyway.

    Args:
        target: Repo and branch.
        strategy: One of `STRATEGIES` but `end`.
        describe_save: Metrics at 0.5 of the last evaluation and how far the training is, to what the push says.
        merge: Of a checkpoint with adapters, the plain model; None: checkpoints are plain models.
        base: Hub id of the backbone, for the adapter's files.
    """

    def __init__(
        self,
        target: Target,
        strategy: str,
        describe_save: Callable[[Mapping[str, float], str], Described],
        merge: Callable[[Path], PreTrainedModel] | None = None,
        base: str | None = None,
    ) -> None:
        self.target, self.strategy, self.describe_save = target, strategy, describe_save
        self.merge, self.base = merge, base
        self.thread: threading.Thread | None = None
        self.failed = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Remove what an interrupted run left."""
        if state.is_world_process_zero:
            for leftover in Path(args.output_dir).glob(f"{STAGED}*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stage the checkpoint and start its push."""
        if self.strategy in RESUMABLE:
            PartialState().wait_for_everyone()  # every process writes its own random state into the checkpoint
        if not state.is_world_process_zero or (self.thread is not None and self.thread.is_alive()):
            return
        step = state.global_step
        checkpoint, staging = Path(args.output_dir) / f"checkpoint-{step}", Path(args.output_dir) / f"{STAGED}{step}"
        try:
            self.stage(checkpoint, staging, state)
        except Exception as error:  # noqa: BLE001 -- no failure of a push may end the training
            self.complain(step, error)
            shutil.rmtree(staging, ignore_errors=True)
            return
        self.thread = threading.Thread(target=self.push, args=(staging, checkpoint.name, step), daemon=True)
        self.thread.start()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Wait for the push that is on its way: the final one builds on it."""
        if self.thread is not None:
            self.thread.join()

    def stage(self, checkpoint: Path, staging: Path, state: TrainerState) -> None:
        """Write the bundle of a checkpoint, and beside it what resuming needs.

        Raises:
            EnvironmentFault: If the checkpoint holds no weights that load without the processes that wrote them.
        """
        bundle = staging / "bundle"
        shutil.rmtree(staging, ignore_errors=True)
        bundle.mkdir(parents=True)
        for path in checkpoint.iterdir():
            if path.is_file() and not any(path.match(pattern) for pattern in STATE):
                link(path, bundle / path.name)
        described = self.describe_save(last_evaluation(state), progress(state))
        files = {**described.files, CARD: described.card}
        if self.merge is not None:
            with kept_random_state():
                self.merge(checkpoint).save_pretrained(bundle)
            files |= adapter_files(checkpoint, self.base)
        if not any(bundle.glob("*.safetensors")):
            found = "expected weights in one piece, found those of FSDP's processes"
            fix = "write fsdp_config: {state_dict_type: FULL_STATE_DICT}, or hub.strategy: end"
            raise EnvironmentFault(Finding("T108", str(checkpoint), found, fix))
        for name, content in files.items():
            (bundle / name).parent.mkdir(exist_ok=True)
            (bundle / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        names = label_names(json.loads((bundle / "config.json").read_text(encoding="utf-8")))
        (bundle / MANIFEST).write_text(dump_manifest(describe(bundle, names)), encoding="utf-8")
        if self.strategy in RESUMABLE:
            self.stage_state(checkpoint, staging / "state")

    def stage_state(self, checkpoint: Path, folder: Path) -> None:
        """The checkpoint as it is, without what names folders of this machine."""
        for path in checkpoint.rglob("*"):
            name = path.relative_to(checkpoint)
            if path.is_file() and str(name) not in (*UNSHOWN, TRAINER_STATE, CONFIG):
                link(path, folder / name)
        state = json.loads((checkpoint / TRAINER_STATE).read_text(encoding="utf-8"))
        if best := state.get("best_model_checkpoint"):
            state["best_model_checkpoint"] = Path(best).name
        (folder / TRAINER_STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        if (checkpoint / CONFIG).is_file():
            (folder / CONFIG).write_bytes(adapter_files(checkpoint, self.base)[f"adapter/{CONFIG}"])

    def push(self, staging: Path, checkpoint: str, step: int) -> None:
        """One commit; runs in the thread."""
        within = LAST if self.strategy == "checkpoint" else checkpoint
        state = staging / "state"
        beside = {f"{within}/{path.relative_to(state).as_posix()}": path for path in state.rglob("*") if path.is_file()}
        try:
            with hidden_bars():
                message = f"Training in progress, step {step}"
                push_files(staging / "bundle", self.target, message, beside=beside, folders=[within] if beside else [])
        except Exception as error:  # noqa: BLE001 -- no failure of a push may end the training
            self.complain(step, error)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def complain(self, step: int, error: Exception) -> None:
        """Say the first failure."""
        if not self.failed:
            self.failed = True
            note(f"the push at step {step} failed; training goes on, the finished model is pushed at its end: {error}")


def last_evaluation(state: TrainerState) -> dict[str, float]:
    """Metrics of the newest evaluation, without the Trainer's prefix and clock; empty before the first."""
    for entry in reversed(state.log_history):
        found = {name.removeprefix("eval_"): value for name, value in entry.items() if name.startswith("eval_")}
        if found:
            clock = ("runtime", "samples_per_second", "steps_per_second", "loss")
            return {name: value for name, value in found.items() if name not in clock}
    return {}


def progress(state: TrainerState) -> str:
    """How far a training is.

    Example:
        >>> progress(TrainerState(global_step=30, max_steps=120, epoch=1.5))
        'step 30 of 120, epoch 1.50'
    """
    return f"step {state.global_step} of {state.max_steps}, epoch {state.epoch or 0:.2f}"


@contextmanager
def kept_random_state() -> Iterator[None]:
    """What is drawn inside changes nothing that is drawn afterwards: a run that pushes trains as one that does not."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 -- the state others draw from
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def hidden_bars() -> Iterator[None]:
    """No bars of uploads in the middle of the training's own."""
    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
