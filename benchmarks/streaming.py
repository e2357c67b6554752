"""What evaluation of many labels costs when no logits are kept: time, memory, and what its arrays take.

    python benchmarks/streaming.py                                   # small: under a minute on two cores
    python benchmarks/streaming.py --rows 20000 --labels 13000       # the size that is quoted

Four ways over the same rows, batches and model, each in a process of its own: the bare forward pass; the trainer's
evaluation from sums; a split scored from kept scores and measured at a cut of 0.5 and at per-label cuts; and all logits
kept. Printed are, against the bare pass, the ratio of the time and the growth of the peak resident set, that also as a
share of what keeping all logits adds; and the bytes of the arrays beside 8 N k + 64 L. Times are medians over
interleaved rounds; the spread is the quartiles' distance over the median.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy import sparse
from transformers import BertConfig, BertModel, BertTokenizerFast

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.evaluation.keeping import KEEP_SCORES
from hf_multilabel.evaluation.streaming import StreamingMetrics
from hf_multilabel.judging import measure
from hf_multilabel.remote_code.decision_multilabel import default_decision
from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.scoring import keep_scores, score_dataset
from hf_multilabel.training.trainer import MultiLabelTrainer

WAYS = ("forward", "trainer", "split", "all logits")
POSITIVES = 5  # a row, as in EURLEX57K


def make_rows(rows: int, labels: int, tokens: int) -> Dataset:
    """Random token ids, all of one length, and five labels a row, the low ids more often."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 1000, (rows, tokens))
    held = (labels * rng.random((rows, POSITIVES)) ** 3).astype(int)
    return Dataset.from_dict(
        {"input_ids": ids.tolist(), "labels": [np.unique(row).tolist() for row in held], "length": [tokens] * rows}
    )


def make_trainer(options: argparse.Namespace, folder: str) -> MultiLabelTrainer:
    """A model of the given size with weights drawn from a seed: what is measured does not depend on them."""
    vocabulary = Path(folder) / "vocab.txt"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(995))]
    vocabulary.write_text("\n".join(words))
    config = BertConfig(
        vocab_size=1000,
        hidden_size=options.hidden,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 32),
        intermediate_size=4 * options.hidden,
    )
    torch.manual_seed(0)
    source = Path(folder) / "backbone"
    BertModel(config, add_pooling_layer=False).save_pretrained(source)
    tokenizer = BertTokenizerFast(vocab_file=str(vocabulary))
    backbone = Backbone(str(source), str(source), config, tokenizer, None, None, True)
    model = build_model(backbone, [f"label {i}" for i in range(options.labels)])
    with torch.no_grad():
        model.head.output.bias.fill_(-5.0)  # a trained model is sure of most labels: few are predicted
    rows = make_rows(options.rows, options.labels, options.tokens)
    args = MultiLabelTrainingArguments(
        output_dir=folder, per_device_eval_batch_size=options.batch, use_cpu=True, disable_tqdm=True, precision="fp32"
    )
    return MultiLabelTrainer(model=model, args=args, eval_dataset=rows, processing_class=tokenizer)


def forward(trainer: MultiLabelTrainer, rows: Dataset, batch: int) -> None:
    """The batches of the other ways, and nothing but the model."""
    trainer.model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            inputs = trainer.data_collator([rows[row] for row in range(start, min(start + batch, len(rows)))])
            trainer.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])


def run(way: str, trainer: MultiLabelTrainer, options: argparse.Namespace) -> int:
    """One way over all rows; the bytes of the arrays it leaves or fills."""
    rows, labels = trainer.eval_dataset, options.labels
    if way == "forward":
        forward(trainer, rows, options.batch)
        return 0
    if way == "trainer":
        trainer.evaluate()
        return StreamingMetrics(labels).nbytes
    if way == "all logits":
        return score_dataset(trainer.model, rows, trainer.data_collator, batch_size=options.batch).nbytes
    ids = rows["labels"]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
    held = np.ones(int(indptr[-1]), np.bool_)
    targets = sparse.csr_array((held, np.concatenate([np.asarray(row) for row in ids]), indptr), (len(rows), labels))
    kept = keep_scores(trainer.model, rows, trainer.data_collator, targets, k=options.keep, batch_size=options.batch)
    cuts = np.random.default_rng(0).uniform(0.3, 0.7, labels).tolist()
    measure(kept, targets, default_decision() | {"thresholds": cuts})
    return kept.nbytes


def child(options: argparse.Namespace) -> None:
    """Time one way and print what it took; a batch before makes all ways start alike."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(options, folder)
        forward(trainer, trainer.eval_dataset.select(range(min(options.rows, options.batch))), options.batch)
        start = time.perf_counter()
        taken = run(options.way, trainer, options)
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds, "peak": peak, "bytes": taken}))


def report(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    """The ratios, each with its limit."""
    middle = {way: {key: float(np.median([r[key] for r in runs])) for key in runs[0]} for way, runs in found.items()}
    bare = middle["forward"]
    whole = max(middle["all logits"]["peak"] - bare["peak"], 4.0 * options.rows * options.labels)
    room = 8 * options.rows * options.keep + 64 * options.labels
    print(f"N={options.rows:,} L={options.labels:,} k={options.keep}, torch {torch.__version__}, {platform.machine()}")
    for way in WAYS:
        low, high = np.quantile([r["seconds"] for r in found[way]], [0.25, 0.75])
        growth = middle[way]["peak"] - bare["peak"]
        print(
            f"{way:>10}: {middle[way]['seconds']:8.2f} s, spread {(high - low) / middle[way]['seconds']:.2f}, "
            f"time / bare {middle[way]['seconds'] / bare['seconds']:.3f} (limit 1.1), growth {growth / 1e6:8.1f} MB = "
            f"1/{whole / max(growth, 1):.0f} of all logits (limit 1/50), arrays {middle[way]['bytes'] / 1e6:.2f} MB"
        )
    print(f"8 N k + 64 L = {room / 1e6:.2f} MB; all logits {whole / 1e6:.1f} MB")


def main() -> None:
    """Run all ways in turn, in rounds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("rows", 1500), ("labels", 4000), ("keep", KEEP_SCORES), ("batch", 32), ("tokens", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("hidden", 384), ("layers", 6), ("threads", 1), ("rounds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--way", choices=WAYS, help="run one way alone and print its numbers")
    options = parser.parse_args()
    if options.way:
        child(options)
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    report(found, options)


if __name__ == "__main__":
    main()
