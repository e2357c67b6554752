"""The forecast against the consumers themselves, where they run here; the others by the rules in their sources."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, pipeline

from hf_multilabel.publishing.doctor.consumers import CONSUMERS, VERDICTS
from hf_multilabel.publishing.doctor.examination import examine
from tests.publishing.doctor.breaks import edit, keep_rows, remove, rename, tensors
from tests.publishing.doctor.conftest import NAMES, write_graph

TEXT = "shares rise as the minister resigns"
TEXTS, OURS = 'pipeline("text-classification")', 'pipeline("multi-label-classification")'


def outlook(folder: Path, consumer: str) -> tuple[str, str]:
    """Verdict and what is returned."""
    return next((o.verdict, o.returns) for o in examine(str(folder)).outlooks if o.consumer == consumer)


@pytest.mark.parametrize(
    ("problem_type", "verdict"),
    [
        ("multi_label_classification", "scores"),
        ("single_label_classification", "wrong"),
        (None, "wrong"),
        ("regression", "wrong"),
    ],
)
def test_the_text_pipeline_does_as_forecast(
    problem_type: str | None, verdict: str, stock: Path, copy: Callable[[Path], Path]
) -> None:
    folder = copy(stock)
    edit("config.json", problem_type=problem_type)(folder)
    running = pipeline("text-classification", model=str(folder), device="cpu")
    with torch.no_grad():
        logits = running.model(**running.tokenizer(TEXT, return_tensors="pt")).logits[0]
    functions = {"multi_label_classification": logits.sigmoid(), "regression": logits}
    expected = functions.get(problem_type, logits.softmax(0))
    given = {entry["label"]: entry["score"] for entry in running(TEXT, top_k=None)}
    np.testing.assert_allclose([given[name] for name in NAMES], expected, atol=1e-6)
    assert len(running(TEXT)) == 1  # only the best label
    found, said = outlook(folder, TEXTS)
    assert found == verdict
    word = {"scores": "sigmoid", "regression": "raw"}.get(verdict if problem_type != "regression" else problem_type)
    assert (word or "softmax") in said


def test_a_single_label_gets_a_sigmoid_whatever_the_problem_type(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    edit("config.json", problem_type=None, id2label={"0": "spam"}, label2id={"spam": 0})(folder)
    tensors("model.safetensors", keep_rows("classifier.weight", 1))(folder)
    tensors("model.safetensors", keep_rows("classifier.bias", 1))(folder)
    running = pipeline("text-classification", model=str(folder), device="cpu")
    with torch.no_grad():
        logits = running.model(**running.tokenizer(TEXT, return_tensors="pt")).logits[0]
    assert running(TEXT)[0]["score"] == pytest.approx(logits.sigmoid().item(), abs=1e-6)
    assert outlook(folder, TEXTS)[0] == "scores"
    assert outlook(folder, "text-embeddings-inference")[0] == "scores"
    assert outlook(folder, "vLLM classify")[0] == "scores"


def test_a_text_beyond_the_positions_crashes_the_pipeline(stock: Path) -> None:
    running = pipeline("text-classification", model=str(stock), device="cpu")
    with pytest.raises((RuntimeError, IndexError)):
        running("rates " * 100)
    assert running("rates " * 100, truncation=True)
    assert "tokenizer.truncation" in {symptom.code for symptom in examine(str(stock)).symptoms}


def test_wrong_head_rows_are_refused_by_transformers_too(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    tensors("model.safetensors", keep_rows("classifier.weight", 4))(folder)
    with pytest.raises((RuntimeError, ValueError)):
        pipeline("text-classification", model=str(folder), device="cpu")
    assert outlook(folder, TEXTS) == ("refused", "fails: weights.head_rows")


def test_a_gap_in_the_ids_fails_in_transformers_too(stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"4": "opera"', '"5": "opera"'))
    running = pipeline("text-classification", model=str(folder), device="cpu")
    with pytest.raises(KeyError):
        running(TEXT, top_k=None)
    assert outlook(folder, TEXTS) == ("refused", "fails: labels.gap")


def test_a_pickle_alone_is_loaded_by_transformers(stock: Path, copy: Callable[[Path], Path]) -> None:
    from safetensors.torch import load_file

    folder = copy(stock)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert pipeline("text-classification", model=str(folder), device="cpu")(TEXT)
    assert outlook(folder, TEXTS)[0] == "scores"


def test_our_pipeline_gives_label_sets(finished: Path, trained) -> None:
    running = pipeline("multi-label-classification", model=str(finished), trust_remote_code=True, device="cpu")
    given = running(trained.texts)
    decided = [[name for name, held in zip(running.model.config.label_names, row, strict=True) if held]
               for row in trained.predictions]  # fmt: skip
    assert [sorted(entry["labels"]) for entry in given] == [sorted(names) for names in decided]
    assert outlook(finished, OURS)[0] == "right"


def test_ours_in_the_text_pipeline_gets_a_sigmoid(finished: Path, trained) -> None:
    running = pipeline("text-classification", model=str(finished), trust_remote_code=True, device="cpu")
    names = running.model.config.label_names
    given = [{entry["label"]: entry["score"] for entry in row} for row in running(trained.texts, top_k=None)]
    expected = 1 / (1 + np.exp(-trained.logits.astype(np.float64)))
    np.testing.assert_allclose([[row[name] for name in names] for row in given], expected, atol=1e-5)
    assert outlook(finished, TEXTS)[0] == "scores"


def test_ours_elsewhere(finished: Path) -> None:
    found = {entry.consumer: entry for entry in examine(str(finished)).outlooks}
    assert list(found) == list(CONSUMERS)
    assert found["text-embeddings-inference"].returns == "no max_position_embeddings in config.json"
    for consumer in ("text-embeddings-inference", "vLLM classify", "transformers.js", "Hub widget, HF Inference"):
        assert found[consumer].verdict == "refused"
        assert "export onnx" in found[consumer].advice or consumer == "Hub widget, HF Inference"
        assert "export plain" not in found[consumer].advice  # mean pooling: the exporter would refuse
    assert found["Hub widget, HF Inference"].advice == "write a Space (hf-multilabel space)"
    assert {entry.verdict for entry in found.values()} <= set(VERDICTS)


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({"pooling": "cls", "head": "linear", "head_kwargs": {}}, True),
        ({"pooling": "cls", "head": "label_attention", "head_kwargs": {}}, False),
        # gelu where BERT's class has tanh
        ({"pooling": "cls", "head": "mlp", "head_kwargs": {"activation": "gelu"}}, False),
        ({"pooling": "cls", "head": "mlp", "head_kwargs": {"activation": "tanh"}}, True),
    ],
)
def test_export_plain_is_advised_where_the_exporter_has_a_class(
    finished: Path, copy: Callable[[Path], Path], changes: dict, plain: bool
) -> None:
    folder = copy(finished)
    edit("config.json", **changes)(folder)
    found = {entry.consumer: entry.advice for entry in examine(str(folder)).outlooks}
    assert found["ONNX Runtime"] == "hf-multilabel export onnx" + ", or export plain" * plain


def test_a_damaged_decision_stops_our_pipeline(finished: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(finished)
    rename(_0="other")(folder)
    with pytest.raises(ValueError, match="labels_sha256"):
        pipeline("multi-label-classification", model=str(folder), trust_remote_code=True, device="cpu")
    assert outlook(folder, OURS) == ("refused", "fails: decision.labels_sha256")


def test_a_stock_model_elsewhere(stock: Path) -> None:
    found = {entry.consumer: entry.verdict for entry in examine(str(stock)).outlooks}
    assert found == {
        OURS: "refused",
        TEXTS: "scores",
        "text-embeddings-inference": "wrong",  # softmax, although problem_type says multi-label
        "vLLM classify": "scores",
        "transformers.js": "refused",
        "ONNX Runtime": "refused",
        "Hub widget, HF Inference": "scores",
    }


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (edit("config.json", architectures=["BertModel"]), "embeddings"),
        (edit("config.json", label2id=None), "label2id"),
        (edit("config.json", max_position_embeddings=None), "max_position_embeddings"),
        (edit("config.json", model_type="electra"), "classifier of type 'electra'"),
        (remove("tokenizer.json"), "tokenizer.json"),
    ],
)
def test_what_inference_server_needs(broken, reason: str, stock: Path, copy: Callable[[Path], Path]) -> None:
    folder = copy(stock)
    broken(folder)
    verdict, said = outlook(folder, "text-embeddings-inference")
    assert verdict == "refused"
    assert reason in said


def test_onnx_runtime_returns_what_the_graph_gives(onnx_folder: Path, copy: Callable[[Path], Path]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    expected = {"Softmax": "wrong", "Sigmoid": "scores", "Identity": "scores"}
    folder = copy(onnx_folder)
    (folder / "onnx/model_quantized.onnx").unlink()
    for op, verdict in expected.items():
        write_graph(folder / "onnx/model.onnx", {"logits": op})
        session = runtime.InferenceSession(folder / "onnx/model.onnx", providers=["CPUExecutionProvider"])
        (given,) = session.run(None, {"x": np.zeros((1, 3), np.float32)})
        assert given[0, 0] == pytest.approx({"Softmax": 0.2, "Sigmoid": 0.5, "Identity": 0.0}[op])
        found, said = outlook(folder, "ONNX Runtime")
        assert found == verdict
        assert said.startswith("logits")
    write_graph(folder / "onnx/model.onnx", {"logits": "Identity", "labels": "Sigmoid"})
    assert outlook(folder, "ONNX Runtime")[0] == "right"


def test_transformers_js_reads_its_own_folder(onnx_folder: Path, copy: Callable[[Path], Path]) -> None:
    assert outlook(onnx_folder, "transformers.js")[0] == "scores"
    folder = copy(onnx_folder)
    (folder / "onnx/model_quantized.onnx").unlink()
    assert "a browser needs onnx/model_quantized.onnx" in outlook(folder, "transformers.js")[1]
    edit("config.json", problem_type=None)(folder)
    assert outlook(folder, "transformers.js")[0] == "wrong"
    edit("config.json", id2label={"0": "spam"}, label2id={"spam": 0})(folder)
    assert "always 1" in outlook(folder, "transformers.js")[1]
    edit("config.json", model_type="multilabel")(folder)
    assert outlook(folder, "transformers.js")[0] == "refused"
    shutil.move(folder / "onnx/model.onnx", folder / "model.onnx")
    assert "others are elsewhere" in outlook(folder, "transformers.js")[1]


def test_the_types_are_types_of_transformers() -> None:
    from transformers import CONFIG_MAPPING

    from hf_multilabel.publishing.doctor.consumers import JS_TYPES, TEI_TYPES
    from hf_multilabel.publishing.doctor.tokenizer import OFFSET_TYPES

    # "new" is the remote code of Alibaba's GTE, neobert that of its authors
    assert {*CONFIG_MAPPING, "new", "neobert"} >= JS_TYPES | TEI_TYPES | OFFSET_TYPES


def test_an_adapter_needs_its_base(adapter: Path) -> None:
    found = {entry.consumer: entry.verdict for entry in examine(str(adapter)).outlooks}
    assert found[TEXTS] == "unknown"
    assert found["text-embeddings-inference"] == found["vLLM classify"] == "refused"


def test_an_adapter_without_its_head_is_random_after_loading(stock: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import BertForSequenceClassification, BertModel

    body = tmp_path / "body"
    model = BertForSequenceClassification.from_pretrained(stock)
    model.bert.save_pretrained(body)
    # without the task peft adapts what it is told to and saves nothing else: the trained head is lost
    get_peft_model(model, LoraConfig(target_modules=["query"], r=2)).save_pretrained(tmp_path / "adapter")
    assert isinstance(BertModel.from_pretrained(body), BertModel)
    fresh = BertForSequenceClassification.from_pretrained(body, num_labels=len(NAMES))
    loaded = PeftModel.from_pretrained(fresh, tmp_path / "adapter")
    tokens = AutoTokenizer.from_pretrained(stock)(TEXT, return_tensors="pt")
    with torch.no_grad():
        assert not torch.allclose(loaded(**tokens).logits, model(**tokens).logits, atol=0.05)
    found = next(symptom for symptom in examine(str(tmp_path / "adapter")).symptoms if symptom.code == "adapter.head")
    assert found.severity == "error"
    assert "modules_to_save" in found.fix


def test_an_encoder_is_no_classifier(tiny_backbone_folder: Path) -> None:
    assert outlook(tiny_backbone_folder, TEXTS) == ("wrong", "a random head: weights.no_head")
    running = [pipeline("text-classification", model=str(tiny_backbone_folder), device="cpu") for _ in range(2)]
    first, second = (run(TEXT)[0]["score"] for run in running)
    assert first != second
