"""One run of a study: the steps of the workflow without its bundle, data and token ids shared between runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hf_multilabel.backbones import Backbone
from hf_multilabel.data.batching import MultiLabelCollator
from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.deciding import check_fit, fit_the_decision, score_splits
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.folds import FoldPlan
from hf_multilabel.judging import measure
from hf_multilabel.preparing import Tokenized, new_model, prepare_backbone, remedy, tokenize_splits
from hf_multilabel.recipe import Recipe
from hf_multilabel.recipe.loading import blame
from hf_multilabel.release import publish
from hf_multilabel.remote_code.decision_multilabel import default_decision
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.runs import open_run
from hf_multilabel.studies.definition import StudyPlan
from hf_multilabel.studies.watch import Watch, evenly, measure_one
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.threads import share_cores
from hf_multilabel.training.trainer import MultiLabelTrainer
from hf_multilabel.workflow import (
    describe_training,
    fit,
    fold_plan,
    hold_out,
    make_trainer,
    saved_weights,
    sources,
)

# Data sets and token ids kept in memory: a grid that varies them goes through one after the other.
KEPT = 2
# What of `model` decides token ids and the weights that a run starts from.
BACKBONE_KEYS = ("backbone", "backbone_sha256", "revision", "scratch", "windows", "config_overrides")
Keep = Callable[[float], AbstractContextManager[bool]]


@dataclass
class Prepared:
    """What a run trains on.

    Args:
        data: After the remedies.
        folds: Plan of `decision.cross_validation`, before them.
        backbone: Weights and tokenizer; a model copies what it changes.
        tokens: Token ids of the splits.
    """

    data: MultiLabelData
    folds: FoldPlan | None
    backbone: Backbone
    tokens: Tokenized


@dataclass
class Shared:
    """What the runs of one process have in common, made once each.

    Args:
        data: By the arguments of `load_data`.
        prepared: By all that decides token ids.
    """

    data: dict[str, MultiLabelData] = field(default_factory=dict)
    prepared: dict[str, Prepared] = field(default_factory=dict)

    def load(self, recipe: Recipe) -> MultiLabelData:
        """The data of a recipe as read."""
        key = json.dumps(recipe.data.load_arguments(), sort_keys=True)
        return _cached(self.data, key, lambda: load_data(**recipe.data.load_arguments()))

    def prepare(self, recipe: Recipe) -> Prepared:
        """What a recipe trains on; the statistics are the caller's."""
        asked = recipe.decision.cross_validation
        resolved = recipe.resolved()
        backbone = {key: resolved["model"].get(key) for key in BACKBONE_KEYS}
        folds = asked and asked.model_dump()
        key = json.dumps([resolved["data"], recipe.data.source, recipe.model.backbone, backbone, folds], sort_keys=True)

        def make() -> Prepared:
            data = self.load(recipe)
            plan = fold_plan(recipe, data)
            data = remedy(recipe, data)
            backbone = prepare_backbone(recipe, data)
            return Prepared(data, plan, backbone, tokenize_splits(data, backbone, recipe.data.max_length))

        found = _cached(self.prepared, key, make)
        return replace(found, data=replace(found.data, statistics=copy.deepcopy(found.data.statistics)))


@dataclass
class Run:
    """One trained model of a trial, as numbers.

    Args:
        seed: Of the run.
        outcome: done, pruned or diverged.
        value: What the study compares; None of a run that did not come to its end.
        metrics: Split to decision to metric, as in metrics.json.
        baseline: Split to the metric where every text gets the labels' frequencies as scores.
        curve: Measurements by step.
        losses: Step and training loss.
        training: Size, time and machine.
        collapse: Mean cosine of the pooled states and spread of the predictions at the end, where looked at.
    """

    seed: int
    outcome: str
    value: float | None
    metrics: dict[str, Any]
    baseline: dict[str, float | None]
    curve: list[dict[str, Any]]
    losses: list[tuple[int, float]]
    training: dict[str, Any]
    collapse: dict[str, Any]


def run_once(
    plan: StudyPlan,
    recipe: Recipe,
    shared: Shared,
    report: Callable[[float, int], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep: Keep | None = None,
) -> Run:
    """Train one recipe of a study and measure it.

    Args:
        plan: The study.
        recipe: Of this run.
        shared: Of this process.
        report: See `Watch`.
        progress: See `Watch`.
        keep: Value to a context that says whether its model is to be kept, and in which the bundle is written; None
            keeps none.

    Returns:
        The run; one that diverged or was ended early has no value.

    Cost: A training and a forward pass of the splits; data and token ids come from memory after the first.
    """
    with blame(recipe, "training"):
        args = MultiLabelTrainingArguments(**{**recipe.training, "disable_tqdm": True})
    if args.device.type == "cpu":
        share_cores(args.cpu_threads)
    ready = shared.prepare(recipe)
    check_fit(recipe, ready.data)
    model = new_model(recipe, ready.backbone, ready.data, args.seed)
    trainer = make_trainer(recipe, args, model, ready.backbone, ready.data, ready.tokens)
    watch = watch_trial(plan, trainer, ready, report, progress)
    trainer.add_callback(watch)
    seconds = fit(recipe, trainer, ready.data, resume=False)
    run = Run(
        args.seed, watch.ended or "done", None, {}, baselines(plan, ready.data), watch.curve, watch.losses,
        describe_training(trainer, model, seconds), collapse_of(trainer),
    )  # fmt: skip
    if watch.ended is None:
        measure_run(plan, recipe, trainer, ready, run, keep)
    return run


def watch_trial(
    plan: StudyPlan,
    trainer: MultiLabelTrainer,
    ready: Prepared,
    report: Callable[[float, int], bool] | None,
    progress: Callable[[int, int], None] | None,
) -> Watch:
    """The callback that measures the curve of a run."""
    settings, rows = plan.settings, {}
    for split in ("validation", *settings.report):
        if split in ready.tokens.splits:
            chosen = evenly(len(ready.tokens.splits[split]), settings.curve.rows)
            rows[split] = (ready.tokens.splits[split].select(chosen), ready.data.label_matrix(split)[chosen])
    collator = MultiLabelCollator(ready.backbone.tokenizer, len(ready.data.labels))
    size = trainer.args.eval_batch_size
    return Watch(settings.metric, rows, collator, trainer.row_loss, settings.curve.points, size, report, progress)


def measure_run(
    plan: StudyPlan, recipe: Recipe, trainer: MultiLabelTrainer, ready: Prepared, run: Run, keep: Keep | None
) -> None:
    """Measure a trained model on whole splits, and keep it if it is to be kept; fills in the run."""
    settings, data, model, adapter = plan.settings, ready.data, trainer.model, {}
    if recipe.peft.method or keep:
        model, adapter = saved_weights(recipe, trainer, Path(trainer.args.output_dir), ready.backbone, data)
    splits = {s: ready.tokens.splits[s] for s in ("validation", *settings.report) if s in ready.tokens.splits}
    scores = score_splits(recipe, model, ready.backbone, data, splits, trainer.args)
    if not all(_finite(found) for found in scores.values()):
        run.outcome = "diverged"
        return
    fitted = settings.decision == "tuned" or keep is not None
    if fitted:
        held = hold_out(recipe, ready.folds, trainer, model, ready.tokens)
        model.config.decision = fit_the_decision(recipe, data, scores, held)
    decision, rows = model.config.decision if fitted else default_decision(), int(np.max(data.known_rows()))
    for split, found in scores.items():
        counts = data.labels.counts
        run.metrics[split] = measure(found, data.label_matrix(split), decision, recipe.evaluation.k, counts, rows)
        if not fitted:
            del run.metrics[split]["tuned"]
    run.value = value_of(plan, run, model)
    if keep is None:
        return
    with keep(run.value) as wanted:
        if wanted:
            publish_best(plan, recipe, trainer, ready, model, scores, run, adapter)


def publish_best(
    plan: StudyPlan,
    recipe: Recipe,
    trainer: MultiLabelTrainer,
    ready: Prepared,
    model: MultiLabelForSequenceClassification,
    scores: dict[str, np.ndarray | RankedScores],
    run: Run,
    adapter: dict[str, bytes],
) -> None:
    """Leave a finished, proved model in the study's folder, in place of an earlier one."""
    folder = plan.folder / "best"
    about = {
        **run.metrics,
        "data": {**ready.data.statistics, "truncated_share": ready.tokens.truncated},
        "training": run.training,
        "recipe_sha256": recipe.sha256,
    }
    files = {"history.json": json.dumps(trainer.state.log_history, indent=1) + "\n", **adapter}
    open_run(folder, recipe.sha256, recipe.resolved(), sources(recipe), resume=False)
    publish(recipe, folder, model, ready.backbone, ready.data, scores, about, files)


def value_of(plan: StudyPlan, run: Run, model: MultiLabelForSequenceClassification) -> float:
    """What the study compares: measured on the validation rows, and on nothing else.

    Raises:
        InputError: If it compares decisions and nothing is known of this one on other rows.
    """
    settings = plan.settings
    if settings.metric == "loss":
        return float(run.curve[-1]["validation_loss"])
    if settings.decision == "tuned":
        decision = model.config.decision
        if not decision["expected"]:
            what = f"expected scores of the decision, found none: {decision.get('expected_missing', 'too few rows')}"
            fix = "compare at a cut of 0.5 (study.decision: fixed), or bring more validation rows"
            raise InputError(Finding("R103", "study.decision", what, fix))
        return float(decision["expected"][settings.metric])
    return float(run.metrics["validation"]["fixed"][settings.metric])


def baselines(plan: StudyPlan, data: MultiLabelData) -> dict[str, float | None]:
    """The metric where every text gets the labels' frequencies in training as its scores."""
    metric, found = plan.settings.metric, {}
    frequency = (np.array(data.labels.counts) + 0.5) / (np.max(data.known_rows()) + 1)
    logits = np.log(frequency / (1 - frequency)).astype(np.float32)
    for split in ("validation", *plan.settings.report):
        if metric != "loss" and split in data.splits:
            targets = data.label_matrix(split)
            found[split] = measure_one(metric, np.broadcast_to(logits, targets.shape).copy(), targets)
    return found


def collapse_of(trainer: MultiLabelTrainer) -> dict[str, Any]:
    """The last look of the collapse alarm."""
    looks = [entry for entry in trainer.state.log_history if "pooled_cosine" in entry]
    keys = ("pooled_cosine", "prediction_spread", "dead_labels")
    found = {key: looks[-1][key] for key in keys} if looks else {}
    warned = [entry["collapse"] for entry in looks if "collapse" in entry]
    return {**found, **({"collapse": warned[0]} if warned else {})}


def _finite(scores: np.ndarray | RankedScores) -> bool:
    values = scores.top.stored.data if isinstance(scores, RankedScores) else scores
    return bool(np.isfinite(values).all())


def _cached(kept: dict[str, Any], key: str, make: Callable[[], Any]) -> Any:
    if key not in kept:
        while len(kept) >= KEPT:
            del kept[next(iter(kept))]
        kept[key] = make()
    return kept[key]
