from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

NAMES = ["markets", "politics", "sport", "news", "opera"]
CARD = """---
license: apache-2.0
base_model: google-bert/bert-base-uncased
pipeline_tag: text-classification
language: en
widget: [{text: "rates rise"}]
model-index: [{name: tiny}]
---
Reads 64 tokens of a text; call it with truncation=True.
"""


def stock_config(tokenizer: object, **changes: object) -> BertConfig:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: number for number, name in enumerate(NAMES)}}
    known = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "pad_token_id": tokenizer.pad_token_id}
    return BertConfig(**{**sizes, **known, **names, "problem_type": "multi_label_classification", **changes})


@pytest.fixture(scope="session")
def stock(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BertForSequenceClassification as a careful person publishes it; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("stock") / "model"
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone_folder)
    torch.manual_seed(1)
    model = BertForSequenceClassification(stock_config(tokenizer))
    torch.nn.init.normal_(model.classifier.weight)  # at the initial 0.02 all scores are near one half
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def adapter(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of `stock` with its head, and the configuration beside it."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter") / "model"
    model = BertForSequenceClassification.from_pretrained(stock)
    lora = LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=2)
    adapted = get_peft_model(model, lora)
    adapted.save_pretrained(folder)
    # peft looks up the base model's repo when it saves: written here instead, so that no test asks the network
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    settings |= {"base_model_name_or_path": "google-bert/bert-base-uncased", "revision": "0" * 40}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    model.config.save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def onnx_folder(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tokenizer and configuration of `stock` beside small graphs as transformers.js looks for them."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("onnx") / "model"
    shutil.copytree(stock, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "onnx").mkdir()
    for name in ("model", "model_quantized"):
        write_graph(folder / "onnx" / f"{name}.onnx", {"logits": "Identity", "probabilities": "Sigmoid"})
    return folder


def write_graph(path: Path, outputs: dict[str, str], external: str | None = None) -> None:
    """A graph (N, 3) x (3, 5) whose outputs come from the named operators."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((3, 5), np.float32), "weight")
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["product"])]
    nodes += [helper.make_node(op, ["product"], [name]) for name, op in outputs.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 5]) for name in outputs]
    taken = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])]
    model = helper.make_model(helper.make_graph(nodes, "tiny", taken, made, [weight]))
    model.ir_version, model.opset_import[0].version = 10, 17  # what every runtime of today reads
    if external:
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        tensor.external_data.add(key="location", value=external)
    path.write_bytes(model.SerializeToString())
    if not external:
        onnx.checker.check_model(str(path))


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a folder that a test may change."""
    return lambda folder: Path(shutil.copytree(folder, tmp_path / "copy"))
