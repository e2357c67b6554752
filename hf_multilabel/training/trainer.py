"""The Trainer for multi-label models: its loss, its learning-rate groups, its order of rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import EvalPrediction, PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_utils import EvalLoopOutput

from hf_multilabel.console import show
from hf_multilabel.data.batching import MultiLabelCollator, check_ids
from hf_multilabel.evaluation.curves import ALL_SCORES
from hf_multilabel.evaluation.keeping import SMALL_LABEL_SET
from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.evaluation.streaming import StreamingMetrics
from hf_multilabel.losses.binary import bce
from hf_multilabel.training.advance import Advance
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.collapse import CollapseAlarm
from hf_multilabel.training.durations import count_steps
from hf_multilabel.training.freezing import WAITING_MODES, Unfreezing, freeze_for_good, plan_starts
from hf_multilabel.training.groups import LayerGroup, group_rates, groups_table, layer_groups, parameter_groups
from hf_multilabel.training.optimizers import is_ours, resolve_optimizer, takes_whole_model
from hf_multilabel.training.penalties import elastic_net, head_weights
from hf_multilabel.training.precision import autocast
from hf_multilabel.training.samplers import LengthGroupedSampler
from hf_multilabel.training.schedules import build_schedule, is_torchs

logger = logging.getLogger(__name__)

RowLoss = Callable[[Tensor, Tensor], Tensor]
# The length of the run on which a schedule is tried before training.
CHECKED_STEPS = 1000


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
    With bf16 only the training step is cast; evaluation sees the fp32 model that users load. Above `SMALL_LABEL_SET`
    labels it keeps counts and sums instead of logits, and leaves out the metrics that need all scores of a label.

    Args:
        model: A `MultiLabelForSequenceClassification`, or any model with `backbone` that returns `.logits`.
        args: `MultiLabelTrainingArguments`.
        loss: (logits (N, L), targets (N, L)) to one loss a row (N,); see `losses.build_loss`. None: plain BCE.
        train_dataset: Columns `input_ids`, `labels` (ids) and `length`, as `data.batching.tokenize` makes them.
        eval_dataset: The same columns.
        processing_class: Tokenizer, for the default collator and saved with every checkpoint.
        draw_rows: Epoch to the rows to train on, as many as there are; None: each row once.
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
        draw_rows: Callable[[int], np.ndarray] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(args, MultiLabelTrainingArguments):
            raise TypeError(
                f"args: expected MultiLabelTrainingArguments, found {type(args).__name__}. It takes the same arguments."
            )
        self.draw_rows = draw_rows
        self.row_loss: RowLoss = loss or bce_rows
        self.steps_per_epoch: int | None = None
        self.total_steps: int | None = None
        self.rates: dict[str, float] = {}
        freeze_for_good(model, args.backbone_mode, args.freeze_layers, args.freeze_embeddings)
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
        if self.is_fsdp_enabled and (args.head_l1 or args.head_l2):
            raise ValueError("head_l1, head_l2: expected 0 under FSDP, found a penalty. Use weight_decay there.")
        if args.learning_rates:  # a pattern that decides nothing is said now, not when everything is prepared
            layer_groups(model, args.learning_rate, overrides=args.learning_rates)
        self.streamed: StreamingMetrics | None = None
        best = (args.metric_for_best_model or "").removeprefix("eval_")
        if self._streams() and best in ALL_SCORES:
            raise ValueError(
                f"metric_for_best_model: expected a metric that sums over rows give, for above {SMALL_LABEL_SET:,} "
                f"labels no scores are kept, found {best!r}. Take macro_f1 or ndcg_at_5."
            )
        self._show_advance()
        self.unfreezing = Unfreezing()
        self.add_callback(self.unfreezing)
        if args.collapse_alarm and isinstance(train_dataset, Dataset) and isinstance(eval_dataset, Dataset):
            self.add_callback(
                CollapseAlarm(eval_dataset, self.data_collator, self._base_rates(), model.config.label_names)
            )

    def _show_advance(self) -> None:
        """Our bar in the place of the Trainer's, which writes every log entry out."""
        theirs = self.pop_callback(ProgressCallback), self.pop_callback(PrinterCallback)
        if theirs[0] is not None:
            self.add_callback(Advance())

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; see `transformers.Trainer.train`."""
        # An evaluate() before train() leaves the model prepared but unwrapped, and the processes would drift apart.
        self.accelerator._models.clear()
        self.model.__dict__.pop("_is_accelerate_prepared", None)
        self.unfreezing.release()
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
            if (self.args.head_l1 or self.args.head_l2) and self.accelerator.sync_gradients:
                # with the last batch of a step, and averaged over the processes: once a step however it is divided
                loss = loss + elastic_net(head_weights(self.model), self.args.head_l1, self.args.head_l2)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The Trainer's; beside its one learning rate, that of the first group, the rates of all groups of layers."""
        if "learning_rate" in logs:
            logs |= self.rates
        super().log(logs, start_time)

    def _get_learning_rate(self) -> float:
        """The Trainer's, asked for before the schedule steps on: the moment to keep all rates that were used."""
        groups = self.optimizer.param_groups
        self.rates = group_rates(groups, [group["lr"] for group in groups])
        return super()._get_learning_rate()

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The Trainer's; of many labels no logits are kept, and the metrics come from sums over all processes."""
        loop = partial(super().evaluation_loop, dataloader, description, prediction_loss_only, ignore_keys)
        loss_only = prediction_loss_only or (prediction_loss_only is None and self.args.prediction_loss_only)
        if description == "Prediction" or loss_only or not self._streams():
            return loop(metric_key_prefix)
        labels = self.model.config.num_labels
        self.streamed = StreamingMetrics(labels)
        try:
            output = loop(metric_key_prefix)
            states = gather_object([self.streamed]) if self.accelerator.num_processes > 1 else [self.streamed]
        finally:
            self.streamed = None
        for state in states[1:]:
            states[0].merge(state)
        if states[0].rows:  # an empty dataset has no metrics
            found = states[0].compute().items()
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in found})
        return output

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Any, Any]:
        """The Trainer's; in an evaluation of many labels the batch is counted and its logits are let go of."""
        if self.streamed is None or "labels" not in inputs:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        own = self._count_own_rows(len(inputs["labels"]))
        # under FSDP every process must take part in every forward pass, with a row at least
        kept = {name: value[: max(own, 1)] for name, value in inputs.items()}
        loss, logits, targets = super().prediction_step(model, kept, False, ignore_keys)
        if own:
            probs = logits.float().sigmoid().cpu()
            self.streamed.update(probs, probs >= 0.5, targets.cpu() > 0.5)
        return loss, None, None

    def _count_own_rows(self, rows: int) -> int:
        """How many rows of an evaluation batch are not repeated rows, which fill up the last one on some process."""
        if self.accelerator.num_processes == 1:
            return rows
        index = self.accelerator.process_index
        marks = torch.full((self.args.eval_batch_size,), index, device=self.args.device)
        # as the Trainer drops the repeated rows, so that both mean the same ones
        return min(rows, int((self.accelerator.gather_for_metrics(marks) == index).sum()))

    def _streams(self) -> bool:
        """Whether evaluations keep sums instead of logits: of many labels, unless somebody asks for the logits."""
        asked = self.compute_metrics is not fixed_metrics or self.preprocess_logits_for_metrics is not None
        return self.model.config.num_labels > SMALL_LABEL_SET and not asked

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

    def set_initial_training_values(self, args: MultiLabelTrainingArguments, dataloader: DataLoader) -> tuple:
        """The Trainer's; keeps how long the run and an epoch are, in optimizer steps."""
        found = super().set_initial_training_values(args, dataloader)
        self.steps_per_epoch, self.total_steps = found[1], found[-1]
        return found

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """One group a layer, each with its learning rate, with and without weight decay; the table is printed."""
        if self.optimizer is not None or self._takes_whole_model():
            return super().create_optimizer(model)
        target, args = self.model if model is None else model, self.args
        groups = layer_groups(
            target, args.learning_rate, args.head_learning_rate, args.layerwise_decay, args.learning_rates
        )
        starts = self._plan(groups)
        show(groups_table(groups, args.weight_decay, starts))
        optimizer_class, kwargs = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(args, target)
        found = parameter_groups(groups, args.weight_decay, set(self.get_decay_parameter_names(target)))
        self.optimizer = optimizer_class(found, **kwargs)
        return self.optimizer

    @staticmethod
    def get_optimizer_cls_and_kwargs(args: MultiLabelTrainingArguments, model: nn.Module | None = None) -> tuple:
        """Of `args.optimizer` if this project builds it, else the Trainer's of `args.optim`."""
        if is_ours(args.optimizer):
            return resolve_optimizer(args)
        return Trainer.get_optimizer_cls_and_kwargs(args, model)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Of `args.schedule` if it is one of torch's own, else the Trainer's of `args.lr_scheduler_type`."""
        if self.lr_scheduler is None and is_torchs(self.args.schedule):
            self.lr_scheduler = build_schedule(
                self.args.schedule,
                optimizer or self.optimizer,
                self.args.schedule_args,
                total_steps=num_training_steps,
                steps_per_epoch=self.steps_per_epoch or num_training_steps,
                warmup_steps=self.args.get_warmup_steps(num_training_steps),
            )
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

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
        self.create_scheduler(num_training_steps=CHECKED_STEPS, optimizer=optimizer)
        self.lr_scheduler = None

    def _takes_whole_model(self) -> bool:
        args = self.args
        whole = takes_whole_model(args)
        if whole and (args.head_learning_rate is not None or args.layerwise_decay != 1.0):
            raise ValueError(
                f"training.optim: expected an optimizer that takes parameter groups, for head_learning_rate and "
                f"layerwise_decay are set, found {args.optim.value!r}. Remove those two or choose adamw_torch."
            )
        return whole

    def _plan(self, groups: list[LayerGroup]) -> dict[str, int] | None:
        """The step from which each group trains; None if nothing waits."""
        if self.args.backbone_mode not in WAITING_MODES or self.total_steps is None:
            return None
        if self.is_fsdp_enabled:
            raise ValueError(
                f"backbone_mode: expected all or frozen under FSDP, found {self.args.backbone_mode!r}. FSDP decides "
                "what is trained when it divides the weights; take DDP or another mode."
            )
        wait = count_steps(self.args.unfreeze_after or "1 epoch", self.total_steps, self.steps_per_epoch)
        starts = plan_starts(self.args.backbone_mode, [group.name for group in groups], wait)
        late = [name for name, start in starts.items() if start >= self.total_steps]
        if late:
            logger.warning(
                "backbone_mode: %s never trains: it waits for step %d of %d. Shorten unfreeze_after.",
                ", ".join(late), min(starts[name] for name in late), self.total_steps,
            )  # fmt: skip
        self.unfreezing.follow(groups, starts)
        return starts

    def _base_rates(self) -> np.ndarray:
        """Frequency of each label among the training rows that know it; a soft label counts as its probability."""
        counts = {name: np.zeros(len(self.model.config.id2label)) for name in ("labels", "unknown")}
        for name in counts.keys() & set(self.train_dataset.column_names):
            for labels in self.train_dataset[name]:
                check_ids(labels, len(counts[name]))
                counts[name][labels] += 1
        if "soft_ids" in self.train_dataset.column_names:
            columns = (self.train_dataset[name] for name in ("labels", "soft_ids", "soft_values"))
            for labels, ids, values in zip(*columns, strict=True):
                counts["labels"][ids] += np.subtract(values, np.isin(ids, labels))
        return counts["labels"] / np.maximum(len(self.train_dataset) - counts["unknown"], 1)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler | None:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        if dataset is None or (self.draw_rows is None and not grouped):
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        step_rows = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        # texts of one length are in no order but that of chance
        lengths = _count_tokens(dataset) if grouped else np.zeros(len(dataset))
        return LengthGroupedSampler(lengths, step_rows, seed, self.draw_rows)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        # The Trainer would group evaluation by length as well, and predict() would return rows in that order.
        return SequentialSampler(eval_dataset)


def _count_tokens(dataset: Dataset) -> list[int]:
    return dataset["length"] if "length" in dataset.column_names else [len(ids) for ids in dataset["input_ids"]]
