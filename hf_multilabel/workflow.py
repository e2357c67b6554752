"""One recipe from data to Hub, step by step.

    recipe -> data, remedies against imbalance -> backbone and model -> start of the head -> training
    -> scores of the saved weights -> decision, fitted on validation -> metrics
    -> bundle, proved in a process without this package -> Hub

Every process runs every step; only the main one prints and writes.
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState

from hf_multilabel import console
from hf_multilabel.backbones import Backbone
from hf_multilabel.console import note, results_table, show
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.data.remedies import drawn_rows
from hf_multilabel.deciding import check_fit, fit_the_decision, score_splits
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.folds import (
    FoldPlan,
    HeldOut,
    hold_out_heads,
    hold_out_retrained,
    plan_folds,
)
from hf_multilabel.judging import measure
from hf_multilabel.losses.registry import WeightedLoss, build_loss
from hf_multilabel.losses.weights import weights_table
from hf_multilabel.preparing import (
    Tokenized,
    announce,
    balance_of,
    describe_windows,
    drop_texts,
    new_model,
    prepare_backbone,
    remedy,
    tokenize_splits,
)
from hf_multilabel.publishing.attempts import check_login
from hf_multilabel.recipe import Recipe
from hf_multilabel.recipe.loading import blame
from hf_multilabel.release import FinishedRun, publish, push_saves, resume_elsewhere
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.runs import check_folder, last_checkpoint, open_run
from hf_multilabel.training.adapters import adapter_files, add_adapters, load_merged
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.distributed import on_main
from hf_multilabel.training.hardware import describe_device
from hf_multilabel.training.head_init import start_head, start_labels
from hf_multilabel.training.stopping import stop_on_signals
from hf_multilabel.training.threads import share_cores
from hf_multilabel.training.tracking import Tracking, check_trackers
from hf_multilabel.training.trainer import MultiLabelTrainer, RowLoss
from hf_multilabel.version import __version__

TRAINED = ".trained"
LIBRARIES = ("torch", "transformers", "datasets", "accelerate", "peft", "tokenizers", "huggingface_hub")


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    overwrite: bool = False,
    after: Callable[[FinishedRun], None] | None = None,
    resume_command: str | None = None,
) -> dict[str, Any]:
    """Run a recipe from its data to a proved folder, and push it where the recipe names a repo.

    Args:
        recipe: As `load_recipe` returns it.
        resume: Continue the interrupted run of this recipe in its folder.
        overwrite: Replace what an earlier run left in the folder; its model stays until the new one is proved.
        after: What the main process does with the run when all is written, for instance a report.
        resume_command: What goes on with the run, said where SIGINT or SIGTERM ends the training with a checkpoint;
            None leaves the signals alone.

    Returns:
        The content of metrics.json.

    Raises:
        Interrupted: If a signal ended the training; the checkpoint is named.
        InputError: If recipe, data or folder do not allow the run; nothing was written.
        EnvironmentFault: If the machine, the Hub or the proof fails; the last checkpoint is kept.
    """
    args = read_arguments(recipe)
    folder = Path(args.output_dir)
    claim_folder(recipe, folder, resume, overwrite)
    data = load_data(**recipe.data.load_arguments())
    check_fit(recipe, data)
    announce(data)
    plan = fold_plan(recipe, data)
    data = remedy(recipe, data)
    backbone = prepare_backbone(recipe, data)
    tokens = tokenize_splits(data, backbone, recipe.data.max_length)
    drop_texts(data)
    model = new_model(recipe, backbone, data, args.seed)
    data.statistics |= describe_windows(model, tokens)
    trainer = make_trainer(recipe, args, model, backbone, data, tokens)
    if pusher := push_saves(recipe, data.labels.names, backbone, merger(recipe, backbone, data, args.seed)):
        trainer.add_callback(pusher)
    on_main(open_run, folder, recipe.sha256, recipe.resolved(), sources(recipe), resume)
    seconds = fit(recipe, trainer, data, resume, resume_command)
    model, adapter = saved_weights(recipe, trainer, folder, backbone, data)
    held = hold_out(recipe, plan, trainer, model, tokens)
    scores = score_splits(recipe, model, backbone, data, tokens.splits, args)
    model.config.decision = fit_the_decision(recipe, data, scores, held)
    results = measure_splits(recipe, data, scores, model.config.decision)
    metrics = {
        **results,
        "data": {**data.statistics, "truncated_share": tokens.truncated},
        "training": describe_training(trainer, model, seconds),
        "recipe_sha256": recipe.sha256,
    }
    fitted = ("validation",) if model.config.decision["fitted_on"] else ()
    show(results_table(results, decision=model.config.decision, fitted=fitted))
    files = training_files(trainer, data) | adapter
    on_main(publish, recipe, folder, model, backbone, data, scores, metrics, files)
    if after is not None:
        history = trainer.state.log_history
        on_main(after, FinishedRun(recipe, folder, model, backbone.tokenizer, data, scores, metrics, history))
    on_main(lambda: trainer.tracking.finish(results, folder.rglob("*.png")))
    return metrics


def read_arguments(recipe: Recipe) -> MultiLabelTrainingArguments:
    """The arguments of the training; its trackers are installed, and on a CPU it has its share of the cores."""
    with blame(recipe, "training"):
        args = MultiLabelTrainingArguments(**recipe.training)
    check_trackers(args.report_to)
    if args.device.type == "cpu":
        share_cores(args.cpu_threads)
    return args


def claim_folder(recipe: Recipe, folder: Path, resume: bool, overwrite: bool) -> None:
    """Refuse a folder, or a repo on the Hub, into which this run may not write; the other processes fall silent."""
    if resume:
        on_main(resume_elsewhere, recipe, folder, sources(recipe))
    on_main(check_folder, folder, recipe.sha256, recipe.resolved(), resume, overwrite)
    if recipe.hub.repo_id:
        check_login(recipe.hub.repo_id)
    if not PartialState().is_main_process:
        logging.getLogger("hf_multilabel").setLevel(logging.ERROR)


def sources(recipe: Recipe) -> dict[str, str]:
    """Where the data of a run lie on this machine, so that `evaluate` finds them again; never published."""
    found = {"data.source": recipe.data.source, "data.corrections": recipe.data.corrections}
    names = recipe.data.label_names
    named = {"data.label_names": names} if isinstance(names, str) else {}
    return named | {key: value for key, value in found.items() if value is not None}


def fold_plan(recipe: Recipe, data: MultiLabelData) -> FoldPlan | None:
    """The rows as `decision.cross_validation` divides them, before remedies; None where it trains nothing."""
    asked = recipe.decision.cross_validation
    return None if asked is None or asked.mode == "thresholds" else plan_folds(data)


def describe_weights(data: MultiLabelData, loss: RowLoss) -> list[dict[str, Any]]:
    """What labels weigh in the loss, label by label; empty where all weigh alike."""
    vectors = loss.weights if isinstance(loss, WeightedLoss) else {}
    shown = {name: vectors[name] for name in ("pos_weight", "class_weight") if name in vectors}
    return weights_table(data.labels.names, data.labels.counts, data.known_rows(), shown) if shown else []


def make_trainer(
    recipe: Recipe,
    args: MultiLabelTrainingArguments,
    model: MultiLabelForSequenceClassification,
    backbone: Backbone,
    data: MultiLabelData,
    tokens: Tokenized,
) -> MultiLabelTrainer:
    """Loss, trainer, optimizer and schedule of a recipe, so that all it gets wrong shows before anything is written."""
    with blame(recipe, "loss"):
        loss = build_loss(counts=data.labels.counts, rows=data.known_rows(), **recipe.loss.arguments())
    with blame(recipe, "peft"):
        trained = add_adapters(model, **recipe.peft.arguments()) if recipe.peft.method else model
    validation = tokens.splits["validation"]
    with blame(recipe, "training"):
        trainer = MultiLabelTrainer(
            model=trained,
            args=args,
            loss=loss,
            train_dataset=tokens.splits["train"],
            # sorted by length, so that the evaluations during training pad little; their metrics know no order
            eval_dataset=validation.select(np.argsort(validation["length"], kind="stable")),
            processing_class=backbone.tokenizer,
            draw_rows=drawn_rows(data, balance_of(recipe)),
        )
        trainer.check_optimizer()
        trainer.tracking = Tracking(trainer.callback_handler.callbacks, recipe.resolved())
        trainer.add_callback(trainer.tracking)
    if weights := describe_weights(data, loss):
        show(console.weights_table(weights))
    return trainer


def fit(
    recipe: Recipe,
    trainer: MultiLabelTrainer,
    data: MultiLabelData,
    resume: bool,
    resume_command: str | None = None,
) -> float:
    """Start the head and train; the seconds both took.

    Raises:
        InputError: If there was no step to take.
        Interrupted: As `train`.
    """
    args = trainer.args
    start = time.perf_counter()
    checkpoint = last_checkpoint(Path(args.output_dir)) if resume else None
    if checkpoint is None:
        start_labels(trainer, data)
        start_head(trainer, data, balance_of(recipe))
    else:
        note(f"going on from {checkpoint}")
    note(f"training: {args.precision} on {args.device.type}, {args.world_size} process(es)")
    with stop_on_signals(trainer, resume_command) if resume_command else nullcontext():
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    if not trainer.state.global_step:
        found = f"0 with {len(trainer.train_dataset)} rows"
        fix = "lower per_device_train_batch_size, or set dataloader_drop_last to false"
        raise InputError(Finding("T106", "training", f"expected at least one step, found {found}", fix))
    return time.perf_counter() - start


def saved_weights(
    recipe: Recipe, trainer: MultiLabelTrainer, folder: Path, backbone: Backbone, data: MultiLabelData
) -> tuple[MultiLabelForSequenceClassification, dict[str, bytes]]:
    """The trained model as whoever loads it gets it: saved, and loaded in fp32, also from shards of several GPUs.

    Adapters are merged into a backbone read anew; the second value is their files, for the bundle.
    """
    trained, adapter = folder / TRAINED, {}
    trainer.save_model(str(trained))
    trainer.accelerator.wait_for_everyone()
    if merge := merger(recipe, backbone, data, trainer.args.seed):
        model = merge(trained)
        adapter = adapter_files(trained, backbone.hub_id)
    else:
        model = MultiLabelForSequenceClassification.from_pretrained(trained, dtype=torch.float32)
    trainer.accelerator.wait_for_everyone()
    on_main(shutil.rmtree, trained)
    return model, adapter


def merger(
    recipe: Recipe, backbone: Backbone, data: MultiLabelData, seed: int
) -> Callable[[Path], MultiLabelForSequenceClassification] | None:
    """Of a folder with adapters, the plain model; None where the recipe trains none."""
    if not recipe.peft.method:
        return None
    return lambda folder: load_merged(new_model(recipe, backbone, data, seed), folder)


def hold_out(
    recipe: Recipe,
    plan: FoldPlan | None,
    trainer: MultiLabelTrainer,
    model: MultiLabelForSequenceClassification,
    tokens: Tokenized,
) -> HeldOut | None:
    """What `decision.cross_validation` holds out beside the validation split; None if nothing is trained for it."""
    asked = recipe.decision.cross_validation
    if plan is None or asked is None:
        return None
    if asked.mode == "head":
        with blame(recipe, "decision"):
            return hold_out_heads(recipe, plan, trainer, model, tokens.splits)
    return hold_out_retrained(recipe, plan, partial(train_fold, recipe))


def train_fold(recipe: Recipe, data: MultiLabelData, folder: Path) -> np.ndarray | RankedScores:
    """Train on the training split of some data as the recipe says, and score the validation split, seen by nothing."""
    off = {"eval_strategy": "no", "save_strategy": "no", "report_to": "none", "push_to_hub": False}
    args = MultiLabelTrainingArguments(**{**recipe.training, **off, "output_dir": str(folder)})
    data = remedy(recipe, data)
    backbone = prepare_backbone(recipe, data)
    tokens = tokenize_splits(data, backbone, recipe.data.max_length)
    drop_texts(data)
    trainer = make_trainer(recipe, args, new_model(recipe, backbone, data, args.seed), backbone, data, tokens)
    fit(recipe, trainer, data, resume=False)
    model, _ = saved_weights(recipe, trainer, folder, backbone, data)
    on_main(shutil.rmtree, folder.parent)
    return score_splits(recipe, model, backbone, data, tokens.splits, args)["validation"]


def measure_splits(
    recipe: Recipe,
    data: MultiLabelData,
    scores: Mapping[str, np.ndarray | RankedScores],
    decision: Mapping[str, Any],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Split to `fixed` and `tuned` to metrics."""
    evaluation, counts = recipe.evaluation, (data.labels.counts, int(np.max(data.known_rows())))
    return {
        split: measure(found, data.label_matrix(split), decision, evaluation.k, *counts, evaluation.intervals)
        for split, found in scores.items()
    }


def training_files(trainer: MultiLabelTrainer, data: MultiLabelData) -> dict[str, str | bytes]:
    """What the bundle keeps of the training: its log and, where labels weigh differently, their weights."""
    files: dict[str, str | bytes] = {"history.json": json.dumps(trainer.state.log_history, indent=1) + "\n"}
    if weights := describe_weights(data, trainer.row_loss):
        files["weights.json"] = json.dumps(weights, indent=1) + "\n"
    return files


def describe_training(
    trainer: MultiLabelTrainer, model: MultiLabelForSequenceClassification, seconds: float
) -> dict[str, Any]:
    """What metrics.json says of the training: size, time, machine, libraries."""
    args = trainer.args
    return {
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0.0, 4),
        "seconds": round(seconds, 1),
        "num_processes": args.world_size,
        "device": args.device.type,
        "hardware": describe_device(args.device),
        "precision": args.precision,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "python": platform.python_version(),
        "libraries": {"hf-multilabel": __version__, **{name: version(name) for name in LIBRARIES}},
    }
