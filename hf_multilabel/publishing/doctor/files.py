"""The files of a model folder or a Hub repo: names, sizes, and the bytes that are asked for, never more."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from hf_multilabel.errors import EnvironmentFault, Finding, InputError

# A repo is looked at for so long at most; what was not read until then is an error of the network, not of the model.
PATIENCE_S = 90.0
REQUEST_S = 10.0
# Files up to this size are fetched whole, once; of larger ones only what is asked for.
SMALL = 2 << 20


@dataclass(frozen=True)
class FileInfo:
    """A file, unread.

    Args:
        size: In bytes.
        sha256: Of its content, where the Hub knows it (large files).
        outside: Where a symbolic link leads to, if that is outside the folder.
    """

    size: int
    sha256: str | None = None
    outside: str | None = None


class Files(Protocol):
    """What an examination reads from."""

    name: str
    revision: str | None
    asked_revision: str | None
    infos: dict[str, FileInfo]

    def read(self, name: str, length: int, start: int = 0) -> bytes:
        """At most `length` bytes of a file from `start` on."""

    def digest(self, name: str) -> str | None:
        """SHA-256 of a file; None where that would need a large download."""


class LocalFiles:
    """The files of a folder, those below hidden folders left out. Links that lead outside are listed and never read.

    Args:
        folder: A run, a clone, a download, or a snapshot in the client's cache.
    """

    revision = None
    asked_revision = None

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = str(folder), folder
        self.infos = dict(sorted(self._walk()))

    def _walk(self) -> Iterator[tuple[str, FileInfo]]:
        root = self.folder.resolve()
        # the client's cache keeps a repo's content in blobs/ beside snapshots/REVISION, and links to it
        cache = [root.parents[1] / "blobs"] if root.parent.name == "snapshots" else []
        homes = [root, *cache]
        for place, folders, files in os.walk(self.folder):
            here = Path(place)
            links = [name for name in folders if (here / name).is_symlink()]
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in links)
            for name in [*files, *links]:
                path = here / name
                target = path.resolve()
                inside = any(target.is_relative_to(home) for home in homes)
                if not path.is_symlink() and not path.is_file():
                    continue  # a pipe or socket: reading it could wait for ever
                if not path.is_symlink() or (inside and path.is_file()):
                    info = FileInfo(path.stat().st_size)
                else:
                    info = FileInfo(0, outside=os.readlink(path))
                yield path.relative_to(self.folder).as_posix(), info

    def read(self, name: str, length: int, start: int = 0) -> bytes:
        """At most `length` bytes of a file from `start` on."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(start)
                return file.read(length)
        except OSError as error:
            what = f"expected a readable file, found {type(error).__name__}: {error.strerror}"
            raise EnvironmentFault(
                Finding("P405", f"{self.name}/{name}", what, "mend its rights or the disk")
            ) from error

    def digest(self, name: str) -> str | None:
        """SHA-256 of a file."""
        with (self.folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class HubFiles:
    """The files of one commit of a Hub repo, read over HTTP by ranges, within `PATIENCE_S`.

    Args:
        repo_id: OWNER/NAME.
        revision: Branch, tag or commit; None is `main`.

    Raises:
        InputError: If there is no such repo or revision, or it may not be read.
        EnvironmentFault: If the Hub can't be reached or doesn't answer in time.
    """

    def __init__(self, repo_id: str, revision: str | None = None) -> None:
        self.name, self.asked_revision = repo_id, revision
        self.deadline = time.monotonic() + PATIENCE_S
        self.fetched: dict[str, bytes] = {}
        try:
            api = HfApi(library_name="hf_multilabel")
            # one commit throughout, whatever is pushed meanwhile
            self.revision = api.repo_info(repo_id, revision=revision, timeout=REQUEST_S).sha
            tree = api.list_repo_tree(repo_id, revision=self.revision, recursive=True)
            self.infos = {entry.path: _describe(entry) for entry in tree if hasattr(entry, "size")}
        except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
            raise self._explain(error) from error

    def read(self, name: str, length: int, start: int = 0) -> bytes:
        """At most `length` bytes of a file from `start` on."""
        size = self.infos[name].size
        if size > SMALL:
            return self._fetch(name, min(length, size - start), start)
        if name not in self.fetched:
            self.fetched[name] = self._fetch(name, size, 0)
        return self.fetched[name][start : start + length]

    def _fetch(self, name: str, length: int, start: int) -> bytes:
        """A range of a file; a server that ignores ranges is cut off at its end."""
        if length <= 0:
            return b""
        url = hf_hub_url(self.name, name, revision=self.revision)
        headers = build_hf_headers(library_name="hf_multilabel") | {"range": f"bytes={start}-{start + length - 1}"}
        try:
            with get_session().stream("GET", url, headers=headers, timeout=REQUEST_S) as response:
                hf_raise_for_status(response)
                skipped = start if response.status_code == 200 else 0
                content = bytearray()
                for chunk in response.iter_bytes():
                    content += chunk
                    if time.monotonic() > self.deadline:
                        raise TimeoutError(f"no end of {name} after {PATIENCE_S:.0f} s")
                    if len(content) >= skipped + length:
                        break
        except (HTTPError, OSError) as error:
            raise self._explain(error) from error
        return bytes(content[skipped : skipped + length])

    def digest(self, name: str) -> str | None:
        """SHA-256 of a file: of a large one as the Hub stores it, of a small one from its bytes."""
        info = self.infos[name]
        if info.sha256 is not None:
            return info.sha256
        return hashlib.sha256(self.read(name, info.size)).hexdigest() if info.size <= SMALL else None

    def _explain(self, error: Exception) -> InputError | EnvironmentFault:
        said = " ".join(str(error).split())[:300]
        revision = f" at revision {self.asked_revision}" if self.asked_revision else ""
        unreadable = (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError)
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if isinstance(error, unreadable) or status in (401, 403):
            what = f"expected a folder or a readable repo OWNER/NAME{revision}, found none"
            fix = "check the name; for a private or gated repo set HF_TOKEN to a token that may read it"
            return InputError(Finding("P401", self.name, what, fix))
        if isinstance(error, OfflineModeIsEnabled):
            what, fix = "expected the Hub, found HF_HUB_OFFLINE set", "unset it, or examine a downloaded folder"
        elif status is not None:
            what, fix = f"expected the Hub to answer, found status {status}", "try again later"
        else:
            what, fix = f"expected the Hub to answer, found {type(error).__name__}: {said}", "try again later"
        return EnvironmentFault(Finding("P402", self.name, what, fix))


def open_files(name: str, revision: str | None = None) -> Files:
    """The files of a folder, or else of a Hub repo.

    Raises:
        InputError: If it is neither, or a revision was given for a folder.
        EnvironmentFault: As `HubFiles`.
    """
    folder = Path(name)
    if folder.is_dir():
        if revision is not None:
            fix = "leave --revision out"
            raise InputError(Finding("P403", name, f"expected no revision for a folder, found {revision!r}", fix))
        return LocalFiles(folder)
    if folder.exists() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        found = "a file" if folder.exists() else "nothing there"
        what = f"expected a model folder or a repo OWNER/NAME, found {found}"
        raise InputError(Finding("P401", name, what, "name the folder that holds config.json"))
    return HubFiles(name, revision)


def _describe(entry: Any) -> FileInfo:
    return FileInfo(entry.size, sha256=entry.lfs.sha256 if entry.lfs else None)
