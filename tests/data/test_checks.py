from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.data.checks import count_labels, find_duplicates, find_unseen, text_digests
from hf_multilabel.data.findings import LIMIT, Findings, shown
from hf_multilabel.data.rows import Rows
from hf_multilabel.errors import InputError


def rows_of(name: str, texts: list[str], labels: list[list[int]] | None = None, ids: list[str] | None = None) -> Rows:
    count = len(texts)
    matrix = np.array(labels if labels is not None else [[0]] * count, dtype=bool)
    return Rows(
        pa.chunked_array([ids or [f"{name}-{i}" for i in range(count)]], pa.string()),
        pa.chunked_array([texts], pa.large_string()),
        csr_matrix(matrix),
        (f"{name}.csv",),
        np.zeros(count, np.int32),
        np.arange(2, count + 2),
    )


def test_equal_texts_have_equal_digests_and_others_do_not() -> None:
    chunked = pa.chunked_array([["a", "b", ""], ["b", "a\x00", "\u00e9"]], pa.large_string()).slice(1)
    digests = text_digests(chunked)
    assert len(digests) == 5
    assert digests[0] == digests[2]
    assert len(np.unique(digests)) == 4
    assert len(text_digests(pa.chunked_array([], pa.large_string()))) == 0


def test_shared_texts_are_counted_by_row_with_five_examples() -> None:
    splits = {"train": rows_of("train", list("abcdefgh") + ["a"]), "test": rows_of("test", list("xabcdefa"))}
    findings = Findings()
    counts = find_duplicates(splits, None, findings)
    assert counts == {"between_splits": {"train/test": 7}, "within_splits": {"train": 1, "test": 1}}
    assert len(findings) == 1
    assert findings[0].where == "test.csv:text"
    assert (
        "found 7 rows of test, such as test.csv:3, test.csv:4, test.csv:5, test.csv:6, test.csv:7" in findings[0].what
    )
    assert "test.csv:8" not in findings[0].what
    assert "data.duplicates: warn" in findings[0].fix


def test_ids_used_twice() -> None:
    splits = {
        "train": rows_of("train", list("abc"), ids=["1", "1", "2"]),
        "test": rows_of("test", list("xyz"), ids=["2", "3", "4"]),
    }
    findings = Findings()
    assert find_duplicates(splits, "number", findings)["ids"] == {"train": 1, "test": 0, "train/test": 1}
    assert "expected every id once, found 1 used again, such as '1' (train.csv:2 and train.csv:3)" in findings[0].what
    assert "expected no id of train in test, found 1, such as '2' (train.csv:4 and test.csv:2)" in findings[1].what
    assert [finding.where for finding in findings] == ["train.csv:3:number", "test.csv:2:number"]
    assert all("give every row an id of its own" in finding.fix for finding in findings)
    assert find_duplicates(splits, None, Findings()).get("ids") is None


def test_labels_outside_training() -> None:
    splits = {
        "train": rows_of("train", ["a"], [[1, 0, 0, 0]]),
        "validation": rows_of("validation", ["b", "c"], [[1, 0, 0, 0], [0, 1, 0, 0]]),
        "test": rows_of("test", ["d", "e"], [[0, 1, 1, 0], [0, 1, 0, 0]]),
    }
    findings = Findings()
    found = find_unseen(["a", "b", "c", "never"], splits, findings)
    assert found["count"] == 2
    assert found["examples"] == ["b", "c"]
    assert found["by_split"] == {"validation": 1, "test": 2}
    assert found["never"] == 1
    assert found["never_examples"] == ["never"]
    assert [finding.where for finding in findings] == ["validation.csv:3:labels", "test.csv:2:labels"]
    assert "found 'b' only in 1 row of validation and 2 rows of test" in findings[0].what


def test_counts_of_labels() -> None:
    rows = rows_of("train", list("abcd"), [[1, 1], [0, 0], [1, 0], [0, 0]])
    assert count_labels(rows, 2) == {"cardinality": 0.75, "density": 0.375, "rows_without_labels": 2}


def test_findings_stop_before_they_fill_the_memory() -> None:
    findings = Findings()
    for number in range(LIMIT - 1):
        findings.add("D111", f"a.csv:{number}", "expected text, found null", "fill it in")
    with pytest.raises(InputError) as caught:
        findings.add("D111", f"a.csv:{LIMIT}", "expected text, found null", "fill it in")
    assert len(caught.value.findings) == LIMIT
    assert str(caught.value).endswith(f"... and {LIMIT - 20} more of {LIMIT} findings")


def test_values_are_shown_short_and_printable() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert shown("\ud800") == "'\\ud800'"
    assert len(shown("x" * 10**6)) == 60
