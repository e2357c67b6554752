"""Calls of the Hub's client: repeated a few times where that can help, with its errors in our form."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from hf_multilabel.errors import EnvironmentFault, Finding, InputError

# The client tries each upload six times already, but neither the commit nor what comes before it.
FIRST_WAIT_S, LAST_WAIT_S = 1.0, 4.0
# A Hub that asks for more patience than this is told about instead.
LONGEST_WAIT_S = 60.0
RETRIED = (408, 429, 500, 502, 503, 504)
CONFLICT = (409, 412)
LOGIN = "set HF_TOKEN to a token with write access, or log in with `hf auth login`"
TOKEN = re.compile(r"hf_\w{8,}")

Answer = TypeVar("Answer")


def check_login(repo_id: str) -> None:
    """Refuse a push that nobody is logged in for, before hours of training.

    Raises:
        InputError: If there is neither HF_TOKEN nor a saved login.
    """
    if get_token() is None:
        raise InputError(Finding("P301", repo_id, "expected a login to the Hub, found none", LOGIN))


class Attempts:
    """Calls of the client for one push.

    Args:
        folder: The local copy, named in every error.
        repo_id: Where it goes.
    """

    def __init__(self, folder: Path, repo_id: str) -> None:
        self.folder, self.repo_id = folder, repo_id

    def attempt(self, call: Callable[[], Answer]) -> Answer:
        """What `call` returns, after at most four tries with waits of 1, 2 and 4 seconds, or as long as the Hub says.

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
                asked = asked_wait(cause(error))
                if wait > LAST_WAIT_S or not is_passing(error) or asked > LONGEST_WAIT_S:
                    raise self.explain(cause(error)) from error
            time.sleep(max(wait, asked))
            wait *= 2

    def explain(self, error: BaseException) -> InputError | EnvironmentFault:
        """The error of ours that says what to do about one of the client's."""
        where, said, status = str(self.folder), describe(error), status_of(error)
        if isinstance(error, HFValidationError):
            fix = "write OWNER/NAME with letters, digits, - _ . only"
            return InputError(Finding("P305", self.repo_id, f"expected the name of a repo, found another: {said}", fix))
        if status in (401, 403, 404):
            what = f"expected a login that may write to {self.repo_id}, found {said}"
            return InputError(Finding("P302", where, what, LOGIN))
        if status in CONFLICT:
            return self.changed()
        if isinstance(error, OfflineModeIsEnabled):
            what, fix = "expected the Hub, found HF_HUB_OFFLINE set", "unset it"
        elif is_passing(error):
            what, fix = f"expected the Hub to answer in one of four tries, found {said}", "wait"
        else:
            what, fix = f"expected the Hub to take the commit, found {said}", "mend that"
        return EnvironmentFault(Finding("P303", where, what, self.advise(fix)))

    def advise(self, first: str) -> str:
        """What to do once the fault is gone."""
        where = self.folder
        return f"the model is complete in {where}: {first}, then `hf-multilabel push {where} {self.repo_id}`"

    def changed(self) -> EnvironmentFault:
        """Somebody else committed meanwhile."""
        what = f"expected {self.repo_id} as it was when the push began, found a newer commit"
        return EnvironmentFault(
            Finding("P304", str(self.folder), what, "look at that commit, then push the folder again")
        )


class Downloads(Attempts):
    """Attempts to fetch something: nothing is here yet that could be lost."""

    def advise(self, first: str) -> str:
        """Nothing but the command itself."""
        return f"nothing was written: {first}, then give the same command again"


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an answer of the Hub; None for any other error."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def asked_wait(error: BaseException) -> float:
    """Seconds the Hub asks to wait in `Retry-After`; 0 where it asks nothing, or gives a date."""
    said = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return float(said) if said.isdigit() else 0.0


def describe(error: BaseException) -> str:
    """What the client said, on one line and without tokens."""
    said = str(error)
    if isinstance(error, HfHubHTTPError):
        said = f"status {error.response.status_code} from {error.response.url} {error.server_message or ''}"
    return TOKEN.sub("hf_***", " ".join(said.split())) or type(error).__name__


def cause(error: BaseException) -> BaseException:
    """The Hub's own error, where the client wrapped it."""
    while isinstance(error, (RuntimeError, LocalEntryNotFoundError)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later."""
    error = cause(error)
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in RETRIED
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # a JSON error: a gateway answered with its own page; any other ValueError is the client's refusal
    garbled = type(error).__name__ == "JSONDecodeError" or str(error).startswith("Consistency check failed")
    return garbled or isinstance(error, (HTTPError, ConnectionError, TimeoutError))
