"""Texts from a file or stdin, label sets to a file or stdout: `hf-multilabel predict`."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from hf_multilabel.console import note
from hf_multilabel.data.loading import read_texts
from hf_multilabel.decisions.overrides import lost_guarantee, override_decision
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.label_sets import READ_AHEAD, decide_by_length, label_sets
from hf_multilabel.measurement import reading_of
from hf_multilabel.progress import track
from hf_multilabel.publishing.onnx_session import FULL, INT8, MOST_TOKENS, OnnxModel, is_export
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities
from hf_multilabel.request import check_output

logger = logging.getLogger(__name__)
FORMATS = ("jsonl", "csv")
# Ending of an output to its format, where none is said.
ENDINGS = {"": "jsonl", ".jsonl": "jsonl", ".json": "jsonl", ".txt": "jsonl", ".csv": "csv"}
# Places named in a warning.
SHOWN = 5
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
    scores: str = "predicted",
    onnx: bool = False,
) -> None:
    """Predict the label set of every text of a source, in constant memory.

    Args:
        model: Folder or Hub id, or the folder or file of an ONNX export.
        source: Text file (one text a line), JSONL, CSV, TSV or Parquet; `-` reads lines from stdin.
        text: Column of the text, several to be joined; None takes those the model was trained on. Lines have none.
        row_id: Column that names a row in the output; None numbers the rows.
        output: File to write, replaced when all is predicted; None writes to stdout.
        form: `jsonl` or `csv`; None takes the output's ending, or jsonl.
        batch_size: Texts of one forward pass.
        decision: What differs from the stored decision, as arguments of `override_decision`; None values do not count.
        scores: Labels whose probabilities are given: predicted or all.
        onnx: The model must be an export; without it an export is recognised.

    A row without text gets no labels and no scores; how many there were, and where, is a warning.

    Raises:
        InputError: If model, source, format or decision are wrong, or no row has a text; an output that was there is
            untouched.
    """
    ending = "" if output is None else output.suffix.lower()
    if form is None and ending not in ENDINGS:
        what = f"expected a name that ends in {', '.join(filter(None, ENDINGS))}, found {ending!r}"
        raise InputError(Finding("C208", str(output), what, "name it so, or say --format jsonl or csv"))
    form = form or ENDINGS[ending]
    if form not in FORMATS:
        raise InputError(Finding("C201", "--format", f"expected {' or '.join(FORMATS)}, found {form!r}", "choose one"))
    check_output(output)
    predictor = open_predictor(model, decision or {}, onnx)
    # as in training: what was joined and stripped there must be here
    reading = {**predictor.reading, "text": text or predictor.reading["text"]}
    lacking = Lacking()
    rows = read_texts(source, **reading, id=row_id, lacking=lacking.add)
    if form == "csv" and any(DELIMITER in label for label in predictor.names):
        label = next(label for label in predictor.names if DELIMITER in label)
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
    predictions = predictor.predict(track(rows, "predicting", "texts"), batch_size, read_ahead, scores)
    with open_output(output) as stream:
        if form == "csv":
            write_csv(stream, predictions, predictor.abstains, predictor.names if scores == "all" else None)
        else:
            write_jsonl(stream, predictions)
    lacking.warn()


@dataclass
class Lacking:
    """Rows without text: they keep their place in the output, without labels.

    Args:
        count: How many.
        first: Where the first ones stand.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, place: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(place)

    def warn(self) -> None:
        """Say how many there were, and where."""
        if self.count:
            rows, more = ("row has", "") if self.count == 1 else ("rows have", " and more" * (self.count > SHOWN))
            places = ", ".join(self.first)
            logger.warning("warning: %s %s no text and got no labels: %s%s", f"{self.count:,}", rows, places, more)


@dataclass
class Predictor:
    """What predicts, whatever runs it.

    Args:
        names: Label names by id.
        reading: How its texts are read: text (columns), text_separator, strip_html.
        predict: Rows, batch size, rows read ahead and `scores` to what `label_sets` yields.
        abstains: An empty set is an abstention.
    """

    names: Sequence[str]
    reading: Mapping[str, Any]
    predict: Callable[[Iterable[Mapping[str, str]], int, int, str], Iterator[dict[str, Any]]]
    abstains: bool


def open_predictor(model: str, settings: Mapping[str, Any], onnx: bool = False) -> Predictor:
    """Load a finished model or an export.

    Args:
        model: As for `predict_file`.
        settings: What differs from the stored decision.
        onnx: As for `predict_file`.

    Raises:
        InputError: As `FinishedModel.load` and `OnnxModel.load`, or if the settings do not fit.
    """
    if onnx or is_export(Path(model)):
        if (Path(model) / FULL).is_file() and (Path(model) / INT8).is_file():
            note(f"predicting with {FULL} (fp32); for the int8 graph give {Path(model) / INT8}")
        return onnx_predictor(OnnxModel.load(Path(model), torch.get_num_threads()), settings)
    finished = FinishedModel.load(model)
    names, config = finished.labels.names, finished.model.config
    config.decision = another_decision(config.decision, names, settings)
    return Predictor(names, reading_of(finished), finished.predict, config.decision["empty"] == "abstain")


def onnx_predictor(exported: OnnxModel, settings: Mapping[str, Any]) -> Predictor:
    """An export, whose graph decides; only another decision than the stored one is made of its probabilities.

    Raises:
        InputError: If the settings do not fit.
    """
    names, stored = exported.facts["labels"], exported.facts["decision"]
    decision = another_decision(stored, names, settings)
    abstains = decision["empty"] == "abstain"

    def decide(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        probs, labels = exported.decide(texts)
        same = decision is stored
        return probs, labels if same else decide_probabilities(torch.from_numpy(probs), decision).numpy()

    def predict(
        rows: Iterable[Mapping[str, str]], batch_size: int, read_ahead: int = READ_AHEAD, scores: str = "predicted"
    ) -> Iterator[dict[str, Any]]:
        def by_length(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
            return decide_by_length(texts, batch_size, len(names), decide, exported.lengths, most_tokens=MOST_TOKENS)

        return label_sets(rows, names, by_length, read_ahead, abstains, scores)

    return Predictor(names, exported.facts["reading"], predict, abstains)


def another_decision(stored: dict[str, Any], names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The stored decision with these settings; says so where its guarantee does not hold with them.

    Raises:
        InputError: If they do not fit the labels or each other.
    """
    if all(value is None for value in settings.values()):
        return stored
    try:
        found = override_decision(stored, names, **settings)
    except ValueError as error:
        what, _, step = str(error).rpartition(". ") if ". " in str(error) else (str(error), "", "")
        what = what.removeprefix("decision.")
        if step.startswith("Change it"):  # or another key of the decision, which no option sets
            step = f"change --{what.partition(':')[0].replace('_', '-')}"
        fix = (step.rstrip(".")[:1].lower() + step.rstrip(".")[1:]) or "change the option"
        raise InputError(Finding("C205", "predict", what, fix)) from error
    if lost := lost_guarantee(stored, found):
        note(f"note: the stored guarantee ({lost}) does not hold for these label sets")
    return found


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
    """One object a line: id, labels, scores; `abstained` where it does."""
    for prediction in predictions:
        stream.write(json.dumps(prediction, ensure_ascii=False) + "\n")
        stream.flush()


def write_csv(
    stream: TextIO,
    predictions: Iterable[Mapping[str, Any]],
    abstains: bool = False,
    names: Sequence[str] | None = None,
) -> None:
    """Columns id, labels and scores; the last two delimited by `|`, in the same order.

    With `names` a column `score:NAME` a label, in their order, takes the place of `scores`; it is empty where nothing
    was decided. Where the decision `abstains`, a column `abstained`, true or false, follows `labels` and scores.
    """
    writer = csv.writer(stream, lineterminator="\n")
    columns = ["scores"] if names is None else [f"score:{name}" for name in names]
    writer.writerow(("id", "labels", *columns, *(["abstained"] if abstains else [])))
    for prediction in predictions:
        found = prediction["scores"]
        if names is None:
            scores = [DELIMITER.join(f"{score:.6f}" for score in found.values())]
        else:
            scores = [f"{found[name]:.6f}" if name in found else "" for name in names]
        abstained = ["true" if prediction.get("abstained") else "false"] if abstains else []
        labels = as_cell(DELIMITER.join(prediction["labels"]))
        writer.writerow((as_cell(prediction["id"]), labels, *scores, *abstained))


def as_cell(value: str) -> str:
    """A value that no spreadsheet takes for a formula.

    Example:
        >>> as_cell("=1+1"), as_cell("sport")
        ("'=1+1", 'sport')
    """
    return f"'{value}" if value.startswith(FORMULA) else value
