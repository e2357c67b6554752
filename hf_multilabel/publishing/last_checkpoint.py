"""Go on elsewhere: the last checkpoint that a run pushed becomes the checkpoint of a new folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.publishing.attempts import Downloads
from hf_multilabel.publishing.bundle import RECIPE
from hf_multilabel.publishing.remote import fetch_text, look

# The Trainer's names.
LAST = "last-checkpoint"
TRAINER_STATE = "trainer_state.json"


def fetch_last_checkpoint(repo_id: str, folder: Path, recipe: str, revision: str | None = None) -> Path:
    """Download `last-checkpoint/` of a run to `folder/checkpoint-N`, all of it or nothing.

    Args:
        repo_id: OWNER/NAME, which the run pushed to.
        folder: The run's new folder.
        recipe: Content of recipe.yaml that the run must have had.
        revision: Branch; None: main.

    Returns:
        The checkpoint.

    Raises:
        InputError: If the repo holds no checkpoint, or one of another recipe; nothing was written.
        EnvironmentFault: If the Hub fails repeatedly.
    """
    api, hub = HfApi(library_name="hf_multilabel"), Downloads(folder, repo_id)
    held = hub.attempt(lambda: look(api, repo_id, revision))
    names = [path for path, entry in held.files.items() if path.startswith(f"{LAST}/") and isinstance(entry, RepoFile)]
    if f"{LAST}/{TRAINER_STATE}" not in names or RECIPE not in held.files:
        what = f"expected {LAST}/ on the Hub to resume from, found none"
        raise InputError(Finding("P312", repo_id, what, "leave out --resume"))
    if hub.attempt(lambda: fetch_text(api, repo_id, held.commit, RECIPE)) != recipe:
        what = f"expected the last checkpoint of this recipe, found one of another {RECIPE}"
        raise InputError(Finding("P312", repo_id, what, "give the values it was started with, or leave out --resume"))
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".resuming-", dir=folder))
    try:
        hub.attempt(
            lambda: api.snapshot_download(repo_id, revision=held.commit, local_dir=staging, allow_patterns=names)
        )
        state = json.loads((staging / LAST / TRAINER_STATE).read_text(encoding="utf-8"))
        target = folder / f"checkpoint-{int(state['global_step'])}"
        os.replace(staging / LAST, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target
