"""Texts from a file or stdin, label sets to a file or stdout: `hf-multilabel predict`."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from tqdm.auto import tqdm

from hf_multilabel.data.loading import read_texts
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.inference import READ_AHEAD, FinishedModel
from hf_multilabel.measurement import recipe_of

FORMATS = ("jsonl", "csv")
# Between the labels of a CSV cell.
DELIMITER = "|"
# A spreadsheet runs a cell that starts so as a formula; an apostrophe before it keeps it text.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def predict_file(
    model: str,
    source: str,
    *,
    text: list[str] | None = None,
    row_id: str | None = None,
    output: Path | None = None,
    form: str | None = None,
    batch_size: int = 32,
) -> None:
    """Predict the label set of every text of a source, in constant memory.

    Args:
        model: Folder or Hub id.
        source: Text file (one text a line), JSONL, CSV, TSV or Parquet; `-` reads lines from stdin.
        text: Column of the text, several to be joined; None takes those the model was trained on. Lines have none.
        row_id: Column that names a row in the output; None numbers the rows.
        output: File to write, replaced when all is predicted; None writes to stdout.
        form: `jsonl` or `csv`; None takes the output's ending, or jsonl.
        batch_size: Texts of one forward pass.

    Raises:
        InputError: If model, source or format are wrong; an output that was there is untouched.
    """
    form = form or ("csv" if output is not None and output.suffix == ".csv" else "jsonl")
    if form not in FORMATS:
        raise InputError(Finding("C201", "--format", f"expected {' or '.join(FORMATS)}, found {form!r}", "choose one"))
    check_output(output)
    finished = FinishedModel.load(model)
    # as in training: what was joined and stripped there must be here
    read = recipe_of(finished, ["data.source=."]).data
    rows = read_texts(
        source, text=text or read.text, text_separator=read.text_separator, strip_html=read.strip_html, id=row_id
    )
    labels = finished.labels.names
    if form == "csv" and any(DELIMITER in label for label in labels):
        label = next(label for label in labels if DELIMITER in label)
        raise InputError(
            Finding(
                "C203",
                "--format",
                f"expected label names without {DELIMITER!r} for CSV, found {label!r}",
                "write --format jsonl",
            )
        )
    # at a terminal each line is answered at once; a pipe is answered batch by batch
    read_ahead = READ_AHEAD if source != "-" else 1 if sys.stdin.isatty() else batch_size
    predictions = finished.predict(tqdm(rows, desc="texts", unit="", disable=None), batch_size, read_ahead)
    with open_output(output) as stream:
        (write_csv if form == "csv" else write_jsonl)(stream, predictions)


def check_output(output: Path | None) -> None:
    """Refuse an output that can't be written, before the work.

    Raises:
        InputError: If it is a folder, or its folder is not there.
    """
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        found = "a folder" if output.is_dir() else f"no folder {output.parent}"
        raise InputError(Finding("C202", str(output), f"expected a file in a folder, found {found}", "name another"))


@contextlib.contextmanager
def open_output(output: Path | None) -> Iterator[TextIO]:
    """stdout, or a file that takes its place only when everything is written."""
    if output is None:
        try:
            yield sys.stdout
            sys.stdout.flush()
        except BrokenPipeError:
            # `| head` has read enough; Python would complain once more when it closes stdout
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def write_jsonl(stream: TextIO, predictions: Iterable[Mapping[str, Any]]) -> None:
    """One object a line: id, labels, scores."""
    for prediction in predictions:
        stream.write(json.dumps(prediction, ensure_ascii=False) + "\n")
        stream.flush()


def write_csv(stream: TextIO, predictions: Iterable[Mapping[str, Any]]) -> None:
    """Columns id, labels and scores; the last two delimited by `|`, in the same order."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("id", "labels", "scores"))
    for prediction in predictions:
        scores = DELIMITER.join(f"{score:.6f}" for score in prediction["scores"].values())
        writer.writerow((as_cell(prediction["id"]), as_cell(DELIMITER.join(prediction["labels"])), scores))


def as_cell(value: str) -> str:
    """A value that no spreadsheet takes for a formula.

    Example:
        >>> as_cell("=1+1"), as_cell("sport")
        ("'=1+1", 'sport')
    """
    return f"'{value}" if value.startswith(FORMULA) else value
