"""The XMC repository format: one folder with raw texts, sparse labels by number, and label names, in many spellings.

    texts + labels in one   trn.json.gz {"title", "content", "target_ind"}, train.jsonl.gz likewise  -> JSON columns
    texts, one a line       trn.raw.txt, trn_X.txt, train.raw.txt, train_raw_texts.txt, X.trn.txt
    labels beside them      trn_X_Y.txt ("N L", then "3:1.0 7:1.0"), Y.trn.npz, or the features file train.txt
                            ("N D L", then "3,7 0:0.5 ..."), of which only the labels are read: models here read text
    names, one a line       Y.txt, lbl.raw.txt, label.raw.txt, output-items.txt, or lbl.json.gz {"uid", "title"}

Labels are what their number says; names that more than one label carries (books of one title) get the number added.

Reference: The Extreme Classification Repository, Bhatia et al. 2016; PECOS, Yu et al. 2022.
"""

from __future__ import annotations

import itertools
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse

from hf_multilabel.data.findings import Findings, shown
from hf_multilabel.data.labels import fold
from hf_multilabel.data.lines import read_lines
from hf_multilabel.data.records import open_records
from hf_multilabel.data.tables import BATCH_ROWS, Batch, Table

SPLITS = {"train": ("trn", "train"), "validation": ("val", "valid", "dev"), "test": ("tst", "test")}
JSON = ("{}.json.gz", "{}.json")
TEXTS = ("{}.raw.txt", "{}_raw_texts.txt", "X.{}.txt", "{}_X.txt", "raw_data/{}.raw.txt")
LABELS = ("{}_X_Y.txt", "Y.{}.npz", "{}_X_Y.npz", "{}.txt")
NAMES = ("Y.txt", "lbl.raw.txt", "label.raw.txt", "raw_data/label.raw.txt", "output-items.txt")
NAMES_JSON = ("lbl.json.gz", "lbl.json")
LabelReader = Callable[[Path, Sequence[str] | None, Findings], Iterator[list[int]]]
HEADER = re.compile(r"\d+ \d+( \d+)?\s*")


def is_xmc(folder: Path) -> bool:
    """Whether a folder is in the XMC format: labels and texts are apart, or JSON files point to label numbers."""
    return any(
        _find(folder, LABELS, short) or (_find(folder, JSON, short) and _first(folder, NAMES + NAMES_JSON))
        for names in SPLITS.values()
        for short in names
    )


def open_xmc(folder: Path, findings: Findings) -> dict[str, list[Table]]:
    """Open the splits of an XMC folder, without reading texts.

    Args:
        folder: The folder.
        findings: Receives what is wrong.

    Returns:
        Split to its table, with the columns `text` (and `title`, `content` where there are such) and `labels`.
    """
    names = _read_names(folder, findings)
    tables = {}
    for split, shorts in SPLITS.items():
        opened = next((table for short in shorts if (table := _open_split(folder, short, names, findings))), None)
        if opened is not None:
            tables[split] = [opened]
    if not tables and not findings:
        expected = " or ".join(form.format("trn") for form in TEXTS + JSON[:1])
        what = f"expected raw texts, one a line, in {expected}, found features only"
        findings.add("D117", str(folder), what, "fetch the raw texts of the dataset: models here read text")
    return tables


def _open_split(folder: Path, short: str, names: Sequence[str] | None, findings: Findings) -> Table | None:
    both = _find(folder, JSON, short)
    if both is not None:
        return _open_json(both, names, findings)
    texts, labels = _find(folder, TEXTS, short), _find(folder, LABELS, short)
    if texts is None or labels is None:
        return None
    if labels.suffix == ".npz":
        return _open_pair(texts, labels, names, _read_npz)
    return _open_pair(texts, labels, names, _read_sparse)


def _find(folder: Path, forms: Sequence[str], short: str) -> Path | None:
    """The first of the files that is there; a `train.txt` without a header of numbers is none of ours."""
    for path in (folder / form.format(short) for form in forms):
        if path.is_file() and (path.name != f"{short}.txt" or _has_header(path)):
            return path
    return None


def _has_header(path: Path) -> bool:
    lines = read_lines(path, Findings())
    _, line = next(lines, (1, ""))
    lines.close()
    return HEADER.fullmatch(line) is not None


def _first(folder: Path, forms: Sequence[str]) -> Path | None:
    return next((folder / form for form in forms if (folder / form).is_file()), None)


def _read_names(folder: Path, findings: Findings) -> list[str] | None:
    """Label names by number, made different; None where the folder has none."""
    path = _first(folder, NAMES_JSON)
    if path is not None:
        table = open_records(path, findings)
        if table is None or not table.check_columns(["title"], findings, "write the labels' titles"):
            return None
        columns = [name for name in ("title", "uid") if name in table.types]
        batches = list(table.read(columns, findings))
        titles = [name or "" for batch in batches for name in batch.columns["title"].to_pylist()]
        uids = [str(uid) for batch in batches for uid in batch.columns["uid"].to_pylist()] if "uid" in columns else None
        return _distinct(titles, uids)
    path = _first(folder, NAMES)
    return None if path is None else _distinct([line.strip() for _, line in read_lines(path, findings)])


def _distinct(names: Sequence[str], uids: Sequence[str] | None = None) -> list[str]:
    """Names with the label's own identifier added where two are equal, or one is empty.

    Example:
        >>> _distinct(["Poems", "Maps", "poems"])
        ['Poems [0]', 'Maps', 'poems [2]']
    """
    keys = uids or [str(number) for number in range(len(names))]
    times = Counter(fold(name) for name in names)
    return [
        name if name and times[fold(name)] == 1 else f"{name} [{key}]".strip()
        for name, key in zip(names, keys, strict=True)
    ]


def _open_json(path: Path, names: Sequence[str] | None, findings: Findings) -> Table | None:
    table = open_records(path, findings)
    if table is None or not table.check_columns(["target_ind"], findings, "fetch the files with target_ind"):
        return None
    parts = [name for name in ("title", "content") if name in table.types]
    types = {**table.types, "labels": pa.list_(pa.int64())}
    if parts and "text" not in types:
        types["text"] = pa.large_string()

    def read(columns: Sequence[str], findings: Findings) -> Iterator[Batch]:
        sources = {"labels": ["target_ind"], **({"text": parts} if "text" not in table.types else {})}
        wanted = dict.fromkeys(name for column in columns for name in sources.get(column, [column]))
        for batch in table.read(list(wanted), findings):
            found = dict(batch.columns)
            if "labels" in columns:
                found["labels"] = found["target_ind"]
            if "text" in columns and "text" not in found:
                found["text"] = _join([found[name].to_pylist() for name in parts])
            yield Batch({name: found[name] for name in columns}, batch.places, batch.file)

    return Table(table.file, types, read, {"labels": names} if names else {})


def _join(parts: Sequence[Sequence[str | None]]) -> pa.Array:
    joined = [" ".join(part for part in row if part) for row in zip(*parts, strict=True)]
    return pa.array(joined, pa.large_string())


def _open_pair(texts: Path, labels: Path, names: Sequence[str] | None, read_labels: LabelReader) -> Table:
    """Texts and labels of two files, row by row."""

    def read(columns: Sequence[str], findings: Findings) -> Iterator[Batch]:
        lines = read_lines(texts, findings)
        rows = read_labels(labels, names, findings)
        place = 1
        while True:
            batch_lines = [line.strip() for _, line in itertools.islice(lines, BATCH_ROWS)]
            batch_rows = list(itertools.islice(rows, BATCH_ROWS))
            if len(batch_lines) != len(batch_rows):
                short = labels if len(batch_rows) < len(batch_lines) else texts
                what = f"expected as many rows as {(texts if short is labels else labels).name} has, found fewer"
                end = place + min(len(batch_lines), len(batch_rows)) - 1
                findings.add("D117", f"{short}", f"{what}, {end}", "fetch the two files of one version")
                return
            if not batch_lines:
                return
            cells = {
                "text": pa.array(batch_lines, pa.large_string()),
                "labels": pa.array(batch_rows, pa.list_(pa.int64())),
            }
            places = np.arange(place, place + len(batch_lines), dtype=np.int64)
            yield Batch({name: cells[name] for name in columns}, places, str(texts))
            place += len(batch_lines)

    types = {"text": pa.large_string(), "labels": pa.list_(pa.int64())}
    return Table(str(texts), types, read, {"labels": names} if names else {})


def _read_sparse(path: Path, names: Sequence[str] | None, findings: Findings) -> Iterator[list[int]]:
    """The label numbers of each row of a file that opens with "N L" (labels) or "N D L" (labels, then features)."""
    lines = read_lines(path, findings)
    number, header = next(lines, (1, ""))
    if not HEADER.fullmatch(header):
        what = f"expected a header of two or three numbers, found {shown(header.strip())}"
        findings.add("D117", f"{path}:{number}", what, "fetch the file again")
        return
    sizes = [int(size) for size in header.split()]
    _check_width(path, sizes[-1], names, findings)
    rows = 0
    for number, line in lines:
        rows += 1
        # a row of features without labels opens with a space
        fields = line.split() if len(sizes) == 2 else line.split(" ")[0].strip().split(",")
        try:
            found = [int(field.partition(":")[0]) for field in fields if field]
        except ValueError:
            what = f"expected label numbers, found {shown(line.strip())}"
            findings.add("D117", f"{path}:{number}", what, "correct the line or fetch the file again")
            found = []
        wrong = next((label for label in found if not 0 <= label < sizes[-1]), None)
        if wrong is not None:
            what = f"expected label numbers from 0 to {sizes[-1] - 1}, found {wrong}"
            findings.add("L104", f"{path}:{number}", what, "correct the row")
            found = []
        yield found
    if rows != sizes[0]:
        what = f"expected {sizes[0]} rows as in the header, found {rows}"
        findings.add("D117", f"{path}:1", what, "fetch the file again")


def _read_npz(path: Path, names: Sequence[str] | None, findings: Findings) -> Iterator[list[int]]:
    """The label numbers of each row of a SciPy matrix (read without pickle)."""
    try:
        matrix = scipy.sparse.load_npz(path).tocsr()
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        what = f"expected a sparse matrix saved by SciPy, found one that can't be read ({error})"
        findings.add("D110", str(path), what, "fetch the file again")
        return
    _check_width(path, matrix.shape[1], names, findings)
    matrix.eliminate_zeros()
    for row in range(matrix.shape[0]):
        yield matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].tolist()


def _check_width(path: Path, width: int, names: Sequence[str] | None, findings: Findings) -> None:
    if names is not None and len(names) != width:
        what = f"expected {width} label names, found {len(names)}"
        findings.add("D117", str(path), what, "fetch names and labels of one version")
