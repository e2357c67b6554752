"""Every symptom has a folder in which exactly one thing is broken, and a sound folder shows none of them."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hf_multilabel.errors import EnvironmentFault
from hf_multilabel.publishing import doctor
from hf_multilabel.publishing.doctor.examination import CHECKS, examine
from hf_multilabel.publishing.doctor.files import open_files
from tests.publishing.doctor.breaks import BROKEN, COMPANIONS, decide, edit, shard, swell_header, tensors, use_code

# Seen with a Hub repo or in every folder; test_hub.py and the sound folders cover them.
ELSEWHERE = {"onnx.unread", "manifest.unread", "manifest.labels", "decision.missing"}
ELSEWHERE |= {"code.revision", "tokenizer.truncation", "code.files", "adapter.head", "safety.pickle"}


@pytest.fixture(scope="session")
def sound(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ours whose decision rests on rows enough, without the manifest that would notice every change."""
    folder = Path(shutil.copytree(finished, tmp_path_factory.mktemp("sound") / "model"))
    decide(rows=1500)(folder)
    (folder / "manifest.json").unlink()
    return folder


def codes(folder: Path, severities: tuple[str, ...] = ("error", "warning", "note")) -> dict[str, str]:
    """The symptoms of a folder: code to severity."""
    return {found.code: found.severity for found in examine(str(folder)).symptoms if found.severity in severities}


@pytest.mark.parametrize("code", BROKEN)
def test_one_thing_broken_is_one_symptom(
    code: str, copy: Callable[[Path], Path], request: pytest.FixtureRequest
) -> None:
    severity, base, broken = BROKEN[code]
    sound = request.getfixturevalue(base)
    before, folder = codes(sound), copy(sound)
    broken(folder)
    found = codes(folder)
    assert found.get(code) == severity
    new = {key for key, value in found.items() if before.get(key) != value} - COMPANIONS.get(code, set())
    assert new <= {code}


@pytest.mark.parametrize("name", ["stock", "adapter", "onnx_folder", "sound", "finished"])
def test_a_sound_folder_has_no_errors(name: str, request: pytest.FixtureRequest) -> None:
    assert not codes(request.getfixturevalue(name), severities=("error",))


def test_every_code_in_the_source_is_broken_here() -> None:
    written = set()
    for path in Path(doctor.__path__[0]).glob("*.py"):
        written |= set(re.findall(rf'"((?:{"|".join(CHECKS)}|files)\.[\w-]+)"', path.read_text(encoding="utf-8")))
    assert (
        written - {"decision.", "labels.ids", "decision.valid", "tokenizer.json", "tokenizer.model"}
        <= set(BROKEN) | ELSEWHERE
    )


def test_fatal_header_is_refused_without_memory(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    swell_header(folder)
    assert codes(folder)["weights.damaged"] == "error"


def test_roberta_counts_positions_from_its_padding(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    edit("config.json", model_type="roberta", pad_token_id=1)(folder)
    found = next(symptom for symptom in examine(str(folder)).symptoms if symptom.code == "tokenizer.length")
    assert found.severity == "error"
    assert "at most 62 tokens, found 64" in found.what


def test_a_pickle_is_never_opened(stock: Path, copy: Callable[[Path], Path], tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    folder = copy(stock)
    for name in ("training_args.bin", "optimizer.pt", "pytorch_model.bin", "disguised.json"):
        (folder / name).write_bytes(pickle.dumps(Payload()))
    found = next(symptom for symptom in examine(str(folder)).symptoms if symptom.code == "safety.pickle")
    assert all(name in found.what for name in ("training_args.bin", "optimizer.pt", "disguised.json"))
    assert not (tmp_path / "executed").exists()


def test_code_is_never_run(stock: Path, copy: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = copy(stock)
    use_code(f"open({str(tmp_path / 'executed')!r}, 'w')\n")(folder)
    examine(str(folder))
    assert not (tmp_path / "executed").exists()


def test_a_token_is_found_and_not_repeated(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder, token = copy(stock), "hf_" + "aB3" * 11
    (folder / "notes.txt").write_text(f"one\ntwo {token}\n")
    found = next(symptom for symptom in examine(str(folder)).symptoms if symptom.code == "safety.token")
    assert found.where == "notes.txt:2"
    assert token not in str(found)


def test_a_link_that_leads_outside_is_not_followed(stock: Path, copy: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = copy(stock)
    (tmp_path / "private.json").write_text('{"id2label": {"0": "secret"}}')
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "private.json")
    (folder / "adapter_config.json").write_text("{}")
    found = examine(str(folder))
    assert found.labels != 1
    assert "safety.link" in {symptom.code for symptom in found.symptoms}


def test_links_of_the_clients_cache_are_its_files(stock: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / ("0" * 40)
    shutil.copytree(stock, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert not codes(snapshot, severities=("error",))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"thresholds": [0.1, 0.2, 0.3, 0.4]}, "decision.thresholds"),
        ({"thresholds": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}, "decision.thresholds"),
        ({"thresholds": [0.1, 0.2, 0.3, 0.4, 1.5]}, "decision.thresholds"),
        ({"thresholds": None}, "decision.thresholds"),
        ({"labels_sha256": None}, "decision.labels_sha256"),
        ({"rule": "top_k"}, "decision.top_k"),
        ({"min_labels": 3, "max_labels": 2}, "decision.min_labels"),
        ({"calibration": {"method": "isotonic"}}, "decision.calibration"),
    ],
)
def test_decisions_that_nothing_may_replace(
    changes: dict, code: str, sound: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(sound)
    decide(**changes)(folder)
    assert [found for found in codes(folder, ("error",)) if found.startswith("decision.")] == [code]


def test_faults_do_not_hide_each_other(sound: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(sound)
    decide(fitted_on="test", thresholds=[2.0] * 5, labels_sha256="0" * 64)(folder)
    assert {"decision.fitted_on", "decision.thresholds", "decision.labels_sha256"} <= set(codes(folder, ("error",)))


def test_another_models_tokenizer_is_suspected(stock: Path, copy: Callable[[Path], Path]) -> None:
    def widen(found: dict) -> dict:
        name = "bert.embeddings.word_embeddings.weight"
        return found | {name: found[name].repeat(40, 1)}

    folder = copy(stock)
    tensors("model.safetensors", widen)(folder)
    rows = load_file(folder / "model.safetensors")["bert.embeddings.word_embeddings.weight"].shape[0]
    edit("config.json", vocab_size=rows)(folder)
    assert codes(folder)["tokenizer.vocabulary"] == "warning"


def test_a_missing_limit_is_no_limit(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    edit("tokenizer_config.json", model_max_length=10**30)(folder)
    assert codes(folder)["tokenizer.length"] == "warning"


def test_a_sharded_model_is_read_like_a_whole_one(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    shard({})(folder)
    found = {symptom.code: symptom.severity for symptom in examine(str(folder)).symptoms}
    assert found["weights.head_rows"] == found["tokenizer.vocabulary"] == "ok"


def test_imports_in_try_blocks_are_optional(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    use_code("import torch\ntry:\n    import flash_attn\nexcept ImportError:\n    pass\n")(folder)
    assert "code.imports" not in codes(folder)


def test_a_stale_manifest_names_the_tokenizer(finished: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(finished)
    with (folder / "tokenizer.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    found = next(symptom for symptom in examine(str(folder)).symptoms if symptom.code == "manifest.files")
    assert "tokenizer is not the one" in found.what


def test_a_pipe_is_not_waited_for(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    os.mkfifo(folder / "notes.txt")
    assert examine(str(folder)).exit_code == 0


def test_a_file_that_cannot_be_read_is_an_environment_fault(stock: Path, copy: Callable[[Path], Path]) -> None:
    files = open_files(str(copy(stock)))
    (Path(files.name) / "config.json").unlink()
    with pytest.raises(EnvironmentFault, match=r"P405.*config\.json.*; fix: "):
        files.read("config.json", 10)
