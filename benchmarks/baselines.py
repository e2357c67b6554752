"""What a user would pick instead, for benchmarks/quality.py: each method takes the same rows and returns probabilities.

    stock        transformers.Trainer and AutoModelForSequenceClassification as their documentation has them
    tfidf        TF-IDF of the whole texts and one logistic regression a label
    embeddings   mean-pooled states of the frozen backbone and one logistic regression a label

Whatever is chosen here (the strength of the penalty, the weights of the classes) is chosen on validation rows.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve
from sklearn.multiclass import OneVsRestClassifier
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification, Trainer, TrainingArguments, set_seed

from hf_multilabel.backbones import Backbone, load_backbone
from hf_multilabel.data.batching import MultiLabelCollator, tokenize
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.splitting import kfold
from hf_multilabel.decisions.thresholds import fit_thresholds
from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.training.precision import choose_precision
from hf_multilabel.training.scoring import score_dataset

SPLITS = ("train", "validation", "test")
# A global cut, and cuts by label that stay more or less near it: validation chooses.
RULES: dict[str, dict[str, Any]] = {
    "micro_f1": {"objective": "micro_f1"},
    "balanced": {"objective": "balanced"},
    "balanced, c = 10": {"objective": "balanced", "shrinkage": 10},
}
FOLDS = 5
C_GRID = (0.3, 1, 3, 10, 30, 100, 300)
CLASS_WEIGHTS = (None, "balanced")
SCORING_BATCH = 64


@dataclass
class Task:
    """What every method is given.

    Args:
        data: The rows of the dataset.
        backbone: As a recipe says it.
        tokens: Tokens a text, for methods that read tokens.
        epochs: Passes over the training rows.
        seed: Of heads, dropout and the order of rows.
        recipe: The file of the recipe, for this package's way.
    """

    data: MultiLabelData
    backbone: str
    tokens: int
    epochs: float
    seed: int
    recipe: Path


@dataclass
class Scored:
    """What every method returns.

    Args:
        probs: "validation" and "test" to probabilities, (N, L).
        seconds: "train" and "score" to wall-clock seconds.
        core_seconds: The same in seconds of all threads, which other work on the machine stretches less.
        chosen: What validation chose inside the method.
    """

    probs: dict[str, NDArray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    core_seconds: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of a block to a step."""
        wall, core = time.perf_counter(), time.process_time()
        yield
        self.seconds[step] = self.seconds.get(step, 0) + time.perf_counter() - wall
        self.core_seconds[step] = self.core_seconds.get(step, 0) + time.process_time() - core


def tutorial_cuts(probs: NDArray, targets: sparse.csr_matrix) -> NDArray[np.float64]:
    """What tutorials do: a label's cut is where its precision-recall curve has the highest F1, 0.5 if it has none."""
    cuts = np.full(probs.shape[1], 0.5)
    held = targets.toarray()
    for label in np.flatnonzero(held.any(axis=0)):
        precision, recall, thresholds = precision_recall_curve(held[:, label], probs[:, label])
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        cuts[label] = thresholds[np.argmax(f1[:-1])]  # the last point has no threshold
    return cuts


def held_out_score(probs: NDArray, targets: sparse.csr_matrix, rule: str) -> float:
    """(micro-F1 + macro-F1) / 2 of a rule of this package on validation rows that its cuts were not fitted on."""
    predicted = np.zeros(probs.shape, dtype=bool)
    for fitted, judged in kfold(targets.copy(), FOLDS):  # a copy: folds are made in place, which Arrow's memory forbids
        predicted[judged] = probs[judged] >= fit_thresholds(probs[fitted], targets[fitted], **RULES[rule])
    found = evaluate_predictions(probs, predicted, targets, metrics=("micro_f1", "macro_f1"))
    return sum(found.values()) / 2


def best_rule(probs: NDArray, targets: sparse.csr_matrix) -> tuple[float, str]:
    """The rule of `RULES` with the highest `held_out_score`, after that score."""
    return max((held_out_score(probs, targets, rule), rule) for rule in RULES)


def stock(task: Task) -> Scored:
    """(a) and (b): the stock Trainer at its default rate; precision and grouping by length as in ours."""
    scored = Scored()
    names = task.data.labels.names
    set_seed(task.seed)
    with scored.timed("train"), tempfile.TemporaryDirectory() as folder:
        backbone, tokens = _tokens(task)
        collator = MultiLabelCollator(backbone.tokenizer, len(names))
        model = AutoModelForSequenceClassification.from_pretrained(
            backbone.source,
            num_labels=len(names),
            problem_type="multi_label_classification",
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
        )
        args = TrainingArguments(
            output_dir=folder,
            num_train_epochs=task.epochs,
            per_device_train_batch_size=32,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            dataloader_pin_memory=torch.accelerator.is_available(),
            save_strategy="no",
            logging_steps=0.1,
            disable_tqdm=True,
            bf16=choose_precision("auto") == "bf16",
            use_cpu=not torch.accelerator.is_available(),
            seed=task.seed,
        )
        Trainer(model=model, args=args, train_dataset=tokens["train"], data_collator=collator).train()
    with scored.timed("score"):
        for split in SPLITS[1:]:
            logits = score_dataset(model, tokens[split], collator, batch_size=SCORING_BATCH)
            scored.probs[split] = torch.from_numpy(logits).sigmoid().numpy()
    return scored


def tfidf(task: Task) -> Scored:
    """(c): words and pairs of words of the whole texts, sublinear."""
    scored = Scored()
    with scored.timed("train"):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        train = vectorizer.fit_transform(task.data.splits["train"]["text"])
        validation = vectorizer.transform(task.data.splits["validation"]["text"])
        predict = _fit_linear(task, scored, train, validation)
    with scored.timed("score"):
        scored.probs["test"] = predict(vectorizer.transform(task.data.splits["test"]["text"]))
    scored.chosen["features"] = train.shape[1]
    return scored


def embeddings(task: Task) -> Scored:
    """(d): what sentence encoders are for: their mean-pooled states, of length 1, as they come."""
    scored = Scored()
    with scored.timed("train"):
        backbone, tokens = _tokens(task)
        model = AutoModel.from_pretrained(backbone.source, dtype=torch.float32)
        collator = MultiLabelCollator(backbone.tokenizer, len(task.data.labels))

        def embed(split: str) -> NDArray:
            return score_dataset(model, tokens[split], collator, batch_size=SCORING_BATCH, function=mean_pooled)

        predict = _fit_linear(task, scored, embed("train"), embed("validation"))
    with scored.timed("score"):
        scored.probs["test"] = predict(embed("test"))
    return scored


def mean_pooled(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean of the token states of each text, scaled to length 1: (B, H)."""
    mask = batch["attention_mask"]
    states = model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    summed = (states * mask.unsqueeze(-1)).sum(dim=1)  # (B, T, H) -> (B, H), the direction of the mean
    return nn.functional.normalize(summed, dim=-1)


def _tokens(task: Task) -> tuple[Backbone, dict[str, Dataset]]:
    backbone = load_backbone(task.backbone, max_length=task.tokens)
    splits = task.data.splits
    return backbone, {split: tokenize(splits[split], backbone.tokenizer, task.tokens)[0] for split in SPLITS}


def _fit_linear(task: Task, scored: Scored, train: Any, validation: Any) -> Callable[[Any], NDArray]:
    """Fit every point of the grid and keep the one whose decisions are best; the function that applies it."""
    # int64: of a narrower type the classifier permutes columns beyond 128 labels
    targets = task.data.label_matrix("train").astype(np.int64)
    held = task.data.label_matrix("validation")
    if sparse.issparse(train):
        train.sort_indices()  # liblinear reads them in order
    best: tuple[float, str] | None = None
    dual = train.shape[1] > train.shape[0]  # the smaller of the two problems
    for strength, weights in product(C_GRID, CLASS_WEIGHTS):
        linear = LogisticRegression(
            C=strength, class_weight=weights, solver="liblinear", dual=dual, random_state=task.seed
        )
        with warnings.catch_warnings():
            # labels without a training row, and the strongest fits of the grid, which do not win
            warnings.filterwarnings("ignore", message="Label .* is present in all|Label not .* is present in all")
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            fitted = OneVsRestClassifier(linear).fit(train, targets)
        probs = np.asarray(fitted.predict_proba(validation))
        found = best_rule(probs, held)
        print(f"  C {strength}, class weights {weights}: {100 * found[0]:.1f} by {found[1]}", flush=True)
        if best is None or found > best:
            best, model, scored.probs["validation"] = found, fitted, probs
            scored.chosen.update({"C": strength, "class_weight": weights})
    return lambda features: np.asarray(model.predict_proba(features))


BASELINES: dict[str, Callable[[Task], Scored]] = {"stock": stock, "tfidf": tfidf, "embeddings": embeddings}
