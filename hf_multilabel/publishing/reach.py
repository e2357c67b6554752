"""Whether the Hub answers, found out in seconds: the client itself would try a file for half a minute."""

from __future__ import annotations

import time

from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled

from hf_multilabel.errors import EnvironmentFault, Finding
from hf_multilabel.publishing.attempts import RETRIED, describe, status_of

FILE = "config.json"
TRIES, WAIT_S, PATIENCE_S = 2, 0.5, 3.0


def is_cached_only(repo_id: str, revision: str | None = None) -> bool:
    """Whether only a copy in the client's cache can be read now.

    Args:
        repo_id: OWNER/NAME.
        revision: Branch, tag or commit; None: main.

    Returns:
        False if the Hub answers, be it that there is no such model: loading then says so.

    Raises:
        EnvironmentFault: If it does not answer and there is no copy.

    Cost: One request; without an answer at most two, of three seconds each.
    """
    error = ask(repo_id, revision or "main")
    if error is None:
        return False
    if isinstance(try_to_load_from_cache(repo_id, FILE, revision=revision or "main"), str):
        return True
    found = f"expected a folder of this name or an answer of the Hub, found neither: {describe(error)}"
    raise EnvironmentFault(Finding("C103", repo_id, found, "check the name, the path and the connection"))


def ask(repo_id: str, revision: str) -> Exception | None:
    """Ask for the headers of the model's first file; what went wrong, if there was no answer."""
    failed: Exception | None = None
    for attempt in range(TRIES):
        if attempt:
            time.sleep(WAIT_S)
        try:
            get_hf_file_metadata(hf_hub_url(repo_id, FILE, revision=revision), timeout=PATIENCE_S)
        except (OfflineModeIsEnabled, HFValidationError):
            return None  # asked for, and said by the loader
        except (HTTPError, OSError) as error:
            if status_of(error) is not None and status_of(error) not in RETRIED:
                return None
            failed = error
        else:
            return None
    return failed
