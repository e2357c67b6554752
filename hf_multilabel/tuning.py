"""Refit the decision of a finished model: no weight changes, only the decision and what is said of it.

model, DATA -> scores -> decision, fitted as a run of the recipe would -> results at the new decision
-> config.json, metrics.json, README.md, manifest.json staged beside the other files, proved, moved in
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hf_multilabel.console import note, results_table, show
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.deciding import check_fit, fit_the_decision
from hf_multilabel.decisions.constraints import prices_of
from hf_multilabel.decisions.options import OPTIONS
from hf_multilabel.decisions.overrides import lost_guarantee
from hf_multilabel.decisions.thresholds import THRESHOLD_RULES, rule_options
from hf_multilabel.describing import REPORTED, Judged, changed_figures, describe_finished
from hf_multilabel.errors import Finding, InputError, MultiLabelError
from hf_multilabel.evaluation.costs import COSTS, count_costs, without_costs
from hf_multilabel.inference import FinishedModel
from hf_multilabel.judging import judge, measure
from hf_multilabel.measurement import check_split, load_rows, recipe_of, training_counts
from hf_multilabel.overlap import check_apart, check_unseen, fingerprints
from hf_multilabel.publishing.attempts import check_login
from hf_multilabel.publishing.bundle import (
    CARD,
    MANIFEST,
    REPORT,
    finish_interrupted,
    read_manifest,
    stage_changes,
    verify_bundle,
)
from hf_multilabel.publishing.card import render_card
from hf_multilabel.publishing.card_sections import generated_parts, replace_measured
from hf_multilabel.publishing.decision_push import is_branch, push_decision
from hf_multilabel.publishing.hub import Delivery, Target
from hf_multilabel.publishing.origin import Origin, download_bundle, foreign_code
from hf_multilabel.recipe import Recipe
from hf_multilabel.release import prove_and_publish
from hf_multilabel.request import check_refit, check_unlabelled, is_hub_id
from hf_multilabel.unlabelled import open_unlabelled

Rows = tuple[MultiLabelData, str]


@dataclass
class Task:
    """A model whose decision is refitted, and the rows for it.

    Args:
        folder: The run's folder.
        finished: The model.
        recipe: That of the model, with the new settings of its decision.
        fitted: The rows to fit on, as the split `validation`.
        reported: Data and split that hold the very rows of a split of metrics.json, by the name of the latter.
        metrics: Content of metrics.json.
        batch_size: Texts of one forward pass.
        scores: What was scored already, by the fingerprint of the rows.
    """

    folder: Path
    finished: FinishedModel
    recipe: Recipe
    fitted: MultiLabelData
    reported: dict[str, Rows]
    metrics: dict[str, Any]
    batch_size: int
    scores: dict[str, Any] = field(default_factory=dict)

    def score(self, data: MultiLabelData, split: str) -> Any:
        """Scores of a split, as a run of the recipe keeps them."""
        rows = data.splits[split]
        if rows._fingerprint not in self.scores:
            keep = self.recipe.evaluation.keep_scores
            score = self.finished.scorer(rows, data.label_matrix(split), keep, self.batch_size, split)
            self.scores[rows._fingerprint] = score()
        return self.scores[rows._fingerprint]

    def fitted_splits(self) -> list[str]:
        """The reported splits that hold the very rows to fit on."""
        fitted = self.fitted.splits["validation"]._fingerprint
        return [name for name, (data, split) in self.reported.items() if data.splits[split]._fingerprint == fitted]


def tune(
    model: str,
    source: str | None = None,
    overrides: Sequence[str] = (),
    *,
    objective: str | None = None,
    split: str = "validation",
    unlabelled: str | None = None,
    text: str | Sequence[str] | None = None,
    batch_size: int = 32,
    **keys: Any,
) -> dict[str, Any]:
    """Fit the decision of a finished model anew and put it in the place of the old one.

    Settings start from the model's recipe. In metrics.json `fixed` stays, but for costs, and `tuned` is measured
    again on the same rows; where those are not at hand, it goes. The recipe stays as it is: it says how the model was
    trained. Without any settings and rows, its own decision is fitted again on the run's own rows: the way back.

    Args:
        model: The run's folder.
        source: File, folder or Hub dataset with rows that the model was not trained on; a single file is used whole.
            None takes the data of the model's recipe.
        overrides: `decision.key=value`, and of `data` and `evaluation`.
        objective: What the cuts are chosen for; options of the old objective are then dropped.
        split: The rows to fit on: validation, or train of other data than the model's.
        unlabelled: File of texts from where the model is used, as `predict` takes them. Their prevalences are estimated
            and stand for `decision.prevalence`.
        text: Columns of the text in `unlabelled`; None: as in the data.
        batch_size: Texts of one forward pass.
        **keys: Of the section `decision`, for instance `risk={"recall": 0.95}`: short for overrides.

    Returns:
        The new decision.

    Raises:
        InputError: If model, data or settings are not as expected; nothing was written.
        EnvironmentFault: If the machine or the proof fails; the model is as it was.

    Cost: A forward pass a row of the fitted and the reported splits and an unlabelled text; reads the bundle twice,
    copies no weights.
    """
    overrides = with_keys(overrides, keys)
    check_unlabelled(unlabelled, text, overrides)
    task = prepare(model, source, with_objective(overrides, objective), split, batch_size)
    recipe, labels, there = task.recipe, task.fitted.labels.names, {}
    texts = None if unlabelled is None else open_unlabelled(unlabelled, recipe, text)
    note(f"fitting on {len(task.fitted.splits['validation']):,} rows")
    found = task.score(task.fitted, "validation")
    if texts is not None:
        logits = texts.score(task.finished, batch_size)
        recipe, there = texts.with_prevalence(recipe, labels, found, task.fitted.label_matrix("validation"), logits)
    decision = fit_the_decision(recipe, task.fitted, {"validation": found})
    if lost := lost_guarantee(task.finished.model.config.decision, decision):
        note(f"note: the guarantee of the decision before ({lost}) does not hold for the new one, which has none")
    settings = [*([] if objective is None else [f"decision.objective={objective}"]), *overrides]
    said = [setting for setting in settings if setting.startswith("decision.")]
    decision |= {"refitted": {"data": Path(source).name if source else None, "settings": said, **there}}
    old = task.finished.model.config.decision
    task.finished.model.config.decision = decision
    task.finished.model.config.validate_decision()
    metrics, judged, shown = measure_again(task, old)
    title = "Results: the decision before and now, on the run's own rows"
    show(results_table(shown, title, decision, task.fitted_splits() if decision["fitted_on"] else ()), asked=True)
    publish_decision(task, metrics, judged)
    if (task.folder / REPORT).is_file():
        note(f"{task.folder / REPORT} is of the decision before; write it anew: hf-multilabel report {task.folder}")
    note(f"done: {task.folder}")
    return decision


def tune_hub_model(
    repo_id: str,
    source: str | None = None,
    overrides: Sequence[str] = (),
    *,
    folder: str | Path,
    revision: str | None = None,
    push: bool = False,
    trust_remote_code: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Download a model from the Hub, tune it there, and push its new decision alone or say how.

    The proof of a tuned model runs the code that ships with it: code that is not this package's own needs
    `trust_remote_code`.

    Args:
        repo_id: OWNER/NAME.
        source: As for `tune`, as are `overrides` and `settings`.
        overrides: See there.
        folder: Where to; must not be there yet, and goes again if the input is refused.
        revision: Branch, tag or commit; None: main.
        push: Push the decision to the branch it came from.
        trust_remote_code: You have read the code of the repo at this revision.
        **settings: See there.

    Returns:
        The new decision.

    Raises:
        InputError: As `tune`, `download_bundle` and `push_decision`.
        EnvironmentFault: Likewise; the folder stays.
    """
    folder = Path(folder)
    branch = is_branch(Delivery(folder, Target(repo_id)), revision)
    if push:
        check_login(repo_id)
        if not branch:
            what = f"expected a branch to push the decision to, found {revision!r}, which is none"
            raise InputError(Finding("P313", repo_id, what, "leave out --push, then push the folder to a branch"))
    note(f"downloading {repo_id} to {folder}")
    origin = download_bundle(repo_id, folder, revision=revision)
    try:
        if not trust_remote_code:
            check_code(repo_id, folder, origin)
        decision = tune(str(folder), source, overrides, **settings)
    except InputError:
        shutil.rmtree(folder)
        raise
    if push:
        note(f"pushed: {push_decision(folder, repo_id, revision=revision)}")
    else:
        where = f" --revision {revision}" if revision and branch else ""
        note(f"push it alone with: hf-multilabel push {folder} {repo_id} --only decision{where}")
    return decision


def check_code(repo_id: str, folder: Path, origin: Origin) -> None:
    """Refuse to run code from the Hub that is not this package's own.

    Raises:
        InputError: If a file differs.
    """
    if others := foreign_code(folder):
        what = f"expected the code of this version of hf-multilabel, found another {', '.join(others[:5])}"
        fix = f"read it at that commit, then give --revision {origin.commit} --trust-remote-code"
        raise InputError(Finding("C117", repo_id, what, fix))


def prepare(model: str, source: str | None, overrides: Sequence[str], split: str, batch_size: int) -> Task:
    """Model, settings and rows, checked; writes nothing but what an interrupted run left unfinished.

    Raises:
        InputError: As `tune`.
    """
    check_refit(overrides, split)
    folder = bundle_folder(model)
    finished = FinishedModel.load(folder)
    metrics = json.loads(finished.file("metrics.json").read_text(encoding="utf-8"))
    recipe, data = load_rows(finished, source, overrides)
    if source is not None and Path(source).is_file() and len(data.splits) == 1:
        split = next(iter(data.splits))
    check_split(recipe, data, split)
    check_unseen(recipe, data, split, metrics)
    own = None
    if source is not None:
        own = own_data(finished, metrics)
        check_apart(recipe, data, split, own, metrics)
    rows = MultiLabelData({"validation": data.splits[split]}, data.labels, {})
    check_folds(recipe, overrides)
    check_fit(recipe, rows)
    reported = same_rows(data, metrics)
    missing = [name for name in REPORTED if name in metrics and name not in reported]
    if missing and source is not None:
        reported |= own_rows(own, metrics, missing)
    return Task(folder, finished, recipe, rows, reported, metrics, batch_size)


def bundle_folder(model: str) -> Path:
    """The folder of a finished run, what was interrupted there finished, every byte as its manifest says.

    Raises:
        InputError: If it is none.
        EnvironmentFault: If it is damaged.
    """
    folder = Path(model)
    if is_hub_id(model):
        what = "expected the folder of a finished run, found none"
        raise InputError(Finding("C114", model, what, "if it is on the Hub, call tune_hub_model"))
    if (folder / MANIFEST).is_file():
        finish_interrupted(folder)
    verify_bundle(folder)
    return folder


def with_keys(overrides: Sequence[str], keys: Mapping[str, Any]) -> list[str]:
    """The overrides and those that say the same as some keys of the section `decision`.

    Example:
        >>> with_keys(["data.text=body"], {"risk": {"recall": 0.95}})
        ['data.text=body', 'decision.risk={"recall": 0.95}']
    """
    # JSON is YAML; float for the numbers of numpy
    return [*overrides, *(f"decision.{key}={json.dumps(value, default=float)}" for key, value in keys.items())]


def with_objective(overrides: Sequence[str], objective: str | None) -> list[str]:
    """The overrides with another objective: what only the old one takes is cleared, unless it is given, too.

    Example:
        >>> with_objective(["decision.empty=allow"], "scut_fbr")[-4:]
        ['decision.mean_labels=null', 'decision.risk=null', 'decision.objective=scut_fbr', 'decision.empty=allow']
    """
    if objective is None:
        return list(overrides)
    given = {override.partition("=")[0].strip() for override in overrides}
    if objective not in THRESHOLD_RULES:
        return [f"decision.objective={objective}", *overrides]
    taken = rule_options(objective)
    cleared = {f"decision.{key}": "0.5" if key == "threshold" else "null" for key in OPTIONS if key not in taken}
    cleared["decision.risk"] = "null"
    kept = [f"{key}={value}" for key, value in cleared.items() if key not in given]
    return [*kept, f"decision.objective={objective}", *overrides]


def check_folds(recipe: Recipe, overrides: Sequence[str]) -> None:
    """Say that a cross-validation which trains is not done here.

    Raises:
        InputError: If it was asked for.
    """
    asked = recipe.decision.cross_validation
    if asked is None or asked.mode == "thresholds":
        return
    what = f"expected the mode thresholds, which trains nothing, found {asked.mode}"
    if any(override.startswith("decision.cross_validation") for override in overrides):
        raise InputError(Finding("C116", "decision.cross_validation", what, "change the mode, or train again"))
    note(f"decision.cross_validation: {what}: the decision is fitted on the given rows alone")


def same_rows(data: MultiLabelData, metrics: Mapping[str, Any]) -> dict[str, Rows]:
    """The split of the data that holds the very rows of a reported split, by the name of the latter."""
    known = fingerprints(metrics)
    splits = {rows._fingerprint: split for split, rows in data.splits.items()}
    return {name: (data, splits[known[name]]) for name in REPORTED if name in metrics and known.get(name) in splits}


def own_data(finished: FinishedModel, metrics: Mapping[str, Any]) -> MultiLabelData | None:
    """The splits that the run reports on, and its training rows, from the data of the model's recipe; None if gone."""
    try:
        data = load_rows(finished, None)[1]
    except MultiLabelError:
        return None
    known = fingerprints(metrics)
    return replace(data, splits={name: s for name, s in data.splits.items() if known.get(name) == s._fingerprint})


def own_rows(own: MultiLabelData | None, metrics: Mapping[str, Any], missing: Sequence[str]) -> dict[str, Rows]:
    """The missing splits from the run's own data, as far as those are still there."""
    found = {} if own is None else same_rows(own, metrics)
    if lost := [name for name in missing if name not in found]:
        note(f"the run's own {' and '.join(lost)} rows are not here: its results at the old decision go")
    return {name: rows for name, rows in found.items() if name in missing}


def measure_again(
    task: Task, old: Mapping[str, Any]
) -> tuple[dict[str, Any], Judged | None, dict[str, dict[str, dict[str, Any]]]]:
    """Results at the new decision: metrics.json, what the card reports on, and a table of the old one and the new."""
    metrics, shown = dict(task.metrics), {}
    judged: Judged | None = None
    decision, evaluation = task.finished.model.config.decision, task.recipe.evaluation
    prices = prices_of(decision)
    for name in (name for name in REPORTED if name in metrics):
        # the card reports the last of them, or nothing
        judged, before = None, metrics[name].get("tuned")
        metrics[name] = {"fixed": without_costs(metrics[name]["fixed"])}
        if name not in task.reported:
            continue
        data, split = task.reported[name]
        scores, truth = task.score(data, split), data.label_matrix(split)
        counts = training_counts(task.finished, task.recipe, data)
        found = measure(scores, truth, decision, evaluation.k, *counts, evaluation.intervals)
        metrics[name]["fixed"] |= {cost: found["fixed"][cost] for cost in COSTS if prices}
        if before:
            costs = count_costs(judge(scores, truth, old), prices) if prices else {}
            shown[name] = {"before": without_costs(before) | costs | {"intervals": {}}}
        shown[name] = shown.get(name, {}) | {"tuned": found["tuned"]}
        metrics[name]["tuned"] = found["tuned"]
        judged = Judged(name, judge(scores, truth, decision, *counts), data.splits[split])
    return metrics, judged, shown


def publish_decision(task: Task, metrics: dict[str, Any], judged: Judged | None) -> None:
    """Stage the files that change, prove the model with them, move them in.

    Raises:
        EnvironmentFault: If the disk or the proof fails; the model is as it was.
    """
    config = json.loads((task.folder / "config.json").read_text(encoding="utf-8"))
    # in the order in which the config is saved
    config["decision"] = json.loads(json.dumps(task.finished.model.config.decision, sort_keys=True))
    manifest, card = read_manifest(task.folder), (task.folder / CARD).read_bytes()
    task.finished.model.cpu()
    recipe = recipe_of(task.finished, [])
    facts, figures = describe_finished(recipe, task.finished, metrics, judged)
    text = replace_measured(card.decode("utf-8"), render_card(facts), generated_parts(manifest, card))
    files: dict[str, str | bytes | None] = {
        "config.json": json.dumps(config, indent=2) + "\n",
        "metrics.json": json.dumps(metrics, indent=1) + "\n",
        CARD: text,
        **changed_figures(manifest, figures),
    }
    note(f"writing and proving {task.folder}")
    staging = stage_changes(task.folder, files, new=figures)
    model, tokenizer = task.finished.model, task.finished.tokenizer
    texts = task.fitted.splits["validation"]["text"]
    try:
        prove_and_publish(staging, model, tokenizer, texts, tokenizer.model_max_length)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
