"""What a recipe does to the training split against imbalance: first new texts, then rows drawn again or left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from scipy.sparse import csr_matrix, vstack

from hf_multilabel.data.augmentation import augment as make_texts
from hf_multilabel.data.balancing import RESAMPLERS, class_aware
from hf_multilabel.data.imbalance import measure_imbalance
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.synthesis import mlsmote


def apply_remedies(
    data: MultiLabelData, augment: Mapping[str, Any] | None = None, balance: Mapping[str, Any] | None = None
) -> MultiLabelData:
    """The data with a training split that was augmented and balanced; the other splits are the same.

    Args:
        data: As loaded.
        augment: `method` and what else `data.augmentation.augment` takes; None makes no texts.
        balance: `method` and what else that function of `data.balancing.BALANCERS` takes. Those that are no resampling
            (`class_aware`, `mlsmote`) change no rows here: they work while training, or on features.

    Returns:
        The data; `labels.counts` are those of the changed split, and `statistics` say under `augmentation` and
        `balancing` how many rows came and went, under `trained_on` how imbalanced the split is afterwards. Texts
        made here are named ID~1, ID~2 ...; a row drawn again keeps its id.

    Raises:
        ValueError: If a method is unknown or an option is out of range.
    """
    statistics: dict[str, Any] = {}
    train = data.splits["train"]
    if augment is not None:
        texts = train.with_format("arrow")[:].column("text").to_pylist()
        made = make_texts(texts, data.label_matrix("train"), **augment)
        train = _with_texts(train, made.rows, made.texts)
        statistics["augmentation"] = {**augment, "rows_added": len(made.rows), "rows_skipped": made.skipped}
        data = _with_train(data, train)
    if balance is not None:
        statistics["balancing"] = {**balance, "rows_before": len(train)}
        options = dict(balance)
        method = options.pop("method")
        if method in RESAMPLERS:
            data = _with_train(data, _take(train, RESAMPLERS[method](data.label_matrix("train"), **options)))
        statistics["balancing"]["rows_after"] = len(data.splits["train"])
    if statistics:
        after = {"rows": len(data.splits["train"]), **measure_imbalance(data.label_matrix("train"))}
        data = replace(data, statistics={**data.statistics, **statistics, "trained_on": after})
    return data


def drawn_rows(data: MultiLabelData, balance: Mapping[str, Any] | None) -> Callable[[int], np.ndarray] | None:
    """Under `class_aware`, what gives the rows of an epoch; None where each row comes once."""
    if balance is None or balance["method"] != "class_aware":
        return None
    targets, seed = data.label_matrix("train"), balance.get("seed", 0)
    return lambda epoch: class_aware(targets, (seed, epoch))


def with_synthetic(
    features: np.ndarray, data: MultiLabelData, balance: Mapping[str, Any] | None
) -> tuple[np.ndarray, csr_matrix, csr_matrix | None]:
    """What the probe of the head is solved on: features and labels of the training rows, and what `mlsmote` adds.

    Args:
        features: Of the training rows, shape (N, D).
        data: After `apply_remedies`; its statistics learn how many rows were added.
        balance: As for `apply_remedies`.

    Returns:
        Features (N + M, D), labels (N + M, L) and, where the data have such, unknown labels (N + M, L); M is 0 under
        any other method.
    """
    targets, unknown = data.label_matrix("train"), data.unknown_matrix("train")
    if balance is None or balance["method"] != "mlsmote":
        return features, targets, unknown
    made, labels = mlsmote(features, targets, **{key: value for key, value in balance.items() if key != "method"})
    data.statistics["balancing"]["synthetic_rows"] = len(made)
    if unknown is not None:
        unknown = vstack([unknown, csr_matrix(labels.shape, dtype=bool)], format="csr")
    return np.concatenate([features, made]), vstack([targets, labels], format="csr"), unknown


def _with_train(data: MultiLabelData, train: Dataset) -> MultiLabelData:
    changed = replace(data, splits={**data.splits, "train": train})
    counts = tuple(changed.label_matrix("train").getnnz(axis=0).tolist())
    return replace(changed, labels=replace(data.labels, counts=counts))


def _take(train: Dataset, rows: np.ndarray) -> Dataset:
    table = train.with_format("arrow")[:].take(pa.array(rows))
    return Dataset(table, fingerprint=_fingerprint(train, rows.astype(np.int64).tobytes()))


def _with_texts(train: Dataset, rows: np.ndarray, texts: list[str]) -> Dataset:
    """The rows, and below them copies of some with other texts."""
    table = train.with_format("arrow")[:]
    copies = table.take(pa.array(rows))
    seen: dict[int, int] = {}
    ids = []
    for row, name in zip(rows.tolist(), copies.column("id").to_pylist(), strict=True):
        seen[row] = seen.get(row, 0) + 1
        ids.append(f"{name}~{seen[row]}")
    for name, values in (("id", ids), ("text", texts)):
        position = table.column_names.index(name)
        copies = copies.set_column(position, name, pa.array(values, table.schema.field(name).type))
    joined = pa.concat_tables([table, copies.cast(table.schema)])
    return Dataset(joined, fingerprint=_fingerprint(train, "\0".join(texts).encode()))


def _fingerprint(train: Dataset, change: bytes) -> str:
    return hashlib.sha256(train._fingerprint.encode() + change).hexdigest()[:16]
