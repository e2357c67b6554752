"""Recipes that are broken, hostile, secret or misplaced: refused fast, in one line a finding, with nothing written."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_multilabel.errors import InputError
from hf_multilabel.recipe import load_recipe
from tests.recipe_text import VALID, load, refuse

TOKEN = "hf_" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zAbC"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


BROKEN_FILES = [
    (b"", r"expected sections such as data: and model:, found an empty file"),
    (b"# only a comment\n", r"found an empty file"),
    (b"- a\n- b\n", r"expected sections such as data: and model:, found none of them"),
    (b"text", r"expected sections"),
    (b"data:\n\tsource: x\n", r"x.yaml:2:1: expected YAML 1.2, found character '\\t'.*indent with spaces"),
    (b"data: [a\n", r"x.yaml:2:1: expected ',' or '\]', found '<stream end>'"),
    (b"data: 'a\n", r"expected YAML 1.2, found unexpected end of stream"),
    (b"a: \x00\n", r"expected YAML 1.2"),
    (b"caf\xe9: 1\n", r"x.yaml:1: expected UTF-8, found the byte 0xe9 at offset 3"),
    (b"\xff\xfed\x00", r"expected UTF-8"),
    (b"%YAML 1.1\n---\na: 1\n", r"expected YAML 1.2, found a %YAML directive"),
    (b"a: 1\n---\nb: 1\n", r"expected one YAML document, found a second one"),
    (b"? [a]\n: 1\n", r"expected a key, found a list, mapping or alias"),
    (b'data: {source: "a\\ud800"}\n', r"expected valid Unicode"),
    (b"x: 1\n" * (1 << 20), r"expected a recipe of at most 262,144 bytes, found 5,242,880"),
    (b"[" * 5000, r"expected at most 24 levels"),
    (b"{" * 5000, r"expected"),
    (b"- " * 5000, r"expected at most 24 levels"),
    (b"x: {a: " * 5000, r"expected"),
    ("\n".join(" " * i + "a:" for i in range(600)).encode(), r"expected at most 24 levels"),
    (b"x: [" + b"1," * 100_000 + b"]", r"expected at most 10,000 values"),
    (b"".join(b"k%d: 1\n" % i for i in range(9000)), r"expected at most 400 keys"),
]


@pytest.mark.parametrize(("content", "expected"), BROKEN_FILES, ids=[f"{c[:12]!r}-{len(c)}" for c, _ in BROKEN_FILES])
def test_broken_file_is_refused_fast(work: Path, content: bytes, expected: str) -> None:
    start = time.process_time()
    assert re.search(expected, refuse(content))
    assert time.process_time() - start < 2  # 0.4 s at most, on a machine that does nothing else


def test_alias_bomb_is_refused_fast(work: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    start = time.process_time()
    assert "expected the value itself, found an anchor or alias" in refuse("\n".join(lines))
    assert "alias" in refuse("a: &a {b: 1}\nc: {<<: *a}\n")
    assert time.process_time() - start < 2  # 0.4 s at most, on a machine that does nothing else


def test_tags_are_refused_and_never_executed(work: Path) -> None:
    message = refuse(f"data: !!python/object/apply:os.system ['touch {work}/executed']\n")
    assert "expected a value without a tag, found the tag 'tag:yaml.org,2002:python/object/apply:os.system'" in message
    assert not (work / "executed").exists()


SECRETS = [
    f"training: {{hub_token: {TOKEN}}}",
    "training: {hub_token: short-secret}",
    f"hub: {{commit_message: push with {TOKEN}}}",
    f"{TOKEN}: 1",
    f"model: {{head_kwargs: {{x: [{TOKEN}]}}}}",
]


@pytest.mark.parametrize("line", SECRETS)
def test_a_token_is_refused_and_never_shown(work: Path, line: str) -> None:
    message = refuse(VALID.replace("model", "# model") + line)
    assert "error[R104]" in message
    assert "use HF_TOKEN" in message
    assert TOKEN not in message
    assert "short-secret" not in message


@pytest.mark.parametrize(
    "override", [f"training.hub_token={TOKEN}", "hub.token=hunter2", f"data.source={TOKEN}/[", TOKEN]
)
def test_a_token_in_an_override_is_never_shown(work: Path, override: str) -> None:
    message = refuse(VALID, override)
    assert TOKEN not in message
    assert "hunter2" not in message


def test_names_that_only_look_like_tokens_pass(work: Path) -> None:
    assert load(VALID, "training.run_name=hf_multilabel").training["run_name"] == "hf_multilabel"


def test_output_folder_must_be_its_own(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    Path("taken").write_text("")
    Path("link").symlink_to(tmp_path / "elsewhere")
    for written, expected in {
        "/": "which holds the home folder",
        "~/": "which is the home folder",
        str(home): "which is the home folder",
        ".": "which is the working folder",
        "recipes": "which is the recipe's folder",
        "taken": "expected a folder, found the file",
        "taken/run": "expected a folder, found the file",
        "../../etc": "expected a folder inside",
        "link": "expected a folder inside",
        "link/run": "expected a folder inside",
        str(work / "link"): "expected a folder inside",
    }.items():
        assert expected in refuse(VALID, f"training.output_dir={written}"), written
    assert "expected a folder inside" in refuse(VALID + "training: {output_dir: ../../out}")
    assert load(VALID, f"training.output_dir={tmp_path}/out").training["output_dir"] == f"{tmp_path}/out"


def test_nothing_is_written(work: Path) -> None:
    load(VALID)
    refuse(VALID + "x: 1")
    assert sorted(str(path) for path in Path().rglob("*")) == ["recipes", "recipes/x.yaml"]


WORDS = st.sampled_from(
    [
        "data",
        "model",
        "training",
        "source",
        "labels",
        "seed",
        ":",
        ": ",
        "\n",
        "\n  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "'",
    ]
    + ['"', "#", "&a ", "*a", "!!x ", "|\n", ">", "?", "no", "1e-5", "~", "%", "@", "\t", "\ufeff", "é", "owner/x"]
)


def findings(path: Path, *overrides: str) -> list[str]:
    """What is printed about a recipe; nothing if it loads. Any other exception fails the test."""
    try:
        load_recipe(path, overrides)
    except InputError as error:
        return str(error).splitlines()
    return []


@settings(max_examples=80, deadline=None)
@given(parts=st.lists(WORDS | st.text(max_size=4), max_size=25), whole=st.booleans())
def test_any_text_gives_a_recipe_or_findings(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], whole: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(((VALID if whole else "") + "".join(parts)).encode("utf-8", "surrogatepass"))
    assert all(line.startswith(("error[R", "... and ")) for line in findings(path))


@settings(max_examples=60, deadline=None)
@given(override=st.text(max_size=20) | st.lists(WORDS, max_size=8).map(lambda parts: "training.seed=" + "".join(parts)))
def test_any_override_gives_a_recipe_or_findings(tmp_path_factory: pytest.TempPathFactory, override: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz_override.yaml"
    path.write_text(VALID)
    assert all(line.startswith("error[R") for line in findings(path, override))
