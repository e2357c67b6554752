"""Trains each of the given settings in turn and saves where it ended: run by `test_distributed_modes.py`.

torchrun --nproc_per_node 2 train_modes.py PLAN.json OUT
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from safetensors.torch import save_file
from transformers import TrainerCallback

from hf_multilabel.backbones import build_model, load_backbone
from hf_multilabel.errors import Interrupted
from hf_multilabel.training.adapters import add_adapters
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.stopping import stop_on_signals
from hf_multilabel.training.trainer import MultiLabelTrainer


def main(plan: dict, out: Path) -> None:
    torch.set_num_threads(1)
    for name, values in plan["runs"].items():
        peft, resume, stop = (values.pop(name, None) for name in ("peft", "resume", "stop"))
        trainer = build(plan, out / name, peft, values)
        trainer.train()
        weights = {key: weight.detach().clone() for key, weight in trainer.model.state_dict().items()}
        sums = gather_object([float(sum(weight.double().abs().sum() for weight in weights.values()))])
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        found = {"processes": trainer.args.world_size, "sums": sums, "losses": losses}
        if stop:
            found["stops"] = gather_object([stop_one(build(plan, out / name, peft, values), **stop)])
            resume = found["stops"][0][0]
        if resume:
            again = build(plan, out / name, peft, values)
            again.train(resume_from_checkpoint=str(out / name / f"checkpoint-{resume}"))
            found["resumed"] = all(torch.equal(weights[key], w) for key, w in again.model.state_dict().items())
        if trainer.is_world_process_zero():
            save_file(weights, out / f"{name}.safetensors")
            (out / f"{name}.json").write_text(json.dumps(found))


def stop_one(trainer: MultiLabelTrainer, process: int, step: int) -> tuple[int, int]:
    """Let one of the processes hear a signal in a step; where this one stops, and its exit code."""

    class Hear(TrainerCallback):
        def on_optimizer_step(self, args: object, state: object, control: object, **kwargs: object) -> None:
            if trainer.args.process_index == process and state.global_step == step - 1:
                signal.raise_signal(signal.SIGTERM)

    trainer.add_callback(Hear())
    try:
        with stop_on_signals(trainer, "the command"):
            trainer.train()
    except Interrupted as error:
        return trainer.state.global_step, error.exit_code
    return trainer.state.global_step, 0


def build(plan: dict, folder: Path, peft: dict | None, values: dict) -> MultiLabelTrainer:
    backbone = load_backbone(plan["backbone"])
    torch.manual_seed(0)
    model = build_model(backbone, plan["labels"], dropout=0.0)
    return MultiLabelTrainer(
        model=add_adapters(model, **peft) if peft else model,
        args=MultiLabelTrainingArguments(output_dir=str(folder), **values),
        train_dataset=Dataset.from_dict(plan["rows"]),
        processing_class=backbone.tokenizer,
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
    PartialState().destroy_process_group()
