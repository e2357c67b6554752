"""What a training run can be told beyond the Trainer's own arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from hf_multilabel.training.call_arguments import raise_problem
from hf_multilabel.training.checks import training_problems
from hf_multilabel.training.freezing import WAITING_MODES
from hf_multilabel.training.optimizers import is_ours, optim_args_text
from hf_multilabel.training.precision import choose_precision
from hf_multilabel.training.schedules import is_torchs


@dataclass
class MultiLabelTrainingArguments(TrainingArguments):
    """The Trainer's arguments plus those of optimizers, schedules, layer-wise rates, what trains when, and the head.

    Some defaults differ from the Trainer's because multi-label fine-tuning needs them: batches are grouped by length,
    a NaN loss is never filtered from the log, logs come every 10 steps, columns are never dropped by guessing
    signatures, and DDP searches for unused parameters only where some wait for their turn.

    `optimizer` and `schedule` take every name of the Trainer's `optim` and `lr_scheduler_type` and more, with typed
    arguments; those two work as before, but what they do not read of `optim_args` is refused.
    """

    optimizer: str | None = field(
        default=None,
        metadata={
            "help": "Optimizer by name, such as adamw, adam, amsgrad, nadam, radam, adadelta, adagrad, rmsprop, sgd, "
            "sgd_nesterov or any of the Trainer's; null: the Trainer's optim. Rates differ: adadelta wants a "
            "learning_rate near 1, sgd about 100 times Adam's."
        },
    )
    optimizer_args: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "Arguments of the optimizer, for instance {momentum: 0.9, nesterov: true}; learning_rate and "
            "weight_decay are keys of their own."
        },
    )
    schedule: str | None = field(
        default=None,
        metadata={
            "help": "Learning-rate schedule by name: step, multi_step, cosine_annealing, "
            "cosine_annealing_warm_restarts, one_cycle, or any of the Trainer's; null: the Trainer's "
            "lr_scheduler_type."
        },
    )
    schedule_args: dict[str, Any] = field(
        default_factory=dict,
        metadata={
            "help": "Arguments of the schedule under torch's names, for instance {step_size: 1 epoch, gamma: 0.5}. "
            "Where steps are counted: a whole number, a share of the run below 1, or text such as 2 epochs. "
            "one_cycle moves the momentum too, unless cycle_momentum is false."
        },
    )

    head_learning_rate: float | None = field(
        default=None,
        metadata={"help": "Learning rate of pooling and head; the backbone trains at learning_rate. None: the same."},
    )
    layerwise_decay: float = field(
        default=1.0,
        metadata={
            "help": "Factor in (0, 1] by which the learning rate shrinks from one backbone layer to the one below it; "
            "the embeddings come last. 1: every layer at learning_rate (Howard and Ruder 2018, Sun 2019)."
        },
    )
    learning_rates: dict[str, float] = field(
        default_factory=dict,
        metadata={
            "help": "Regular expression to learning rate, for the parameters in whose names it is found, for instance "
            '{"LayerNorm": 1.0e-3, "layer\\.[0-3]\\.": 1.0e-5}; the last that matches counts.'
        },
    )
    backbone_mode: str = field(
        default="all",
        metadata={
            "help": "Which part of the backbone trains when: all; frozen (the head alone); head_first (the head alone, "
            "then all); gradual (the head alone, then one more layer at a time from the top, Howard and Ruder 2018)."
        },
    )
    unfreeze_after: str | float | None = field(
        default=None,
        metadata={
            "help": "Of head_first: how long the head trains alone; of gradual: how long until the next layer joins. "
            "Steps, a share of the run below 1, or text such as 1 epoch, which null means."
        },
    )
    freeze_embeddings: bool = field(
        default=False,
        metadata={"help": "Leave the backbone's embeddings as they are: for large vocabularies and few rows."},
    )
    freeze_layers: int = field(
        default=0,
        metadata={
            "help": "Leave the embeddings and so many of the lowest backbone layers as they are: a third less time for "
            "half the layers. 0 trains all."
        },
    )
    head_init: str = field(
        default="prior",
        metadata={
            "help": "How the last layer starts: prior (its bias the logit of the label's frequency, Lin 2017); probe "
            "(logistic regression solved on the frozen backbone's features, Kumar 2022: the best start where labels "
            "are rare and epochs few); random."
        },
    )
    probe_c: float = field(
        default=0.1,
        metadata={"help": "Inverse strength of the probe's L2 penalty, as C in scikit-learn. Larger fits more."},
    )
    head_l1: float = field(
        default=0.0,
        metadata={
            "help": "L1 penalty: so many times the sum of the absolute weights of the head is added to the loss, once "
            "an optimizer step. With head_l2 an elastic net."
        },
    )
    head_l2: float = field(
        default=0.0,
        metadata={
            "help": "L2 penalty: so many times the sum of the squared weights of the head is added to the loss, once "
            "an optimizer step."
        },
    )
    collapse_alarm: bool = field(
        default=True,
        metadata={
            "help": "Look at 64 validation rows five times a run and warn once of labels that are never predicted, of "
            "predictions that are base rates, and of texts whose states become one."
        },
    )
    precision: str = field(
        default="auto",
        metadata={
            "help": "auto: bf16 where the hardware multiplies it natively, else fp32; bf16, fp16 or fp32 forces it. "
            "The head, the loss and all stored scores are fp32 in every case."
        },
    )
    cpu_threads: int | None = field(
        default=None,
        metadata={
            "help": "Threads of a process that trains on a CPU. None: its share of the cores under accelerate launch, "
            "which would leave it one; else what torch chose. 1 keeps one thread."
        },
    )
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={"help": "random, sequential, group_by_length (least padding) or batch_rebalance."},
    )
    remove_unused_columns: bool = field(
        default=False,
        metadata={"help": "Drop dataset columns that forward does not take. The collator needs them, so: no."},
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Hide NaN and infinite losses from the log. A NaN should be seen, so: no."}
    )
    logging_steps: float = field(
        default=10, metadata={"help": "Log every so many steps; a number below 1 is a share of all steps."}
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Let DDP look for parameters without a gradient. All are used, so: no."}
    )

    def __post_init__(self) -> None:
        """Check our fields, and fill in the Trainer's before it reads them."""
        raise_problem(training_problems(self))
        if self.optimizer is not None and not is_ours(self.optimizer):
            self.optim, self.optim_args = self.optimizer, optim_args_text(self.optimizer_args)
        if self.schedule is not None and not is_torchs(self.schedule):
            self.lr_scheduler_type, self.lr_scheduler_kwargs = self.schedule, dict(self.schedule_args) or None
        if self.backbone_mode in WAITING_MODES:
            self.ddp_find_unused_parameters = True
        self._resolve_precision()
        # torch warns at every batch where there is no device to pin memory for
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.accelerator.is_available()
        super().__post_init__()

    def _resolve_precision(self) -> None:
        if self.bf16 or self.fp16:
            self.precision = "bf16" if self.bf16 else "fp16"
        if self.use_cpu and self.precision == "fp16":
            raise ValueError("precision: expected bf16, fp32 or auto on a CPU, found 'fp16'. It needs a GPU.")
        self.precision = choose_precision(self.precision)
        # FSDP casts shards itself and must know; elsewhere the trainer casts the training step alone.
        sharded = bool(self.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")
        self.bf16 = sharded and self.precision == "bf16"
        self.fp16 = self.precision == "fp16"
