"""`hf-multilabel export`: folders that stand alone, give what the model gives, and are there whole or not at all."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

from hf_multilabel import cli, default_decision, hash_labels
from hf_multilabel.assets import recipes_folder
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.publishing import onnx as graphs
from hf_multilabel.publishing import onnx_attention, onnx_parity, plain_folder
from hf_multilabel.publishing.bundle import write_bundle
from hf_multilabel.publishing.reproduction import score_texts

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "hf_multilabel", "safetensors", "huggingface_hub"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def quickstart(split: str) -> list[dict]:
    lines = (recipes_folder() / "data/quickstart" / f"{split}.jsonl").open(encoding="utf-8")
    return [json.loads(line) for line in lines]


def write_run(folder: Path, backbone: Backbone, layers: int, **arguments: object) -> Path:
    """A finished run of the quickstart's labels with a random head; half of the texts lie above each cut."""
    torch.manual_seed(0)
    names = sorted({name for row in quickstart("train") for name in row["labels"]})
    model = build_model(backbone, names, **arguments).eval()
    model.backbone.encoder.layer = model.backbone.encoder.layer[:layers]
    model.config.backbone_config.num_hidden_layers = layers
    torch.nn.init.normal_(model.head.output.weight, std=2.0)
    texts = [row["text"] for row in quickstart("test")[:40]]
    logits = score_texts(model, backbone.tokenizer, texts, 64, 8)
    model.head.output.bias.data -= logits.quantile(0.5, dim=0)  # between two texts: none lies at a cut of 0.5
    cuts = [0.4, 0.6, 0.5, 0.55, 0.45, 0.5, 0.5, 0.52]
    fitted = {"thresholds": cuts, "fitted_on": "validation", "rows": 7, "labels_sha256": hash_labels(names)}
    model.config.decision = default_decision() | fitted | {"empty": "at_least_one"}
    recipe = f"""
data: {{source: {recipes_folder() / "data/quickstart"}, text: text, labels: labels, id: id, max_length: 32}}
model: {{backbone: scratch, pooling: {model.config.pooling}, head: {model.config.head}}}
"""
    write_bundle(folder, model=model, tokenizer=backbone.tokenizer, files={"recipe.yaml": recipe}, card="# tiny\n")
    return folder


@pytest.fixture(scope="module")
def run(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("exports") / "run", tiny_backbone, 2, pooling="cls")


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        # nothing was learnt: labels are drawn anew by every rounding, and int8 would rightly be refused
        patch.setattr(onnx_parity, "LOST_POINTS", 20.0)
        assert cli.call(["export", "onnx", str(run), "--int8", "--rows", "60"]) == 0
    return run.with_name("run-onnx")


def predict(model: Path, source: Path, output: Path, *options: object) -> list[dict]:
    assert cli.call(["predict", str(model), str(source), "--output", str(output), *map(str, options)]) == 0
    return [json.loads(line) for line in output.open(encoding="utf-8")]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = quickstart("test")
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    file.write_text("".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows[:40]))
    return file


def test_folder_says_what_it_is_and_was_checked_on(exported: Path, run: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        *("inference.py", "model.onnx", "model_int8.onnx", "multilabel.json", "tokenizer.json")
    ]
    facts = json.loads((exported / "multilabel.json").read_text(encoding="utf-8"))
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert facts["labels"] == [config["id2label"][str(label)] for label in range(8)]
    assert facts["decision"] == config["decision"]
    assert facts["max_length"] == 64
    checked = facts["files"]["model.onnx"]["checked"]
    assert checked["rows"] == 60
    assert checked["max_abs_probability_difference"] <= checked["tolerance"] == 1e-5
    assert facts["files"]["model_int8.onnx"]["checked"]["rows_with_other_labels"] > 0
    for name, precision in (("model.onnx", "fp32"), ("model_int8.onnx", "int8")):
        stored = {prop.key: prop.value for prop in onnx.load(exported / name).metadata_props}
        assert json.loads(stored["precision"]) == precision
        assert json.loads(stored["decision"]) == config["decision"]
        assert json.loads(stored["labels_sha256"]) == facts["labels_sha256"]
    assert str(run.parent) not in (exported / "multilabel.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("options", [(), ("--threshold", "0.55", "--max-labels", "2"), ("--top-k", "3")])
def test_predict_gives_what_torch_gives(
    exported: Path, run: Path, texts: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    expected = predict(run, texts, tmp_path / "torch.jsonl", *options)
    found = predict(exported, texts, tmp_path / "onnx.jsonl", "--onnx", *options)
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    assert [row["labels"] for row in found] == [row["labels"] for row in expected]
    for one, other in zip(expected, found, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
    assert len({tuple(row["labels"]) for row in expected}) > 3


def test_an_export_marks_texts_that_abstain(exported: Path, texts: Path, tmp_path: Path) -> None:
    found = predict(exported, texts, tmp_path / "out.jsonl", "--threshold", "1", "--empty", "abstain")
    assert all(row["abstained"] is True for row in found)


def test_predict_says_which_of_two_graphs_it_runs(
    exported: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"predicting with model.onnx (fp32); for the int8 graph give {exported / 'model_int8.onnx'}"
    predict(exported, texts, tmp_path / "out.jsonl")
    assert said in capsys.readouterr().err
    alone = tmp_path / "alone"
    shutil.copytree(exported, alone, ignore=shutil.ignore_patterns("model_int8.onnx"))
    for model in (exported / "model_int8.onnx", exported / "model.onnx", alone):
        predict(model, texts, tmp_path / "out.jsonl")
        assert "predicting with" not in capsys.readouterr().err


def test_predict_recognises_a_file_and_writes_csv(exported: Path, texts: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    assert cli.call(["predict", str(exported / "model_int8.onnx"), str(texts), "--output", str(output)]) == 0
    assert len(list(csv.DictReader(output.open(encoding="utf-8")))) == 40


def test_example_needs_no_torch(
    exported: Path, run: Path, texts: Path, tmp_path: Path, blocked_package_run: Callable
) -> None:
    expected = predict(run, texts, tmp_path / "torch.jsonl")[:3]
    given = [json.loads(line)["text"] for line in texts.open(encoding="utf-8")][:3]
    copy = shutil.copytree(exported, tmp_path / "elsewhere")
    done = blocked_package_run(BLOCKED, copy / "inference.py", *given)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(row) for row in found] == [row["labels"] for row in expected]
    for one, other in zip(expected, found, strict=True):
        assert one["scores"] == pytest.approx(other, abs=1e-5)


def test_a_model_of_windows_gives_what_torch_gives(
    tiny_backbone: Backbone, texts: Path, tmp_path: Path, blocked_package_run: Callable
) -> None:
    windows = {"length": 16, "stride": 9, "aggregation": "noisy_or"}  # of texts of up to 64 tokens
    run = write_run(tmp_path / "long", tiny_backbone, 1, windows=windows)
    assert cli.call(["export", "onnx", str(run), "--rows", "20"]) == 0
    expected = predict(run, texts, tmp_path / "torch.jsonl")
    found = predict(tmp_path / "long-onnx", texts, tmp_path / "onnx.jsonl", "--onnx")
    assert [row["labels"] for row in found] == [row["labels"] for row in expected]
    long = max((json.loads(line)["text"] for line in texts.open(encoding="utf-8")), key=len)
    shown = blocked_package_run(BLOCKED, tmp_path / "long-onnx" / "inference.py", long, long[:20]).stdout
    whole, start = map(json.loads, shown.splitlines())
    assert whole != start
    assert whole in [pytest.approx(row["scores"], abs=1e-5) for row in expected]


def test_an_export_is_not_replaced_unasked(run: Path, exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (exported / "multilabel.json").stat()
    assert cli.call(["export", "onnx", str(run)]) == 2
    assert "P502" in capsys.readouterr().err
    assert cli.call(["export", "onnx", str(run), "--output", str(run), "--overwrite"]) == 2
    assert "P501" in capsys.readouterr().err
    assert (exported / "multilabel.json").stat() == before


def test_int8_that_loses_too_much_leaves_nothing_behind(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load(exported / "model.onnx")
    # traced already
    monkeypatch.setattr(graphs, "build_graph", lambda *_: (graph, [node.name for node in graph.graph.node]))
    monkeypatch.setattr(onnx_attention, "fuse_attention", lambda *_: None)
    monkeypatch.setattr(onnx_parity, "LOST_POINTS", -100.0)
    target = tmp_path / "new"
    assert cli.call(["export", "onnx", str(run), "--int8", "--rows", "20", "--output", str(target)]) == 3
    said = capsys.readouterr().err
    assert "P532" in said
    assert "points less" in said
    assert not list(tmp_path.iterdir())


def test_rows_to_check_on_are_asked_for(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(run, tmp_path / "moved")
    recipe = copy / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(recipes_folder()), "/nowhere"))
    assert cli.call(["export", "onnx", str(copy)]) == 2
    assert "--data FILE" in capsys.readouterr().err
    assert not (tmp_path / "moved-onnx").exists()


@pytest.mark.parametrize("change", ["truncated", "labels", "foreign", "no tokenizer"])
def test_a_damaged_export_is_refused(
    exported: Path, tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(exported, tmp_path / "copy")
    file = copy / "model.onnx"
    graph = onnx.load(file)
    stored = {prop.key: prop for prop in graph.metadata_props}
    if change == "truncated":
        file.write_bytes(file.read_bytes()[:-2000])
    elif change == "no tokenizer":
        (copy / "tokenizer.json").unlink()
    else:
        if change == "labels":
            stored["labels"].value = json.dumps([*json.loads(stored["labels"].value)[:-1], "another"])
        else:
            graph.metadata_props.remove(stored["labels"])
        onnx.save(graph, file)
    (copy / "texts.txt").write_text("a text\n")
    assert cli.call(["predict", str(copy), str(copy / "texts.txt"), "--onnx"]) == 2
    said = capsys.readouterr().err
    assert {"truncated": "P52", "labels": "P523", "foreign": "P522", "no tokenizer": "P520"}[change] in said
    assert "Traceback" not in said


def test_plain_export_and_the_lines_of_its_readme(
    run: Path,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # it loads the folder in a process without this package before it is there
    assert cli.call(["export", "plain", str(run), "--rows", "8"]) == 0
    assert "BertForSequenceClassification: logits within" in " ".join(capsys.readouterr().err.split())
    folder = run.with_name("run-plain")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "empty sets: at_least_one" in readme
    given = [json.loads(line)["text"] for line in texts.open(encoding="utf-8")]
    expected = predict(run, texts, tmp_path / "torch.jsonl")
    row = next(row for row, found in enumerate(expected) if len(found["labels"]) > 1)
    lines = readme.split("```python\n")[1].split("```")[0]
    assert '"A text."' in lines
    monkeypatch.chdir(folder)
    exec(compile(lines.replace('"A text."', repr(given[row])), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == str(expected[row]["labels"])
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert "auto_map" not in config
    assert not list(folder.glob("*_multilabel.py"))


@pytest.mark.slow
def test_plain_export_that_differs_leaves_nothing_behind(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_folder, "TOLERANCE", -1.0)
    assert cli.call(["export", "plain", str(run), "--rows", "2", "--output", str(tmp_path / "new")]) == 3
    assert "P610" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_real_backbone(minilm: Backbone, tmp_path: Path) -> None:
    """Real weights and texts, one layer of the six: what six do is in the slow test."""
    run_real(minilm, tmp_path, layers=1, rows=24)


@pytest.mark.slow
def test_the_whole_real_backbone(minilm: Backbone, tmp_path: Path) -> None:
    run_real(minilm, tmp_path, layers=6, rows=100)


def run_real(minilm: Backbone, tmp_path: Path, layers: int, rows: int) -> None:
    folder = write_run(tmp_path / "real", minilm, layers, pooling="mean")
    assert cli.call(["export", "onnx", str(folder), "--rows", str(rows)]) == 0
    facts = json.loads((tmp_path / "real-onnx" / "multilabel.json").read_text(encoding="utf-8"))
    assert facts["files"]["model.onnx"]["checked"]["rows"] == rows
    assert (tmp_path / "real-onnx" / "model.onnx").stat().st_size > 40e6
