from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from hf_multilabel.publishing.attempts import Attempts
from hf_multilabel.publishing.bundle import MANIFEST, verify_bundle
from tests.loopback_hub import Blob, LoopbackHub, Repo
from tests.publishing.conftest import LABELS, Pusher, Stranger, Trained

pytestmark = pytest.mark.hub


def test_pushed_once_a_stranger_gets_the_same_label_sets_and_the_cards_lines_work(
    hub: LoopbackHub, pusher: Pusher, stranger: Stranger, finished: Path, trained: Trained
) -> None:
    (finished / "checkpoint-7").mkdir(exist_ok=True)
    (finished / "checkpoint-7/optimizer.safetensors").write_bytes(b"state")
    answer = pusher.push(finished, "user/pushed", private=True)
    repo = hub.repos["user/pushed"]
    assert answer == {"url": f"{hub.url}/user/pushed/commit/{repo.at('main').oid}"}
    assert repo.private
    messages = [commit.message for commit in repo.branches["main"]]
    assert messages == ["initial commit", "Upload multi-label model, test micro F1 0.7500"]
    assert set(repo.at("main").files) == {*verify_bundle(finished)["files"], MANIFEST, ".gitattributes"}
    commit = repo.at("main").oid
    found = stranger.ask("load", repo="user/pushed", revision=commit, texts=trained.texts, max_length=16)
    assert found["decided"] == trained.predictions.tolist()
    assert (found["base"], found["shipped"]) == ("MultiLabelForSequenceClassification", "transformers_modules")
    assert found["labels"] == LABELS
    expected = [LABELS[label] for label in np.flatnonzero(trained.predictions[0])]
    card = stranger.ask("card", repo="user/pushed", revision=commit)
    assert (card["repo"], card["labels"]) == ("user/pushed", [expected])
    assert [sorted(labels) for labels in card["pipeline"]] == [sorted(expected)]


def test_failures_that_pass_are_retried_and_make_one_commit(hub: LoopbackHub, pusher: Pusher, finished: Path) -> None:
    hub.fail("POST /api/repos/create", 500)
    hub.fail("GET /api/models/user/shaky", 502)
    hub.fail("POST /api/models/user/shaky/preupload/main", 429, retry_after=7)
    hub.fail("POST /api/models/user/shaky/commit/main", 503, times=2)
    answer = pusher.push(finished, "user/shaky")
    assert answer["url"].endswith(hub.repos["user/shaky"].at("main").oid)
    assert hub.asked("POST /api/models/user/shaky/commit/main") == 3
    assert sorted(pusher.waits) == [1, 1, 1, 2, 8]  # the client itself waits a second longer than it was asked to
    assert len(hub.repos["user/shaky"].branches["main"]) == 2


@pytest.mark.parametrize("status", [503, 0])
def test_a_failure_that_stays_ends_after_a_few_tries_and_names_the_local_folder(
    hub: LoopbackHub, pusher: Pusher, finished: Path, status: int
) -> None:
    name = f"user/down{status}"
    hub.fail(f"POST /api/models/{name}/commit/main", status, times=99)
    answer = pusher.push(finished, name)
    assert answer["exit_code"] == 3
    assert f"the model is complete in {finished}" in answer["message"]
    assert hub.asked(f"POST /api/models/{name}/commit/main") == 4
    assert len(hub.repos[name].branches["main"]) == 1


@pytest.mark.parametrize("status", [500, 0])
def test_an_answer_lost_after_the_commit_makes_no_second_commit(
    hub: LoopbackHub, pusher: Pusher, finished: Path, status: int
) -> None:
    name = f"user/lost{status}"
    hub.fail(f"POST /api/models/{name}/commit/main", status, late=True)
    answer = pusher.push(finished, name)
    history = hub.repos[name].branches["main"]
    assert len(history) == 2
    assert answer == {"url": f"{hub.url}/{name}/commit/{history[-1].oid}"}


def test_a_change_meanwhile_is_never_overwritten(hub: LoopbackHub, pusher: Pusher, finished: Path) -> None:
    pusher.push(finished, "user/busy")

    def interfere(repo: Repo) -> None:
        hub.before_commit = None
        repo.commit("by somebody else", {**repo.at("main").files, "config.json": Blob(b"theirs")})

    hub.before_commit = interfere
    changed = Path(shutil.copytree(finished, finished.parent / "changed"))
    (changed / "README.md").write_text("# another card\n")
    answer = pusher.push(changed, "user/busy")
    assert answer["exit_code"] == 3
    assert "expected user/busy as it was when the push began, found a newer commit" in answer["message"]
    latest = hub.repos["user/busy"].at("main")
    assert (latest.message, latest.files["config.json"].data) == ("by somebody else", b"theirs")


def test_a_branch_is_created_once_and_main_stays(hub: LoopbackHub, pusher: Pusher, finished: Path) -> None:
    answers = [pusher.push(finished, "user/branched", revision="v2", commit_message="second") for _ in range(2)]
    assert answers[0] == answers[1]  # the second push finds nothing to change
    branches = hub.repos["user/branched"].branches
    assert [commit.message for commit in branches["v2"]] == ["initial commit", "second"]
    assert len(branches["main"]) == 1


def test_without_a_login_or_with_a_wrong_one_it_says_how_to_log_in(
    hub: LoopbackHub, pusher: Pusher, finished: Path
) -> None:
    for login in ("", "hf_wrongcanary12345"):
        answer = pusher.push(finished, "user/closed", login=login)
        assert answer["exit_code"] == 2
        assert "set HF_TOKEN" in answer["message"]
        assert "hf auth login" in answer["message"]
    assert "user/closed" not in hub.repos


@pytest.mark.parametrize(
    ("folder", "repo_id", "code"), [("nowhere", "user/x", 2), (None, "a b/c", 2), ("bad", "user/x", 3)]
)
def test_bad_input_never_reaches_the_hub(
    hub: LoopbackHub, pusher: Pusher, finished: Path, tmp_path: Path, folder: str | None, repo_id: str, code: int
) -> None:
    asked = len(hub.requests)
    if folder == "bad":
        shutil.copytree(finished, tmp_path / "bad")
        (tmp_path / "bad/config.json").write_text("{}")
    answer = pusher.push(tmp_path / folder if folder else finished, repo_id)
    assert answer["exit_code"] == code
    assert len(hub.requests) == asked


def test_without_a_network_the_local_copy_is_named(finished: Path) -> None:
    error = Attempts(finished, "user/x").explain(OfflineModeIsEnabled("offline mode is enabled"))
    assert error.exit_code == 3
    assert "found HF_HUB_OFFLINE set" in str(error)
    assert f"then `hf-multilabel push {finished} user/x`" in str(error)
