"""Ways to break one thing in a model folder, and the symptom that each must show."""

from __future__ import annotations

import json
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

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
