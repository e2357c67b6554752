"""Every symptom has a folder in which exactly one thing is broken, and a sound folder shows none of them."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from hf_multilabel.publishing import doctor
from hf_multilabel.publishing.doctor.examination import CHECKS, examine
from tests.publishing.doctor.conftest import write_graph

Break = Callable[[Path], None]


def edit(name: str, **changes: object) -> Break:
    """Set keys of a JSON file; `key=None` removes it."""

    def apply(folder: Path) -> None:
        path = folder / name
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        found = {key: value for key, value in {**found, **changes}.items() if value is not None}
        path.write_text(json.dumps(found), encoding="utf-8")

    return apply


def decide(**changes: object) -> Break:
    """Set keys of the decision in config.json."""

    def apply(folder: Path) -> None:
        path = folder / "config.json"
        found = json.loads(path.read_text(encoding="utf-8"))
        found["decision"] |= changes
        path.write_text(json.dumps(found), encoding="utf-8")

    return apply


def rename(**labels: str) -> Break:
    """Other label names: `_0="news"` renames the first."""

    def apply(folder: Path) -> None:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = found["id2label"] | {key[1:]: name for key, name in labels.items()}
        label2id = {name: int(key) for key, name in names.items()}
        edit("config.json", id2label=names, label2id=label2id)(folder)

    return apply


def write(name: str, content: str | bytes) -> Break:
    def apply(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return apply


def remove(*names: str) -> Break:
    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return apply


def replace(name: str, old: str, new: str) -> Break:
    def apply(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert re.search(old, text), (name, old)
        (folder / name).write_text(re.sub(old, new, text, count=1), encoding="utf-8")

    return apply


def tensors(name: str, change: Callable[[dict], dict]) -> Break:
    return lambda folder: save_file(change(load_file(folder / name)), folder / name, {"format": "pt"})


def both(*breaks: Break) -> Break:
    def apply(folder: Path) -> None:
        for broken in breaks:
            broken(folder)

    return apply


def without_manifest(*breaks: Break) -> Break:
    """Change a bundle of ours and drop the manifest, which would notice every change."""
    return both(*breaks, remove("manifest.json"))


def shard(index: dict[str, str]) -> Break:
    def apply(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        names = load_file(folder / "part.safetensors")
        mapped = dict.fromkeys(names, "part.safetensors") | index
        edit("model.safetensors.index.json", weight_map=mapped)(folder)

    return apply


def truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def swell_header(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + data[8:])


def link_out(folder: Path) -> None:
    (folder.parent / "secret.json").write_text("{}")
    (folder / "extra.json").symlink_to("../secret.json")


def keep_rows(name: str, rows: int) -> Callable[[dict], dict]:
    return lambda found: found | {name: found[name][:rows].clone()}


def tokens(count: int) -> Break:
    """A tokenizer.json with `count` ids."""
    vocab = {f"w{number}": number for number in range(count)}
    return write("tokenizer.json", json.dumps({"model": {"type": "WordLevel", "vocab": vocab}, "added_tokens": []}))


def use_code(source: str, foreign: str = "") -> Break:
    """Remote code of the user's own in a stock folder."""
    auto_map = {"AutoModelForSequenceClassification": f"{foreign}mine.Mine"}
    return both(edit("config.json", auto_map=auto_map), write("mine.py", source) if source else lambda _: None)


def as_gpt(folder: Path) -> None:
    """A decoder: its head is called score, and nothing says which token pads."""

    def change(found: dict) -> dict:
        kept = {key: value for key, value in found.items() if "classifier" not in key and "position" not in key}
        return kept | {"score.weight": found["classifier.weight"]}

    tensors("model.safetensors", change)(folder)
    edit("config.json", pad_token_id=None)(folder)


ARMED = {"labels_sha256": None, "thresholds": 0.5}
RISK = {"metric": "recall", "target": 0.95, "confidence": 0.9, "rows": 50, "controlled": True}
PLATT = {"method": "platt", "parameters": {"slope": [1.0] * 5, "intercept": [0.0] * 5}, "rows": 150}

# code -> the severity it must have, the folder it starts from, what is broken there
BROKEN: dict[str, tuple[str, str, Break]] = {
    "files.damaged": ("error", "stock", write("tokenizer_config.json", "{")),
    "files.duplicate_key": ("error", "stock", replace("config.json", '"0": ', '"0": "twice", "0": ')),
    "files.malformed": ("error", "stock", edit("config.json", backbone_config={"pad_token_id": 0, "model_type": []})),
    "labels.missing": ("error", "stock", edit("config.json", id2label=None, label2id=None)),
    "labels.problem_type": ("error", "stock", edit("config.json", problem_type=None)),
    "labels.gap": ("error", "stock", replace("config.json", '"4": "opera"', '"5": "opera"')),
    "labels.count": ("error", "stock", edit("config.json", num_labels=4)),
    "labels.label2id": ("error", "stock", replace("config.json", '"opera": 4', '"opera": 3')),
    "labels.duplicate": ("error", "stock", rename(_4="sport")),
    "labels.type": ("error", "stock", replace("config.json", '"4": "opera"', '"4": 7')),
    "labels.placeholder": ("warning", "stock", rename(**{f"_{number}": f"LABEL_{number}" for number in range(5)})),
    "labels.alike": ("warning", "stock", rename(_3="caf\u00e9", _4="Cafe\u0301")),
    "labels.spelling": ("note", "stock", rename(_4="opera ")),
    "weights.pickled": ("error", "stock", both(remove("model.safetensors"), write("pytorch_model.bin", b"PK\3\4"))),
    "weights.missing": ("error", "stock", remove("model.safetensors")),
    "weights.damaged": ("error", "stock", truncate),
    "weights.path": ("error", "stock", shard({"classifier.weight": "../part.safetensors"})),
    "weights.shard": ("error", "stock", shard({"other": "part-2.safetensors"})),
    "weights.index": ("error", "stock", shard({"no.such.tensor": "part.safetensors"})),
    "weights.no_head": (
        "error",
        "stock",
        tensors("model.safetensors", lambda found: {key: value for key, value in found.items() if "class" not in key}),
    ),
    "weights.head_rows": ("error", "stock", tensors("model.safetensors", keep_rows("classifier.weight", 4))),
    "weights.vocab_size": ("error", "stock", edit("config.json", vocab_size=9999)),
    "adapter.weights": ("error", "adapter", remove("adapter_model.safetensors")),
    "adapter.head": (
        "error",
        "adapter",
        tensors("adapter_model.safetensors", lambda found: {k: v for k, v in found.items() if "classifier" not in k}),
    ),
    "adapter.rows": (
        "error",
        "adapter",
        tensors("adapter_model.safetensors", keep_rows("base_model.model.classifier.weight", 4)),
    ),
    "adapter.labels": ("warning", "adapter", remove("config.json")),
    "adapter.base": ("error", "adapter", edit("adapter_config.json", base_model_name_or_path="/home/me/bert")),
    "adapter.revision": ("note", "adapter", edit("adapter_config.json", revision="main")),
    "onnx.damaged": ("error", "onnx_folder", write("onnx/model.onnx", b"\x3a\xff\xff\x03graph")),
    "onnx.softmax": ("error", "onnx_folder", lambda f: write_graph(f / "onnx/model.onnx", {"logits": "Softmax"})),
    "onnx.outputs": ("warning", "onnx_folder", lambda f: write_graph(f / "onnx/model.onnx", {"logits": "Identity"})),
    "onnx.path": (
        "error",
        "onnx_folder",
        lambda f: write_graph(f / "onnx/model.onnx", {"probabilities": "Sigmoid"}, external="../../data"),
    ),
    "onnx.external": (
        "error",
        "onnx_folder",
        lambda f: write_graph(f / "onnx/model.onnx", {"probabilities": "Sigmoid"}, external="model.onnx_data"),
    ),
    "decision.settings": ("error", "sound", edit("config.json", decision=[0.5])),
    "decision.unfitted": ("warning", "sound", decide(**ARMED, fitted_on=None, objective="fixed", rows=0)),
    "decision.thresholds": ("error", "sound", decide(thresholds=[0.1, 0.2, float("nan"), 0.4, 0.5])),
    "decision.calibration": ("error", "sound", decide(calibration={**PLATT, "parameters": {"slope": [0.0] * 5}})),
    "decision.fitted_on": ("error", "sound", decide(fitted_on="test")),
    "decision.labels_sha256": ("error", "sound", decide(labels_sha256="0" * 64)),
    "decision.rows": ("warning", "sound", decide(rows=7)),
    "decision.calibration_rows": ("note", "sound", decide(calibration=PLATT)),
    "decision.promise": ("warning", "sound", decide(risk={**RISK, "controlled": False})),
    "decision.promise_rows": ("note", "sound", decide(risk=RISK)),
    "decision.cut_0": ("note", "sound", decide(thresholds=[0, 0.2, 0.3, 0.4, 0.5])),
    "decision.cut_1": ("note", "sound", decide(thresholds=[0.1, 0.2, 0.3, 0.4, 1.0])),
    "decision.refitted": ("note", "sound", decide(refitted={"data": "new.jsonl"})),
    "tokenizer.missing": ("error", "stock", remove("tokenizer.json")),
    "tokenizer.slow": ("warning", "stock", both(remove("tokenizer.json"), write("vocab.txt", "[PAD]\n"))),
    "tokenizer.vocabulary": ("error", "stock", tokens(5000)),
    "tokenizer.length": ("error", "stock", edit("tokenizer_config.json", model_max_length=65)),
    "tokenizer.padding": ("warning", "stock", edit("tokenizer_config.json", padding_side="left")),
    "tokenizer.pad_token": ("error", "stock", as_gpt),
    "code.foreign": ("warning", "stock", use_code("", foreign="someone/else--")),
    "code.missing": ("error", "stock", edit("config.json", auto_map={"AutoModel": "mine.Mine"})),
    "code.syntax": ("error", "stock", use_code("def broken(:\n")),
    "code.imports": ("warning", "stock", use_code("import torch\nimport flash_attn\n")),
    "code.risky": ("warning", "stock", use_code("import subprocess\n")),
    "code.unreadable": ("warning", "stock", use_code("#" * (1 << 20) + "\n")),
    "safety.link": ("error", "stock", link_out),
    "safety.pickle": ("warning", "stock", write("training_args.bin", pickle.dumps({}))),
    "safety.checkpoints": ("note", "stock", write("checkpoint-5/optimizer.pt", pickle.dumps({}))),
    "safety.token": ("error", "stock", write("notes.txt", "login:\nhf_" + "aB3" * 11)),
    "safety.unread": ("note", "stock", write("long.txt", "x" * (3 << 20))),
    "manifest.missing": ("warning", "sound", lambda folder: None),
    "manifest.damaged": ("error", "finished", replace("manifest.json", '"format": 1', '"format": 2')),
    "manifest.files": ("error", "finished", write("recipe.yaml", "model: {}\n")),
    "card.missing": ("warning", "stock", remove("README.md")),
    "card.metadata": ("error", "stock", replace("README.md", "language: en", "language: [en")),
    "card.license": ("warning", "stock", replace("README.md", "license: .*\n", "")),
    "card.base_model": ("warning", "stock", replace("README.md", "base_model: .*\n", "base_model: /home/me/bert\n")),
    "card.pipeline_tag": ("warning", "stock", replace("README.md", "text-classification", "multi-label")),
    "card.model-index": ("note", "stock", replace("README.md", "model-index: .*\n", "")),
    "card.widget": ("note", "stock", replace("README.md", "widget: .*\n", "")),
    "card.language": ("note", "stock", replace("README.md", "language: .*\n", "")),
    "card.max_length": ("note", "stock", replace("README.md", "Reads 64 tokens.*\n", "")),
}
# Symptoms that come with another by their nature.
COMPANIONS = {
    "files.damaged": {"tokenizer.length"},
    "labels.missing": {"labels.label2id"},
    "labels.gap": {"labels.label2id"},
    "labels.duplicate": {"labels.label2id"},
    "labels.type": {"labels.label2id"},
    "weights.pickled": {"safety.pickle"},
    "adapter.labels": {"decision.missing"},
    "code.imports": {"code.revision"},
    "code.risky": {"code.revision"},
    "code.syntax": {"code.revision"},
    "code.missing": {"code.revision"},
    "code.unreadable": {"code.revision"},
    "tokenizer.pad_token": {"tokenizer.truncation"},
}
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
