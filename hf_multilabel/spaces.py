"""A demo of a finished model: resolve the model, write its Space, run it here or push it. `hf-multilabel space`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hf_multilabel.console import note
from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.publishing.bundle import verify_bundle
from hf_multilabel.publishing.card_decision import tell_decision
from hf_multilabel.publishing.card_sections import BLOCK
from hf_multilabel.publishing.space import SpaceFacts, write_space
from hf_multilabel.publishing.space_hub import push_space
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig

FIRST_PORT, PORTS = 7860, 100
NEEDS = "this needs hf-multilabel[space]: pip install 'hf-multilabel[space]'"


def make_space(
    facts: SpaceFacts,
    output: str | Path,
    *,
    push: str | None = None,
    private: bool = False,
    overwrite: bool = False,
) -> str | None:
    """Write a Space and push it where that is asked.

    Args:
        facts: As `resolve_model` gives them.
        output: Folder to write.
        push: OWNER/NAME of the Space on the Hub.
        private: Whether a Space created there is private.
        overwrite: Replace what an earlier call wrote.

    Returns:
        Address of the commit, if it was pushed.

    Raises:
        InputError: As `write_space` and `push_space`.
        EnvironmentFault: As `write_space` and `push_space`.
    """
    output = Path(output)
    write_space(output, facts, overwrite)
    note(f"written: {output}")
    return None if push is None else push_space(output, push, private=private, overwrite=overwrite)


def resolve_model(
    model: str, revision: str | None = None, title: str | None = None, examples: Sequence[str] = ()
) -> SpaceFacts:
    """What a Space of a model says; no weights are read, and no code of the repo runs.

    Args:
        model: A run's folder, or OWNER/NAME on the Hub.
        revision: Branch, tag or commit on the Hub; the Space is pinned to the commit it names now.
        title: None takes the model's name.
        examples: None given: those of the model card.

    Raises:
        InputError: If there is no such model or it is none of ours.
        EnvironmentFault: If the Hub can't be reached, or the folder is damaged.
    """
    folder = Path(model)
    if folder.exists():
        verify_bundle(folder)
        where, commit, found = str(folder.resolve()), None, folder.resolve()
        card = found / "README.md"
        config = read_config(model, found / "config.json")
    else:
        where = model
        with hub_errors(model):
            commit = HfApi(library_name="hf_multilabel").model_info(model, revision=revision).sha
            config = read_config(model, Path(hf_hub_download(model, "config.json", revision=commit)))
            try:
                card = Path(hf_hub_download(model, "README.md", revision=commit))
            except EntryNotFoundError as error:
                if not is_missing(error):
                    raise
                card = None
    said = card_metadata(card)
    return SpaceFacts(
        title=title or Path(where).name,
        model=where,
        revision=commit,
        labels=len(config.label_names),
        decision=tell_decision(config.decision, len(config.label_names)),
        examples=list(examples) or card_examples(said),
        license=card_license(said),
    )


def read_config(model: str, path: Path) -> MultiLabelConfig:
    """The configuration of a model of this package, its decision checked against its labels.

    Raises:
        InputError: If it is of another model, or the decision belongs to other labels.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    try:
        if values.get("model_type") != MultiLabelConfig.model_type:
            raise ValueError(f"model_type {values.get('model_type')!r}")
        return MultiLabelConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        what = f"expected a model of this package, found {' '.join(str(error).split())}"
        fix = "give a folder written by hf-multilabel train, or a repo pushed from one"
        raise InputError(Finding("C501", model, what, fix)) from error


def check_choices(model: str, output: Path | None, *, push: str | None, local: bool, port: int | None) -> None:
    """Refuse options that do not go together, and a folder the Hub could not load.

    Raises:
        InputError: If so.
    """
    if local and push:
        raise InputError(Finding("C507", "--push", "expected --push or --local, found both", "choose one"))
    if port is not None and not local:
        raise InputError(Finding("C507", "--port", "expected --local beside it, found none", "add --local"))
    if Path(model).exists() and not local and (push or output is None):
        what = "expected a model on the Hub, from which the Space loads it, found a folder"
        fix = f"`hf-multilabel push {model} OWNER/NAME`, then `hf-multilabel space OWNER/NAME`; or for this machine "
        fix += "--local, which serves it, or --output FOLDER alone, which writes it"
        raise InputError(Finding("C508", model, what, fix))


def card_metadata(card: Path | None) -> dict[str, Any]:
    """The YAML block of a model card, empty if it has none that reads."""
    block = None if card is None or not card.is_file() else BLOCK.match(card.read_text(encoding="utf-8"))
    try:
        data = YAML(typ="safe").load(block.group(1)) if block else None
    except YAMLError:
        return {}  # people edit cards, and what they say there is no reason to stop
    return data if isinstance(data, dict) else {}


def card_license(said: Mapping[str, Any]) -> str | None:
    """The licence that a card's YAML block names; the name of one that the Hub has no word for."""
    names = [said.get(key) for key in ("license_name", "license")]
    return next((name for name in names if isinstance(name, str) and name not in ("", "other", "unknown")), None)


def card_examples(said: Mapping[str, Any]) -> list[str]:
    """The widget's texts in a card's YAML block, none if it has none."""
    widget = said.get("widget")
    found = [line.get("text") for line in widget if isinstance(line, dict)] if isinstance(widget, list) else []
    return [text for text in found if isinstance(text, str)]


@contextlib.contextmanager
def hub_errors(model: str) -> Iterator[None]:
    """The client's errors in our form.

    Raises:
        InputError: If there is no such model, or it can't be seen.
        EnvironmentFault: If the Hub can't be reached.
    """
    try:
        yield
    except (OSError, HTTPError, EntryNotFoundError, HFValidationError) as error:
        if is_missing(error):
            what = f"expected a run's folder or a model OWNER/NAME on the Hub, found none: {type(error).__name__}"
            fix = "check name and revision; for a private model set HF_TOKEN or log in with `hf auth login`"
            raise InputError(Finding("C502", model, what, fix)) from error
        what = f"expected the Hub to answer, found {type(error).__name__}"
        raise EnvironmentFault(Finding("C503", model, what, "check the connection, then try again")) from error


def is_missing(error: Exception) -> bool:
    """Whether the Hub answered that there is no such thing, or none for this user; not that it failed."""
    if isinstance(error, LocalEntryNotFoundError):
        return False  # the Hub could not be reached, and nothing was downloaded before
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (400, 401, 403, 404)
    return isinstance(error, (EntryNotFoundError, HFValidationError))


def check_local() -> None:
    """Refuse to run a demo where the page's library is missing.

    Raises:
        InputError: If gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise InputError(Finding("C504", "--local", "expected gradio, found none", NEEDS))


def run_space(folder: str | Path, port: int | None = None) -> None:
    """Serve a Space on 127.0.0.1 until it is interrupted, in a process of its own as on the Hub.

    Args:
        folder: As `write_space` left it. The code shipped with its model runs.
        port: None takes the first free one from 7860 on.

    Raises:
        InputError: If gradio is missing, or the port is taken.
        EnvironmentFault: If the app ends by itself.
    """
    check_local()
    chosen = find_port(port)
    own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(chosen), "GRADIO_ANALYTICS_ENABLED": "False"}
    # -u: the address is printed at once, also into a pipe
    command = [sys.executable, "-u", "app.py"]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, **own, "PYTHONSAFEPATH": ""}) as process:
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, _stop)
            code = process.wait()
        except KeyboardInterrupt:
            code = 0  # the way to end it
        finally:
            process.terminate()
    if code:
        what = f"expected the page to be served until Ctrl+C, found exit code {code}"
        raise EnvironmentFault(Finding("C506", str(folder), what, "read the error above"))


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave by an exception, so that the page's process ends with this one."""
    raise SystemExit(128 + number)


def find_port(port: int | None) -> int:
    """A port on 127.0.0.1 that nobody listens on.

    Raises:
        InputError: If the one asked for, or all that are tried, are taken.
    """
    tried = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]
    for candidate in tried:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    what = f"expected a free port, found {tried[0]} taken" + ("" if port else f" and {PORTS - 1} after it")
    raise InputError(Finding("C505", "--port", what, "name another"))


def serve(facts: SpaceFacts, output: Path | None, port: int | None, overwrite: bool = False) -> None:
    """Write a Space, for as long as it runs if no folder is named, and serve it here.

    Args:
        facts: As `resolve_model` gives them.
        output: Folder to write and keep.
        port: As for `run_space`.
        overwrite: As for `make_space`.

    Raises:
        InputError: As `write_space` and `run_space`.
        EnvironmentFault: As `write_space` and `run_space`.
    """
    check_local()
    with tempfile.TemporaryDirectory(prefix="space-") as temporary:
        folder = output or Path(temporary) / "space"
        make_space(facts, folder, overwrite=overwrite)
        note(f"serving {facts.title}; Ctrl+C ends it")
        run_space(folder, port)
