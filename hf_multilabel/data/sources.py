"""A source's name to the tables of its splits: a file, a folder with files named by split, or a Hub dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from hf_multilabel.data.columnar import open_dataset
from hf_multilabel.data.findings import Findings
from hf_multilabel.data.formats import FORMATS, open_table, suffix_of
from hf_multilabel.data.tables import Table
from hf_multilabel.data.xmc import is_xmc, open_xmc
from hf_multilabel.errors import EnvironmentFault, Finding, InputError, nearest

ALIASES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "tst"),
}
# What Dataset.save_to_disk writes beside its Arrow files.
SIDECARS = frozenset(("dataset_dict.json", "dataset_info.json", "state.json"))
SHARD = re.compile(r"-(\d+)-of-(\d+)$")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+|[\w-]+")
LOCAL = "data.source=PATH takes a local folder or file"

# The Hub client's HTTP library has had three names; the Hub's own error derives from that library's.
HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]

Splits = dict[str, list[Table]]


def open_source(
    source: str | Path,
    findings: Findings,
    *,
    renamed: Mapping[str, str] | None = None,
    revision: str | None = None,
    config: str | None = None,
    only: str = "train",
) -> Splits:
    """Open a source, without reading its rows.

    Args:
        source: A file, a folder, or a Hub id OWNER/NAME.
        findings: Receives what is wrong.
        renamed: Our split name to the source's, where they differ.
        revision: Branch, tag or commit of a Hub dataset.
        config: Configuration of a Hub dataset.
        only: The split that a single file is.

    Returns:
        Split to its files; splits that the source does not have are left out.

    Raises:
        EnvironmentFault: If the Hub can't be reached.
    """
    path = Path(source)
    renamed = dict(renamed or {})
    if path.is_dir():
        if is_xmc(path):
            return open_xmc(path, findings)
        return _open_folder(path, renamed, findings)
    if path.exists() or not HUB_ID.fullmatch(str(source)) or suffix_of(str(source)) in FORMATS:
        table = open_table(path, findings)
        return {only: [table]} if table else {}
    return _open_hub(str(source), renamed, revision, config, findings)


def _open_folder(folder: Path, renamed: Mapping[str, str], findings: Findings) -> Splits:
    files = sorted(
        path
        for path in (*folder.glob("*"), *folder.glob("*/*"))
        if path.is_file() and suffix_of(path) in FORMATS and not _is_hidden(path.relative_to(folder))
    )
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_group_name(path, folder), []).append(path)
    if not files:
        what = f"expected a folder with files that end in {', '.join(FORMATS)}, found none"
        findings.add("D101", str(folder), what, "check data.source")
        return {}
    if len(files) == 1 and not renamed and not any(_matches(next(iter(groups)), names) for names in ALIASES.values()):
        table = open_table(files[0], findings)
        return {"train": [table]} if table else {}
    chosen = match_splits(list(groups), renamed, str(folder), findings)
    return {split: _open_group(name, groups[name], findings) for split, name in chosen.items()}


def match_splits(found: Sequence[str], renamed: Mapping[str, str], where: str, findings: Findings) -> dict[str, str]:
    """Which of the source's splits is which of ours.

    Args:
        found: The source's splits.
        renamed: Our split name to the source's; it wins over the usual names.
        where: The source, for messages.
        findings: Receives renamed splits that are not there and names that fit twice.
    """
    chosen = {}
    for split, names in ALIASES.items():
        if split in renamed:
            fitting = [name for name in found if name.lower() == renamed[split].lower()]
            if not fitting:
                close = nearest(renamed[split], found)
                what = f"expected a split {renamed[split]!r}, found {', '.join(map(repr, found))}"
                fix = f"did you mean {close!r}?" if close else "set data.splits to names that are there"
                findings.add("D104", f"{where}:{split}", what, fix)
        else:
            taken = {name.lower() for name in renamed.values()}
            free = [name for name in found if name.lower() not in taken]
            fitting = [name for name in free if name.lower() == split] or [n for n in free if _matches(n, names)]
        if len(fitting) > 1:
            what = f"expected one {split} split, found {', '.join(map(repr, fitting))}"
            findings.add("D116", f"{where}:{split}", what, f"set data.splits: {{{split}: NAME}} to one of them")
        elif fitting:
            chosen[split] = fitting[0]
    if not chosen and not findings:
        what = f"expected splits named train, validation or test, found {', '.join(map(repr, found))}"
        findings.add("D104", where, what, "name one in data.splits, for instance {train: NAME}")
    return chosen


def _group_name(path: Path, folder: Path) -> str:
    base = SHARD.sub("", _stem(path))
    nested = path.parent != folder and not any(_matches(base, names) for names in ALIASES.values())
    return path.parent.name if nested else base


def _stem(path: Path) -> str:
    unpacked = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return Path(unpacked).stem


def _is_hidden(path: Path) -> bool:
    return path.name in SIDECARS or any(part.startswith((".", "_")) for part in path.parts)


def _matches(name: str, aliases: Sequence[str]) -> bool:
    return not set(re.split(r"[^0-9a-z]+", name.lower())).isdisjoint(aliases)


def _open_group(name: str, paths: Sequence[Path], findings: Findings) -> list[Table]:
    shards = [(path, SHARD.search(_stem(path))) for path in paths]
    if len(paths) > 1 and (not all(match for _, match in shards) or len({suffix_of(path) for path in paths}) > 1):
        what = f"expected one file or shards for split {name!r}, found {', '.join(path.name for path in paths)}"
        findings.add("D116", str(paths[0].parent), what, f"keep one, or name shards {name}-00000-of-00002 and so on")
        return []
    total = shards[0][1]
    if total and int(total[2]) != len(paths):
        what = f"expected {int(total[2])} shards of split {name!r}, found {len(paths)}"
        findings.add("D116", str(paths[0].parent), what, "fetch the missing files")
    tables = [open_table(path, findings) for path in paths]
    return [table for table in tables if table is not None]


def _open_hub(
    source: str, renamed: Mapping[str, str], revision: str | None, config: str | None, findings: Findings
) -> Splits:
    _probe_hub(source, revision)
    try:
        found = datasets.load_dataset(source, config, revision=revision)
    except (ConnectionError, TimeoutError, HTTP_ERROR, HfHubHTTPError) as error:
        raise _unreachable(source, error) from error
    except (ValueError, RuntimeError, OSError, datasets.exceptions.DatasetsError) as error:
        # asking for a script, an unknown configuration, files that do not parse: the dataset is not what we can read
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        what = f"expected a dataset that load_dataset reads, found: {reason}"
        raise InputError(Finding("D302", source, what, f"correct data.source; {LOCAL}")) from error
    chosen = match_splits(list(found), renamed, source, findings)
    return {split: [open_dataset(found[name], f"{source}[{name}]")] for split, name in chosen.items()}


def _probe_hub(source: str, revision: str | None) -> None:
    """One quick question whether the dataset is there: load_dataset tries for half a minute where the Hub is not."""
    if datasets.config.HF_HUB_OFFLINE:
        return
    try:
        HfApi().dataset_info(source, revision=revision, timeout=20)
    except HFValidationError as error:
        raise InputError(
            Finding("D302", source, f"expected a file, a folder or a Hub id, found {error}", LOCAL)
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status not in (401, 403, 404):
            raise _unreachable(source, error) from error
        what = f"expected a local file or folder, or a dataset on the Hub, found neither (status {status})"
        fix = f"check data.source and data.revision, log in to a private dataset; {LOCAL}"
        raise InputError(Finding("D302", source, what, fix)) from error
    except (OfflineModeIsEnabled, HTTP_ERROR, OSError) as error:
        raise _unreachable(source, error) from error


def _unreachable(source: str, error: Exception) -> EnvironmentFault:
    what = f"expected a local path or a dataset on the Hub, found no such path, and the Hub can't be reached ({error})"
    fix = f"{LOCAL}; HF_HUB_OFFLINE=1 uses a copy fetched before"
    return EnvironmentFault(Finding("D301", source, what, fix))
