"""Push a Space to the Hub: one commit of its files on top of the commit that was seen, or none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.publishing.hub import Attempts, check_login
from hf_multilabel.publishing.space import FILES, SETTINGS


def push_space(
    folder: str | Path, repo_id: str, *, private: bool = False, overwrite: bool = False, token: str | None = None
) -> str:
    """Push the folder of a Space in one commit; the Hub then builds and starts it.

    Args:
        folder: As `write_space` left it.
        repo_id: OWNER/NAME; created if it is not there.
        private: Whether a Space created here is private.
        overwrite: Commit also to a Space whose app.py is somebody else's.
        token: None takes HF_TOKEN or the saved login.

    Returns:
        Address of the commit.

    Raises:
        InputError: If the folder is none of a Space or serves a model of this machine, there is no login or it may
            not write there, `repo_id` is none, or another app is there.
        EnvironmentFault: If the Hub can't be reached or fails repeatedly, or somebody else committed meanwhile.
    """
    folder = Path(folder)
    check_folder(folder)
    if token is None:
        check_login(repo_id)
    api = HfApi(token=token, library_name="hf_multilabel")
    hub = SpaceAttempts(folder, repo_id)
    created = hub.attempt(
        lambda: api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
    )
    repo_id = created.repo_id  # with the owner, if only a name was given
    found = hub.attempt(lambda: api.space_info(repo_id))
    present = {sibling.rfilename for sibling in found.siblings or ()}
    if "app.py" in present and SETTINGS not in present and not overwrite:
        what = "expected a new Space or one of this command, found another app there"
        raise InputError(Finding("P704", repo_id, what, "name another Space, or add --overwrite to replace it"))

    def commit() -> str:
        # the operations carry what the Hub held when they were sent, so each try needs new ones
        operations = [CommitOperationAdd(name, folder / name) for name in FILES]
        return api.create_commit(
            repo_id, operations, commit_message="Upload multi-label Space", repo_type="space", parent_commit=found.sha
        ).commit_url

    return hub.attempt(commit)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is no Space, or one whose model is not on the Hub.

    Raises:
        InputError: If so.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(Finding("P703", str(folder), f"expected a Space, found no {missing[0]}", "write it again"))
    if json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["revision"] is None:
        what = "expected a Space of a model on the Hub, found one of a folder"
        raise InputError(Finding("P703", str(folder), what, "push the model, then make a Space of OWNER/NAME"))


class SpaceAttempts(Attempts):
    """`Attempts` whose errors name the way to push a Space again."""

    def explain(self, error: BaseException) -> InputError | EnvironmentFault:
        """The error of ours that says what to do about one of the client's."""
        found = super().explain(error)
        if isinstance(found, EnvironmentFault) and found.finding.code == "P303":
            fix = f"the Space is complete in {self.folder}; mend that, then run the command again with --overwrite"
            return EnvironmentFault(dataclasses.replace(found.finding, fix=fix))
        return found
