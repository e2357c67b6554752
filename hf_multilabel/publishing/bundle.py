"""The output folder as a complete Hub repository: staged, described by a manifest, moved in whole or not at all.

    folder/.incomplete-PID/   everything is written here, flushed to the disk, its manifest last
                              the model is proved here (proof.py)
    folder/.staged-PID/       one rename decides: from now on the new bundle wins, whatever is interrupted
    folder/                   the files are moved in, manifest.json last; checkpoints and logs beside them stay

An interrupted `.incomplete-*` is removed and an interrupted `.staged-*` is finished by the next `stage_bundle`. Between
the first and the last move the folder holds files of two bundles; the manifest then does not match, and `verify_bundle`
says so. A new decision of a finished model goes the same way: `stage_changes`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from hf_multilabel.errors import EnvironmentFault, Finding
from hf_multilabel.publishing.card_sections import generated_parts, record_parts, update_record
from hf_multilabel.publishing.new_folder import let_others_read
from hf_multilabel.remote_code.decision_multilabel import hash_labels
from hf_multilabel.request import MANIFEST, check_run

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CARD = "README.md"
RECIPE = "recipe.yaml"
# Lies beside a bundle without being part of it.
REPORT = "report.html"
FORMAT = 1
INCOMPLETE, STAGED = ".incomplete-", ".staged-"
# People polish the card by hand, here and on the Hub. It changes no prediction, so its content is not held fast.
EDITABLE = frozenset({CARD})
SHOWN = 5


def write_bundle(
    folder: str | Path,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    files: Mapping[str, str | bytes],
    card: str,
) -> None:
    """Stage a bundle and move it in at once, without the proof between the two.

    Args:
        folder: The run's folder.
        model: As for `stage_bundle`.
        tokenizer: As for `stage_bundle`.
        files: As for `stage_bundle`.
        card: As for `stage_bundle`.

    Raises:
        EnvironmentFault: If the disk refuses a write; what was in the folder before is untouched.
    """
    publish_staged(stage_bundle(folder, model=model, tokenizer=tokenizer, files=files, card=card))


def stage_bundle(
    folder: str | Path,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    files: Mapping[str, str | bytes],
    card: str,
) -> Path:
    """Write everything a Hub repository needs into a staging folder. Only global rank 0 may call this.

    Args:
        folder: The run's folder; it may hold checkpoints, logs and an older bundle.
        model: An unwrapped model of this package; its config carries labels, decision and `auto_map`.
        tokenizer: Saved beside it.
        files: Further files, name to content, among them `recipe.yaml` and `metrics.json`.
        card: Content of README.md.

    Returns:
        The staging folder inside `folder`: load it, prove it, then hand it to `publish_staged`.

    Raises:
        ValueError: If the decision does not belong to the labels, or a name in `files` leaves the folder.
        EnvironmentFault: If the disk refuses a write; the staging folder is then removed.
    """
    model.config.validate_decision()
    for name in files:
        _check_name(name)
    folder = Path(folder)
    staging = folder / f"{INCOMPLETE}{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        finish_interrupted(folder)
        staging.mkdir()
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        for name, content in {**files, CARD: card}.items():
            _write(staging / name, content)
        found = describe(staging, model.config.label_names) | {"card": record_parts(card)}
        _write(staging / MANIFEST, dump_manifest(found))
        let_others_read(staging)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        found = f"expected to write the model, found {type(error).__name__}: {error}"
        fix = "free the disk or choose another training.output_dir; checkpoints in the folder are untouched"
        raise EnvironmentFault(Finding("P103", str(folder), found, fix)) from error
    return staging


def stage_changes(folder: str | Path, files: Mapping[str, str | bytes | None], *, new: Collection[str] = ()) -> Path:
    """Stage a finished bundle in which some files have other content; no byte of any other file changes.

    Args:
        folder: The run's folder; its bundle must verify.
        files: Files of the bundle, name to new content; None takes the file away.
        new: Names in `files` that the bundle may not have yet.

    Returns:
        As `stage_bundle`. Files that stay are hard links where the file system has them.

    Raises:
        ValueError: If a name in `files` is neither in the bundle nor in `new`, or leaves the folder.
        InputError: As `verify_bundle`.
        EnvironmentFault: As `verify_bundle`, or if the disk refuses a write; the staging folder is then removed.

    Cost: Reads the bundle once.
    """
    folder = Path(folder)
    manifest = verify_bundle(folder)
    for name in files:
        _check_name(name)
        if name not in manifest["files"] and name not in new:
            raise ValueError(f"files: expected names in {MANIFEST}, found {name!r}. Stage a whole bundle instead.")
    staging = folder / f"{INCOMPLETE}{os.getpid()}"
    try:
        finish_interrupted(folder)
        for name in manifest["files"]:
            if name not in files:
                link(folder / name, staging / name)
        written = {name: content for name, content in files.items() if content is not None}
        for name, content in written.items():
            _write(staging / name, content)
        listed = {name: measured for name, measured in manifest["files"].items() if name not in files}
        listed |= {name: _measure(staging / name) for name in written}
        changed = {key: value for key, value in manifest.items() if key != "proof"} | {"files": listed}
        if CARD in written:
            changed["card"] = _new_record(folder, manifest, staging)
        _write(staging / MANIFEST, dump_manifest(changed))
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        found = f"expected to write beside the model, found {type(error).__name__}: {error}"
        raise EnvironmentFault(Finding("P103", str(folder), found, "free the disk; the model is untouched")) from error
    return staging


def publish_staged(staging: Path, *, proof: Mapping[str, Any] | None = None) -> None:
    """Move a staged bundle into its folder. Only global rank 0 may call this.

    Args:
        staging: What `stage_bundle` returned.
        proof: What `prove_bundle` returned, kept in the manifest as evidence.

    Raises:
        EnvironmentFault: If the disk refuses a move; the next `stage_bundle` finishes it.
    """
    folder = staging.parent
    try:
        if proof is not None:
            manifest = json.loads((staging / MANIFEST).read_text(encoding="utf-8"))
            _write(staging / MANIFEST, dump_manifest(manifest | {"proof": dict(proof)}))
        ready = folder / staging.name.replace(INCOMPLETE, STAGED)
        for path in (staging, *staging.rglob("*")):
            _flush(path)
        os.replace(staging, ready)
        _flush(folder)
        _move_in(ready, folder)
    except OSError as error:
        found = f"expected to move the finished model in, found {type(error).__name__}: {error}"
        raise EnvironmentFault(Finding("P103", str(folder), found, "mend the disk and run again")) from error


def finish_interrupted(folder: Path) -> None:
    """Remove what an interrupted run left half written, and finish what it left half moved."""
    for leftover in folder.glob(f"{INCOMPLETE}*"):
        shutil.rmtree(leftover)
    for ready in folder.glob(f"{STAGED}*"):
        _move_in(ready, folder)


def verify_bundle(folder: str | Path) -> dict[str, Any]:
    """Recompute the manifest of a bundle.

    Every byte counts, except those of README.md, which people edit; it must only be there.

    Args:
        folder: A finished run or a download of one.

    Returns:
        The manifest.

    Raises:
        InputError: If the folder holds no manifest.
        EnvironmentFault: If a listed file is missing, has other content than listed, or the manifest is damaged.

    Cost: Reads every listed file once.
    """
    folder = Path(folder)
    check_run(folder)
    try:
        manifest = read_manifest(folder)
        wrong = [name for name, expected in manifest["files"].items() if not _matches(folder, name, expected)]
        if not wrong:
            _check_hashes(folder, manifest)
    except ValueError as error:
        raise _mismatch(folder / MANIFEST, f"expected the manifest that was written, found {error}") from error
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        named = ", ".join(wrong[:SHOWN]) + more
        raise _mismatch(folder / wrong[0], f"expected the content listed in {MANIFEST}, found another in {named}")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, if every byte of it is as it was written.

    Raises:
        ValueError: If it is damaged, of a later format, or lists a path outside the folder.
    """
    content = (folder / MANIFEST).read_bytes()
    manifest = json.loads(content)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or "files" not in manifest:
        raise ValueError(f"no list of files in format {FORMAT}")
    if dump_manifest({key: value for key, value in manifest.items() if key != "sha256"}).encode() != content:
        raise ValueError("bytes that do not give its own SHA-256")
    for name in manifest["files"]:
        _check_name(name)
    return manifest


def describe(folder: Path, labels: list[str]) -> dict[str, Any]:
    """The manifest of what lies in a folder, without its own hash: sizes, SHA-256, recipe and label hashes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    files = {path.relative_to(folder).as_posix(): _measure(path) for path in paths}
    recipe = files.get(RECIPE, {}).get("sha256")
    return {"format": FORMAT, "files": files, "recipe_sha256": recipe, "labels_sha256": hash_labels(labels)}


def dump_manifest(manifest: Mapping[str, Any]) -> str:
    """A manifest as text, with the SHA-256 of the rest of it, so that a damaged manifest is noticed too."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps(content | {"sha256": digest}, indent=1, sort_keys=True) + "\n"


def label_names(config: Mapping[str, Any]) -> list[str]:
    """Label names of a config.json in the order of their ids.

    Example:
        >>> label_names({"id2label": {"1": "politics", "0": "sport"}})
        ['sport', 'politics']
    """
    return [name for _, name in sorted((int(number), name) for number, name in config["id2label"].items())]


def link(path: Path, target: Path) -> None:
    """Put a file into another folder, without a second copy of its content where the file system has hard links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        # a disk that is full refuses the copy too
        shutil.copyfile(path, target)


def _move_in(ready: Path, folder: Path) -> None:
    """Move all files, drop those only the older bundle had, and the manifest last. Can be repeated after any crash."""
    if listed := _listed(ready):
        for name in listed:
            if (ready / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(ready / name, folder / name)
        for name in _listed(folder) - listed:
            (folder / name).unlink(missing_ok=True)
        _flush(folder)
        os.replace(ready / MANIFEST, folder / MANIFEST)
        _flush(folder)
    shutil.rmtree(ready)


def _listed(folder: Path) -> set[str]:
    try:
        return set(read_manifest(folder)["files"])
    except (FileNotFoundError, ValueError):
        # nothing there yet or nothing left, or damaged and about to be replaced
        return set()


def _new_record(folder: Path, manifest: Mapping[str, Any], staging: Path) -> dict[str, str]:
    """What the manifest notes of a changed card: see `update_record`."""
    before = (folder / CARD).read_bytes()
    after = (staging / CARD).read_text(encoding="utf-8")
    return update_record(generated_parts(manifest, before), before.decode("utf-8", errors="replace"), after)


def _check_hashes(folder: Path, manifest: Mapping[str, Any]) -> None:
    labels = label_names(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    if manifest.get("labels_sha256") != hash_labels(labels):
        raise ValueError(f"labels_sha256 of other labels than the {len(labels)} in config.json")


def _matches(folder: Path, name: str, expected: Mapping[str, Any]) -> bool:
    return (folder / name).is_file() and (name in EDITABLE or _measure(folder / name) == expected)


def _mismatch(where: Path, what: str) -> EnvironmentFault:
    fix = "download or copy the folder again, or train again with --resume"
    return EnvironmentFault(Finding("P102", str(where), what, fix))


def _measure(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or re.search(r"[\\\0]", name):
        raise ValueError(f"files: expected a path inside the folder, found {name!r}. Name it relative to the folder.")


def _write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
