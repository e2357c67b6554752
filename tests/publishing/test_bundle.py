from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import pytest

from hf_multilabel import remote_code
from hf_multilabel.errors import EnvironmentFault, InputError
from hf_multilabel.publishing.bundle import (
    MANIFEST,
    finish_interrupted,
    publish_staged,
    stage_bundle,
    stage_changes,
    verify_bundle,
    write_bundle,
)
from hf_multilabel.publishing.card_sections import edited_parts

# the code that loads a model: whatever lies in the folder that ships, and the files that loading can't do without
SHIPPED = {path.name for path in Path(remote_code.__file__).parent.glob("*_multilabel.py")}
assert {"configuration_multilabel.py", "modeling_multilabel.py", "pipeline_multilabel.py"} <= SHIPPED
WHOLE = SHIPPED | {
    "README.md",
    "config.json",
    "metrics.json",
    "model.safetensors",
    "recipe.yaml",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_holds_everything_a_hub_repository_needs_and_verifies(finished: Path, trained) -> None:
    manifest = verify_bundle(finished)
    assert set(manifest["files"]) == WHOLE
    assert {path.name for path in finished.iterdir()} == WHOLE | {MANIFEST}
    assert manifest["labels_sha256"] == trained.model.config.decision["labels_sha256"]
    assert manifest["recipe_sha256"] == manifest["files"]["recipe.yaml"]["sha256"]
    assert json.loads((finished / "config.json").read_text())["auto_map"]["AutoModel"]


@pytest.mark.parametrize("name", sorted(WHOLE - {"README.md"} | {MANIFEST}))
def test_one_flipped_bit_anywhere_is_noticed_and_the_file_is_named(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 4
    (copy / name).write_bytes(content)
    with pytest.raises(EnvironmentFault, match=name.replace(".", "[.]")):
        verify_bundle(copy)


def test_every_flipped_bit_of_the_manifest_is_noticed(copy: Path) -> None:
    content = (copy / MANIFEST).read_bytes()
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        (copy / MANIFEST).write_bytes(flipped)
        with pytest.raises(EnvironmentFault):
            verify_bundle(copy)


def test_a_missing_file_is_named_and_an_edited_card_is_allowed(copy: Path) -> None:
    (copy / "README.md").write_text("# my own words\n")
    verify_bundle(copy)
    (copy / "tokenizer.json").unlink()
    (copy / "README.md").unlink()
    with pytest.raises(EnvironmentFault, match=r"found another in README.md, tokenizer.json"):
        verify_bundle(copy)


@pytest.mark.parametrize("folder", ["", "nowhere"])
def test_a_folder_without_a_manifest_is_the_users_mistake(tmp_path: Path, folder: str) -> None:
    with pytest.raises(InputError, match="expected a finished model, found no"):
        verify_bundle(tmp_path / folder)


def test_a_name_outside_the_folder_is_refused_before_anything_is_written(trained, tmp_path: Path) -> None:
    for name in ("../evil", "/etc/evil", "a/../../evil", "."):
        with pytest.raises(ValueError, match="expected a path inside the folder"):
            write_bundle(tmp_path / "run", **trained.arguments | {"files": {name: "x"}})
    assert not (tmp_path / "run").exists()


def test_checkpoints_stay_and_what_only_the_older_bundle_had_goes(trained, tmp_path: Path) -> None:
    files = trained.arguments["files"]
    write_bundle(tmp_path, **trained.arguments | {"files": {**files, "figures/old.svg": "<svg/>"}})
    (tmp_path / "checkpoint-10").mkdir()
    (tmp_path / "checkpoint-10/optimizer.safetensors").write_bytes(b"state")
    (tmp_path / ".incomplete-1").mkdir()
    (tmp_path / ".incomplete-1/model.safetensors").write_bytes(b"half")
    write_bundle(tmp_path, **trained.arguments)
    found = set(contents(tmp_path))
    assert found == WHOLE | {MANIFEST, "checkpoint-10/optimizer.safetensors"}
    verify_bundle(tmp_path)


def test_a_full_disk_leaves_the_older_bundle_and_no_staging_folder(copy: Path, trained) -> None:
    before = contents(copy)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(EnvironmentFault, match="expected to write the model, found .*too large"):
            write_bundle(copy, **trained.arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(copy) == before


def publish_until(staging: Path, point: int) -> bool:
    """Publish in a process that is killed at its `point`-th change of the file system; True if it got through."""
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, arguments: tuple) -> None:
            nonlocal seen
            writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if writes or event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        publish_staged(staging, proof={"rows": 7})
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_killed_at_any_change_the_folder_holds_the_old_or_the_new_bundle_after_the_next_start(
    trained, tmp_path: Path
) -> None:
    files = trained.arguments["files"]
    run = tmp_path / "run"
    write_bundle(run, **trained.arguments | {"files": {**files, "old.txt": "old"}})
    old = verify_bundle(run)
    staged = stage_bundle(
        run, **trained.arguments | {"files": {**files, "metrics.json": "{}", "figures/new.svg": "new"}}
    )
    seen, point, through = set(), 0, False
    while not through:
        point += 1
        trial = Path(shutil.copytree(run, tmp_path / f"trial-{point}"))
        through = publish_until(trial / staged.name, point)
        finish_interrupted(trial)
        manifest = verify_bundle(trial)
        is_old = manifest == old
        assert is_old or ("figures/new.svg" in manifest["files"] and manifest["proof"] == {"rows": 7})
        assert set(contents(trial)) == set(manifest["files"]) | {MANIFEST}
        seen.add(is_old)
    assert seen == {True, False}
    assert point > len(WHOLE)


def test_only_what_changes_is_staged_and_nothing_else_changes(copy: Path) -> None:
    (copy / "checkpoint-10").mkdir()
    before, inode = contents(copy), (copy / "model.safetensors").stat().st_ino
    old = verify_bundle(copy)
    publish_staged(stage_changes(copy, {"metrics.json": "{}", "README.md": "# new"}), proof={"rows": 3})
    after, new = contents(copy), verify_bundle(copy)
    changed = {"metrics.json", "README.md", MANIFEST}
    assert {name for name in before | after if before.get(name) != after.get(name)} == changed
    assert (copy / "model.safetensors").stat().st_ino == inode
    assert new["proof"] == {"rows": 3}
    kept = [name for name in old["files"] if name not in changed]
    assert {name: old["files"][name] for name in kept} == {name: new["files"][name] for name in kept}
    assert not list(copy.glob(".*"))


def test_a_file_that_is_not_there_or_a_damaged_bundle_is_not_changed(copy: Path) -> None:
    with pytest.raises(ValueError, match="files: expected names in manifest.json, found 'new.txt'"):
        stage_changes(copy, {"new.txt": "x"})
    (copy / "model.safetensors").write_bytes(b"x")
    before = contents(copy)
    with pytest.raises(EnvironmentFault, match="P102"):
        stage_changes(copy, {"metrics.json": "{}"})
    assert contents(copy) == before


def test_files_come_and_go_with_a_change(copy: Path) -> None:
    publish_staged(
        stage_changes(copy, {"figures/a.png": b"a", "figures/b.png": b"b"}, new=["figures/a.png", "figures/b.png"])
    )
    assert verify_bundle(copy)["files"]["figures/a.png"]["bytes"] == 1
    publish_staged(stage_changes(copy, {"figures/a.png": None, "figures/b.png": b"bb"}))
    assert [path.name for path in (copy / "figures").iterdir()] == ["b.png"]
    assert verify_bundle(copy)["files"]["figures/b.png"]["bytes"] == 2
    with pytest.raises(ValueError, match="path inside the folder"):
        stage_changes(copy, {"../x": b"x"}, new=["../x"])


def test_the_manifest_notes_the_card_as_it_was_generated(copy: Path) -> None:
    card = (copy / "README.md").read_text()
    assert edited_parts(card, verify_bundle(copy)["card"]) == []
    edited = card.replace("## Limits\n", "## Limits\n\nMine.\n")
    (copy / "README.md").write_text(edited)
    publish_staged(stage_changes(copy, {"README.md": edited.replace("## The decision\n", "## The decision\n\nNew.\n")}))
    record = verify_bundle(copy)["card"]
    assert edited_parts((copy / "README.md").read_text(), record) == ["## Limits"]


def test_without_hard_links_files_are_copied(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    publish_staged(stage_changes(copy, {"metrics.json": "{}"}))
    verify_bundle(copy)
    assert (copy / "metrics.json").read_text() == "{}"


def test_changes_killed_anywhere_leave_the_old_or_the_new_bundle_after_the_next_start(
    finished: Path, tmp_path: Path
) -> None:
    changes = {"config.json": (finished / "config.json").read_text() + " ", "metrics.json": "{}", "README.md": "# new"}
    old, seen, point, through = verify_bundle(finished), set(), 0, False
    while not through:
        point += 1
        trial = Path(shutil.copytree(finished, tmp_path / f"trial-{point}"))
        through = publish_until(stage_changes(trial, changes), point)
        # one file decides: its content is the old or the new one at any moment
        assert (trial / "config.json").read_text() in (changes["config.json"], changes["config.json"][:-1])
        finish_interrupted(trial)
        manifest = verify_bundle(trial)
        is_old = manifest == old
        assert is_old == ((trial / "metrics.json").read_text() != "{}")
        assert set(contents(trial)) == set(manifest["files"]) | {MANIFEST}
        seen.add(is_old)
    assert seen == {True, False}
    assert point > len(WHOLE)
