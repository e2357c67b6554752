"""A Space's folder, written whole or not at all, and pushed in one commit; what the command refuses."""

from __future__ import annotations

import configparser
import fnmatch
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.repocard import RepoCard

from hf_multilabel import cli, spaces
from hf_multilabel.errors import EnvironmentFault, InputError
from hf_multilabel.publishing import hub as hub_module
from hf_multilabel.publishing import space, space_hub
from tests.loopback_hub import Blob
from tests.loopback_spaces import SpacesHub
from tests.spaces.conftest import LABELS, ROOT, Tiny

FACTS = space.SpaceFacts(
    "topics: {{x}} | <b>", "user/tiny", "0123456789abcdef", 6, ["A label | holds."], ["one", "two"], "mit"
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_has_all_a_space_needs(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "space"
    space.write_space(folder, FACTS)
    assert set(contents(folder)) == set(space.FILES)
    assert os.listdir(folder.parent) == ["space"]
    for name in space.COPIED:
        assert (folder / name).read_bytes() == (space.TEMPLATE / name).read_bytes()
    found = json.loads((folder / "space.json").read_text(encoding="utf-8"))
    assert found == {
        "title": "topics: {{x}} | <b>", "model": "user/tiny", "revision": "0123456789abcdef",
        "license": "mit", "decision": ["A label | holds."], "examples": ["one", "two"], "limits": space.LIMITS,
        "shown": space.SHOWN,
    }  # fmt: skip
    card = RepoCard((folder / "README.md").read_text(encoding="utf-8"))
    data = card.data.to_dict()
    assert (data["sdk"], data["app_file"], data["title"]) == ("gradio", "app.py", "topics: {{x}} | <b>")
    assert data["models"] == ["user/tiny"]
    assert len(data["short_description"]) <= 60
    assert set(data) == {
        "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "pinned",
        "license", "models", "tags", "short_description",
    }  # fmt: skip
    assert "<b>" not in card.text
    assert "The files of this Space are under apache-2.0. The model is under mit, as its card says." in card.text


def test_the_gradio_it_asks_for_is_the_one_it_is_tested_with() -> None:
    pinned = dict(
        line.strip().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    assert pinned["gradio"] == space.SDK_VERSION
    asked = (space.TEMPLATE / "requirements.txt").read_text().split()
    assert [line.split(">")[0] for line in asked] == ["gradio", "torch", "transformers"]
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = {line.strip().replace(" ", "") for line in setup["options"]["install_requires"].splitlines()}
    assert set(asked[1:]) <= needed


def test_the_files_are_part_of_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    pattern = setup["options.package_data"]["hf_multilabel.publishing"]
    assert all(fnmatch.fnmatch(f"space_files/{name}", pattern) for name in space.COPIED)
    assert {path.name for path in space.TEMPLATE.iterdir() if path.is_file()} == set(space.COPIED)


def test_a_space_is_replaced_only_where_that_is_asked_and_anything_else_never(tmp_path: Path) -> None:
    folder = tmp_path / "space"
    folder.mkdir()
    space.write_space(folder, FACTS)  # an empty folder is nobody's
    (folder / "app.py").write_text("mine")
    with pytest.raises(InputError, match="P701.*--overwrite"):
        space.write_space(folder, FACTS)
    assert (folder / "app.py").read_text() == "mine"
    space.write_space(folder, FACTS, overwrite=True)
    assert (folder / "app.py").read_text() != "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    for other in (tmp_path / "other", tmp_path / "other" / "thesis.tex"):
        with pytest.raises(InputError, match="P701.*something else"):
            space.write_space(other, FACTS, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["other", "space"]


@pytest.mark.parametrize("failing", ["mkdir", "copyfile", "replace"])
def test_a_disk_that_refuses_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    folder = tmp_path / "space"
    space.write_space(folder, FACTS)
    before = contents(folder)
    real = os.replace

    def refuse(source: object, target: object = None, **_: object) -> None:
        if failing != "replace" or str(source).endswith(".part"):
            raise OSError(28, "No space left on device")
        real(source, target)

    owner = {"mkdir": Path, "copyfile": space.shutil, "replace": space.os}[failing]
    with monkeypatch.context() as patched:
        patched.setattr(owner, failing, refuse)
        with pytest.raises(EnvironmentFault, match="P702.*No space left"):
            space.write_space(folder, FACTS, overwrite=True)
    assert contents(folder) == before
    assert os.listdir(tmp_path) == ["space"]


def test_what_a_finished_folder_says_of_itself(tiny: Tiny) -> None:
    facts = spaces.resolve_model(str(tiny.folder))
    assert (facts.title, facts.model, facts.revision) == ("tiny", str(tiny.folder.resolve()), None)
    assert facts.labels == len(LABELS)
    assert facts.examples == tiny.texts[:2]
    assert "thresholds between" in facts.decision[0]
    assert facts.license == "cc-by-4.0"
    assert spaces.resolve_model(str(tiny.folder), title="other", examples=["mine"]).examples == ["mine"]


@pytest.mark.parametrize(
    ("widget", "found"),
    [("", []), ("widget: 3", []), ("widget: [3, {text: [1]}, {text: yes please}]", ["yes please"]), ("{{", [])],
)
def test_examples_of_a_card_that_people_wrote(tmp_path: Path, widget: str, found: list[str]) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"---\n{widget}\n---\n\n# a model\n")
    assert spaces.card_examples(spaces.card_metadata(card)) == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("license: mit", "mit"),
        ("license: other\nlicense_name: house rules", "house rules"),
        ("license: other", None),
        ("license: [mit]", None),
        ("tags: [a]", None),
    ],
)
def test_the_licence_of_the_model_is_its_cards_or_how_to_name_one(tmp_path: Path, said: str, found: str | None) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"---\n{said}\n---\n\n# a model\n")
    assert spaces.card_license(spaces.card_metadata(card)) == found
    read = space.readme(replace(FACTS, license=found))
    assert (f"The model is under {found}, as its card says." in read) is (found is not None)
    assert ("add a line such as `license: mit` to the YAML block of the model's README.md" in read) is (found is None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{tiny}"], 2, "C508.*expected a model on the Hub.*hf-multilabel push .*--local"),
        (["{tiny}", "--push", "user/demo"], 2, "C508"),
        (["user/tiny", "--port", "80"], 2, "C507.*add --local"),
        (["user/tiny", "--local", "--push", "user/demo"], 2, "C507.*choose one"),
        (["{empty}", "--local"], 2, "P101.*no manifest.json"),
        (["no such name", "--output", "{empty}/x"], 2, "C502.*OWNER/NAME"),
        (["user/tiny", "--local", "--port", "0"], 2, ""),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, said: str,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    given = [argument.format(tiny=tiny.folder, empty=tmp_path / "empty") for argument in arguments]
    assert cli.call(["space", *given]) == code
    assert re.search(said, capsys.readouterr().err)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_a_folder_is_written_without_serving_it(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["space", str(tiny.folder), "--output", str(tmp_path / "demo")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "demo")
    assert json.loads((tmp_path / "demo" / "space.json").read_text())["model"] == str(tiny.folder.resolve())
    assert cli.call(["space", str(tiny.folder), "--output", str(tmp_path / "x"), "--push", "user/demo"]) == 2
    assert "--output FOLDER alone" in capsys.readouterr().err


def test_a_taken_port_is_named_before_the_model_loads(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"C505.*found {port} taken"):
            spaces.find_port(port)
        assert spaces.find_port(None) >= spaces.FIRST_PORT


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spaces.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"C504.*hf-multilabel\[space\]"):
        spaces.run_space(tmp_path)


@pytest.fixture
def client(hub: SpacesHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SpacesHub]:
    """The real client of this process, talking to the loopback Hub and logged in there."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    # the waits between tries are another test's subject
    module = sys.modules[hub_module.Attempts.__module__]
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(module, "LAST_WAIT_S", 0.04)
    hub.requests.clear()
    hub.faults.clear()
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    space.write_space(tmp_path / "space", FACTS)
    return tmp_path / "space"


pushed = pytest.mark.hub
COMMIT = "POST /api/models/user/space:.*/commit/main"


@pushed
def test_a_push_is_one_commit_of_exactly_these_files(client: SpacesHub, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    address = space_hub.push_space(folder, "user/demo", private=True)
    held = client.space("user/demo")
    assert address == f"{client.url}/spaces/user/demo/commit/{held.at('main').oid}"
    assert held.private
    files = {path: blob.data for path, blob in held.at("main").files.items() if path != ".gitattributes"}
    assert files == {name: (folder / name).read_bytes() for name in space.FILES}
    space.write_space(folder.with_name("again"), space.SpaceFacts("other", "user/tiny", "f" * 40, 6))
    space_hub.push_space(folder.with_name("again"), "user/demo")
    assert [commit.message for commit in held.branches["main"]][1:] == ["Upload multi-label Space"] * 2
    assert json.loads(held.at("main").files["space.json"].data)["title"] == "other"


@pushed
def test_a_hub_that_falters_gets_one_commit(client: SpacesHub, folder: Path) -> None:
    client.fail("POST /api/repos/create", 500)
    client.fail(COMMIT, 503, times=2)
    space_hub.push_space(folder, "user/shaky")
    assert len(client.space("user/shaky").branches["main"]) == 2
    client.fail(COMMIT, 500, late=True)
    (folder / "space.json").write_text((folder / "space.json").read_text().replace("topics", "subjects"))
    space_hub.push_space(folder, "user/shaky")
    assert len(client.space("user/shaky").branches["main"]) == 3


@pushed
def test_a_hub_that_stays_down_leaves_the_folder_and_names_it(client: SpacesHub, folder: Path) -> None:
    client.fail(COMMIT, 503, times=99)
    with pytest.raises(EnvironmentFault, match=r"P303.*the Space is complete in .*space; .*--overwrite"):
        space_hub.push_space(folder, "user/down")
    assert client.asked(COMMIT) == 4
    assert len(client.space("user/down").branches["main"]) == 1
    assert set(contents(folder)) == set(space.FILES)


@pushed
def test_what_somebody_else_committed_meanwhile_stays(client: SpacesHub, folder: Path) -> None:
    space_hub.push_space(folder, "user/busy")
    held = client.space("user/busy")

    def interfere(repo: object) -> None:
        client.before_commit = None
        held.commit("theirs", {**held.at("main").files, "app.py": Blob(b"theirs")})

    client.before_commit = interfere
    (folder / "app.py").write_text("mine")
    with pytest.raises(EnvironmentFault, match="P304"):
        space_hub.push_space(folder, "user/busy")
    assert held.at("main").files["app.py"].data == b"theirs"


@pushed
def test_another_app_is_not_written_over_unless_that_is_asked(client: SpacesHub, folder: Path) -> None:
    space_hub.push_space(folder, "user/theirs")
    held = client.space("user/theirs")
    held.commit("another app", {"app.py": Blob(b"theirs")})
    with pytest.raises(InputError, match="P704.*another app"):
        space_hub.push_space(folder, "user/theirs")
    assert set(held.at("main").files) == {"app.py"}
    space_hub.push_space(folder, "user/theirs", overwrite=True)
    assert held.at("main").files["app.py"].data == (folder / "app.py").read_bytes()


@pushed
def test_no_login_no_space_and_a_space_of_this_machine_are_refused_before_anything_is_asked(
    client: SpacesHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = space.SpaceFacts("here", "/models/here", None, 6)
    space.write_space(tmp_path / "here", here)
    with pytest.raises(InputError, match="P703.*found one of a folder"):
        space_hub.push_space(tmp_path / "here", "user/here")
    with pytest.raises(InputError, match="P703.*found no app.py"):
        space_hub.push_space(tmp_path, "user/here")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(InputError, match="P301"):
        space_hub.push_space(folder, "user/here")
    assert client.requests == []
    assert "models" not in RepoCard((tmp_path / "here" / "README.md").read_text()).data.to_dict()


@pushed
def test_a_wrong_login_is_told(client: SpacesHub, folder: Path) -> None:
    with pytest.raises(InputError, match="P302"):
        space_hub.push_space(folder, "user/locked", token="hf_somebodyelse")
    assert "user/space:locked" not in client.repos


@pushed
def test_the_command_pins_writes_and_pushes(
    client: SpacesHub, commit: str, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", client.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert cli.call(["space", "user/tiny", "--revision", "v1", "--push", "user/cli", "--example", "a vote"]) == 0
    held = client.space("user/cli").at("main")
    assert capsys.readouterr().out.strip() == f"{client.url}/spaces/user/cli/commit/{held.oid}"
    assert contents(tmp_path / "spaces" / "tiny") == {name: held.files[name].data for name in space.FILES}
    found = json.loads(held.files["space.json"].data)
    assert (found["model"], found["revision"], found["examples"]) == ("user/tiny", commit, ["a vote"])
    assert cli.call(["space", "user/tiny", "--revision", "v1"]) == 2
    assert "P701" in capsys.readouterr().err
    assert cli.call(["space", "user/tiny", "--revision", "v9", "--overwrite"]) == 2
    assert "C502" in capsys.readouterr().err
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client waits between its own tries
    client.fail("GET /api/models/user/tiny", 503, times=99)
    assert cli.call(["space", "user/tiny", "--overwrite"]) == 3
    assert "C503" in capsys.readouterr().err
    client.faults.clear()
    client.fail("(GET|HEAD) /user/tiny/resolve/.*/README.md", 503, times=99)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another"))
    assert cli.call(["space", "user/tiny", "--overwrite"]) == 3
    assert "C503" in capsys.readouterr().err
    client.faults.clear()
    other = {"config.json": b'{"model_type": "bert"}'}
    client.add_model("user/bert", other)
    assert cli.call(["space", "user/bert"]) == 2
    assert "C501" in capsys.readouterr().err
    assert not (tmp_path / "spaces" / "bert").exists()
    assert client.token not in "".join(
        path.read_text("utf-8", "replace") for path in tmp_path.rglob("*") if path.is_file()
    )


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["space", "--help"]) == 0
    assert "hf-multilabel space runs/quickstart --local" in " ".join(capsys.readouterr().out.split())
