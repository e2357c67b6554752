"""What the loopback Hub keeps: repositories of commits of files, and the faults it was told to have."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

NOT_FOUND = {"repo": "RepoNotFound", "revision": "RevisionNotFound", "entry": "EntryNotFound"}


class Refused(Exception):
    """An answer other than 2xx: status, message and the Hub's error code."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Blob:
    """One file of one commit."""

    data: bytes
    lfs: bool = False

    @property
    def oid(self) -> str:
        """SHA-256 for a large file, the Git blob id for a small one, as the client compares them."""
        if self.lfs:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()


@dataclass(frozen=True)
class Commit:
    """One commit: its id, message, parent and all files."""

    oid: str
    message: str
    parent: str | None
    files: dict[str, Blob]


@dataclass
class Repo:
    """One model repository: branches are lists of commits, oldest first; a pull request is a branch refs/pr/N."""

    private: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, message: str, files: dict[str, Blob], branch: str = "main") -> Commit:
        history = self.branches.setdefault(branch, [])
        parent = history[-1].oid if history else None
        oid = hashlib.sha1(os.urandom(20)).hexdigest()
        history.append(Commit(oid, message, parent, files))
        return history[-1]

    def at(self, revision: str) -> Commit:
        if revision in self.branches:
            return self.branches[revision][-1]
        revision = self.tags.get(revision, revision)
        for history in self.branches.values():
            for commit in history:
                if commit.oid.startswith(revision) and len(revision) >= 7:
                    return commit
        raise Refused(404, f"Invalid rev id: {revision}", NOT_FOUND["revision"])


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose `METHOD path` matches `pattern`.

    Args:
        pattern: A regular expression.
        status: Of the answer; 0: the connection ends; "reset": it is reset; "short": half of the body; "slow": late.
        times: How many requests.
        late: The work is done first, and only the client doesn't hear of it. So it is with "short" and "slow" anyway.
        retry_after: Seconds in the header of that name.
    """

    pattern: str
    status: int | str
    times: int
    late: bool
    retry_after: int | None = None

    @property
    def works(self) -> bool:
        """Whether the work is done."""
        return self.late or self.status in ("short", "slow")


def reference(ref: str, commit: str) -> dict[str, str]:
    """A branch, tag or pull request as the Hub lists it."""
    return {"name": ref if ref.startswith("refs/pr/") else ref.split("/", 2)[2], "ref": ref, "targetCommit": commit}
