"""Labels that a person corrected, applied to the rows as they are read: `data.corrections`.

The file lists (row, label) pairs, as `hf-multilabel inspect DATA --label-errors FILE` writes them. Pairs whose `action`
is `fix` get the label as suggested; `keep` and an empty cell leave it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, lil_matrix

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.labels import LabelSpace, normalize
from hf_multilabel.data.rows import Rows
from hf_multilabel.errors import EnvironmentFault, Finding, InputError, raise_findings

ACTIONS = ("", "keep", "fix")
VALUES = ("0", "1")
NEEDED = ("id", "label", "suggested", "action")
# So much of a text is written, and must still be how the row's text begins.
TEXT_CHARACTERS = 300
# A spreadsheet runs a cell that starts so as a formula; an apostrophe before it keeps it text.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
FORMATS = (".csv", ".jsonl")
LONGEST_CELL = 1 << 20


@dataclass(frozen=True)
class Suspect:
    """One label of one row that may be wrong.

    Args:
        id: Of the row.
        split: Where the row stands.
        label: Its name.
        given: 1 if the row has the label, else 0.
        suggested: The other of the two.
        score: Probability that the label holds, by a model that did not see the row.
        action: What a person decided: `fix`, `keep`, or nothing yet.
        text: The beginning of the row's text.
    """

    id: str
    split: str
    label: str
    given: int
    suggested: int
    score: float
    action: str = ""
    text: str = ""


def write_suspects(path: Path, suspects: Iterable[Suspect]) -> None:
    """Write the list, whole or not at all: CSV, or JSON Lines where the name ends in .jsonl.

    Raises:
        InputError: If the name ends otherwise.
        EnvironmentFault: If the file can't be written.
    """
    check_name(path)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as stream:
            if path.suffix == ".jsonl":
                stream.writelines(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in suspects)
            else:
                writer = csv.DictWriter(stream, list(Suspect.__dataclass_fields__))
                writer.writeheader()
                writer.writerows({key: _safe(value) for key, value in asdict(one).items()} for one in suspects)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        what = f"expected to write the list, found {error}"
        raise EnvironmentFault(Finding("D303", str(path), what, "name another file")) from error


def check_name(path: Path) -> None:
    """Refuse a name that does not end in .csv or .jsonl.

    Raises:
        InputError: If it does not.
    """
    if path.suffix not in FORMATS:
        what = f"expected a name that ends in {' or '.join(FORMATS)}, found {path.name!r}"
        raise InputError(Finding("D120", str(path), what, "name the file so"))


def apply_corrections(
    rows: Mapping[str, Rows], space: LabelSpace, path: Path
) -> tuple[dict[str, Rows], dict[str, Any]]:
    """The rows with the corrected labels.

    Args:
        rows: Split to rows, labels as ids of the label space.
        space: The labels.
        path: The list; a row is found by its id, and by its split where two splits use the id.

    Returns:
        The rows, and the counts `added` (labels given to a row), `removed`, `already` (the row was as suggested) and
        `left` (no `fix`).

    Raises:
        InputError: With all that is wrong in the list: an id that no row has, a label that is none, a text that is not
            the row's any more.
    """
    findings = Findings()
    counts = {"added": 0, "removed": 0, "already": 0, "left": 0}
    index = _index(rows)
    changes: dict[str, list[tuple[int, int, bool]]] = {split: [] for split in rows}
    for place, entry in _read(path, findings):
        if entry["action"] != "fix":
            counts["left"] += 1
            continue
        found = _find(entry, rows, index, space, place, findings)
        if found is not None:
            split, row, label, holds = found
            if bool(rows[split].labels[row, label]) == holds:
                counts["already"] += 1
            else:
                changes[split].append((row, label, holds))
                counts["added" if holds else "removed"] += 1
    raise_findings(findings)
    return {split: _change(found, changes[split]) for split, found in rows.items()}, {"file": path.name, **counts}


def _read(path: Path, findings: Findings) -> Iterator[tuple[str, dict[str, str]]]:
    """Each entry with its place, all values as text."""
    check_name(path)
    csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            entries = (
                _json_lines(stream, path, findings) if path.suffix == ".jsonl" else _csv_rows(stream, path, findings)
            )
            for place, entry in entries:
                missing = [key for key in NEEDED if key not in entry]
                if missing:
                    what = f"expected {', '.join(NEEDED)}, found no {', '.join(missing)}"
                    findings.add("D120", place, what, "take a list that hf-multilabel inspect --label-errors wrote")
                    return
                entry["action"] = entry["action"].strip().lower()
                if entry["action"] in ACTIONS:
                    yield place, entry
                else:
                    what = f"expected fix, keep or nothing, found {shown(entry['action'])}"
                    findings.add("D120", f"{place}:action", what, "write one of them")
    except (UnicodeDecodeError, csv.Error) as error:
        findings.add("D120", str(path), f"expected a list in UTF-8, found {error}", "write it again")
    except OSError as error:
        findings.add("D120", str(path), f"expected a file, found {error.strerror}", "correct data.corrections")


def _csv_rows(stream: Iterable[str], path: Path, findings: Findings) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.DictReader(stream)
    for entry in reader:
        yield f"{path}:{reader.line_num}", {key: _unsafe(value or "") for key, value in entry.items() if key}


def _json_lines(stream: Iterable[str], path: Path, findings: Findings) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            entry = dict(json.loads(line))
        except (ValueError, TypeError):
            findings.add("D120", f"{path}:{number}", f"expected a JSON object, found {shown(line)}", "correct the line")
            continue
        yield f"{path}:{number}", {str(key): "" if value is None else str(value) for key, value in entry.items()}


def _index(rows: Mapping[str, Rows]) -> dict[str, list[tuple[str, int]]]:
    """Id to the rows that have it."""
    found: dict[str, list[tuple[str, int]]] = {}
    for split, part in rows.items():
        for row, name in enumerate(part.ids.to_pylist()):
            found.setdefault(name, []).append((split, row))
    return found


def _find(
    entry: Mapping[str, str],
    rows: Mapping[str, Rows],
    index: Mapping[str, list[tuple[str, int]]],
    space: LabelSpace,
    place: str,
    findings: Findings,
) -> tuple[str, int, int, bool] | None:
    """Split, row, label id and the corrected value of an entry, or None with a finding."""
    places = index.get(entry["id"], [])
    if len(places) > 1:
        places = [(split, row) for split, row in places if split == entry.get("split")]
    if len(places) != 1:
        found = f"{len(places)} rows" if places else "none"
        findings.add("D121", f"{place}:id", f"expected one row with the id {shown(entry['id'])}, found {found}", FIX)
        return None
    label = space.id_of.get(normalize(entry["label"]))
    if label is None:
        findings.append(space.unknown(entry["label"], f"{place}:label"))
        return None
    if entry["suggested"] not in VALUES:
        what = f"expected 0 or 1, found {shown(entry['suggested'])}"
        findings.add("D120", f"{place}:suggested", what, "write 1 for a label that holds, else 0")
        return None
    split, row = places[0]
    text = rows[split].text[row].as_py()
    if entry.get("text") and one_line(text) != entry["text"]:
        what = f"expected the beginning of the row's text, {shown(one_line(text))}, found {shown(entry['text'])}"
        findings.add("D121", f"{place}:text", what, FIX)
        return None
    return split, row, label, entry["suggested"] == "1"


FIX = "make the list anew: the data changed since it was written"


def one_line(text: str) -> str:
    """The beginning of a text on one line, as it stands in the list."""
    return " ".join(text[: 2 * TEXT_CHARACTERS].split())[:TEXT_CHARACTERS].rstrip()


def _change(rows: Rows, changes: list[tuple[int, int, bool]]) -> Rows:
    if not changes:
        return rows
    labels = lil_matrix(rows.labels)
    for row, label, holds in changes:
        labels[row, label] = holds
    touched = tuple(np.array([change[:2] for change in changes]).T)
    return replace(
        rows, labels=_csr(labels), unknown=_without(rows.unknown, touched), soft=_without(rows.soft, touched)
    )


def _without(matrix: csr_matrix | None, cells: tuple[np.ndarray, ...]) -> csr_matrix | None:
    """The matrix without these cells: what a person decided is neither unknown nor soft."""
    if matrix is None:
        return None
    found = lil_matrix(matrix)
    found[cells] = 0
    return _csr(found)


def _csr(matrix: lil_matrix) -> csr_matrix:
    found = csr_matrix(matrix)
    found.eliminate_zeros()
    found.sort_indices()
    return found


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _unsafe(value: str) -> str:
    return value[1:] if value.startswith("'") and value[1:].startswith(FORMULA) else value
