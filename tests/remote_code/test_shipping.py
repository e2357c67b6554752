"""A saved folder stands alone: loaded where hf_multilabel cannot be imported and the Hub cannot be reached."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from transformers.dynamic_module_utils import get_imports, get_relative_import_files

from hf_multilabel import (
    HEADS,
    POOLINGS,
    MultiLabelConfig,
    MultiLabelForSequenceClassification,
    default_decision,
    hash_labels,
)
from hf_multilabel import remote_code as remote_code_package
from hf_multilabel.backbones import Backbone, build_model

ROOM = Path(remote_code_package.__file__).parent
SHIPPED = sorted(path for path in ROOM.glob("*.py") if path.name != "__init__.py")

CODE = """
import json, sys
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline
folder, again, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
options = {"trust_remote_code": True}
config = AutoConfig.from_pretrained(folder, **options)
tokenizer = AutoTokenizer.from_pretrained(folder, **options)
inputs = tokenizer(texts, padding=True, return_tensors="pt")
result = {"model_type": config.model_type, "classes": [], "logits": []}
for auto in (AutoModel, AutoModelForSequenceClassification):
    model = auto.from_pretrained(folder, **options).eval()
    with torch.no_grad():
        logits = model(**inputs).logits
    result["classes"].append(type(model).__name__)
    result["logits"].append(logits.tolist())
result["labels"] = model.predict_labels(logits)
pipe = pipeline("multi-label-classification", model=folder, device="cpu", **options)
result["pipeline"] = pipe(texts, batch_size=4)
model.save_pretrained(again)
tokenizer.save_pretrained(again)
result["again"] = pipeline("multi-label-classification", model=again, device="cpu", **options)(texts)
assert not any(name.startswith("hf_multilabel.") for name in sys.modules)
print("RESULT" + json.dumps(result))
"""


def test_the_room_holds_what_the_loaders_can_follow() -> None:
    followed = get_relative_import_files(str(ROOM / "modeling_multilabel.py"))
    assert sorted({Path(file).name for file in followed} | {"modeling_multilabel.py"}) == [
        file.name for file in SHIPPED
    ]
    for file in SHIPPED:
        assert file.stem.endswith("_multilabel")
        assert set(get_imports(str(file))) <= {"torch", "transformers"} | set(_standard_library())
        for line in file.read_text("utf-8").splitlines():
            if re.match(r"\s*(from\s+\.|import\s+\.)", line):
                assert re.match(r"from \.\w+_multilabel import ", line), line
            assert "hf_multilabel" not in line, line


def _standard_library() -> frozenset[str]:
    import sys

    return sys.stdlib_module_names


@pytest.fixture(scope="module")
def shipped(
    tiny_backbone: Backbone, tiny_label_names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[MultiLabelForSequenceClassification, Path]:
    decision = {
        **default_decision(),
        "thresholds": [0.45, 0.5, 0.55, 0.4, 0.6],
        "empty": "at_least_one",
        "labels_sha256": hash_labels(tiny_label_names),
    }
    torch.manual_seed(1)
    model = build_model(tiny_backbone, tiny_label_names, pooling="attention", head="mlp", decision=decision)
    torch.nn.init.normal_(model.head.output.weight)
    folder = tmp_path_factory.mktemp("shipped") / "my-model.v1"
    model.save_pretrained(folder)
    tiny_backbone.tokenizer.save_pretrained(folder)
    return model, folder


def test_folder_carries_code_and_auto_classes(shipped: tuple[MultiLabelForSequenceClassification, Path]) -> None:
    _, folder = shipped
    assert sorted(path.name for path in folder.glob("*.py")) == [file.name for file in SHIPPED]
    config = json.loads((folder / "config.json").read_text())
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForSequenceClassification"}
    assert str(Path.cwd()) not in json.dumps(config)
    assert "/" not in config["backbone_config"].get("_name_or_path", "")


def test_folder_works_without_the_package(
    shipped: tuple[MultiLabelForSequenceClassification, Path],
    blocked_package_run: Callable[..., CompletedProcess],
    tiny_backbone: Backbone,
    tiny_texts: list[str],
    tmp_path: Path,
) -> None:
    model, folder = shipped
    done = blocked_package_run(CODE, folder, tmp_path / "again", json.dumps(tiny_texts))
    result = json.loads(done.stdout.split("RESULT")[1])
    inputs = tiny_backbone.tokenizer(tiny_texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    assert result["model_type"] == "multilabel"
    assert result["classes"] == ["MultiLabelForSequenceClassification"] * 2
    for found in result["logits"]:
        torch.testing.assert_close(torch.tensor(found), logits, atol=1e-5, rtol=0)
    assert result["labels"] == model.predict_labels(logits)
    for found in (result["pipeline"], result["again"]):
        assert [sorted(item["labels"]) for item in found] == [sorted(names) for names in result["labels"]]
    # saved once more from there, the folder still carries every file
    assert sorted(path.name for path in (tmp_path / "again").glob("*.py")) == [file.name for file in SHIPPED]


def test_package_is_really_blocked(blocked_package_run: Callable[..., CompletedProcess]) -> None:
    done = blocked_package_run("import hf_multilabel", check=False)
    assert done.returncode == 1
    assert "hf_multilabel is blocked here" in done.stderr


PARTS = {
    **{f"{pooling}_linear": {"pooling": pooling} for pooling in POOLINGS},
    **{head: {"head": head} for head in HEADS},
    "cnn_two_widths": {"head": "cnn", "head_kwargs": {"widths": [1, 2], "filters": 3}},
    "rnn_last": {"head": "rnn", "head_kwargs": {"cell": "gru", "pooling": "last"}},
    "label_attention_chunks": {"head": "label_attention", "head_kwargs": {"chunk": 2, "label_init": "names"}},
    "label_embedding_cosine": {"head": "label_embedding", "head_kwargs": {"similarity": "cosine", "width": 7}},
    "crf_low_rank": {"head": "crf", "head_kwargs": {"rank": 2}},
}


def test_every_pooling_and_head_reloads_without_the_package(
    tiny_backbone: Backbone,
    tiny_label_names: list[str],
    tiny_texts: list[str],
    tmp_path: Path,
    blocked_package_run: Callable[..., CompletedProcess],
) -> None:
    code = """
import json, sys
from pathlib import Path
import torch
from transformers import AutoModelForSequenceClassification
inputs = {name: torch.tensor(values) for name, values in json.loads(sys.argv[2]).items()}
logits = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        logits[folder.name] = model(**inputs).logits.tolist()
print("RESULT" + json.dumps(logits))
"""
    inputs = tiny_backbone.tokenizer(tiny_texts[:3], padding=True, return_tensors="pt")
    expected = {}
    for name, parts in PARTS.items():
        config = MultiLabelConfig(
            backbone_config=tiny_backbone.config, id2label=dict(enumerate(tiny_label_names)), **parts
        )
        model = MultiLabelForSequenceClassification(config).eval()
        with torch.no_grad():
            for weight in model.head.parameters():  # some start at zero
                weight.add_(torch.randn_like(weight) * 0.2)
            expected[name] = model(**inputs).logits
        model.save_pretrained(tmp_path / name)
    done = blocked_package_run(code, tmp_path, json.dumps({key: value.tolist() for key, value in inputs.items()}))
    for name, logits in json.loads(done.stdout.split("RESULT")[1]).items():
        torch.testing.assert_close(torch.tensor(logits), expected.pop(name), atol=1e-6, rtol=0)
    assert expected == {}
