from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.judging import measure
from hf_multilabel.measurement import compare, evaluate, load_rows
from hf_multilabel.prediction import predict_file
from hf_multilabel.recipe import Recipe, load_recipe
from hf_multilabel.remote_code.decision_multilabel import default_decision
from hf_multilabel.workflow import train
from tests.metric_values import assert_same_metrics

QUICK = [
    "data.max_rows={train: 96, validation: 48, test: 48}",
    "data.max_length=32",
    "training.max_steps=4",
    "training.per_device_train_batch_size=8",
    "training.eval_strategy=no",
    "model.backbone_sha256=null",
    "training.freeze_layers=0",  # the tiny backbone has two
]


def quick_recipe(backbone: Path, folder: Path, *overrides: str) -> Recipe:
    return load_recipe(
        "quickstart", [*QUICK, f"model.backbone={backbone}", f"training.output_dir={folder}", *overrides]
    )


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def run(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    return folder, train(quick_recipe(tiny_backbone_folder, folder))


def test_others_may_read_every_file(run: tuple[Path, dict]) -> None:
    usual = (run[0] / ".." / "usual").resolve()
    usual.touch()
    modes = {path.name: path.stat().st_mode for path in run[0].iterdir() if path.is_file()}
    assert modes == dict.fromkeys(modes, usual.stat().st_mode)


def test_folder_is_a_complete_repo(run: tuple[Path, dict]) -> None:
    names = {path.name for path in run[0].iterdir()}
    assert names >= {
        "README.md",
        "config.json",
        "history.json",
        "label_counts.json",
        "manifest.json",
        "metrics.json",
        "model.safetensors",
        "recipe.yaml",
        "tokenizer.json",
        "modeling_multilabel.py",
        "pipeline_multilabel.py",
    }
    assert not [name for name in names if name.startswith(".") and name != ".run.json"]


def test_metrics_stand_by_split_and_decision(run: tuple[Path, dict]) -> None:
    stored = json.loads((run[0] / "metrics.json").read_text())
    assert stored == json.loads(json.dumps(run[1]))
    for split in ("validation", "test"):
        assert set(stored[split]) == {"fixed", "tuned"}
        assert {"micro_f1", "macro_f1", "macro_auc_skipped", "lrap", "precision_at_1"} <= set(stored[split]["tuned"])
    assert stored["data"]["rows"] == {"train": 96, "validation": 48, "test": 48}
    assert set(stored["data"]["truncated_share"]) == {"train", "validation", "test"}
    assert stored["training"]["steps"] == 4


def test_decision_is_stored_with_its_evidence(run: tuple[Path, dict]) -> None:
    config = json.loads((run[0] / "config.json").read_text())
    decision = config["decision"]
    assert decision["fitted_on"] == "validation"
    assert decision["rows"] == 48
    assert len(decision["thresholds"]) == len(config["id2label"]) == 8


def test_a_process_without_the_package_returns_the_same_label_sets(
    run: tuple[Path, dict], blocked_package_run: Callable
) -> None:
    texts = ["We study graph neural networks.", "Dark matter halos in the early universe."]
    code = """
import json, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
batch = tokenizer(json.loads(sys.argv[2]), truncation=True, padding=True, return_tensors="pt")
with torch.inference_mode():
    print(json.dumps(model.predict_labels(model(**batch).logits)))
"""
    found = json.loads(blocked_package_run(code, run[0], json.dumps(texts)).stdout.splitlines()[-1])
    finished = FinishedModel.load(run[0])
    ours = [p["labels"] for p in finished.predict({"id": str(i), "text": t} for i, t in enumerate(texts))]
    assert [set(labels) for labels in found] == [set(labels) for labels in ours]


def test_evaluate_gives_the_numbers_of_the_run(run: tuple[Path, dict]) -> None:
    found = evaluate(str(run[0]), None, ["data.source=recipes/data/quickstart"])
    for decision in ("fixed", "tuned"):
        assert_same_metrics(found[decision], run[1]["test"][decision])
        assert {"psp_at_1", "psndcg_at_1", "head_macro_f1"} <= set(found[decision])


def test_counts_of_training_are_the_bundles_or_those_of_its_data_or_said_to_be_missing(
    run: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = json.loads((run[0] / "label_counts.json").read_text())
    finished = FinishedModel.load(run[0])
    assert stored["rows"] == 96
    assert list(stored["labels"]) == list(finished.labels.names)
    older = shutil.copytree(run[0], tmp_path / "older")
    (older / "label_counts.json").unlink()
    assert_same_metrics(evaluate(str(older), None)["tuned"], run[1]["test"]["tuned"])
    assert "label_counts.json" not in capsys.readouterr().err
    brought = tmp_path / "brought.jsonl"
    shutil.copy("recipes/data/quickstart/test.jsonl", brought)
    assert "psp_at_1" in evaluate(str(run[0]), str(brought))["fixed"]
    assert "label_counts.json" not in capsys.readouterr().err
    assert "psp_at_1" not in evaluate(str(older), str(brought))["fixed"]
    said = " ".join(capsys.readouterr().err.split())
    assert "no label_counts.json beside the model, as training writes it: left out are PSP@k, PSnDCG@k and" in said


@pytest.mark.parametrize("overrides", [(), ("loss.name=bce", "loss.class_weights=null", "loss.pos_weight=null")])
def test_folder_of_an_earlier_run_is_refused_untouched(
    overrides: tuple[str, ...], run: tuple[Path, dict], tiny_backbone_folder: Path
) -> None:
    before = tree(run[0])
    with pytest.raises(InputError, match=r"T104.*--resume.*--overwrite"):
        train(quick_recipe(tiny_backbone_folder, run[0], *overrides))
    assert tree(run[0]) == before


def test_resuming_another_recipe_is_refused(run: tuple[Path, dict], tiny_backbone_folder: Path) -> None:
    other = quick_recipe(tiny_backbone_folder, run[0], "training.seed=7", "training.max_grad_norm=2.5")
    with pytest.raises(InputError, match="T102") as caught:
        train(other, resume=True)
    (finding,) = caught.value.findings
    assert finding.what.endswith("was started with, found training.max_grad_norm=2.5, training.seed=7")
    assert "(no training.max_grad_norm, training.seed=0)" in finding.fix


def test_a_folder_that_is_no_run_is_never_overwritten(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"T103.*thesis\.txt"):
        train(quick_recipe(tiny_backbone_folder, tmp_path), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_killed_proof_keeps_the_earlier_model(
    tiny_backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    train(quick_recipe(tiny_backbone_folder, folder))
    before = tree(folder)

    def differs(*args: object, **kwargs: object) -> None:
        raise EnvironmentFault(Finding("P999", "proof", "expected equal logits, found others", "report it"))

    monkeypatch.setattr("hf_multilabel.release.prove_bundle", differs)
    with pytest.raises(EnvironmentFault, match="P999"):
        train(quick_recipe(tiny_backbone_folder, folder, "training.seed=5"), overwrite=True)
    after = tree(folder)
    assert {name: after[name] for name in before if name != ".run.json"} == {
        name: value for name, value in before.items() if name != ".run.json"
    }


def write_columns(folder: Path, test_order: list[str]) -> None:
    folder.mkdir()
    source = Path("recipes/data/quickstart")
    names = sorted({label for line in (source / "train.jsonl").open() for label in json.loads(line)["labels"]})
    for split, rows in (("train", 96), ("validation", 48), ("test", 48)):
        order = test_order if split == "test" and test_order else names
        with (folder / f"{split}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text", *order])
            for line in list((source / f"{split}.jsonl").open())[:rows]:
                row = json.loads(line)
                writer.writerow([row["id"], row["text"], *(int(label in row["labels"]) for label in order)])


def test_label_columns_in_another_order_change_nothing(tiny_backbone_folder: Path, tmp_path: Path) -> None:
    write_columns(tmp_path / "same", [])
    header = (tmp_path / "same" / "train.csv").open().readline().strip().split(",")[2:]
    write_columns(tmp_path / "other", header[::-1])
    found = []
    for name in ("same", "other"):
        recipe = quick_recipe(
            tiny_backbone_folder,
            tmp_path / f"run-{name}",
            f"data.source={tmp_path / name}",
            "data.labels=null",
            "data.label_format=columns",
        )
        found.append(train(recipe))
    assert found[0]["test"] == found[1]["test"]
    assert found[0]["validation"] == found[1]["validation"]


def test_measure_equals_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(50, 4)).astype(np.float32), rng.random((50, 4)) < 0.3
    decision = {**default_decision(), "thresholds": 0.3}
    found = measure(logits, csr_matrix(targets), decision)
    assert found["fixed"]["micro_f1"] == pytest.approx(f1_score(targets, logits >= 0, average="micro"))
    tuned = 1 / (1 + np.exp(-logits)) >= 0.3
    assert found["tuned"]["macro_f1"] == pytest.approx(f1_score(targets, tuned, average="macro"))
    assert "mean_cost" not in found["tuned"]
    decision |= {"objective": "cost_plug_in", "options": {"false_negative_cost": 4.0}}
    found = measure(logits, csr_matrix(targets), decision, intervals=True)
    for name, sets in (("fixed", logits >= 0), ("tuned", tuned)):
        wrong, missed = (sets & ~targets).sum(), (targets & ~sets).sum()
        assert (found[name]["wrong_labels"], found[name]["missed_labels"]) == (wrong, missed)
        assert found[name]["mean_cost"] == pytest.approx((wrong + 4 * missed) / 50)
    low, high = found["tuned"]["intervals"]["mean_cost"]
    of_a_text = ((tuned & ~targets) + 4 * (targets & ~tuned)).sum(1)
    assert (low, high) == pytest.approx(
        of_a_text.mean() + 1.96 * of_a_text.std() / 50**0.5 * np.array([-1, 1]), rel=0.05
    )


@pytest.mark.parametrize("start", ["prior", "probe"])
def test_head_starts(start: str, tiny_backbone_folder: Path, tmp_path: Path) -> None:
    recipe = quick_recipe(
        tiny_backbone_folder,
        tmp_path / start,
        f"training.head_init={start}",
        *(["loss.name=bce", "loss.pos_weight=null"] if start == "prior" else []),
        "training.learning_rate=1e-9",
        "training.head_learning_rate=1e-9",
    )
    metrics = train(recipe)
    model = FinishedModel.load(tmp_path / start).model
    if start == "prior":
        # the frequencies of all labels add up to the labels a row
        assert float(model.head.output.bias.detach().sigmoid().sum()) == pytest.approx(
            metrics["data"]["cardinality"]["train"], abs=0.3
        )
    else:
        assert float(model.head.output.weight.detach().abs().max()) > 0.5


def test_own_data_are_found_again_and_read_as_in_training(
    tiny_backbone_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Path("recipes/data/quickstart/train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:120]]
    (tmp_path / "mine").mkdir()
    for split, part in (("train", rows[:80]), ("test", rows[80:])):
        with (tmp_path / "mine" / f"{split}.jsonl").open("w") as file:
            for row in part:
                head, _, tail = row["text"].partition(". ")
                print(json.dumps({"title": f"<b>{head}</b>", "body": tail, "labels": row["labels"]}), file=file)
    (tmp_path / "recipe.yaml").write_text(
        f"data: {{source: ./mine, text: [title, body], strip_html: true, max_length: 32}}\n"
        f"model: {{backbone: {tiny_backbone_folder}}}\n"
        "training: {max_steps: 2, save_strategy: 'no'}\n"
    )
    monkeypatch.chdir(tmp_path)
    metrics = train(load_recipe(tmp_path / "recipe.yaml", [f"training.output_dir={tmp_path / 'run'}"]))
    found = evaluate(str(tmp_path / "run"), None)
    assert_same_metrics(found["tuned"], metrics["test"]["tuned"])
    brought = evaluate(str(tmp_path / "run"), str(tmp_path / "mine" / "test.jsonl"))
    assert_same_metrics(brought["tuned"], found["tuned"])
    capsys.readouterr()
    predict_file(str(tmp_path / "run"), str(tmp_path / "mine" / "test.jsonl"))
    listed = [json.loads(line)["scores"] for line in capsys.readouterr().out.splitlines()]
    texts = [f"{head} {tail}" for head, _, tail in (row["text"].partition(". ") for row in rows[80:])]
    model = FinishedModel.load(tmp_path / "run")
    assert listed == [p["scores"] for p in model.predict({"id": str(i), "text": t} for i, t in enumerate(texts))]


def test_scores_on_the_fitted_rows_are_not_shown(run: tuple[Path, dict]) -> None:
    found = evaluate(str(run[0]), None, split="validation")
    assert set(found) == {"fixed"}


def bring_rows(run: Path, path: Path, counts: dict[str, int]) -> str:
    """A file that a user brings, with the first rows of some splits of a run."""
    finished = FinishedModel.load(run)
    splits, names = load_rows(finished, None)[1].splits, finished.labels.names
    rows = [row for split, count in counts.items() for row in splits[split].select(range(count))]
    lines = [{"text": row["text"], "labels": [names[label] for label in row["labels"]]} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("fitted", "others", "said"),
    [
        (24, 0, "fitted on these very rows"),
        (24, 24, "fitted on 50% of these rows"),
        (1, 24, "fitted on 4% of these rows: its scores are a little optimistic"),
    ],
)
def test_fitted_rows_are_known_among_others(
    fitted: int,
    others: int,
    said: str,
    run: tuple[Path, dict],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = bring_rows(run[0], tmp_path / "rows.jsonl", {"validation": fitted, "test": others})
    found = evaluate(str(run[0]), file, ["data.id=null"])
    assert said in " ".join(capsys.readouterr().err.split())
    assert set(found) == ({"fixed", "tuned"} if fitted == 1 else {"fixed"})


@pytest.mark.parametrize(("known", "others", "said"), [(10, 0, "these very rows"), (8, 24, "25% of these rows")])
def test_rows_of_the_training_are_known_in_a_brought_file(
    known: int, others: int, said: str, run: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bring_rows(run[0], tmp_path / "rows.jsonl", {"train": known, "test": others})
    evaluate(str(run[0]), file, ["data.id=null"])
    assert f"warning: the model {run[0]} was trained on {said}" in " ".join(capsys.readouterr().err.split())
    what = f"neither model was trained on, found {'those' if not others else '25% of them among those'} of {run[0]}"
    with pytest.raises(InputError, match=f"C111.*{re.escape(what)}; fix: give rows that neither model was trained"):
        compare(str(run[0]), str(run[0]), file, ["data.id=null"])


def test_the_runs_own_test_rows_are_not_those_of_the_training(
    run: tuple[Path, dict], capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(str(run[0]), None)
    assert "trained on" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("training.freeze_layers=9", "freeze_layers: expected 0 to 2"),
        ("training.report_to=nowhere", "nowhere"),
        ("training.optim=lomo", "lomo"),
        ("training.lr_scheduler_kwargs={foo: 1}", "foo"),
        ("decision.min_labels=30", "min_labels"),
        ("hub.repo_id=me/x", "P301"),
    ],
)
def test_what_a_recipe_gets_wrong_costs_nothing(
    override: str, match: str, tiny_backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("hf_multilabel.publishing.attempts.get_token", lambda: None)
    (tmp_path / ".run.json").write_text('{"recipe_sha256": "of another run"}')
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "weights").write_text("hours of work")
    before = tree(tmp_path)
    values = [value for value in QUICK if not value.startswith(override.partition("=")[0])]
    values += [f"model.backbone={tiny_backbone_folder}", f"training.output_dir={tmp_path}", override]
    with pytest.raises(InputError, match=match):
        train(load_recipe("quickstart", values), overwrite=True)
    assert tree(tmp_path) == before
