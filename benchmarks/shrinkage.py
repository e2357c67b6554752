"""How far should a label's own cut be drawn toward the global one? Measures the default of `decisions.SHRINKAGE`.

    python benchmarks/shrinkage.py  # minutes on two cores; prints the table of docs/decisions.md

For each dataset a cheap model (TF-IDF, 256 singular vectors, one linear layer) is trained on a part of the training
split and scores the validation split. Cuts are fitted on some validation rows drawn at random and scored on all others,
many times over. Test rows are never read. Datasets are looked for in HF_MULTILABEL_DATA (default: ../shared/data).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import MultiLabelBinarizer

from hf_multilabel.decisions import fit_thresholds
from hf_multilabel.decisions.rare_labels import choose_shrinkage, draw_cuts, shared_and_own
from hf_multilabel.evaluation import evaluate_predictions

DATA = Path(os.environ.get("HF_MULTILABEL_DATA", "../shared/data"))
STRENGTHS = (0, 0.5, 1, 2, 3, 5, 10, 20, 50, "auto")
# dataset, training rows, repeats, sizes of the set the cuts are fitted on
PLAN = (
    ("arxiv_topics", 1_000, 12, (75, 150, 500, 1_140)),
    ("arxiv_topics", 6_000, 12, (150, 1_140)),
    ("goemotions", 6_000, 6, (150, 500, 2_700)),
    ("jigsaw", 6_000, 12, (150, 500, 1_180)),
    ("stackexchange_cooking", 6_000, 3, (150, 500, 1_500)),
)


def read(name: str, rows: int) -> tuple[list[str], list[list[str]], list[str], list[list[str]]]:
    """Texts and label lists of some training rows and of all validation rows."""
    if name == "stackexchange_cooking":  # comes unsplit
        table = pd.read_csv(DATA / name / "train.csv.gz", keep_default_na=False).sample(frac=1, random_state=0)
        tables = {"validation": table[:3_000], "train": table[3_000:]}
    else:
        suffix = "csv.gz" if name == "jigsaw" else "parquet"
        load = pd.read_csv if name == "jigsaw" else pd.read_parquet
        tables = {split: load(DATA / name / f"{split}.{suffix}") for split in ("train", "validation")}
    train = tables["train"].sample(rows, random_state=0)
    return (*columns(name, train), *columns(name, tables["validation"]))


def columns(name: str, table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Texts and label lists, whatever the file's layout."""
    if name == "goemotions":
        return table["text"].tolist(), [list(labels) for labels in table["labels"]]
    if name == "stackexchange_cooking":
        return (table["title"] + " " + table["content"].str[:1000]).tolist(), table["tags"].str.split().tolist()
    text = table["comment_text"] if name == "jigsaw" else table["TITLE"] + ". " + table["ABSTRACT"]
    flags = table.iloc[:, 2:] if name == "jigsaw" else table.iloc[:, 3:]
    held = [[label for label, flag in zip(flags, row, strict=True) if flag] for row in flags.to_numpy()]
    return text.tolist(), held


def score(name: str, rows: int) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Validation probabilities and targets of the cheap model, for the labels seen in its training rows."""
    train_texts, train_labels, texts, labels = read(name, rows)
    binarizer = MultiLabelBinarizer(sparse_output=True)
    targets = torch.tensor(binarizer.fit_transform(train_labels).toarray(), dtype=torch.float32)
    known = set(binarizer.classes_)
    held = binarizer.transform([[label for label in row if label in known] for row in labels]).astype(bool).tocsr()
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=30_000)
    vectors = vectorizer.fit_transform(train_texts)
    svd = TruncatedSVD(256, n_iter=3, random_state=0)
    features = torch.tensor(svd.fit_transform(vectors), dtype=torch.float32)
    scale = 4 / features.norm(dim=1).mean()
    weight, bias = train_linear(features * scale, targets)
    unseen = torch.tensor(svd.transform(vectorizer.transform(texts)), dtype=torch.float32) * scale
    return torch.sigmoid(unseen @ weight + bias).numpy(), held


def train_linear(features: torch.Tensor, targets: torch.Tensor, steps: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression of all labels at once, full batch."""
    share = (targets.sum(0) + 0.5) / (len(targets) + 1)
    weight = torch.zeros(features.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.logit(share).requires_grad_()
    optimizer = torch.optim.Adam([weight, bias], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    for _ in range(steps):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(features @ weight + bias, targets)
        loss = loss * targets.shape[1] + 1e-4 * weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()


def held_out(
    probs: np.ndarray, targets: sparse.csr_matrix, rows: int, repeats: int
) -> Iterator[list[tuple[float, float]]]:
    """Per repeat, (micro, macro) on the rows the cuts were not fitted on: both plain rules, then each strength."""
    rng = np.random.default_rng(0)
    for _ in range(repeats):
        order = rng.permutation(len(probs))
        fitted, judged = order[:rows], order[rows:]
        scores, held = probs[fitted], sparse.csr_array(targets[fitted])
        shared, own = shared_and_own(scores, held)
        positives = np.bincount(held.indices, minlength=len(own))
        cuts = [shared, fit_thresholds(scores, held, "macro_f1")]
        for strength in STRENGTHS:
            used = choose_shrinkage(scores, held) if isinstance(strength, str) else strength
            cuts.append(draw_cuts(scores, positives, shared, own, used))
        found = []
        for chosen in cuts:
            decided = probs[judged] >= chosen
            result = evaluate_predictions(probs[judged], decided, targets[judged], metrics=("micro_f1", "macro_f1"))
            found.append((result["micro_f1"], result["macro_f1"]))
        yield found


def main() -> None:
    """Print the table: (micro + macro) / 2 on rows not fitted on, in percent."""
    if not (DATA / "arxiv_topics").is_dir():
        sys.exit(f"benchmarks/shrinkage.py: expected datasets in {DATA}, found none. Set HF_MULTILABEL_DATA.")
    names = ["micro_f1", "macro_f1", *(f"c={strength}" for strength in STRENGTHS)]
    print("| dataset (training rows), labels | rows fitted on |", " | ".join(names), "|")
    print("|---|---|" + "---|" * len(names))
    totals = []
    for name, training_rows, repeats, sizes in PLAN:
        probs, targets = score(name, training_rows)
        for rows in sizes:
            pairs = np.array(list(held_out(probs, targets, rows, repeats))).mean(axis=0)  # (choices, 2)
            totals.append(pairs.mean(axis=1))
            cells = " | ".join(f"{100 * both:.1f}" for both in totals[-1])
            print(f"| {name} ({training_rows}), {probs.shape[1]} | {rows} | {cells} |", flush=True)
    print("| mean | |", " | ".join(f"{100 * both:.2f}" for both in np.mean(totals, axis=0)), "|")


if __name__ == "__main__":
    main()
