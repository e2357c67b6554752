"""What a repository of the Hub holds at a commit, and what must change there so that it holds a bundle instead."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from hf_multilabel.publishing.bundle import MANIFEST

# Files that from_pretrained reads before others: left over beside another model they would load in its place.
MISLEADING = ("model.safetensors", "model.safetensors.index.json", "adapter_config.json")


@dataclass(frozen=True)
class Content:
    """What is to stand in a file of the repo.

    Args:
        source: The file, or its bytes.
    """

    source: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def read(self) -> bytes:
        """All of it."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    @cached_property
    def sha256(self) -> str:
        """Of large files, as the Hub tells them apart."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        with self.source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def is_held(self, file: RepoFile | None) -> bool:
        """Whether a file on the Hub has this content."""
        if file is None or file.size != self.size:
            return False
        return self.sha256 == file.lfs.sha256 if file.lfs else git_hash(self.read()) == file.blob_id


@dataclass(frozen=True)
class Held:
    """A commit and its files.

    Args:
        commit: Its id.
        files: Path to what the Hub says of it.
    """

    commit: str
    files: Mapping[str, RepoFile]


@dataclass(frozen=True)
class Changes:
    """What a commit is to do; empty if nothing.

    Args:
        written: Paths with new content.
        deleted: Paths that go.
    """

    written: tuple[str, ...]
    deleted: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.written or self.deleted)


def look(api: HfApi, repo_id: str, revision: str | None) -> Held:
    """The newest commit of a revision and all its files.

    Cost: Two requests, and one more for each further thousand files.
    """
    commit = api.repo_info(repo_id, revision=revision).sha
    tree = api.list_repo_tree(repo_id, revision=commit, recursive=True)
    return Held(commit, {entry.path: entry for entry in tree if isinstance(entry, RepoFile)})


def fetch_text(api: HfApi, repo_id: str, commit: str, name: str) -> str:
    """A small text file of a commit."""
    with tempfile.TemporaryDirectory(prefix="hub-") as temporary:
        path = api.hf_hub_download(repo_id, name, revision=commit, local_dir=temporary)
        return Path(path).read_text(encoding="utf-8")


def fetch_json(api: HfApi, repo_id: str, commit: str, name: str) -> dict[str, Any]:
    """A JSON file of a commit; empty if it is none."""
    text = fetch_text(api, repo_id, commit, name)
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def find_stale(api: HfApi, repo_id: str, held: Held, names: Iterable[str], folders: Iterable[str]) -> set[str]:
    """Files that are no part of the bundle any more, by what an older bundle's manifest lists.

    Args:
        api: The client.
        repo_id: The repo.
        held: What it holds.
        names: Files of the bundle, none of which is stale.
        folders: Folders of the repo that hold nothing but what is pushed now.
    """
    listed: set[str] = set()
    if MANIFEST in held.files:
        files = fetch_json(api, repo_id, held.commit, MANIFEST).get("files", {})
        listed = set(files) if isinstance(files, dict) else set()
    within = {path for path in held.files if any(path.startswith(f"{folder}/") for folder in folders)}
    return ((listed | set(MISLEADING) | within) & set(held.files)) - set(names)


def find_changes(contents: Mapping[str, Content], held: Held, stale: Iterable[str]) -> Changes:
    """What turns a commit's files into these, in the order of `contents`."""
    written = tuple(name for name, content in contents.items() if not content.is_held(held.files.get(name)))
    return Changes(written, tuple(sorted(path for path in stale if path in held.files)))
