"""Whatever fails: the Hub shows the old commit or the new one, nothing of others is overwritten, tries are bounded."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from hf_multilabel.publishing.attempts import LONGEST_WAIT_S
from hf_multilabel.publishing.bundle import CARD, MANIFEST, write_bundle
from tests.loopback_hub import Blob, Commit, LoopbackHub, Repo
from tests.publishing.conftest import Pusher, Trained

pytestmark = pytest.mark.hub

NAME = "user/storm"
API = f"/api/models/{NAME}"
ENDPOINTS = (
    "POST /api/repos/create",
    "POST /api/validate-yaml",
    f"GET {API}$",
    f"GET {API}/tree/",
    f"GET {API}/refs",
    f"POST {API}/preupload/",
    f"POST {API}/commit/",
    f"POST {API}/tag/",
    f"POST /{NAME}.git/info/lfs/objects/batch",
    f"POST /{NAME}.git/info/lfs/objects/verify",
    "PUT /lfs/",
    f"(GET|HEAD) /{NAME}/resolve/",
)
KINDS = (503, 502, 429, 412, 500, 0, "reset", "short", "slow")
# four of ours times six of the client's, and a second look after a conflict
MOST_REQUESTS = 2 * 4 * 6


@pytest.fixture
def bundles(trained: Trained, finished: Path, tmp_path: Path) -> list[Path]:
    """Two bundles with other weights, other files and other metrics."""
    other = copy.deepcopy(trained.model)
    torch.nn.init.normal_(other.head.output.weight)
    arguments = trained.arguments
    files = {**arguments["files"], "metrics.json": "{}\n", "weights.json": "[]\n"}
    write_bundle(tmp_path / "b", **{**arguments, "model": other, "files": files})
    return [Path(shutil.copytree(finished, tmp_path / "a")), tmp_path / "b"]


def assert_whole(commit: Commit) -> None:
    """A commit holds what its own manifest lists, byte by byte."""
    manifest = json.loads(commit.files[MANIFEST].data)
    for name, expected in manifest["files"].items():
        if name != CARD:
            assert hashlib.sha256(commit.files[name].data).hexdigest() == expected["sha256"], (commit.message, name)
    ours = set(manifest["files"]) | {MANIFEST, ".gitattributes"}
    assert {name for name in set(commit.files) - ours if not name.startswith("theirs")} == set()


def test_a_hundred_faulted_pushes(hub: LoopbackHub, pusher: Pusher, bundles: list[Path]) -> None:
    hub.delay_s = 0.001
    chance = random.Random(20)
    pusher.push(bundles[0], NAME)
    repo, outcomes, theirs = hub.repos[NAME], Counter(), set()
    for number in range(100):
        hub.faults.clear()
        pusher.waits.clear()
        before, asked = repo.at("main"), len(hub.requests)
        for _ in range(chance.randint(1, 4)):
            kind, times = chance.choice(KINDS), chance.choice((1, 1, 2, 4, 24, 99))
            after = 3 if kind == 429 and chance.random() < 0.5 else None
            hub.fail(chance.choice(ENDPOINTS), kind, times, late=chance.random() < 0.4, retry_after=after)
        hub.before_commit = interfering(hub, f"theirs-{number}") if chance.random() < 0.15 else None
        folder = bundles[1 - number % 2]
        (folder / CARD).write_text(f"# push {number}\n")
        answer = pusher.push(folder, NAME, tag=f"v{number}" if chance.random() < 0.3 else None)

        head = repo.at("main")
        added = repo.branches["main"][repo.branches["main"].index(before) + 1 :]
        for commit in added:
            assert_whole(commit)
        theirs |= {name for commit in added for name in commit.files if name.startswith("theirs")}
        assert theirs <= set(head.files)
        ours = [commit for commit in added if not commit.message.startswith("theirs")]
        assert len(ours) <= 1
        if "url" in answer:
            assert head.files[CARD].data == f"# push {number}\n".encode()
            assert answer["url"].endswith(f"/{NAME}/commit/{head.oid}")
        else:
            assert answer["exit_code"] == 3, answer
            assert str(folder) in answer["message"] or NAME in answer["message"]
        counts = Counter(hub.requests[asked:])
        assert max(counts.values()) <= MOST_REQUESTS, counts.most_common(3)
        assert max(pusher.waits, default=0) <= LONGEST_WAIT_S
        outcomes["url" in answer, bool(ours)] += 1
    assert outcomes[True, True] >= 30
    assert outcomes[False, False] >= 10
    assert theirs
    assert all(commit.oid in {c.oid for c in repo.branches["main"]} for commit in map(repo.at, repo.tags))
    hub.faults.clear()
    hub.before_commit = None
    assert "url" in pusher.push(bundles[0], NAME)
    assert_whole(repo.at("main"))


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_fault_on_every_endpoint_is_survived_once(
    endpoint: str, hub: LoopbackHub, pusher: Pusher, bundles: list[Path]
) -> None:
    hub.delay_s = 0.001
    hub.repos.pop(NAME, None)
    hub.large_files.clear()
    pusher.push(bundles[0], NAME)
    repo, met = hub.repos[NAME], 0
    for number, (kind, late) in enumerate([(kind, late) for kind in KINDS for late in (False, True)]):
        commits = len(repo.branches["main"])
        hub.large_files.clear()  # so that the weights are uploaded again
        hub.fail(endpoint, kind, late=late, retry_after=2 if kind == 429 else None)
        (bundles[1 - number % 2] / CARD).write_text(f"# {kind} {late}\n")
        answer = pusher.push(bundles[1 - number % 2], NAME, tag=f"{kind}-{late}")
        met += hub.faults[-1].times == 0
        if kind != 412:
            assert "url" in answer, (kind, late, answer)
        if "url" in answer:
            assert repo.at(f"{kind}-{late}").oid == repo.at("main").oid
            assert len(repo.branches["main"]) == commits + 1
        assert_whole(repo.at("main"))
        hub.faults.clear()
        pusher.push(bundles[1 - number % 2], NAME)
    assert met == 2 * len(KINDS)


def interfering(hub: LoopbackHub, name: str) -> object:
    """Somebody else commits a file, just before our commit arrives."""

    def interfere(repo: Repo) -> None:
        hub.before_commit = None
        repo.commit(name, {**repo.at("main").files, name: Blob(b"theirs")})

    return interfere
