"""Compare heads, poolings, losses, weights, remedies, training modes, optimizers and adapters, one at a time.

    python benchmarks/methods.py --dataset goemotions          # every setting once: an hour of one core
    python benchmarks/methods.py --only losses --setting focal --seeds 0 1 2
    python benchmarks/methods.py --table                       # what was measured so far, in Markdown

Every run is the quickstart recipe at 64 tokens on one dataset with one setting changed. It trains on the same 1,000
training rows, drawn by chance with their natural label frequencies, and is scored on the same 1,000 validation rows;
test rows are never scored. A run appends a JSON line to --output and its scores to --logits; a run that is in the file
already is left out, so an interrupted command goes on where it was.

A decision's cuts are fitted on one half of the validation rows and applied to the other, both ways round, over twenty
random halvings: with the quickstart's shrinkage (c=40), and with the default beside losses without weights (c=1). The
time is CPU core-seconds of the head's start and of training on one thread; they mean
about the same on a busy machine. The tables show how far a setting is from the first line of its table in (micro-F1 +
macro-F1) / 2 with c=1, and the standard error of that difference: a bootstrap over the validation rows, the same draws
for both. It says nothing of the seed; for that, run several.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from hf_multilabel import progress
from hf_multilabel.data.loading import load_data
from hf_multilabel.decisions.thresholds import fit_thresholds
from hf_multilabel.preparing import new_model, prepare_backbone, remedy, tokenize_splits
from hf_multilabel.recipe import load_recipe
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.scoring import score_dataset
from hf_multilabel.workflow import fit, make_trainer

REPEATS, DRAWS = 20, 500
# Shrinkage of the decision `balanced`: the quickstart recipe's, and the package's default.
DECISIONS = {"balanced_c40": 40, "balanced_c1": 1}
BASE = (
    *("data.id=null", "data.max_length=64", "data.max_rows={train: 1000, validation: 1000, test: 1}"),
    *("training.cpu_threads=1", "training.collapse_alarm=false", "training.disable_tqdm=true"),
    *("training.logging_strategy=no", "training.report_to=none"),
)
DATASETS: dict[str, tuple[str, ...]] = {
    "arxiv_topics": (
        "data.text=[TITLE, ABSTRACT]",
        "data.label_format=columns",
        "data.labels=[Computer Science, Physics, Mathematics, Statistics, Quantitative Biology, Quantitative Finance, "
        "Electrical Engineering, Economics]",
    ),
    "goemotions": ("data.label_format=list", "data.duplicates=warn"),
}
# From the labels' frequencies: heads that cannot be solved start here, and so does their linear reference.
PRIOR = ("training.head_init=prior", "training.head_learning_rate=1e-3")
PLAIN = ("loss.name=bce", "loss.pos_weight=null")
ADAPTERS = ("training.freeze_layers=0", "training.learning_rate=1e-3")


def weighted(pos_weight: str = "null", class_weights: str = "null") -> tuple[str, ...]:
    """Weighted BCE with other weights than the recipe's."""
    return (f"loss.pos_weight={pos_weight}", f"loss.class_weights={class_weights}")


def rates(optimizer: str, rate: float) -> tuple[str, ...]:
    """An optimizer with one learning rate for backbone and head."""
    return (f"training.optimizer={optimizer}", f"training.learning_rate={rate}", f"training.head_learning_rate={rate}")


LOSSES: dict[str, tuple[str, ...]] = {
    "weighted_bce, neg_pos_sqrt": (),
    "bce": PLAIN,
    "bce, smoothing 0.1": (*PLAIN, "loss.smoothing=0.1"),
    **{name: (f"loss.name={name}", "loss.pos_weight=null") for name in ("focal", "asymmetric", "class_balanced")},
    "distribution_balanced": ("loss.name=distribution_balanced", "loss.pos_weight=null"),
    "zlpr": ("loss.name=zlpr", "loss.pos_weight=null"),
}
NAMES = {
    "label_attention, names": ("model.head=label_attention", "model.head_kwargs={label_init: names}", *PRIOR),
    "label_embedding, names": ("model.head=label_embedding", "model.head_kwargs={label_init: names}", *PRIOR),
    "label_embedding, cosine, names": (
        *("model.head=label_embedding", "model.head_kwargs={label_init: names, similarity: cosine}", *PRIOR),
    ),
}
SOLVABLE = ("mlp", "cnn", "rnn", "transformer", "label_attention", "label_embedding", "crf")
# Factor to settings: name to what it changes in the base. The first of a factor is what the others are compared with.
FACTORS: dict[str, dict[str, tuple[str, ...]]] = {
    "heads": {
        "linear": (),
        **{name: (f"model.head={name}",) for name in SOLVABLE},
        **{f"{name}, from the prior": changes for name, changes in NAMES.items()},
    },
    "heads_prior": {
        "linear": PRIOR,
        **{name: (f"model.head={name}", *PRIOR) for name in SOLVABLE},
        **NAMES,
    },
    "starts": {
        "probe, C 0.3": (),
        "probe, C 0.1": ("training.probe_c=0.1",),
        "probe, C 0.03": ("training.probe_c=0.03",),
        "probe, C 1": ("training.probe_c=1.0",),
        "probe, head rate 1e-3": ("training.head_learning_rate=1e-3",),
        "prior, head rate 1e-4": ("training.head_init=prior",),
        "prior, head rate 1e-3": PRIOR,
        "random, head rate 1e-4": ("training.head_init=random",),
        "random, head rate 1e-3": ("training.head_init=random", "training.head_learning_rate=1e-3"),
        "probe, C 0.3, 4 epochs": ("training.num_train_epochs=4",),
        "probe, C 0.1, 4 epochs": ("training.probe_c=0.1", "training.num_train_epochs=4"),
        "prior, head rate 1e-3, 4 epochs": (*PRIOR, "training.num_train_epochs=4"),
        "random, head rate 1e-3, 4 epochs": (
            *("training.head_init=random", "training.head_learning_rate=1e-3", "training.num_train_epochs=4"),
        ),
    },
    "losses": LOSSES,
    "losses_prior": {name: (*loss, *PRIOR) for name, loss in LOSSES.items()},
    "weights": {
        "pos_weight neg_pos_sqrt": (),
        "none": PLAIN,
        "pos_weight neg_pos_ratio": weighted("{rule: neg_pos_ratio}"),
        "pos_weight neg_pos_ratio, cap 10": weighted("{rule: neg_pos_ratio, cap: 10}"),
        "pos_weight inverse_sqrt": weighted("{rule: inverse_sqrt}"),
        "pos_weight effective_number, mean 1": weighted("{rule: effective_number, normalize: true}"),
        "class_weights inverse_sqrt, mean 1": weighted("null", "{rule: inverse_sqrt, normalize: true}"),
        "class_weights inverse, mean 1": weighted("null", "{rule: inverse, normalize: true}"),
        "class_weights effective_number, mean 1": weighted("null", "{rule: effective_number, normalize: true}"),
        "both: neg_pos_sqrt and inverse_sqrt, mean 1": ("loss.class_weights={rule: inverse_sqrt, normalize: true}",),
    },
    "poolings": {"mean": (), **{name: (f"model.pooling={name}",) for name in ("cls", "max", "attention", "pooler")}},
    "modes": {
        "3 layers frozen, decay 0.9": (),
        "head alone (frozen)": ("training.backbone_mode=frozen",),
        "nothing frozen": ("training.freeze_layers=0",),
        "nothing frozen, no decay": ("training.freeze_layers=0", "training.layerwise_decay=1.0"),
        "5 layers frozen": ("training.freeze_layers=5",),
        "head first, a quarter of the run": ("training.backbone_mode=head_first", "training.unfreeze_after=0.25"),
        "gradual, a layer every eighth": ("training.backbone_mode=gradual", "training.unfreeze_after=0.125"),
        "rate 3e-5": ("training.learning_rate=3e-5", "training.head_learning_rate=3e-5"),
        "rate 3e-4": ("training.learning_rate=3e-4", "training.head_learning_rate=3e-4"),
        "1 epoch": ("training.num_train_epochs=1",),
        "4 epochs": ("training.num_train_epochs=4",),
        "dropout 0": ("model.dropout=0",),
    },
    "remedies": {
        "none": (),
        **{name: (f"data.balance={{method: {name}}}",) for name in ("lp_ros", "ml_ros", "lp_rus", "ml_rus")},
        **{name: (f"data.balance={{method: {name}}}",) for name in ("class_aware", "mlsmote")},
        **{name: (f"data.augment={{method: {name}}}",) for name in ("drop_sentences", "trim_sentences")},
        "recombine_sentences": ("data.augment={method: recombine_sentences}",),
    },
    "remedies_bce": {
        "none": PLAIN,
        **{name: (*PLAIN, f"data.balance={{method: {name}}}") for name in ("ml_ros", "class_aware", "mlsmote")},
    },
    "optimizers": {
        "adamw_torch_fused 1e-4": (),
        **{f"{name} 1e-4": rates(name, 1e-4) for name in ("adam", "amsgrad", "nadamw", "radamw", "adamax")},
        **{f"{name} 1e-4": rates(name, 1e-4) for name in ("adafactor", "rmsprop")},
        "adagrad 1e-3": rates("adagrad", 1e-3),
        "adadelta 1": rates("adadelta", 1.0),
        **{f"{name} {rate}": rates(name, rate) for name, rate in (("sgd", 0.1), ("sgd_nesterov", 0.01))},
        "asgd 0.1": rates("asgd", 0.1),
        "adamw_torch_fused 3e-4": ("training.learning_rate=3e-4", "training.head_learning_rate=3e-4"),
        **{f"{name} 3e-4": rates(name, 3e-4) for name in ("adam", "nadamw", "radamw", "adafactor")},
        "adagrad 3e-3": rates("adagrad", 3e-3),
        "adadelta 3": rates("adadelta", 3.0),
        "sgd_nesterov 0.03": rates("sgd_nesterov", 0.03),
    },
    "schedules": {
        "linear, 10 % warm-up": (),
        "linear, no warm-up": ("training.warmup_steps=0",),
        "cosine": ("training.schedule=cosine",),
        "constant_with_warmup": ("training.schedule=constant_with_warmup",),
        "step, 1 epoch": ("training.schedule=step",),
        "cosine_annealing_warm_restarts": ("training.schedule=cosine_annealing_warm_restarts",),
        "one_cycle": ("training.schedule=one_cycle", "training.warmup_steps=0"),
    },
    "adapters": {
        "none, 3 layers frozen": (),
        **{f"{name}, r 8, 1e-3": (f"peft.method={name}", "peft.r=8", *ADAPTERS) for name in ("lora", "dora")},
        **{f"{name}, 1e-3": (f"peft.method={name}", *ADAPTERS) for name in ("lokr", "hra", "ln_tuning")},
        "ia3, 1e-2": ("peft.method=ia3", "training.freeze_layers=0", "training.learning_rate=1e-2"),
    },
}


class Bench:
    """One dataset, loaded and tokenised once, on which settings are tried.

    Args:
        dataset: Key of `DATASETS`.
        folder: Where the datasets' folders lie.
    """

    def __init__(self, dataset: str, folder: Path) -> None:
        self.overrides = (*BASE, *DATASETS[dataset], f"data.source={json.dumps(str(folder / dataset))}")
        recipe = load_recipe("quickstart", self.overrides)
        self.data = load_data(**recipe.data.load_arguments())
        self.backbone = prepare_backbone(recipe, self.data)
        self.tokens = tokenize_splits(self.data, self.backbone, recipe.data.max_length)
        self.targets = self.data.label_matrix("validation").toarray()

    def run(self, changes: tuple[str, ...], seed: int) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Train a setting; logits of the validation rows, and what the training took."""
        with tempfile.TemporaryDirectory() as output:
            given = (*changes, f"training.seed={seed}", f"training.output_dir={json.dumps(output)}")
            recipe = load_recipe("quickstart", (*self.overrides, *given))
            args = MultiLabelTrainingArguments(**recipe.training)
            data = remedy(recipe, self.data)
            tokens = self.tokens
            if data is not self.data:
                tokens = tokenize_splits(data, self.backbone, recipe.data.max_length)
            model = new_model(recipe, self.backbone, data, seed)
            trainer = make_trainer(recipe, args, model, self.backbone, data, tokens)
            start = time.process_time()
            fit(recipe, trainer, data, resume=False)
            took = {"core_seconds": time.process_time() - start, "steps": trainer.state.global_step}
            took["rows"] = len(data.splits["train"])
            scored = self.tokens.splits["validation"]
            return score_dataset(trainer.model, scored, trainer.data_collator, batch_size=args.eval_batch_size), took


def cross_fit(logits: NDArray[np.float32], targets: NDArray[np.bool_], decision: str) -> NDArray[np.bool_]:
    """Predictions of a decision, cuts and rows never of the same half: (N, L) -> (REPEATS, N, L)."""
    probs = torch.from_numpy(logits).sigmoid().numpy()
    generator, found = np.random.default_rng(0), np.zeros((REPEATS, *probs.shape), dtype=bool)
    for predictions in found:
        order = generator.permutation(len(probs))
        half = len(order) // 2
        for fitted, scored in ((order[:half], order[half:]), (order[half:], order[:half])):
            cuts = fit_thresholds(probs[fitted], targets[fitted], "balanced", shrinkage=DECISIONS[decision])
            predictions[scored] = probs[scored] >= cuts
    return found


def f1_scores(hits: NDArray, predicted: NDArray, held: NDArray) -> tuple[NDArray, NDArray]:
    """micro-F1 and macro-F1 from counts by label, (..., L) each; a label neither held nor predicted counts 0."""
    below = predicted + held
    by_label = np.divide(2 * hits, below, out=np.zeros(below.shape), where=below > 0)
    return 2 * hits.sum(-1) / below.sum(-1), by_label.mean(-1)


def measure(logits: NDArray[np.float32], targets: NDArray[np.bool_]) -> dict[str, float]:
    """What a run is judged by, in per cent; `dead` counts labels that hold somewhere and are never predicted."""
    probs = torch.from_numpy(logits).sigmoid().numpy()
    held, found = targets.sum(0), {}
    decided = {"fixed": (probs >= 0.5)[None], **{name: cross_fit(logits, targets, name) for name in DECISIONS}}
    for name, predictions in decided.items():
        scores = f1_scores((predictions & targets).sum(1), predictions.sum(1), held)
        found |= {f"{name}_{kind}": 100 * float(s.mean()) for kind, s in zip(("micro", "macro"), scores, strict=True)}
        found[f"{name}_dead"] = float(((predictions.sum(1) == 0) & (held > 0)).sum(-1).mean())
    present = held > 0
    found["macro_ap"] = 100 * float(average_precision_score(targets[:, present], probs[:, present], average="macro"))
    return found


def difference(logits: list[NDArray], others: list[NDArray], targets: NDArray[np.bool_]) -> tuple[float, float]:
    """How far runs are from others, seed by seed, in (micro-F1 + macro-F1) / 2, and its standard error over rows."""
    draws = np.random.default_rng(0).multinomial(len(targets), np.full(len(targets), 1 / len(targets)), DRAWS)
    rows = np.concatenate([np.ones((1, len(targets))), draws])  # the rows as they are, then the draws
    means = []
    for group in (logits, others):
        predictions = np.concatenate([cross_fit(x, targets, "balanced_c1") for x in group])
        counts = [rows @ part.mean(0) for part in (predictions & targets, predictions)]
        means.append(sum(f1_scores(*counts, rows @ targets)) * 50)
    apart = means[0] - means[1]
    return float(apart[0]), float(apart[1:].std())


def run_all(options: argparse.Namespace) -> None:
    """Run what is chosen and not yet in the file."""
    torch.set_num_threads(1)
    os.environ[progress.VARIABLE] = "quiet"
    options.logits.mkdir(parents=True, exist_ok=True)
    for dataset in options.dataset or DATASETS:
        bench = None
        plan = [(seed, *item) for seed in options.seeds for item in chosen(options)]
        done = {key(line) for line in read_lines(options.output)}
        for number, (seed, factor, name, changes) in enumerate(plan, start=1):
            line: dict[str, Any] = {"dataset": dataset, "factor": factor, "setting": name, "seed": seed}
            line["changes"] = list(changes)
            if key(line) in done:
                continue
            done.add(key(line))
            bench = bench or Bench(dataset, options.data)
            np.save(options.logits / f"{dataset}.npy", bench.targets)
            logits, took = bench.run(changes, seed)
            line |= took | measure(logits, bench.targets)
            np.save(options.logits / logits_name(line), logits)
            with options.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
            scores = " | ".join(
                f"{title} {line[f'{kind}_micro']:.1f} / {line[f'{kind}_macro']:.1f}"
                for title, kind in (("at 0.5", "fixed"), ("c=40", "balanced_c40"), ("c=1", "balanced_c1"))
            )
            print(f"{dataset} {number}/{len(plan)} {factor}: {name}, seed {seed} | {scores}", flush=True)


def chosen(options: argparse.Namespace) -> list[tuple[str, str, tuple[str, ...]]]:
    """Factor, setting and changes of what the command names."""
    return [
        (factor, name, changes)
        for factor in options.only or FACTORS
        for name, changes in FACTORS[factor].items()
        if not options.setting or name in options.setting
    ]


def key(line: dict[str, Any]) -> tuple:
    """What makes a run: factors that change the same share it."""
    return line["dataset"], line["seed"], tuple(sorted(line["changes"]))


def logits_name(line: dict[str, Any]) -> str:
    """File of a run's scores."""
    words = f"{line['dataset']} {line['factor']} {line['setting']} {line['seed']}"
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in words) + ".npy"


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The runs of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def print_tables(options: argparse.Namespace) -> None:
    """A Markdown table for each factor, one dataset below the other."""
    lines = read_lines(options.output)
    columns = ["setting", "at 0.5", "c=40", "c=1", "apart ± s.e.", "AP", "dead", "core-s"]
    for factor in options.only or FACTORS:
        print(f"\n### {factor}\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
        for dataset in options.dataset or DATASETS:
            found = of_factor(lines, dataset, factor)
            print(f"| **{dataset}** {'|' * len(columns)}")
            for name, runs in found.items():
                if runs:
                    print(f"| {' | '.join([name, *cells(runs, next(iter(found.values())), options.logits)])} |")


def of_factor(lines: list[dict[str, Any]], dataset: str, factor: str) -> dict[str, list[dict[str, Any]]]:
    """The runs of each setting of a factor, by seed."""
    return {
        name: [x for x in lines if key(x) == key({"dataset": dataset, "seed": x["seed"], "changes": changes})]
        for name, changes in FACTORS[factor].items()
    }


def cells(found: list[dict[str, Any]], reference: list[dict[str, Any]], folder: Path) -> list[str]:
    """A setting on a dataset: means, with the standard deviation where there are several seeds."""

    def cell(*names: str) -> str:
        values = [np.array([run[name] for run in found]) for name in names]
        return " / ".join(f"{v.mean():.1f}{f' ± {v.std(ddof=1):.1f}' if len(v) > 1 else ''}" for v in values)

    shared, apart = {run["seed"] for run in found} & {run["seed"] for run in reference}, ""
    if found != reference and shared:
        groups = [[np.load(folder / logits_name(r)) for r in g if r["seed"] in shared] for g in (found, reference)]
        apart = "{:+.1f} ± {:.1f}".format(*difference(*groups, np.load(folder / f"{found[0]['dataset']}.npy")))
    dead, seconds = np.mean([[run["fixed_dead"], run["core_seconds"]] for run in found], axis=0)
    scores = [cell(f"{name}_micro", f"{name}_macro") for name in ("fixed", *DECISIONS)]
    return [*scores, apart, cell("macro_ap"), f"{dead:.0f}", f"{seconds:.0f}"]


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FACTORS, help="factors; all without it")
    parser.add_argument("--setting", nargs="+", help="settings of these factors by name, as in the tables")
    parser.add_argument("--dataset", nargs="+", choices=DATASETS, help="datasets; all without it")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds of head, row order and dropout")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the datasets' folders lie")
    parser.add_argument("--output", type=Path, default=Path("runs/methods.jsonl"), help="file of the runs")
    parser.add_argument("--logits", type=Path, default=Path("runs/methods"), help="folder of their scores")
    parser.add_argument("--table", action="store_true", help="run nothing and print the tables")
    options = parser.parse_args()
    print_tables(options) if options.table else run_all(options)


if __name__ == "__main__":
    main()
