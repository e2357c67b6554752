"""Texts from a file or stdin, label sets to a file or stdout: `hf-multilabel predict`."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from hf_multilabel.data.loading import read_texts
from hf_multilabel.decisions.overrides import override_decision
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.inference import READ_AHEAD, FinishedModel
from hf_multilabel.measurement import recipe_of
from hf_multilabel.progress import track

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
    decision: Mapping[str, Any] | None = None,
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
        decision: What differs from the stored decision, as arguments of `override_decision`; None values do not count.

    Raises:
        InputError: If model, source, format or decision are wrong; an output that was there is untouched.
    """
    form = form or ("csv" if output is not None and output.suffix == ".csv" else "jsonl")
    if form not in FORMATS:
        raise InputError(Finding("C201", "--format", f"expected {' or '.join(FORMATS)}, found {form!r}", "choose one"))
    check_output(output)
    finished = FinishedModel.load(model)
    finished.model.config.decision = another_decision(finished, decision or {})
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
    predictions = finished.predict(track(rows, "predicting", "texts"), batch_size, read_ahead)
    with open_output(output) as stream:
        (write_csv if form == "csv" else write_jsonl)(stream, predictions)


def another_decision(finished: FinishedModel, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stored decision with these settings.

    Raises:
        InputError: If they do not fit the model's labels or each other.
    """
    stored = finished.model.config.decision
    if all(value is None for value in settings.values()):
        return stored
    try:
        return override_decision(stored, finished.labels.names, **settings)
    except ValueError as error:
        what, _, step = str(error).rpartition(". ") if ". " in str(error) else (str(error), "", "")
        fix = (step.rstrip(".")[:1].lower() + step.rstrip(".")[1:]) or "change the option"
        raise InputError(Finding("C205", "predict", what.removeprefix("decision."), fix)) from error


def read_overrides(thresholds: Sequence[str], objective: str | None) -> dict[str, Any]:
    """What was typed after --threshold and --objective, as arguments of `override_decision`.

    Raises:
        InputError: If a cut is no number, a label comes twice, or the objective needs labelled rows.

    Example:
        >>> read_overrides(["0.5", "sport=0.3"], None)
        {'threshold': 0.5, 'label_thresholds': {'sport': 0.3}}
    """
    if objective not in (None, "fixed"):
        fix = f"fit it once: `hf-multilabel tune MODEL DATA --objective {objective}`, or give --threshold"
        raise InputError(Finding("C204", "--objective", f"expected fixed, found {objective!r}: it needs labels", fix))
    common: list[float] = []
    single: dict[str, float] = {}
    for written in thresholds:
        label, equals, number = written.rpartition("=")
        try:
            cut = float(number)
        except ValueError:
            cut = math.nan
        if not 0 <= cut <= 1:
            what = f"expected a number in [0, 1], or LABEL=NUMBER, found {written!r}"
            raise InputError(Finding("C206", "--threshold", what, "write for instance 0.3 or sport=0.3"))
        if common if not equals else label in single:
            what = f"expected one cut {'of ' + repr(label) if equals else 'of all labels'}, found another {written!r}"
            raise InputError(Finding("C206", "--threshold", what, "keep one of the two"))
        if equals:
            single[label] = cut
        else:
            common.append(cut)
    if objective and not common:
        common.append(0.5)
    return {"threshold": common[0] if common else None, "label_thresholds": single or None}


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
