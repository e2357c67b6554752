"""Where a folder was downloaded from: a repo of the Hub becomes a folder that can be tuned and pushed back."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import RemoteEntryNotFoundError

from hf_multilabel import remote_code
from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.publishing.attempts import Attempts, Downloads, describe
from hf_multilabel.publishing.bundle import MANIFEST, verify_bundle
from hf_multilabel.publishing.new_folder import let_others_read

# Beside the bundle and no part of it, so it is never pushed.
ORIGIN_FILE = ".hub.json"


@dataclass(frozen=True)
class Origin:
    """A commit on the Hub.

    Args:
        repo_id: OWNER/NAME.
        revision: The branch or tag that was asked for; None: main.
        commit: What it was.
    """

    repo_id: str
    revision: str | None
    commit: str


def read_origin(folder: Path) -> Origin | None:
    """Where a folder was downloaded from; None for a run of this machine."""
    try:
        return Origin(**json.loads((folder / ORIGIN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_origin(folder: Path, origin: Origin) -> None:
    """Note it, in one rename."""
    part = folder / f"{ORIGIN_FILE}.part"
    part.write_text(json.dumps(asdict(origin), indent=1) + "\n", encoding="utf-8")
    part.replace(folder / ORIGIN_FILE)


def download_bundle(repo_id: str, folder: Path, *, revision: str | None = None, token: str | None = None) -> Origin:
    """Download a pushed bundle, all of it or nothing.

    Args:
        repo_id: OWNER/NAME.
        folder: Must not be there yet.
        revision: Branch, tag or commit; None: main.
        token: None takes HF_TOKEN or the saved login.

    Raises:
        InputError: If the folder is there, or the repo is not, may not be read, or holds no bundle.
        EnvironmentFault: If the Hub fails repeatedly, or a file does not have the content its manifest lists.

    Cost: Fetches every file of the manifest and reads it once; other files of the repo stay there.
    """
    if folder.exists():
        what, fix = "expected a new folder for the download, found one that exists", "give another --output FOLDER"
        raise InputError(Finding("P309", str(folder), what, f"{fix}, or the folder itself in the place of {repo_id}"))
    api, hub = HfApi(token=token, library_name="hf_multilabel"), Downloads(folder, repo_id)
    try:
        commit = hub.attempt(lambda: api.repo_info(repo_id, revision=revision).sha)
    except InputError as error:
        said = describe(error.__cause__ or error)
        what = f"expected a folder here or a model on the Hub that may be read, found neither: {said}"
        raise InputError(Finding("P310", repo_id, what, "check name, revision and login")) from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fetch_files(api, hub, repo_id, commit, staging)
        origin = Origin(repo_id, revision, commit)
        write_origin(staging, origin)
        let_others_read(staging)
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return origin


def fetch_files(api: HfApi, hub: Attempts, repo_id: str, commit: str, folder: Path) -> None:
    """The manifest of a commit and the files it lists, verified.

    Raises:
        InputError: As `download_bundle`.
        EnvironmentFault: As `download_bundle`.
    """

    def fetch(name: str) -> None:
        api.hf_hub_download(repo_id, name, revision=commit, local_dir=folder)

    def fetch_all() -> None:
        api.snapshot_download(repo_id, revision=commit, local_dir=folder, allow_patterns=names)

    try:
        hub.attempt(lambda: fetch(MANIFEST))
    except (InputError, EnvironmentFault) as error:
        if not isinstance(error.__cause__, RemoteEntryNotFoundError):
            raise
        what = f"expected a model pushed by hf-multilabel, found no {MANIFEST}"
        raise InputError(Finding("P311", repo_id, what, "give another name or revision")) from error
    names = list(json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("files", {}))
    hub.attempt(fetch_all)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own notes
    verify_bundle(folder)


def foreign_code(folder: Path) -> list[str]:
    """Python files of a bundle that are not, byte by byte, those of this package."""
    own = Path(remote_code.__file__).parent
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*.py"))
        if not (own / path.name).is_file() or (own / path.name).read_bytes() != path.read_bytes()
    ]
