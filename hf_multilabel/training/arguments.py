"""What a training run can be told beyond the Trainer's own arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments

from hf_multilabel.training.precision import choose_precision

HEAD_INITS = ("random", "prior", "probe")


@dataclass
class MultiLabelTrainingArguments(TrainingArguments):
    """The Trainer's arguments plus those of layer-wise learning rates, head initialisation and precision.

    Some defaults differ from the Trainer's because multi-label fine-tuning needs them: batches are grouped by length,
    a NaN loss is never filtered from the log, logs come every 10 steps, columns are never dropped by guessing
    signatures, and DDP never searches for unused parameters, for there are none.
    """

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
    freeze_layers: int = field(
        default=0,
        metadata={
            "help": "Leave the embeddings and so many of the lowest backbone layers as they are: a third less time for "
            "half the layers. 0 trains all."
        },
    )
    head_init: str = field(
        default="random",
        metadata={
            "help": "How the last layer starts: random; prior (its bias the logit of the label's frequency, Lin 2017); "
            "probe (logistic regression solved on the frozen backbone's features, Kumar 2022)."
        },
    )
    probe_c: float = field(
        default=1.0,
        metadata={"help": "Inverse strength of the probe's L2 penalty, as C in scikit-learn. Larger fits more."},
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
        """Resolve `precision` before the Trainer reads bf16 and fp16."""
        if self.head_init not in HEAD_INITS:
            raise ValueError(
                f"head_init: expected one of {', '.join(HEAD_INITS)}, found {self.head_init!r}. Choose one of them."
            )
        if self.bf16 or self.fp16:
            self.precision = "bf16" if self.bf16 else "fp16"
        if self.use_cpu and self.precision == "fp16":
            raise ValueError("precision: expected bf16, fp32 or auto on a CPU, found 'fp16'. It needs a GPU.")
        self.precision = choose_precision(self.precision)
        # FSDP casts shards itself and must know; elsewhere the trainer casts the training step alone.
        sharded = bool(self.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")
        self.bf16 = sharded and self.precision == "bf16"
        self.fp16 = self.precision == "fp16"
        # torch warns at every batch where there is no device to pin memory for
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.accelerator.is_available()
        super().__post_init__()
