"""Held-out scores for the decision: of the validation split, or of training rows too, each from a model without them.

    thresholds  nothing is trained: the cuts are fitted on k - 1 parts of the validation rows, k times, and averaged
    head        the last layer is solved again on the features of k - 1 parts; the model ships one so solved on its
                training rows, for cuts fit only scores made alike
    retrain     the whole training once a fold

Under `head`, training rows are held out only where nothing below the last layer was trained. A backbone that was
trained on a row has seen its labels: a new last layer does not undo that, and cuts fitted on such scores come too high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from scipy import sparse
from torch import Tensor

from hf_multilabel.console import note
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.splitting import kfold
from hf_multilabel.decisions.cross_validation import Rows, pool_scores
from hf_multilabel.decisions.evidence import fit_with_evidence
from hf_multilabel.decisions.row_sketch import sketch_rows
from hf_multilabel.decisions.thresholds import hash_rows
from hf_multilabel.evaluation.keeping import KEEP_SCORES, RankedScores, is_kept_in_part
from hf_multilabel.evaluation.scores import Scores, TopScores
from hf_multilabel.recipe import Recipe
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.training.distributed import on_main
from hf_multilabel.training.head_init import set_output, solve_probe
from hf_multilabel.training.scoring import head_features, score_dataset
from hf_multilabel.training.trainer import MultiLabelTrainer

FOLDS = ".folds"
# Of `expected`: with ten, a fit has nine tenths of the rows; drawn twice where that takes no time.
PARTS, PARTS_OF_MANY, MANY = 10, 5, 2_000_000
PROVED_ROWS = 8


@dataclass(frozen=True)
class HeldOut:
    """Scores of rows by models that were not trained on them.

    Args:
        scores: Logits, (N, L), or the probabilities that are kept of a large label set.
        targets: True label sets, (N, L).
        groups: Equal numbers for rows with the same text, (N,).
        folds: Rows that were held out together; None: one model, trained on other rows, scored all.
        evidence: What the decision says of it beside `folds`.
    """

    scores: Scores
    targets: sparse.csr_matrix
    groups: np.ndarray
    folds: list[Rows] | None
    evidence: dict[str, Any]


@dataclass(frozen=True)
class FoldPlan:
    """The training and validation rows of a run, the former first, before remedies and while their texts are there.

    Args:
        data: As loaded; holds the texts.
        groups: Equal numbers for rows with the same text, (N,).
        judged: Rows that may be held out: all their labels are known.
        rows_sha256: `hash_rows` of the rows of each split, and of `all`.
    """

    data: MultiLabelData
    groups: np.ndarray
    judged: Rows
    rows_sha256: dict[str, str]

    @property
    def trained(self) -> int:
        """Number of training rows."""
        return len(self.data.splits["train"])

    def matrix(self) -> sparse.csr_matrix:
        """Label sets of all rows, (N, L)."""
        parts = [self.data.label_matrix(split) for split in ("train", "validation")]
        return sparse.csr_matrix(sparse.vstack(parts, format="csr"))


def plan_folds(data: MultiLabelData) -> FoldPlan:
    """What is to be known of the rows before remedies change and tokenizing drops them."""
    texts = {split: data.splits[split]["text"][:] for split in ("train", "validation")}
    together = [*texts["train"], *texts["validation"]]
    unknown = data.unknown_matrix("train")
    judged = np.ones(len(together), bool)
    if unknown is not None:
        judged[: len(texts["train"])] = unknown.getnnz(axis=1) == 0
    hashes = {**{split: hash_rows(found) for split, found in texts.items()}, "all": hash_rows(together)}
    kept = replace(data, splits=dict(data.splits), statistics=dict(data.statistics))
    return FoldPlan(kept, group_texts(together), np.flatnonzero(judged), hashes)


def group_texts(texts: list[str]) -> np.ndarray:
    """Equal numbers for equal texts, (N,)."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in texts], np.int64)


def draw_folds(targets: sparse.csr_matrix, groups: np.ndarray, k: int, seed: int = 0) -> list[Rows]:
    """Rows of each fold by iterative stratification, rows with the same text in the same fold.

    Args:
        targets: Label sets, (N, L).
        groups: Equal numbers for rows with the same text, (N,).
        k: Number of folds.
        seed: Decides between equals.

    Returns:
        The folds that hold rows, which may be fewer than k where texts repeat.
    """
    of = np.empty(targets.shape[0], np.int64)
    for number, (_, held_out) in enumerate(kfold(sparse.csr_matrix(targets, copy=True), k, seed)):
        of[held_out] = number
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    of = of[first][group]
    return [rows for rows in (np.flatnonzero(of == number) for number in range(k)) if len(rows)]


def validation_scores(data: MultiLabelData, found: np.ndarray | RankedScores) -> HeldOut:
    """The validation split as the trained model scores it."""
    texts = data.splits["validation"]["text"][:]
    scores = found.top if isinstance(found, RankedScores) else found
    evidence = {"fitted_on": "validation", "rows_sha256": hash_rows(texts), "rows_sketch": sketch_rows(texts)}
    return HeldOut(scores, data.label_matrix("validation"), group_texts(texts), None, evidence)


def fit_held_out(recipe: Recipe, held: HeldOut, labels: list[str]) -> dict[str, Any]:
    """The decision of a recipe, with an honest estimate of what it scores.

    Raises:
        ValueError: If the decision can't be fitted on these scores.
    """
    settings = recipe.decision.model_dump(exclude={"cross_validation"})
    asked = recipe.decision.cross_validation
    rows, many = held.targets.shape[0], held.scores.shape[0] * held.scores.shape[1] > MANY
    average = asked is not None and asked.combined == "averaged" and (held.folds or asked.mode == "thresholds")
    if held.folds is not None:
        drawn = [held.folds]
    else:
        k = asked.folds if average else PARTS_OF_MANY if many else PARTS
        texts = len(np.unique(held.groups))
        repeats = 0 if texts < 4 else 1 if many else 2
        drawn = [draw_folds(held.targets, held.groups, min(k, texts // 2), seed) for seed in range(repeats)]
    drawn = [folds for folds in drawn if len(folds) > 1]
    average = bool(average) and bool(drawn)
    decision = fit_with_evidence(held.scores, held.targets, labels, drawn, average=average, **settings)
    evidence = dict(held.evidence)
    if average and held.folds is None:
        evidence |= {"fitted_on": "cross_validation", "folds": len(drawn[0])}
        evidence["cross_validation"] = {"mode": "thresholds", "combine": "averaged", "rows": {"validation": rows}}
    if decision["fitted_on"] is None:
        evidence["fitted_on"] = None
    return decision | evidence


def hold_out_heads(
    recipe: Recipe,
    plan: FoldPlan,
    trainer: MultiLabelTrainer,
    model: MultiLabelForSequenceClassification,
    tokens: dict[str, Dataset],
) -> HeldOut:
    """Solve the last layer of a trained model once a fold, and anew on the training rows for the model itself.

    Args:
        recipe: With `decision.cross_validation`.
        plan: Of the rows that `tokens` hold.
        trainer: Of the training that is over.
        model: The saved weights; its last layer is replaced.
        tokens: Token ids of the splits.

    Raises:
        ValueError: If the model's logits are not linear in the features of its head.

    Cost: one forward pass over training and validation rows; k + 1 times `solve_probe`.
    """
    score = dict(collator=trainer.data_collator, batch_size=trainer.args.eval_batch_size)
    parts = [
        score_dataset(model, tokens[split], function=head_features, description=f"features of {split}", **score)
        for split in ("train", "validation")
    ]
    features, targets, unknown = np.concatenate(parts), plan.matrix(), _unknown(plan)
    weights = trainer.row_loss.weights.get("pos_weight")

    def solve(rows: Rows) -> tuple[Tensor, Tensor]:
        known = None if unknown is None else unknown[rows]
        return on_main(solve_probe, features[rows], targets[rows], trainer.args.probe_c, weights, known)

    def logits(rows: Rows, weight: Tensor, bias: Tensor) -> np.ndarray:
        return features[rows] @ weight.numpy().T + bias.numpy()

    weight, bias = solve(np.arange(plan.trained))
    set_output(model.head.output, weight, bias)
    few = tokens["validation"].select(range(min(PROVED_ROWS, len(tokens["validation"]))))
    expected = logits(plan.trained + np.arange(len(few)), weight, bias)
    apart = np.abs(score_dataset(model, few, description="proving the head", **score) - expected)
    if apart.max() > 1e-3:
        found = f"logits {apart.max():.2g} apart"
        raise ValueError(
            f"cross_validation: expected a head that is linear in its features, found {found}. Try retrain."
        )
    frozen = not any(p.requires_grad for n, p in trainer.model.named_parameters() if ".output." not in n)
    judged = plan.judged if frozen else plan.judged[plan.judged >= plan.trained]
    note(
        f"head: {len(judged):,} rows held out" + ("" if frozen else ", those of validation: the backbone knows others")
    )
    return _hold_out(recipe, plan, targets, judged, lambda inside, rows, _: logits(rows, *solve(inside)))


def hold_out_retrained(recipe: Recipe, plan: FoldPlan, score: Callable[[MultiLabelData, Path], Any]) -> HeldOut:
    """Train a model once a fold.

    Args:
        recipe: With `decision.cross_validation`.
        plan: Of the rows.
        score: Trains on the training split of data, in a folder, and scores the validation split.

    Cost: k trainings.
    """
    joined = _join(plan.data)
    folder, k = Path(recipe.training["output_dir"]) / FOLDS, recipe.decision.cross_validation.folds
    note(f"cross-validation: {k} trainings more, each on about {1 - 1 / k:.0%} of all rows")

    def train(inside: Rows, rows: Rows, number: int) -> Scores:
        note(f"fold {number + 1} of {k}: training on {len(inside):,} rows, {len(rows):,} held out")
        splits = {"train": joined.select(inside), "validation": joined.select(rows)}
        data = replace(plan.data, splits=splits, statistics=dict(plan.data.statistics))
        counts = tuple(data.label_matrix("train").getnnz(axis=0).tolist())
        data = replace(data, labels=replace(data.labels, counts=counts))
        found = score(data, folder / str(number))
        return found.top if isinstance(found, RankedScores) else found

    return _hold_out(recipe, plan, plan.matrix(), plan.judged, train)


def _hold_out(
    recipe: Recipe,
    plan: FoldPlan,
    targets: sparse.csr_matrix,
    judged: Rows,
    score: Callable[[Rows, Rows, int], Scores],
) -> HeldOut:
    """Scores of the judged rows, fold by fold from the other rows: `score` takes those, the fold's and its number."""
    asked = recipe.decision.cross_validation
    folds = draw_folds(targets[judged], plan.groups[judged], asked.folds)
    keep, parts = recipe.evaluation.keep_scores, []
    for number, fold in enumerate(folds):
        rows = judged[fold]
        inside = np.flatnonzero(~np.isin(plan.groups, plan.groups[rows]))
        found = score(inside, rows, number)
        if not isinstance(found, TopScores) and is_kept_in_part(targets.shape[1], keep):
            found = TopScores.of(1 / (1 + np.exp(-found)), sparse.csr_array(targets[rows]), keep or KEEP_SCORES)
        parts.append(found)
    texts = [text for split in ("train", "validation") for text in plan.data.splits[split]["text"][:]]
    kind = {"train": int((judged < plan.trained).sum()), "validation": int((judged >= plan.trained).sum())}
    evidence = {
        "fitted_on": "cross_validation",
        "folds": len(folds),
        "cross_validation": {"mode": asked.mode, "combine": asked.combined, "rows": kind},
        "rows_sha256": plan.rows_sha256["all" if kind["train"] else "validation"],
        "rows_sketch": sketch_rows(texts[row] for row in judged),
        "splits_sha256": {split: plan.rows_sha256[split] for split in ("train", "validation")},
    }
    return HeldOut(pool_scores(parts, folds), targets[judged], plan.groups[judged], folds, evidence)


def _unknown(plan: FoldPlan) -> sparse.csr_matrix | None:
    """Where nobody knows, (N, L)."""
    found = plan.data.unknown_matrix("train")
    if found is None:
        return None
    known = sparse.csr_matrix((len(plan.groups) - plan.trained, found.shape[1]), dtype=bool)
    return sparse.csr_matrix(sparse.vstack([found, known], format="csr"))


def _join(data: MultiLabelData) -> Dataset:
    """Training and validation rows as one dataset."""
    train, validation = data.splits["train"], data.splits["validation"]
    for name in set(train.column_names) - set(validation.column_names):
        empty: list[list[int]] = [[] for _ in range(len(validation))]
        validation = validation.add_column(name, empty, feature=train.features[name])
    return concatenate_datasets([train, validation.cast(train.features)])
