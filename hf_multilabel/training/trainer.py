"""The Trainer for multi-label models: its loss, its learning-rate groups, its order of rows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import Sampler, SequentialSampler
from transformers import EvalPrediction, Trainer

from hf_multilabel.console import show
from hf_multilabel.data.batching import MultiLabelCollator
from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.losses.binary import bce
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.optimizers import freeze_lowest, groups_table, layer_groups, parameter_groups
from hf_multilabel.training.precision import autocast
from hf_multilabel.training.samplers import LengthGroupedSampler

RowLoss = Callable[[Tensor, Tensor], Tensor]
# The Trainer's optimizers that do not take parameter groups: they need the model or one parameter at a time.
WHOLE_MODEL_OPTIMIZERS = ("galore", "apollo", "lomo", "muon", "layerwise")


def bce_rows(logits: Tensor, targets: Tensor) -> Tensor:
    """Plain binary cross-entropy of each row, (N, L) and (N, L) to (N,)."""
    return bce(logits, targets, reduction="rows")


def fixed_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Metrics at a cut of 0.5 of the evaluations during training; the tuned decision comes when training is over."""
    logits = torch.from_numpy(np.asarray(prediction.predictions, dtype=np.float32))
    probs = logits.sigmoid().numpy()
    return evaluate_predictions(probs, probs >= 0.5, np.asarray(prediction.label_ids) > 0.5)


class MultiLabelTrainer(Trainer):
    """Trainer with multi-label losses, layer-wise learning rates and a loss scale that is exact.

    The loss of an optimizer step is the mean over all its rows, on all processes and all accumulated batches, however
    unevenly they are filled: with the same rows a step, 4 x 1, 2 x 2 and 1 x 4 (rows x accumulation or processes) take
    the same steps. On several processes Accelerate fills the short last step of an epoch with rows from its start.
    With bf16 only the training step is cast; evaluation sees the fp32 model that users load.

    Args:
        model: A `MultiLabelForSequenceClassification`, or any model with `backbone` that returns `.logits`.
        args: `MultiLabelTrainingArguments`.
        loss: (logits (N, L), targets (N, L)) to one loss a row (N,); see `losses.build_loss`. None: plain BCE.
        train_dataset: Columns `input_ids`, `labels` (ids) and `length`, as `data.batching.tokenize` makes them.
        eval_dataset: The same columns.
        processing_class: Tokenizer, for the default collator and saved with every checkpoint.
        **kwargs: As for `transformers.Trainer`.

    Example:
        trainer = MultiLabelTrainer(model=model, args=args, train_dataset=train, processing_class=tokenizer)
        trainer.train()
    """

    # compute_loss below divides by the rows of the whole step itself.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module,
        args: MultiLabelTrainingArguments,
        *,
        loss: RowLoss | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(args, MultiLabelTrainingArguments):
            raise TypeError(
                f"args: expected MultiLabelTrainingArguments, found {type(args).__name__}. It takes the same arguments."
            )
        self.row_loss: RowLoss = loss or bce_rows
        freeze_lowest(model, args.freeze_layers)
        if processing_class is not None:
            kwargs.setdefault("data_collator", MultiLabelCollator(processing_class, model.config.num_labels))
        kwargs.setdefault("compute_metrics", fixed_metrics)
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; see `transformers.Trainer.train`."""
        # An evaluate() before train() leaves the model prepared but unwrapped, and the processes would drift apart.
        self.accelerator._models.clear()
        self.model.__dict__.pop("_is_accelerate_prepared", None)
        return super().train(*args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Sum of the rows' losses over the rows of the whole step; the batch's mean in evaluation.

        Args:
            model: Possibly wrapped.
            inputs: A batch with `labels`, float (N, L).
            return_outputs: Also return the model's output.
            num_items_in_batch: Rows of the step over all processes and accumulated batches.
        """
        targets = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        rows = self.row_loss(outputs.logits.float(), targets)
        if num_items_in_batch is None or not model.training:  # an evaluation logs the mean of its batches
            loss = rows.mean()
        else:
            # DDP and FSDP average gradients over the processes: times their number makes it the sum again.
            loss = rows.sum() / num_items_in_batch * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Tensor]], device: torch.device) -> Tensor | None:
        """Rows of an optimizer step over all processes; the Trainer would count label cells, and not for this loss."""
        if not batch_samples:
            return None
        rows = torch.tensor(sum(len(batch["labels"]) for batch in batch_samples), device=device)
        return self.accelerator.gather(rows).sum() if self.accelerator.num_processes > 1 else rows

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """bf16 in the training step only; see `MultiLabelTrainingArguments.precision`."""
        precision = self.args.precision if self.model.training else "fp32"
        return autocast(precision, self.args.device.type)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """One group a layer, each with its learning rate, with and without weight decay; the table is printed."""
        if self.optimizer is not None or self._takes_whole_model():
            return super().create_optimizer(model)
        target = self.model if model is None else model
        args = self.args
        groups = layer_groups(target, args.learning_rate, args.head_learning_rate, args.layerwise_decay)
        show(groups_table(groups, args.weight_decay))
        optimizer_class, kwargs = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(args, target)
        found = parameter_groups(groups, args.weight_decay, set(self.get_decay_parameter_names(target)))
        self.optimizer = optimizer_class(found, **kwargs)
        return self.optimizer

    def check_optimizer(self) -> None:
        """Build optimizer and schedule and let go of them: what the arguments get wrong shows before training.

        Raises:
            ValueError: If an argument has a value they do not take; also TypeError, or ImportError without its package.
        """
        if self._takes_whole_model():
            self.get_optimizer_cls_and_kwargs(self.args, self.model)
            return
        optimizer_class, kwargs = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        optimizer = optimizer_class([torch.nn.Parameter(torch.zeros(1))], **kwargs)
        self.create_scheduler(num_training_steps=1, optimizer=optimizer)
        self.lr_scheduler = None

    def _takes_whole_model(self) -> bool:
        args = self.args
        whole = any(name in str(args.optim) for name in WHOLE_MODEL_OPTIMIZERS)
        if whole and (args.head_learning_rate is not None or args.layerwise_decay != 1.0):
            raise ValueError(
                f"training.optim: expected an optimizer that takes parameter groups, for head_learning_rate and "
                f"layerwise_decay are set, found {str(args.optim)!r}. Remove those two or choose adamw_torch."
            )
        return whole

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or dataset is None:
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        step_rows = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        named = "length" in dataset.column_names
        lengths = dataset["length"] if named else [len(ids) for ids in dataset["input_ids"]]
        return LengthGroupedSampler(lengths, step_rows, seed)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        # The Trainer would group evaluation by length as well, and predict() would return rows in that order.
        return SequentialSampler(eval_dataset)
