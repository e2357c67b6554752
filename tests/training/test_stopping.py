from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from hf_multilabel import cli
from hf_multilabel.errors import Interrupted
from hf_multilabel.runs import last_checkpoint
from hf_multilabel.training import stopping
from hf_multilabel.training.stopping import SIGNALS, stop_on_signals
from hf_multilabel.training.trainer import MultiLabelTrainer

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "hf-multilabel train recipe.yaml --resume"


class Raise(TrainerCallback):
    """Signals for this process while a step is taken."""

    def __init__(self, step: int, *numbers: int) -> None:
        self.step, self.numbers = step, numbers

    def on_optimizer_step(self, args: object, state: object, control: object, **kwargs: object) -> None:
        if state.global_step == self.step - 1:
            for number in self.numbers:
                signal.raise_signal(number)


@pytest.fixture(autouse=True)
def handlers_are_given_back() -> Iterator[None]:
    # a shell starts what it puts into the background with SIGINT ignored, and what is ignored is left alone
    started = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    signal.signal(signal.SIGINT, started)


def evaluations(trainer: MultiLabelTrainer) -> list[tuple[int, float]]:
    return [(entry["step"], entry["eval_loss"]) for entry in trainer.state.log_history if "eval_loss" in entry]


BEST = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "save_total_limit": 1}


@pytest.mark.parametrize("step", [1, 3, 4, 6])  # three an epoch
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"eval_strategy": "epoch"},
        {"eval_strategy": "epoch", "save_strategy": "epoch", **BEST},
        {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best", **BEST},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2, "save_only_model": True},
    ],
    ids=["no_saves", "epochs", "best_of_epochs", "only_the_best", "accumulated"],
)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    step: int, values: dict, make_trainer: Callable[..., MultiLabelTrainer], tmp_path: Path
) -> None:
    values = {"dropout": 0.1, "num_train_epochs": 2, **values}
    whole = make_trainer(folder=tmp_path / "whole", **values)
    whole.train()
    stopped = make_trainer(folder=tmp_path / "run", **values)
    stopped.add_callback(Raise(step, signal.SIGTERM))
    said = rf"SIGTERM after step {step} of 6.*checkpoint-{step}; .*{COMMAND}"
    with pytest.raises(Interrupted, match=said) as raised, stop_on_signals(stopped, COMMAND):
        stopped.train()
    assert raised.value.exit_code == 143
    assert set(evaluations(stopped)) <= set(evaluations(whole))
    checkpoint = last_checkpoint(tmp_path / "run")
    assert checkpoint.name == f"checkpoint-{step}"
    resumed = make_trainer(folder=tmp_path / "run", **values)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.state.global_step == 6
    assert evaluations(resumed) == evaluations(whole)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name


def test_one_signal_that_comes_twice_is_one(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    trainer = make_trainer()
    trainer.add_callback(Raise(2, signal.SIGINT, signal.SIGINT))
    with pytest.raises(Interrupted, match="SIGINT") as raised, stop_on_signals(trainer, COMMAND):
        trainer.train()
    assert raised.value.exit_code == 130


def test_a_second_signal_stops_at_once(
    make_trainer: Callable[..., MultiLabelTrainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "ECHO", -1.0)
    trainer = make_trainer()
    trainer.add_callback(Raise(2, signal.SIGTERM, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), stop_on_signals(trainer, COMMAND):
        trainer.train()
    assert trainer.state.global_step == 1
    assert not list(tmp_path.glob("checkpoint-*"))


def test_a_signal_after_the_last_step_acts_when_the_training_is_over(
    make_trainer: Callable[..., MultiLabelTrainer],
) -> None:
    class Late(TrainerCallback):
        def on_train_end(self, *args: object, **kwargs: object) -> None:
            signal.raise_signal(signal.SIGINT)

    trainer = make_trainer(max_steps=2)
    trainer.add_callback(Late())
    with pytest.raises(KeyboardInterrupt), stop_on_signals(trainer, COMMAND):
        trainer.train()
    assert trainer.state.global_step == 2


def test_a_trainer_of_ones_own_is_interrupted_as_ever(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    trainer = make_trainer()
    trainer.add_callback(Raise(2, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()


def test_what_is_ignored_stays_so(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
    try:
        trainer = make_trainer(max_steps=3)
        trainer.add_callback(Raise(2, signal.SIGINT))
        with stop_on_signals(trainer, COMMAND):
            trainer.train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.state.global_step == 3


def test_another_thread_trains_without_handlers(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    trainer, seen = make_trainer(max_steps=1), []

    def train() -> None:
        with stop_on_signals(trainer, COMMAND):
            seen.append(signal.getsignal(signal.SIGTERM))
            trainer.train()

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
    assert trainer.state.global_step == 1


def test_a_checkpoint_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    for step, whole in ((9, True), (10, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").touch()
        if whole:
            (folder / "trainer_state.json").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_checkpoint(tmp_path / "elsewhere") is None


class Trained(Exception):
    """Ends a run where its weights are to be saved."""


def test_a_killed_command_says_how_to_go_on_and_does(
    tiny_backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, torch.Tensor]] = []

    def keep(recipe: object, trainer: MultiLabelTrainer, *args: object) -> None:
        found.append({name: weight.clone() for name, weight in trainer.model.state_dict().items()})
        raise Trained

    def arguments(folder: Path) -> list[str]:
        return [
            *("train", "quickstart", "data.max_rows={train: 96, validation: 48, test: 48}", "data.max_length=32"),
            *("training.max_steps=100", "training.per_device_train_batch_size=8", "training.eval_strategy=no"),
            *("training.save_strategy=steps", "training.save_steps=5", "training.save_total_limit=2"),
            *("training.cpu_threads=1", "model.backbone_sha256=null", "training.freeze_layers=0"),
            *(f"model.backbone={tiny_backbone_folder}", f"training.output_dir={folder}"),
        ]

    command = [sys.executable, "-m", "hf_multilabel", *arguments(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "run" / "checkpoint-5").exists():
        time.sleep(0.01)
    process.terminate()
    said = process.communicate(timeout=120)[1].strip().splitlines()
    assert process.returncode == 143, said
    step = int(last_checkpoint(tmp_path / "run").name.removeprefix("checkpoint-"))
    assert f"stopped by SIGTERM after step {step} of 100, saved in {tmp_path}/run/checkpoint-{step}" in said[-1]

    monkeypatch.setattr("hf_multilabel.workflow.saved_weights", keep)
    again = shlex.split(said[-1].split("go on with: hf-multilabel ")[1])
    for resumed in (again, arguments(tmp_path / "whole")):
        with pytest.raises(Trained):
            cli.call(resumed)
    assert 5 <= step < 100
    assert all(torch.equal(found[0][name], weight) for name, weight in found[1].items())
