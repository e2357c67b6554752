"""Tags, pull requests, branches, private repos, and what an older bundle leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RepositoryNotFoundError

from hf_multilabel.errors import InputError
from hf_multilabel.publishing.bundle import MANIFEST, dump_manifest, read_manifest, verify_bundle
from hf_multilabel.publishing.hub import Target
from tests.loopback_hub import Blob, LoopbackHub
from tests.publishing.conftest import Pusher

pytestmark = pytest.mark.hub


@pytest.fixture
def changed(finished: Path, tmp_path: Path) -> Path:
    """The bundle with another card."""
    folder = Path(shutil.copytree(finished, tmp_path / "changed"))
    (folder / "README.md").write_text("# another card\n")
    return folder


def test_a_tag_is_set_on_the_commit_once(hub: LoopbackHub, pusher: Pusher, finished: Path) -> None:
    first = pusher.push(finished, "user/tagged", tag="v1")
    repo = hub.repos["user/tagged"]
    assert repo.tags == {"v1": repo.at("main").oid}
    assert pusher.push(finished, "user/tagged", tag="v1") == first
    assert len(repo.branches["main"]) == 2
    assert pusher.push(finished, "user/tagged", tag="v1.0.1") == first
    assert set(repo.tags.values()) == {repo.at("main").oid}


def test_a_tag_on_another_commit_is_refused_before_anything_is_committed(
    hub: LoopbackHub, pusher: Pusher, finished: Path, changed: Path
) -> None:
    pusher.push(finished, "user/retag", tag="v1")
    before = hub.repos["user/retag"].at("v1").oid
    answer = pusher.push(changed, "user/retag", tag="v1")
    assert answer["exit_code"] == 2
    assert f"expected the tag v1 to be free, found it on commit {before[:12]}" in answer["message"]
    assert "`hf repos tag delete user/retag v1`" in answer["message"]
    assert hub.repos["user/retag"].at("main").oid == before
    HfApi().delete_tag("user/retag", tag="v1")
    assert "url" in pusher.push(changed, "user/retag", tag="v1")
    assert hub.repos["user/retag"].tags["v1"] == hub.repos["user/retag"].at("main").oid != before


def test_a_tag_that_failed_is_all_the_next_push_does(hub: LoopbackHub, pusher: Pusher, finished: Path) -> None:
    hub.fail("POST /api/models/user/untagged/tag/", 503, times=4)
    answer = pusher.push(finished, "user/untagged", tag="v1")
    assert answer["exit_code"] == 3
    repo = hub.repos["user/untagged"]
    assert (len(repo.branches["main"]), repo.tags) == (2, {})
    hub.fail("POST /api/models/user/untagged/tag/", 500, late=True)
    assert "url" in pusher.push(finished, "user/untagged", tag="v1")
    assert len(repo.branches["main"]) == 2
    assert repo.tags == {"v1": repo.at("main").oid}


@pytest.mark.parametrize("fault", [None, (500, True), ("reset", True), ("short", False), (503, False)])
def test_a_pull_request_leaves_the_branch_and_is_opened_once(
    hub: LoopbackHub, pusher: Pusher, finished: Path, fault: tuple | None
) -> None:
    name = f"user/asked{fault[0] if fault else ''}"
    if fault:
        hub.fail(f"POST /api/models/{name}/commit/main", fault[0], late=fault[1])
    answer = pusher.push(finished, name, create_pr=True)
    assert answer == {"url": f"{hub.url}/{name}/discussions/1"}
    repo = hub.repos[name]
    assert [ref for ref in repo.branches if ref.startswith("refs/")] == ["refs/pr/1"]
    assert [commit.message for commit in repo.branches["main"]] == ["initial commit"]
    assert set(verify_bundle(finished)["files"]) < set(repo.at("refs/pr/1").files)
    # more commits onto the same request
    again = pusher.push(finished, name, revision="refs/pr/1")
    assert again["url"].endswith(repo.at("refs/pr/1").oid)


def test_a_stranger_may_ask_but_not_write(hub: LoopbackHub, pusher: Pusher, finished: Path, changed: Path) -> None:
    pusher.push(finished, "user/open")
    before = hub.repos["user/open"].at("main").oid
    refused = pusher.push(changed, "user/open", login=hub.stranger)
    assert (refused["exit_code"], "P302" in refused["message"]) == (2, True)
    asked = pusher.push(changed, "user/open", login=hub.stranger, create_pr=True)
    assert asked["url"].endswith("/user/open/discussions/1")
    assert hub.repos["user/open"].at("main").oid == before


@pytest.mark.parametrize("beside", [{"tag": "v1"}, {"revision": "dev"}])
def test_a_pull_request_goes_with_neither_tag_nor_branch(
    hub: LoopbackHub, pusher: Pusher, finished: Path, beside: dict
) -> None:
    asked = len(hub.requests)
    answer = pusher.push(finished, "user/both", create_pr=True, **beside)
    assert (answer["exit_code"], "P306" in answer["message"]) == (2, True)
    assert len(hub.requests) == asked
    Target("user/both", "main", create_pr=True).check()
    with pytest.raises(InputError, match="P306"):
        Target("user/both", create_pr=True, **beside).check()


def test_a_private_repo_is_there_for_its_owner_only(
    hub: LoopbackHub, pusher: Pusher, finished: Path, tmp_path: Path
) -> None:
    pusher.push(finished, "user/closed-one", private=True)
    for token, status in ((hub.token, None), (hub.stranger, 404), (False, 401)):
        folder = tmp_path / str(status)
        if status is None:
            hf_hub_download("user/closed-one", "config.json", token=token, local_dir=folder)
            continue
        with pytest.raises(RepositoryNotFoundError) as error:
            hf_hub_download("user/closed-one", "config.json", token=token, local_dir=folder)
        assert error.value.response.status_code == status
    answer = pusher.push(finished, "user/closed-one", login=hub.stranger)
    assert answer["exit_code"] == 2


def test_what_an_older_bundle_left_goes_and_all_else_stays(
    hub: LoopbackHub, pusher: Pusher, finished: Path, tmp_path: Path
) -> None:
    older = Path(shutil.copytree(finished, tmp_path / "older"))
    (older / "weights.json").write_text("[]")
    manifest = read_manifest(older)
    manifest["files"]["weights.json"] = {
        "bytes": 2,
        "sha256": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
    }
    (older / MANIFEST).write_text(dump_manifest(manifest))
    pusher.push(older, "user/aged")
    repo = hub.repos["user/aged"]
    theirs = {
        "notes.md": Blob(b"by hand"),
        "model.safetensors.index.json": Blob(b"{}"),
        "adapter_config.json": Blob(b"{}"),
    }
    repo.commit("by hand", {**repo.at("main").files, **theirs})
    hub.fail("POST /api/models/user/aged/commit/main", 500, late=True)
    assert "url" in pusher.push(finished, "user/aged")
    assert set(repo.at("main").files) == {*verify_bundle(finished)["files"], MANIFEST, ".gitattributes", "notes.md"}
    assert len(repo.branches["main"]) == 4
    # the older commit is still whole
    assert "weights.json" in repo.branches["main"][1].files
