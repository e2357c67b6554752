"""Co-occurrence, label sets, shift, lengths and memory: worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import fisher_exact

from hf_multilabel.data.profile.cooccurrence import measure_cooccurrence
from hf_multilabel.data.profile.label_sets import count_label_sets, describe_splits
from hf_multilabel.data.profile.lengths import measure_lengths
from hf_multilabel.data.profile.lookalikes import find_lookalikes
from hf_multilabel.data.profile.memory import ModelShape, RunShape, estimate_memory, layer_bytes
from hf_multilabel.data.profile.shift import exact_p_values, measure_shift

NAMES = ("a", "b", "c")


def rows_of(*counted: tuple[int, tuple[int, int, int]]) -> csr_matrix:
    return csr_matrix(np.array([row for count, row in counted for _ in range(count)], dtype=bool))


def test_pairs_by_hand() -> None:
    # 40 rows: a in 20, b in 10, c in 8; a and b in 10, b and c in none, a and c in 5
    matrix = rows_of((10, (1, 1, 0)), (5, (1, 0, 1)), (5, (1, 0, 0)), (3, (0, 0, 1)), (17, (0, 0, 0)))
    found = measure_cooccurrence(matrix, NAMES)
    assert found.labels == NAMES
    assert found.counts == ((20, 10, 5), (10, 10, 0), (5, 0, 8))
    assert found.least == 5
    lift = [(pair.first, pair.second, pair.together, pair.lift) for pair in found.by_lift]
    assert lift == [("a", "b", 10, 10 * 40 / 200), ("a", "c", 5, 5 * 40 / 160)]
    assert [pair.jaccard for pair in found.by_jaccard] == [10 / 20, 5 / 23]


def test_pairs_of_few_rows_are_not_listed() -> None:
    matrix = rows_of((4, (1, 1, 0)), (30, (0, 0, 1)))
    assert measure_cooccurrence(matrix, NAMES).by_lift == ()


def test_only_the_most_frequent_labels_are_mapped() -> None:
    matrix = rows_of((3, (0, 0, 1)), (2, (0, 1, 0)), (1, (1, 0, 0)))
    assert measure_cooccurrence(matrix, NAMES, shown=2).labels == ("c", "b")


def test_label_sets_by_hand() -> None:
    train = rows_of((2, (1, 1, 0)), (1, (0, 1, 0)), (1, (0, 0, 0)))
    test = rows_of((1, (0, 0, 1)))
    assert count_label_sets(train) == (3, 2)
    found = describe_splits({"train": train, "test": test}, NAMES, {"test": "stratified"})
    assert found["train"].cardinality == 5 / 4
    assert found["train"].density == 5 / 12
    assert found["train"].rows_without_labels == 1
    assert (found["train"].labels_missing, found["train"].missing_examples) == (1, ("c",))
    assert (found["test"].labels_missing, found["test"].origin) == (2, "stratified")


def lookalikes(rows: dict[str, int]) -> list[tuple[str, str]]:
    return [(pair.second, pair.first) for pair in find_lookalikes(list(rows), list(rows.values()))]


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("Computer Scince", "Computer Science"),
        ("computer science", "Computer-Science"),
        ("Machine Learrning", "Machine Learning"),
        ("Machine Laerning", "Machine Learning"),
        ("Machine Learming", "Machine Learning"),
        ("roboti-arm", "robotic-arm"),
        ("Ökonomei", "Ökonomie"),
    ],
)
def test_misspelt_labels_look_alike(slip: str, meant: str) -> None:
    assert lookalikes({meant: 460, "Statistics": 300, slip: 1}) == [(slip, meant)]
    assert lookalikes({slip: 5, meant: 50}) == [(slip, meant)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("label 1", "label 2"),
        ("category 11", "category 1-1"),
        ("Math.AC", "Math.AG"),
        ("100123", "100124"),
        ("EC opinion", "ESC opinion"),
        ("C# language", "C language"),
        ("methanol", "ethanol"),
        ("pastry", "pantry"),
        ("meat", "heat"),
    ],
)
def test_names_that_only_resemble_do_not(one: str, other: str) -> None:
    assert lookalikes({one: 460, other: 1}) == []


def test_frequent_labels_a_letter_apart_are_meant_so() -> None:
    assert lookalikes({"organisation": 460, "organization": 6}) == []
    assert lookalikes({"organisation": 49, "organization": 5}) == []
    assert lookalikes({"organisation": 49, "organization": 0}) == []  # declared alone
    # separators alone mean nothing, however frequent
    assert lookalikes({"machine-learning": 460, "machine learning": 400}) == [("machine learning", "machine-learning")]


def test_the_most_lopsided_pairs_come_first() -> None:
    rows = {"science": 30, "scienec": 1, "sciencce": 3, "finance": 500, "finace": 2, "fianance": 1}
    assert lookalikes(rows) == [("fianance", "finance"), ("finace", "finance"), ("scienec", "science"),
                                ("sciencce", "science")]  # fmt: skip


def test_p_values_are_those_of_the_exact_test() -> None:
    ours, theirs = np.array([3, 40, 0, 7]), np.array([0, 10, 2, 6])
    for a, b, p in zip(ours, theirs, exact_p_values(ours, 50, theirs, 30), strict=True):
        sides = [fisher_exact([[a, 50 - a], [b, 30 - b]], side).pvalue for side in ("less", "greater")]
        assert p == pytest.approx(min(1, 2 * min(sides)))


def test_shift_by_hand() -> None:
    first, second = rows_of((50, (1, 1, 0)), (50, (0, 1, 0))), rows_of((10, (1, 1, 0)), (90, (0, 1, 0)))
    found = measure_shift(first, second, NAMES)
    assert (found.labels, found.significant) == (2, 1)  # c is in neither
    assert (found.largest[0].label, found.largest[0].first, found.largest[0].second) == ("a", 0.5, 0.1)
    assert found.cardinality == pytest.approx(-0.4)
    assert found.mean_difference == pytest.approx(0.2)


def test_random_parts_do_not_shift() -> None:
    matrix = csr_matrix(np.random.default_rng(0).random((4000, 200)) < np.linspace(0.001, 0.3, 200))
    assert measure_shift(matrix[:3000], matrix[3000:], tuple(map(str, range(200)))).significant == 0


def test_lengths_by_hand() -> None:
    texts = {"train": pa.chunked_array([pa.array([" ".join("x" * n) for n in (1, 2, 3, 70)], pa.large_string())])}
    found = measure_lengths(texts, max_length=2)
    assert (found.unit, found.truncated["train"], found.percentiles["train"][100]) == ("words", 0.5, 70)
    assert found.cut_at[64] == 0.25
    assert sum(found.counts) == 4
    # texts of up to two words left of the edge at the cut
    assert 2.5 in found.edges
    assert sum(count for edge, count in zip(found.edges, found.counts, strict=False) if edge < 2.5) == 2


def test_lengths_of_a_sample_are_counted_as_such() -> None:
    texts = {"train": pa.chunked_array([pa.array(["x"] * 6000, pa.large_string())])}
    found = measure_lengths(texts, 8, lambda some: [len(text) for text in some], "bert")
    assert (found.measured, found.unit, found.tokenizer) == ({"train": 5000}, "tokens", "bert")


MODEL = ModelShape(1000, 600, 32, 64, 2, 2, 4, 5, fused=True, dropout=False)
RUN = RunShape(2, 10, "fp32", "adamw_torch_fused", 7, None, checkpointing=False, on_cpu=False)


def test_memory_by_hand() -> None:
    found = estimate_memory(MODEL, RUN)
    assert (found.weights, found.gradients, found.optimizer) == (4000, 2400, 4800)
    layer = 4 * (8 * 32 + 2 * 64)
    assert layer_bytes(MODEL, RUN) == layer
    assert found.activations == 2 * 10 * (3 * layer + 4 * 32) + 3 * 4 * 2 * 5
    assert found.evaluation == 7 * 3 * 4 * 5
    assert found.total == 4000 + 4800 + 2400 + found.activations


@pytest.mark.parametrize(
    ("model", "run", "more"),
    [
        ({"fused": False}, {}, True),
        ({"dropout": True}, {}, True),
        ({"trained_layers": 1}, {}, False),
        ({}, {"precision": "bf16"}, False),
        ({}, {"checkpointing": True}, False),
        ({}, {"length": 20}, True),
        ({}, {"batch_size": 4}, True),
    ],
)
def test_what_takes_memory(model: dict, run: dict, more: bool) -> None:
    changed = estimate_memory(ModelShape(**{**vars(MODEL), **model}), RunShape(**{**vars(RUN), **run}))
    assert (changed.activations > estimate_memory(MODEL, RUN).activations) == more


def test_optimizers_keep_their_states() -> None:
    sizes = {
        name: estimate_memory(MODEL, RunShape(**{**vars(RUN), "optimizer": name})).optimizer
        for name in ("adamw", "sgd", "sgd_nesterov", "adagrad", "amsgrad")
    }
    assert sizes == {"adamw": 4800, "sgd": 0, "sgd_nesterov": 2400, "adagrad": 2400, "amsgrad": 7200}


def test_many_labels_are_kept_in_part() -> None:
    wide = estimate_memory(ModelShape(**{**vars(MODEL), "labels": 100_000}), RUN)
    assert wide.evaluation == 7 * 8 * 64
    assert math.isfinite(wide.total)
