"""Cross-validate settings of the quickstart recipe on its training and validation rows; the test rows are never read.

    python benchmarks/quickstart.py --output results.jsonl          # about five minutes a setting on two cores
    python benchmarks/quickstart.py --only "256 tokens, 2 epochs"

Three folds by iterative stratification over the 1,150 rows. A fold trains on two thirds of them. Of the held-out
third, 150 rows fit the cuts and the others are scored, thirty times over, as a user with 150 validation rows would
fare. Printed are micro-F1 / macro-F1 in per cent, mean and standard deviation over the folds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import concatenate_datasets
from scipy.sparse import csr_matrix, vstack

from hf_multilabel.backbones import load_backbone
from hf_multilabel.data.batching import MultiLabelCollator, tokenize
from hf_multilabel.data.loading import load_data
from hf_multilabel.data.splitting import kfold
from hf_multilabel.decisions.thresholds import fit_thresholds
from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.losses.registry import build_loss
from hf_multilabel.preparing import new_model
from hf_multilabel.recipe import load_recipe
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.head_init import encode_names, prior_bias, set_output, solve_probe
from hf_multilabel.training.precision import autocast
from hf_multilabel.training.scoring import head_features, score_dataset
from hf_multilabel.training.trainer import MultiLabelTrainer

FOLDS, REPEATS, FITTED_ROWS = 3, 30, 150
RULES = {
    "fixed 0.5": None,
    "micro_f1": {},
    "macro_f1": {},
    **{f"balanced c={c}": {"shrinkage": c} for c in (1, 10, 40)},
}
NAMES = [
    *("model.head=label_embedding", "model.head_kwargs={label_init: names, similarity: cosine}"),
    *("training.head_init=prior", "training.head_learning_rate=1e-3", "data.max_length=256"),
]
TUNED = ["training.learning_rate=1e-4", "training.head_learning_rate=1e-4"]
SETTINGS: dict[str, list[str]] = {
    "probe alone, 128 tokens": ["data.max_length=128", "training.num_train_epochs=0.01"],
    "probe alone, 256 tokens": ["data.max_length=256", "training.num_train_epochs=0.01"],
    "128 tokens, 2 epochs": ["data.max_length=128", "training.num_train_epochs=2", *TUNED],
    "256 tokens, 1 epoch": ["data.max_length=256", "training.num_train_epochs=1", *TUNED],
    "256 tokens, 2 epochs": ["data.max_length=256", "training.num_train_epochs=2", *TUNED],
    "256 tokens, 2 epochs, 3 layers frozen": [
        *("data.max_length=256", "training.num_train_epochs=2", "training.freeze_layers=3", *TUNED)
    ],
    "256 tokens, 2 epochs, 3 layers frozen, no attention dropout": [
        *("data.max_length=256", "training.num_train_epochs=2", "training.freeze_layers=3", *TUNED),
        "model.attention_dropout=0",
    ],
    "label names, rate 1e-4": [*NAMES],
    "label names, rate 2e-4": [*NAMES, "training.learning_rate=2e-4"],
    "label names, rate 2e-4, 3 epochs": [*NAMES, "training.learning_rate=2e-4", "training.num_train_epochs=3"],
    "256 tokens, 1 epoch, 3 layers frozen": [
        *("data.max_length=256", "training.num_train_epochs=1", "training.freeze_layers=3", *TUNED)
    ],
}


def score_fold(overrides: list[str], train_rows: np.ndarray, held_rows: np.ndarray, seed: int) -> tuple:
    """Train on some of the rows; logits and targets of the others, and the seconds the training took."""
    recipe = load_recipe("quickstart", overrides)
    data = load_data(**recipe.data.load_arguments())
    backbone = load_backbone(recipe.model.backbone, max_length=recipe.data.max_length)
    pool = [tokenize(data.splits[s], backbone.tokenizer, recipe.data.max_length)[0] for s in ("train", "validation")]
    offset = len(pool[0])

    def rows_of(chosen: np.ndarray) -> tuple:
        parts = [pool[0].select(chosen[chosen < offset]), pool[1].select(chosen[chosen >= offset] - offset)]
        dataset = concatenate_datasets(parts)
        return dataset, MultiLabelCollator(backbone.tokenizer, len(data.labels))(list(dataset))["labels"].numpy() > 0

    train_split, targets = rows_of(train_rows)
    held_split, held_targets = rows_of(held_rows)
    loss = build_loss(counts=targets.sum(0).tolist(), rows=len(targets), **recipe.loss.arguments())
    model = new_model(recipe, backbone, data, seed)
    if model.head.label_init == "names":
        model.head.init_label_queries(encode_names(model, backbone.tokenizer, data.labels.names))
    collator = MultiLabelCollator(backbone.tokenizer, len(data.labels))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        given = recipe.training | {"output_dir": folder, "save_strategy": "no", "eval_strategy": "no", "seed": seed}
        args = MultiLabelTrainingArguments(**given)
        weights = loss.weights.get("pos_weight")
        if args.head_init == "prior":
            set_output(model.head.output, None, prior_bias(targets.sum(0).tolist(), len(targets), weights))
        if args.head_init == "probe":
            with autocast(args.precision, args.device.type):
                features = score_dataset(model, train_split, collator, function=head_features)
            set_output(model.head.output, *solve_probe(features, csr_matrix(targets), args.probe_c, weights))
        trainer = MultiLabelTrainer(
            model=model, args=args, loss=loss, train_dataset=train_split, processing_class=backbone.tokenizer
        )
        if args.num_train_epochs >= 1:
            trainer.train()
    seconds = time.perf_counter() - start
    return score_dataset(trainer.model, held_split, collator), held_targets, seconds


def measure_fold(logits: np.ndarray, targets: np.ndarray, seed: int) -> dict[str, list[float]]:
    """Mean micro-F1 and macro-F1 of each rule over repeated halves of the held-out rows."""
    probs = torch.from_numpy(logits).sigmoid().numpy()
    generator = np.random.default_rng(seed)
    found: dict[str, list] = {rule: [] for rule in RULES}
    for _ in range(REPEATS):
        order = generator.permutation(len(probs))
        fitted, scored = order[:FITTED_ROWS], order[FITTED_ROWS:]
        for rule, options in RULES.items():
            cuts = (
                0.5 if options is None else fit_thresholds(probs[fitted], targets[fitted], rule.split()[0], **options)
            )
            metrics = evaluate_predictions(
                probs[scored], probs[scored] >= cuts, targets[scored], metrics=("micro_f1", "macro_f1")
            )
            found[rule].append((metrics["micro_f1"], metrics["macro_f1"]))
    return {rule: np.mean(pairs, axis=0).tolist() for rule, pairs in found.items()}


def main() -> None:
    """Run the chosen settings and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SETTINGS, help="a setting; repeat it for several")
    parser.add_argument("--output", type=Path, help="append a JSON line a setting to this file")
    options = parser.parse_args()
    data = load_data(**load_recipe("quickstart").data.load_arguments())
    targets = vstack([data.label_matrix("train"), data.label_matrix("validation")]).tocsr()
    for name in options.only or SETTINGS:
        folds, seconds = [], []
        for seed, (train_rows, held_rows) in enumerate(kfold(targets, FOLDS, 0)):
            logits, held_targets, took = score_fold(SETTINGS[name], np.sort(train_rows), np.sort(held_rows), seed)
            folds.append(measure_fold(logits, held_targets, seed))
            seconds.append(took)
        scores = {rule: np.array([fold[rule] for fold in folds]) * 100 for rule in RULES}
        cells = {
            rule: "{:.1f}+-{:.1f} / {:.1f}+-{:.1f}".format(*np.stack([s.mean(0), s.std(0)]).T.ravel())
            for rule, s in scores.items()
        }
        print(f"{name} | {' | '.join(cells.values())} | {np.mean(seconds):.0f} s", flush=True)
        if options.output:
            line = {"setting": name, "seconds": seconds, **{rule: s.tolist() for rule, s in scores.items()}}
            with options.output.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
