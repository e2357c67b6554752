"""A repo on the loopback Hub, through the real client: only small files and headers are fetched."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loopback_hub import LFS_MARKS, Blob, LoopbackHub, Repo

pytestmark = pytest.mark.hub

EXAMINER = """
import json, sys
from hf_multilabel.errors import MultiLabelError
from hf_multilabel.publishing.doctor import files
from hf_multilabel.publishing.doctor.examination import examine
from hf_multilabel.publishing.doctor.report import to_json
files.REQUEST_S, files.SMALL = 2.0, 1 << 16
for line in sys.stdin:
    try:
        answer = json.loads(to_json(examine(**json.loads(line))))
    except MultiLabelError as error:
        answer = {"exit_code": error.exit_code, "message": str(error)}
    print("ANSWER " + json.dumps(answer), flush=True)
"""

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def ask(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., dict]]:
    """One process with the real client that examines whatever it is asked to."""
    environment = hub.environment(tmp_path_factory.mktemp("home"), PYTHONPATH=str(ROOT))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([sys.executable, "-c", EXAMINER], env=environment, **pipes)

    def examine(**arguments: object) -> dict:
        process.stdin.write(json.dumps(arguments) + "\n")
        process.stdin.flush()
        said = ""
        for line in process.stdout:
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
            said += line
        raise AssertionError(said)

    yield examine
    process.stdin.close()
    process.wait(timeout=30)


def put(hub: LoopbackHub, name: str, folder: Path, private: bool = False) -> str:
    """The folder as a repo; its commit."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    blobs = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    repo = hub.repos[name] = Repo(private=private)
    return repo.commit("upload", {path: Blob(data, path.endswith(LFS_MARKS)) for path, data in blobs.items()}).oid


def severities(answer: dict) -> dict[str, str]:
    return {symptom["code"]: symptom["severity"] for symptom in answer["symptoms"]}


def test_a_repo_is_read_like_its_folder(hub: LoopbackHub, ask: Callable[..., dict], finished: Path) -> None:
    commit = put(hub, "me/ours", finished)
    found = ask(name="me/ours")
    codes = severities(found)
    assert (found["exit_code"], found["revision"], found["labels"]) == (0, commit, 5)
    assert codes["manifest.files"] == codes["weights.head_rows"] == codes["decision.valid"] == "ok"
    assert codes["code.revision"] == "warning"
    pin = next(symptom["fix"] for symptom in found["symptoms"] if symptom["code"] == "code.revision")
    assert commit in pin
    assert severities(ask(name="me/ours", revision=commit))["code.revision"] == "ok"


def test_a_large_file_is_not_downloaded(
    hub: LoopbackHub, ask: Callable[..., dict], stock: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(stock)
    with (folder / "checkpoint.ckpt").open("wb") as file:
        file.truncate(1 << 22)
    put(hub, "me/large", folder)
    hub.requests.clear()
    found = ask(name="me/large")
    assert severities(found)["safety.pickle"] == "warning"
    assert hub.asked("GET /me/large/resolve/.*config.json") == 2  # of the model and of the tokenizer, each once
    assert hub.asked("GET /me/large/resolve/.*checkpoint.ckpt") == 0


def test_a_pushed_change_beside_the_manifest_is_noticed(
    hub: LoopbackHub, ask: Callable[..., dict], finished: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(finished)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    put(hub, "me/flipped", folder)
    found = ask(name="me/flipped")
    assert severities(found)["manifest.files"] == "error"
    assert found["exit_code"] == 3


def test_no_such_repo_and_a_private_one(hub: LoopbackHub, ask: Callable[..., dict], stock: Path) -> None:
    put(hub, "me/private", stock, private=True)
    for arguments in ({"name": "me/nothing"}, {"name": "me/private"}, {"name": "me/private", "revision": "v9"}):
        found = ask(**arguments)
        assert found["exit_code"] == 2
        assert "P401" in found["message"]
    assert hub.token not in json.dumps(found)


def test_a_hub_that_fails_is_an_environment_fault(hub: LoopbackHub, ask: Callable[..., dict], stock: Path) -> None:
    put(hub, "me/stock", stock)
    for pattern in ("GET /api/models/me/stock.*", "GET /me/stock/resolve/.*config.json"):
        hub.fail(pattern, status=500, times=1)
        found = ask(name="me/stock")
        assert (found["exit_code"], "P402" in found["message"]) == (3, True)
    assert ask(name="me/stock")["exit_code"] == 0
