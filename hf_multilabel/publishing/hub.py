"""Push a bundle to the Hub: one commit of exactly the manifest's files, on top of the commit that was seen, or none."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled

from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.publishing.bundle import CARD, MANIFEST, verify_bundle
from hf_multilabel.publishing.card import number, pretty, readdress_card

# The client tries each upload six times already, but neither the commit nor what comes before it.
FIRST_WAIT_S, LAST_WAIT_S = 1.0, 4.0
RETRIED = (408, 429, 500, 502, 503, 504)
LOGIN = "set HF_TOKEN to a token with write access, or log in with `hf auth login`"
TOKEN = re.compile(r"hf_\w{8,}")

Answer = TypeVar("Answer")


def push_bundle(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    commit_message: str | None = None,
    token: str | None = None,
) -> str:
    """Push a finished run in one commit. Checkpoints, logs and whatever else lies in the folder stay here.

    The commit names the commit it builds on, so that the Hub refuses it if somebody else committed meanwhile. An
    answer that was lost after the commit was made is noticed: the next try finds nothing left to change.

    Args:
        folder: The run's folder; its manifest must verify.
        repo_id: OWNER/NAME; created if it is not there.
        private: Whether a repo created here is private.
        revision: Branch, created from `main` if it is not there; None is `main`.
        commit_message: First line of the commit; None: one with the main metrics.
        token: None takes HF_TOKEN or the saved login.

    Returns:
        Address of the commit.

    Raises:
        InputError: If the folder holds no bundle, there is no login or it may not write there, or `repo_id` is none.
        EnvironmentFault: If the bundle is damaged, the Hub can't be reached or fails repeatedly, or the branch changed.

    Cost: Reads the bundle twice; uploads what the repo does not hold yet.
    """
    folder = Path(folder)
    names = [*verify_bundle(folder)["files"], MANIFEST]
    message = commit_message or describe_scores(folder)
    if token is None:
        check_login(repo_id)
    api = HfApi(token=token, library_name="hf_multilabel")
    hub = Attempts(folder, repo_id)
    created = hub.attempt(lambda: api.create_repo(repo_id, private=private, exist_ok=True))
    repo_id = created.repo_id  # with the owner, if only a name was given
    if revision not in (None, "main"):
        hub.attempt(lambda: api.create_branch(repo_id, branch=revision, exist_ok=True))
    # read once: a later try builds on the same commit, so it can never overwrite one it has not seen
    parent = hub.attempt(lambda: api.repo_info(repo_id, revision=revision).sha)

    def commit() -> str:
        # the operations carry what the Hub held when they were sent, so each try needs new ones
        operations = [CommitOperationAdd(name, content(folder, name, repo_id)) for name in names]
        return api.create_commit(
            repo_id, operations, commit_message=message, revision=revision, parent_commit=parent
        ).commit_url

    return hub.attempt(commit)


def check_login(repo_id: str) -> None:
    """Refuse a push that nobody is logged in for, before hours of training.

    Raises:
        InputError: If there is neither HF_TOKEN nor a saved login.
    """
    if get_token() is None:
        raise InputError(Finding("P301", repo_id, "expected a login to the Hub, found none", LOGIN))


def content(folder: Path, name: str, repo_id: str) -> Path | bytes:
    """A file of the bundle as it is pushed: the card's code lines name the repo, all else is the file itself."""
    if name != CARD:
        return folder / name
    return readdress_card((folder / name).read_text(encoding="utf-8"), repo_id).encode("utf-8")


def describe_scores(folder: Path) -> str:
    """A commit message with the scores of the stored decision, as far as metrics.json has them."""
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for split in ("test", "validation"):
        tuned = metrics.get(split, {}).get("tuned", {})
        scores = [f"{pretty(name)} {number(tuned[name])}" for name in ("micro_f1", "macro_f1") if name in tuned]
        if scores:
            return f"Upload multi-label model, {split} {', '.join(scores)}"
    return "Upload multi-label model"


class Attempts:
    """Calls of the client, repeated a few times where that can help, with its errors in our form.

    Args:
        folder: The local copy, named in every error.
        repo_id: Where it goes.
    """

    def __init__(self, folder: Path, repo_id: str) -> None:
        self.folder, self.repo_id = folder, repo_id

    def attempt(self, call: Callable[[], Answer]) -> Answer:
        """What `call` returns, after at most four tries with waits of 1, 2 and 4 seconds.

        Raises:
            InputError: As `push_bundle`.
            EnvironmentFault: As `push_bundle`.
        """
        wait = FIRST_WAIT_S
        while True:
            try:
                return call()
            # the client turns a failed upload into a RuntimeError and an answer that is no JSON into a ValueError
            except (HTTPError, OSError, RuntimeError, ValueError) as error:
                if wait > LAST_WAIT_S or not _is_passing(error):
                    raise self.explain(_cause(error)) from error
            time.sleep(wait)
            wait *= 2

    def explain(self, error: BaseException) -> InputError | EnvironmentFault:
        """The error of ours that says what to do about one of the client's."""
        where, said = str(self.folder), _message(error)
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        if isinstance(error, HFValidationError):
            fix = "write OWNER/NAME with letters, digits, - _ . only"
            return InputError(Finding("P305", self.repo_id, f"expected the name of a repo, found another: {said}", fix))
        if status in (401, 403, 404):
            what = f"expected a login that may write to {self.repo_id}, found {said}"
            return InputError(Finding("P302", where, what, LOGIN))
        if status in (409, 412):
            what = f"expected {self.repo_id} as it was when the push began, found a newer commit"
            return EnvironmentFault(Finding("P304", where, what, "look at that commit, then push the folder again"))
        if isinstance(error, OfflineModeIsEnabled):
            what, fix = "expected the Hub, found HF_HUB_OFFLINE set", "unset it"
        elif _is_passing(error):
            what, fix = f"expected the Hub to answer in one of four tries, found {said}", "wait"
        else:
            what, fix = f"expected the Hub to take the commit, found {said}", "mend that"
        fix = f"the model is complete in {where}: {fix}, then `hf-multilabel push {where} {self.repo_id}`"
        return EnvironmentFault(Finding("P303", where, what, fix))


def _message(error: BaseException) -> str:
    """What the client said, on one line and without tokens."""
    said = str(error)
    if isinstance(error, HfHubHTTPError):
        said = f"status {error.response.status_code} from {error.response.url} {error.server_message or ''}"
    return TOKEN.sub("hf_***", " ".join(said.split())) or type(error).__name__


def _cause(error: BaseException) -> BaseException:
    """The Hub's own error, where the client wrapped it."""
    while isinstance(error, RuntimeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later."""
    error = _cause(error)
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in RETRIED
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # a JSON error: a gateway answered with its own page; any other ValueError is the client's refusal
    return isinstance(error, (HTTPError, ConnectionError, TimeoutError)) or type(error).__name__ == "JSONDecodeError"
