"""The manifest of a bundle: every byte as it was written, the tokenizer's files among them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hf_multilabel.publishing.bundle import EDITABLE, FORMAT, MANIFEST, dump_manifest
from hf_multilabel.publishing.doctor.subject import Subject
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, listed, note, ok, warning
from hf_multilabel.remote_code.decision_multilabel import hash_labels

FIX = "download or copy the model again; if you changed it on purpose, write it again with hf-multilabel"
LONGEST = 16 << 20


def check_manifest(subject: Subject) -> Iterator[Symptom]:
    """Sizes, SHA-256 and label hash against manifest.json; on the Hub from the hashes it keeps of large files."""
    if not subject.has(MANIFEST):
        if subject.is_ours:
            what = "expected a manifest, found none: nobody can tell whether the files belong together"
            yield warning("manifest.missing", MANIFEST, what, "publish the folder that hf-multilabel train wrote")
        return
    content = subject.files.read(MANIFEST, LONGEST)
    try:
        manifest = json.loads(content)
        listing: dict[str, Any] = manifest["files"]
        rest = {key: value for key, value in manifest.items() if key != "sha256"}
        if manifest.get("format") != FORMAT or dump_manifest(rest).encode() != content:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        what = "expected the manifest that was written, found other bytes or a later format"
        yield error("manifest.damaged", MANIFEST, what, FIX)
        return
    yield from _compare(subject, listing)
    if manifest.get("labels_sha256") != hash_labels(subject.labels):
        what = f"expected the hash of the {len(subject.labels):,} labels in config.json, found another"
        yield error("manifest.labels", f"{MANIFEST}:labels_sha256", what, FIX)


def _compare(subject: Subject, listing: dict[str, Any]) -> Iterator[Symptom]:
    missing = [name for name in listing if not subject.has(name)]
    wrong, unknown = [], []
    for name in (name for name in listing if name not in missing and name not in EDITABLE):
        size, digest = subject.files.infos[name].size, None
        if size == listing[name].get("bytes"):
            digest = subject.files.digest(name)
            if digest is None:
                unknown.append(name)
                continue
        if digest != listing[name].get("sha256"):
            wrong.append(name)
    if missing:
        yield error("manifest.files", missing[0], f"expected all listed files, found {listed(missing)} missing", FIX)
    if wrong:
        tokenizer = [name for name in wrong if name.startswith(("tokenizer", "vocab", "special_tokens"))]
        whose = " (the tokenizer is not the one it was trained with)" if tokenizer else ""
        what = f"expected the content listed in {MANIFEST}, found another in {listed(wrong)}{whose}"
        yield error("manifest.files", wrong[0], what, FIX)
    if unknown:
        what = f"too large to download for a check, and the Hub keeps no hash: {listed(unknown)}"
        yield note("manifest.unread", unknown[0], what)
    if not missing and not wrong:
        yield ok("manifest.files", MANIFEST, f"{len(listing) - len(unknown):,} files are as they were written")
