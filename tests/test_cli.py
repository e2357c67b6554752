"""The commands a user types, in processes of their own."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from hf_multilabel import cli
from hf_multilabel.decisions.thresholds import THRESHOLD_RULES
from hf_multilabel.decisions.thresholds import UNFITTED as UNFITTED_RULES
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import compare, evaluate
from hf_multilabel.prediction import another_decision
from hf_multilabel.recipe import load_recipe
from hf_multilabel.recipe.json_schema import RecipeFile
from hf_multilabel.remote_code.decision_multilabel import default_decision
from hf_multilabel.remote_code.expected_f1_multilabel import expected_f1_sets
from hf_multilabel.reporting import report_run
from hf_multilabel.request import OBJECTIVES, READ, SECTIONS, UNFITTED, check_read
from hf_multilabel.workflow import train
from tests.metric_values import assert_same_metrics

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("train", "evaluate", "tune", "predict", "study", "inspect")
# A key of a recipe with its value, as a help shows it.
KEY = re.compile(r"\b([a-z_]+\.[a-z_]+)=")
COMMANDS += ("report", "card", "push", "doctor", "export", "space")


def call(*arguments: object, stdin: str = "", cwd: Path = ROOT) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "hf_multilabel", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def finished(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    values = [
        "data.max_rows={train: 64, validation: 32, test: 16}",
        "data.max_length=32",
        "training.max_steps=2",
        "training.eval_strategy=no",
        "training.freeze_layers=0",
        "model.backbone_sha256=null",
        "decision.empty=at_least_one",
    ]
    backbone = f"model.backbone={tiny_backbone_folder}"
    train(load_recipe("quickstart", [*values, backbone, f"training.output_dir={folder}"]))
    return folder


def test_help_teaches() -> None:
    found = call("--help").stdout
    assert all(command in found for command in COMMANDS)
    assert "hf-multilabel train quickstart" in found


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call([command, "--help"]) == 0
    assert f"hf-multilabel {command} " in " ".join(capsys.readouterr().out.split())


def test_misspelt_key(tmp_path: Path) -> None:
    done = call("train", "quickstart", "training.learnig_rate=1e-5", "data.sorce=x", cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert len(lines) == 2
    assert "learning_rate" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_and_plain_mistakes_come_before_the_slow_imports(tmp_path: Path) -> None:
    mistakes = [
        ["train", "nothing.yaml"], ["study", "nothing.yaml"], ["inspect", "nothing.csv"], ["predict", "run", "no.txt"],
        ["evaluate", "run", "none.csv"], ["evaluate", "runs/none"], ["report", "runs/none"], ["card", "runs/none"],
        ["tune", "runs/none"], ["push", "runs/none", "me/x"], ["doctor", "runs/none"], ["space", "runs/none"],
        ["export", "onnx", "runs/none"], ["export", "plain", "runs/none"], ["predict", "run", "-", "--threshold", "2"],
    ]  # fmt: skip
    helps = [[*command, "--help"] for command in ([], *([name] for name in COMMANDS))]
    script = f"""
import sys
sys.argv[0] = "hf-multilabel"
from hf_multilabel import cli
for given, code in [*((given, 2) for given in {mistakes}), *((given, 0) for given in {helps})]:
    assert cli.call(given) == code, given
    assert not {{"torch", "transformers", "datasets", "pyarrow"}} & set(sys.modules), given
"""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error[")]) == len(mistakes)


def test_a_run_that_is_not_there_names_the_one_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "quickstart").mkdir(parents=True)
    (tmp_path / "runs" / "quickstart" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for named in ("runs/quikstart", "quickstart"):
        assert cli.call(["evaluate", named]) == 2
        assert "did you mean runs/quickstart?" in capsys.readouterr().err


def test_a_model_of_a_hub_that_is_not_there_is_a_fault_of_the_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert cli.call(["tune", "me/model"]) == 3
    said = capsys.readouterr().err
    assert "nothing was written: " in said
    assert "give the same command again" in said
    assert not (tmp_path / "runs" / "model").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "nowhere.yaml"), "nowhere.yaml"),
        (("train",), "Missing argument"),
        (("learn", "x"), "No such command"),
        (("train", "quickstart", "--resume", "--overwrite"), "one of them"),
        (("predict", "nowhere", "-"), "C102"),
        (("predict", "nowhere", "-", "--onnx"), "P520"),
        (("export", "onnx", "nowhere"), "C102"),
        (("export", "plain", "recipes"), "C101"),
        (("predict", "recipes", "-"), "C101"),
        (("evaluate", "nowhere"), "C102"),
        (("push", "recipes", "me/model"), "P101"),
        (("inspect", "quickstart", "data.source=./nowhere"), "nowhere"),
        (("tune", "nowhere"), "P101"),
        (("tune", "recipes"), "P101"),
        (("tune", "nowhere", "--split", "test"), "C113"),
        (("tune", "nowhere", "training.seed=1"), "C112"),
        (("evaluate", "nowhere", "--compare", "recipes"), "C102"),
        (("evaluate", "runs", "decision.objective=fixed"), "fit another one with `hf-multilabel tune`, or give"),
        (
            ("evaluate", "runs", "training.num_train_epochs=7"),
            "data or evaluation that evaluate reads, found another; fix: leave it",
        ),
        (("evaluate", "runs", "data.max_length=64"), "C112"),
        (("evaluate", "runs", "data.text=x", "hub.token=abc"), "[C112] hub.token: "),
        (("report", "runs", "report.texts=[a]"), "[C112] report.texts: "),
        (("tune", "nowhere", "data.balance={name: oversample}"), "[C112] data.balance: "),
        (("tune", "nowhere", "whatever=x", "dcision.empty=allow"), "write for instance decision.empty=allow"),
        (("inspect", "quickstart", "decision.objective=fixed"), "give it to `hf-multilabel train`"),
        (("inspect", "quickstart", "loss.name=bce"), "[C112] loss.name: "),
        (("predict", "nowhere", "-", "--objective", "macro_f1"), "hf-multilabel tune MODEL DATA --objective macro_f1"),
        (("predict", "nowhere", "-", "--objective", "balancd"), "write --objective balanced to fit it"),
        (("predict", "nowhere", "-", "--objective", "fixd"), "found 'fixd'; fix: write --objective fixed"),
        (("predict", "nowhere", "-", "--objective", "zzz"), "see `hf-multilabel tune --help`"),
        (("predict", "nowhere", "-", "--objective", "expected_f1"), "a rule; fix: give --rule expected_f1"),
        (("predict", "nowhere", "-", "--rule", "top_k"), "found 'top_k'; fix: give --top-k"),
        (("predict", "nowhere", "-", "--rule", "expectd_f1"), "found 'expectd_f1'; fix: write expected_f1"),
        (("predict", "nowhere", "-", "--rule", "expected_f1", "--objective", "fixed"), "leave one of the two out"),
        (("predict", "nowhere", "-", "--rule", "expected_f1", "--threshold", "0.3"), "leave one of the two out"),
        (("predict", "nowhere", "-", "--rule", "expected_f1", "--top-k", "3"), "leave one of the two out"),
        (("predict", "nowhere", "-", "--false-positive-cost", "2"), "add --objective cost_plug_in"),
        (
            ("predict", "nowhere", "-", "--objective", "cost_plug_in", "--false-positive-cost", "0"),
            "expected a number above 0, found 0.0",
        ),
        (
            ("predict", "nowhere", "-", "--objective", "cost_plug_in", "--threshold", "0.2"),
            "expected the cut of --objective cost_plug_in alone, found another '0.2'",
        ),
        (("predict", "nowhere", "-", "--empty", "never"), "at_least_one"),
        (("predict", "nowhere", "-", "--threshold", "high"), "C206"),
        (("predict", "nowhere", "-", "--threshold", "1.5"), "C206"),
        (("predict", "nowhere", "-", "--threshold", "a=0.1", "--threshold", "a=0.2"), "keep one of the two"),
    ],
)
def test_bad_input_ends_with_two(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.call(list(arguments)) == 2
    assert said in capsys.readouterr().err


def test_objectives_known_before_the_slow_imports_are_those_there_are() -> None:
    assert set(OBJECTIVES) == set(THRESHOLD_RULES)
    assert set(UNFITTED) == set(UNFITTED_RULES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "quickstart", "--max-steps", "5"), "training.max_steps=5"),
        (("train", "quickstart", "--max-steps=5"), "training.max_steps=5"),
        (("train", "quickstart", "--epochs", "4"), "training.num_train_epochs=4"),
        (("train", "quickstart", "--max-lenght", "64"), "data.max_length=64"),
        (("study", "tune", "--max-steps", "5"), "training.max_steps=5"),
        (("inspect", "x.csv", "--max-length", "64"), "data.max_length=64"),
        (("evaluate", "runs/x", "--label-delimiter", ";"), "data.label_delimiter=;"),
        (("tune", "runs/x", "--beta", "2"), "decision.beta=2"),
        (("compare", "runs/a", "runs/b"), "hf-multilabel evaluate RUN OTHER_RUN for numbers, report RUN OTHER_RUN"),
    ],
)
def test_what_there_is_not_names_what_does_the_same(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.call(list(arguments)) == 2
    assert said in " ".join(capsys.readouterr().err.replace("\u2502", " ").split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "quickstart", "--verbos"),
        ("evaluate", "runs/x", "--max-steps"),
        ("evaluate", "runs/x", "--max-length"),
        ("evaluate", "runs/x", "--objective"),
        ("predict", "x", "--lr"),
    ],
)
def test_no_key_is_named_where_none_would_do(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(list(arguments)) == 2
    assert "Keys of the recipe" not in capsys.readouterr().err


def test_two_runs_are_compared_whether_or_not_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "rows.csv").write_text("text,labels\n")
    monkeypatch.chdir(tmp_path)
    asked = []

    def compare(*given: object, **options: object) -> None:
        asked.append(given)
        raise InputError(Finding("C999", "compare", "expected it, found it", "go on"))

    monkeypatch.setattr("hf_multilabel.measurement.compare", compare)
    for given in (["b"], ["--compare", "b"], ["b", "rows.csv", "data.text=x"], ["rows.csv", "data.text=x"]):
        cli.call(["evaluate", "a", *given, *(["--compare", "b"] if given[0] == "rows.csv" else [])])
    assert asked == [("a", "b", None, []), ("a", "b", None, []), *[("a", "b", "rows.csv", ["data.text=x"])] * 2]


def test_predict_lines(finished: Path) -> None:
    done = call("predict", finished, "-", stdin="one text\nand another\n")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["1", "2"]
    for row in rows:
        assert row["labels"] == list(row["scores"])
        assert row["labels"]  # at_least_one


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        (("--top-k", 3), {3}),
        (("--threshold", 0), {8}),
        (("--threshold", 1, "--min-labels", 2), {2}),
        (("--threshold", 1, "--empty", "allow"), {0}),
        (("--objective", "fixed", "--threshold", 1), {1}),
        (("--objective", "cost_plug_in", "--false-negative-cost", 1e9), {8}),
        (("--objective", "cost_plug_in", "--false-positive-cost", 1e9, "--empty", "abstain"), {0}),
    ],
)
def test_predict_with_another_decision(
    finished: Path, tmp_path: Path, options: tuple[object, ...], sizes: set[int]
) -> None:
    (tmp_path / "in.txt").write_text("one text\nand another\n")
    output = tmp_path / "out.jsonl"
    assert (
        cli.call(["predict", str(finished), str(tmp_path / "in.txt"), "--output", str(output), *map(str, options)]) == 0
    )
    assert {len(json.loads(line)["labels"]) for line in output.read_text().splitlines()} == sizes


def test_a_text_that_abstains_is_marked(finished: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text('id,text\na,stars\nb," "\n')
    asked = ["predict", str(finished), str(source), "--id", "id", "--threshold", "1"]
    assert cli.call([*asked, "--empty", "abstain", "--output", str(output)]) == 0
    none = {"labels": [], "scores": {}}
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert found == [{"id": "a", **none, "abstained": True}, {"id": "b", **none}]
    tables = {"abstain": ["id,labels,scores,abstained", "a,,,true", "b,,,false"]}
    tables["allow"] = ["id,labels,scores", "a,,", "b,,"]
    for empty, lines in tables.items():
        table = tmp_path / f"{empty}.csv"
        assert cli.call([*asked, "--empty", empty, "--output", str(table)]) == 0
        assert table.read_text().splitlines() == lines


def test_scores_of_all_labels(finished: Path, tmp_path: Path) -> None:
    source, lines, table = tmp_path / "in.csv", tmp_path / "out.jsonl", tmp_path / "out.csv"
    source.write_text('id,text\na,stars\nb," "\n')
    for output in (lines, table):
        asked = ["predict", str(finished), str(source), "--id", "id", "--scores", "all", "--empty", "abstain"]
        assert cli.call([*asked, "--output", str(output)]) == 0
    first, blank = (json.loads(line) for line in lines.read_text().splitlines())
    names = FinishedModel.load(finished).labels.names
    assert set(first["scores"]) == set(names)
    assert list(first["scores"].values()) == sorted(first["scores"].values(), reverse=True)
    assert blank["scores"] == {}
    with table.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert list(found[0]) == ["id", "labels", *(f"score:{name}" for name in names), "abstained"]
    assert {name: float(found[0][f"score:{name}"]) for name in names} == first["scores"]
    assert {found[1][f"score:{name}"] for name in names} == {""}


def test_predict_takes_the_rule_that_needs_no_cuts(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one text\nand another\n")
    output = tmp_path / "out.jsonl"
    command = ["predict", str(finished), str(tmp_path / "in.txt"), "--output", str(output), "--rule", "expected_f1"]
    assert cli.call(command) == 0
    model = FinishedModel.load(finished)
    probs = torch.from_numpy(model.decide(["one text", "and another"])[0])
    expected = expected_f1_sets(probs.double(), 1, None)  # the model's own: at least one
    found = [json.loads(line)["labels"] for line in output.read_text().splitlines()]
    names = model.labels.names
    assert [set(row) for row in found] == [{names[i] for i in row.nonzero().flatten()} for row in expected]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--top-k", "9"), "top_k: expected a whole number from 1 to 8 labels, found 9; fix: change --top-k"),
        (("--max-labels", "9"), "from 1 to 8 labels, found 9; fix: change --max-labels"),
        (("--threshold", "nothing=0.3"), "found 'nothing'"),
        (("--top-k", "2", "--empty", "abstain"), "gets 2 labels, found 'abstain'; fix: add a threshold, or leave one"),
    ],
)
def test_another_decision_that_does_not_fit_the_model(
    finished: Path, tmp_path: Path, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.txt").write_text("one text\n")
    assert cli.call(["predict", str(finished), str(tmp_path / "in.txt"), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_guarantee_that_other_cuts_lose_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    risk = {"metric": "recall", "target": 0.9, "confidence": None, "controlled": True}
    stored = {**default_decision(), "thresholds": 0.2, "objective": "risk", "risk": risk}
    assert another_decision(stored, ["a", "b"], {"empty": "allow"}) == stored
    assert capsys.readouterr().err == ""
    another_decision(stored, ["a", "b"], {"threshold": 0.5})
    said = " ".join(capsys.readouterr().err.split())
    assert said == "note: the stored guarantee (recall 0.9) does not hold for these label sets"


def test_predict_reads_what_it_is_given_and_writes_csv(finished: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "=a", "text": "stars"}\n{"id": "b", "text": "graphs"}\n')
    output = tmp_path / "out.csv"
    assert call("predict", finished, source, "--id", "id", "--output", output).returncode == 0
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert [row["id"] for row in rows] == ["'=a", "b"]
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("in.jsonl", "out.csv")] == []


def test_predict_keeps_the_old_output_when_the_input_is_bad(finished: Path, tmp_path: Path) -> None:
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": "a", "text": "stars"}\n{"id": "b", "txt": "graphs"}\n')
    output.write_text("precious\n")
    done = call("predict", finished, source, "--output", output)
    assert done.returncode == 2
    assert "in.jsonl" in done.stderr
    assert output.read_text() == "precious\n"


def test_a_row_without_text_keeps_its_place_and_gets_no_labels(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text('key,text\na,stars\nb,\nc,"  "\nd,graphs\n')
    assert cli.call(["predict", str(finished), str(source), "--id", "key", "--output", str(output)]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]
    assert [bool(row["labels"]) for row in rows] == [True, False, False, True]  # the decision is at_least_one
    assert "2 rows have no text and got no labels: " in caplog.text
    assert "in.csv:3:text" in caplog.text


@pytest.mark.parametrize("given", ["", "\n", "  \n\n"])
def test_nothing_but_empty_texts_is_bad_input(
    finished: Path, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
    assert cli.call(["predict", str(finished), "-"]) == 2
    assert "D102] standard input: expected texts" in capsys.readouterr().err


def test_messages_say_what_is_typed_and_not_what_a_recipe_has(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "body": "stars", "labels": ["Phisics", "Zoology"]}\n')
    model, data = str(finished), str(source)
    assert cli.call(["predict", model, data]) == 2
    assert "give --text COLUMN" in capsys.readouterr().err
    for command in ("evaluate", "tune", "report"):
        assert cli.call([command, model, data]) == 2
        assert "add data.text=VALUE to the command" in capsys.readouterr().err
    assert cli.call(["evaluate", model, data, "data.text=body"]) == 2
    near, far = capsys.readouterr().err.splitlines()
    assert "did you mean 'Physics'? correct it, or map names to labels: add data.label_names=FILE.json" in near
    assert "write one of the model's labels, such as 'Computer Science', 'Economics' or 'Electrical" in far
    (tmp_path / "map.json").write_text('{"Phisics": "Physics", "Zoology": "Quantitative Biology"}')
    assert cli.call(["evaluate", model, data, "data.text=body", f"data.label_names={tmp_path / 'map.json'}"]) == 0


def test_fixes_name_options_that_are_not_the_ones_just_typed(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, source = str(finished), tmp_path / "in.jsonl"
    source.write_text('{"id": "a", "text": "stars", "labels": ["Physics"]}\n')
    assert cli.call(["evaluate", model, str(source), "--split", "tset"]) == 2
    assert "found test; fix: give --split test" in capsys.readouterr().err
    assert cli.call(["tune", model, str(source), "--objective", "precision_at_least"]) == 2
    assert "found null; fix: add decision.precision=VALUE to the command" in capsys.readouterr().err
    assert cli.call(["tune", model, str(source), "decision.objective=micro_f1"]) == 2
    assert "fix: add decision.shrinkage=null to the command" in capsys.readouterr().err
    assert cli.call(["predict", model, str(source), "--output", str(tmp_path / "out.xlsx")]) == 2
    assert "C208" in capsys.readouterr().err
    assert cli.call(["inspect", "quickstart", "data.label_delimiter=,"]) == 2
    assert """quote the value: 'data.label_delimiter=","'""" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_interrupted_run_is_named_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".run.json").write_text("{}")
    assert cli.call(["evaluate", str(tmp_path)]) == 2
    assert "found one that was interrupted; fix: go on with it: hf-multilabel train RECIPE --resume" in (
        capsys.readouterr().err
    )


def test_a_place_without_the_right_to_write_is_refused_before_the_work(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root, who may write anywhere
    assert cli.call(["predict", str(finished), "-", "--output", str(tmp_path / "out.jsonl")]) == 2
    assert f"C207] {tmp_path / 'out.jsonl'}: expected a folder that may be written" in capsys.readouterr().err
    assert cli.call(["train", "quickstart", f"training.output_dir={tmp_path / 'run'}"]) == 2
    assert f"found no right to write {tmp_path}; fix: set training.output_dir" in capsys.readouterr().err


def test_what_the_machine_refuses_is_no_traceback_and_bugs_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(args: list[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x.csv")

    monkeypatch.setattr(cli, "app", refuse)
    assert cli.call(["predict"]) == 3
    assert "/data/x.csv: expected to read or write it, found no space left on device" in capsys.readouterr().err
    monkeypatch.setattr(cli, "app", lambda args: Path("/nowhere").read_text())
    with pytest.raises(FileNotFoundError):
        cli.call(["predict"])


def test_a_reader_that_leaves_early_is_no_error(finished: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("a text\n" * 3000)
    command = f"{sys.executable} -m hf_multilabel predict {finished} {source} 2>err | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in (tmp_path / "err").read_text()


def test_help_offers_keys_that_the_command_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for command in READ:
        assert cli.call([command, "--help"]) == 0
        offered = {key for key in KEY.findall(capsys.readouterr().out) if not key.endswith(".key")}
        assert offered
        check_read([f"{key}=1" for key in offered], command)
        assert {key.partition(".")[0] for key in offered} <= set(READ[command])
    assert set(SECTIONS) == set(RecipeFile.model_fields)


def test_evaluate_from_python_refuses_what_it_does_not_read(finished: Path) -> None:
    for measured in (evaluate, partial(compare, str(finished)), report_run):
        with pytest.raises(InputError, match=r"decision\.threshold: .*tune.*\n.*training\.max_steps: "):
            measured(str(finished), None, ["decision.threshold=0.01", "training.max_steps=3"])


def test_evaluate_prints_and_writes(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "metrics.json"
    done = call("evaluate", finished, "recipes/data/quickstart", "data.max_rows=16", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "micro_f1" in done.stderr
    stored = json.loads((finished / "metrics.json").read_text())["test"]
    assert_same_metrics(json.loads(output.read_text())["test"]["tuned"], stored["tuned"])


def test_evaluate_compares_two_models(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "compared.json"
    assert cli.call(["evaluate", str(finished), "--compare", str(finished), "--output", str(output)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "Difference: 2 - 1" in said
    assert "micro_f1: no difference found (p 1.000)" in said
    found = json.loads(output.read_text())["test"]
    assert found["decisions"] == ["balanced", "balanced"]
    assert (found["rows"], len(found["labels"])) == (16, 8)
    assert found["metrics"]["micro_f1"]["difference"] == 0
    assert found["metrics"]["micro_f1"]["p_value"] == 1
    assert "psp_at_1" in found["metrics"]


def test_a_comparison_on_rows_that_a_decision_was_fitted_on_is_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.call(["evaluate", str(finished), "--compare", str(finished), "--split", "validation"]) == 2
    assert "C111" in capsys.readouterr().err


def test_a_comparison_refused_on_test_rows_does_not_send_to_the_test_rows(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = str(ROOT / "recipes/data/quickstart/validation.jsonl")  # one file: all of it is the split test
    assert cli.call(["evaluate", str(finished), rows, "data.max_rows=null", "--compare", str(finished)]) == 2
    said = capsys.readouterr().err
    assert "C111" in said
    assert "--split test" not in said


def test_inspect_shows_labels_and_lengths() -> None:
    done = call("inspect", "quickstart")
    assert done.returncode == 0, done.stderr
    assert "1,000" in done.stdout
    assert "Lengths in tokens" in done.stdout


def test_a_module_of_ones_own_that_imports_us_finds_the_classes_registered(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("import hf_multilabel\n")
    (tmp_path / "mine" / "__main__.py").write_text(
        "from transformers import CONFIG_MAPPING\nprint('multilabel' in CONFIG_MAPPING)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mine"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "True"
