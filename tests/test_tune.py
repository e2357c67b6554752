"""A new decision for a finished model: nothing else changes, whatever interrupts it."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hf_multilabel import cli, tuning
from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import evaluate
from hf_multilabel.publishing.bundle import verify_bundle
from hf_multilabel.publishing.card_sections import split_sections
from hf_multilabel.recipe.sections import DecisionSection
from hf_multilabel.tuning import tune
from hf_multilabel.workflow import train
from tests.test_workflow import quick_recipe, tree

CHANGED = {"config.json", "metrics.json", "README.md", "manifest.json"}
SECTIONS = ("## Examples", "## Results", "## The decision", "## Labels", "## Figures")
SOURCE = Path("recipes/data/quickstart")


@pytest.fixture(scope="module")
def run(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "quickstart"
    train(quick_recipe(tiny_backbone_folder, folder))
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def unproved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof starts a process of its own; one test keeps it."""
    monkeypatch.setattr("hf_multilabel.release.prove_bundle", lambda *args: {"rows": len(args[1])})


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed since the last look, on one line."""
    return " ".join("".join(capsys.readouterr()).split())


def test_only_the_decision_changes_and_it_is_proved(copy: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = (copy / "README.md").read_text()
    card = card.replace("## Limits\n", "## Limits\n\nWritten by hand.\n").replace(
        "library_name:", "extra: 1\nlibrary_name:"
    )
    (copy / "README.md").write_text(card)
    before, metrics, config = tree(copy), read(copy, "metrics.json"), read(copy, "config.json")
    inode = (copy / "model.safetensors").stat().st_ino
    decision = tune(str(copy), objective="micro_f1")
    said = " ".join("".join(capsys.readouterr()).split())
    assert "validation: tuned is optimistic" in said
    assert "test: tuned is optimistic" not in said

    after = tree(copy)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith("figures/")} == CHANGED
    # drawn again: where the decision is shown it is the new one
    assert "figures/precision_recall.png" in changed
    assert set(before) == set(after)
    assert (copy / "model.safetensors").stat().st_ino == inode
    assert verify_bundle(copy)["proof"]["rows"] == 48
    found = read(copy, "config.json")
    assert found["decision"] == decision
    assert (decision["objective"], decision["fitted_on"], decision["rows"]) == ("micro_f1", "validation", 48)
    assert {**found, "decision": None} == {**config, "decision": None}
    assert list(found) == list(config)

    new = read(copy, "metrics.json")
    assert {key: new[key] for key in new if key not in ("validation", "test")} == {
        key: metrics[key] for key in metrics if key not in ("validation", "test")
    }
    for split in ("validation", "test"):
        assert new[split]["fixed"] == metrics[split]["fixed"]
        assert list(new[split]["tuned"]) == list(metrics[split]["tuned"])
        assert new[split]["tuned"]["lrap"] == pytest.approx(metrics[split]["tuned"]["lrap"])
    measured = evaluate(str(copy), None)["tuned"]
    assert all(new["test"]["tuned"][name] == pytest.approx(measured[name]) for name in ("micro_f1", "subset_accuracy"))
    text = (copy / "README.md").read_text()
    assert [part for part in split_sections(text)[1:] if part[0] not in SECTIONS] == [
        part for part in split_sections(card)[1:] if part[0] not in SECTIONS
    ]
    assert re.findall(r"\]\((figures/.*)\)", text) == re.findall(r"\]\((figures/.*)\)", card)
    assert "Written by hand." in text
    assert "extra: 1" in text
    assert f"value: {new['test']['tuned']['micro_f1']}" in text
    assert "Fitted again after training" in text


@pytest.mark.usefixtures("unproved")
def test_the_settings_of_the_run_give_its_decision_again(copy: Path) -> None:
    before, metrics = read(copy, "config.json")["decision"], read(copy, "metrics.json")
    decision = tune(str(copy), str(SOURCE), ["data.max_rows={train: 96, validation: 48, test: 48}"])
    assert decision.pop("refitted") == {"data": "quickstart", "settings": []}
    assert decision.pop("thresholds") == pytest.approx(before.pop("thresholds"), abs=1e-6)
    assert decision.pop("in_sample") == pytest.approx(before.pop("in_sample"))
    assert decision == before
    found = read(copy, "metrics.json")
    for split in ("validation", "test"):
        tuned, before = found[split]["tuned"], metrics[split]["tuned"]
        assert tuned.pop("intervals").keys() == before.pop("intervals").keys()
        assert tuned == pytest.approx(before, abs=1e-6)


@pytest.mark.usefixtures("unproved")
def test_costs_are_those_at_the_prices_of_the_new_decision(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune(str(copy), objective="cost_plug_in", false_negative_cost=3)
    first = read(copy, "metrics.json")["test"]
    for found in first.values():
        assert found["mean_cost"] == (found["wrong_labels"] + 3 * found["missed_labels"]) / found["rows"]
    tune(str(copy), objective="cost_plug_in", false_negative_cost=9)
    again = read(copy, "metrics.json")["test"]["fixed"]
    assert again["mean_cost"] == (again["wrong_labels"] + 9 * again["missed_labels"]) / again["rows"]
    before = (first["tuned"]["wrong_labels"] + 9 * first["tuned"]["missed_labels"]) / again["rows"]
    assert f"{before:.4f}" in "".join(capsys.readouterr())
    tune(str(copy), objective="micro_f1")
    assert not any("mean_cost" in found for found in read(copy, "metrics.json")["test"].values())


@pytest.mark.usefixtures("unproved")
def test_without_arguments_the_first_decision_comes_back(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read(copy, "config.json")["decision"]
    assert tune(str(copy), risk={"recall": 0.8})["risk"]["controlled"]
    told = said(capsys)
    assert "guarantee of the decision before" not in told
    assert "report.html" not in told
    (copy / "report.html").touch()
    decision = tune(str(copy))
    told = said(capsys)
    assert "note: the guarantee of the decision before (recall 0.8) does not hold for the new one" in told
    assert f"report.html is of the decision before; write it anew: hf-multilabel report {copy}" in told
    assert decision.pop("refitted") == {"data": None, "settings": []}
    for part in ("thresholds", "in_sample"):
        assert decision.pop(part) == pytest.approx(before.pop(part), abs=1e-6)
    assert decision == before


@pytest.mark.usefixtures("unproved")
def test_results_that_can_not_be_measured_go_and_come_back(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (SOURCE / "validation.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "mine.jsonl").write_text("".join(rows[:60]))
    load_rows = tuning.load_rows

    def elsewhere(finished: FinishedModel, source: str | None, *args: object) -> tuple:
        if source is None:
            raise InputError(Finding("X1", "recipe", "expected its data, found none", "bring them"))
        return load_rows(finished, source, *args)

    with monkeypatch.context() as patched:
        patched.setattr(tuning, "load_rows", elsewhere)
        decision = tune(str(copy), str(tmp_path / "mine.jsonl"), ["decision.empty=at_least_one"])
    assert (decision["rows"], decision["empty"]) == (60, "at_least_one")
    assert decision["refitted"] == {"data": "mine.jsonl", "settings": ["decision.empty=at_least_one"]}
    assert set(read(copy, "metrics.json")["test"]) == {"fixed"}
    card = (copy / "README.md").read_text()
    assert "model-index" not in card
    assert "## Labels" not in card
    assert "## Figures" not in card
    assert not list(copy.glob("figures/*"))
    verify_bundle(copy)
    tune(str(copy))
    assert set(read(copy, "metrics.json")["test"]) == {"fixed", "tuned"}
    titles = [title for title, _ in split_sections((copy / "README.md").read_text())]
    assert titles[2:7] == list(SECTIONS)
    assert "model-index" in (copy / "README.md").read_text()


def test_a_failed_proof_leaves_everything_as_it_was(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(copy)

    def differs(*args: object, **kwargs: object) -> None:
        raise EnvironmentFault(Finding("P999", "proof", "expected equal logits, found others", "report it"))

    monkeypatch.setattr("hf_multilabel.release.prove_bundle", differs)
    with pytest.raises(EnvironmentFault, match="P999"):
        tune(str(copy), objective="macro_f1")
    assert tree(copy) == before


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"split": "test"}, r"C113.*expected validation or train, found 'test'"),
        ({"split": "train"}, r"C115.*found its train rows"),
        ({"source": "TEST"}, r"C115.*found its test rows"),
        ({"source": "HALF"}, r"C115.*found 50% of them among its test rows"),
        ({"overrides": ["training.seed=1"]}, r"C112\] training\.seed: "),
        ({"objective": "best"}, r"decision\.objective=best: expected one of fixed, micro_f1"),
        ({"objective": "precision_at_least"}, r"precision: expected a number under precision_at_least"),
        ({"overrides": ["decision.risk={recall: 0.99}"]}, r"expected at least 99 validation rows"),
        ({"overrides": ["decision.min_labels=9"]}, r"min_labels: expected a whole number from 0 to 8"),
        ({"risk": {"recall": 0.99}}, r"expected at least 99 validation rows"),
        ({"min_labels": 9}, r"min_labels: expected a whole number from 0 to 8"),
        ({"rsk": {"recall": 0.9}}, r"decision\.rsk=.*risk"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(run: Path, tmp_path: Path, arguments: dict, match: str) -> None:
    before = tree(run)
    if arguments.get("source") in ("TEST", "HALF"):
        finished = FinishedModel.load(run)
        splits = tuning.load_rows(finished, None)[1].splits
        half = [*splits["test"].select(range(24)), *splits["validation"].select(range(24))]
        rows = splits["test"] if arguments["source"] == "TEST" else half
        names = finished.labels.names
        lines = [{"text": row["text"], "labels": [names[i] for i in row["labels"]]} for row in rows]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        arguments = {"source": str(tmp_path / "rows.jsonl"), "overrides": ["data.id=null"]}
    with pytest.raises(InputError, match=match):
        tune(str(run), **arguments)
    assert tree(run) == before


def test_training_rows_are_known_where_the_runs_data_are_gone(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = FinishedModel.load(copy)
    rows, names = tuning.load_rows(finished, None)[1].splits["train"], finished.labels.names
    lines = [{"text": row["text"], "labels": [names[i] for i in row["labels"]]} for row in rows]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:40]))
    monkeypatch.setattr(tuning, "own_data", lambda *args: None)
    with pytest.raises(InputError, match=r"C115.*found 100% of them among its train rows"):
        tune(str(copy), str(tmp_path / "rows.jsonl"), ["data.id=null"])


SHIFTED = {"objective": "fixed", "calibration": "platt"}


def write_texts(folder: Path, count: int, name: str = "there.csv") -> Path:
    """Texts of the quickstart in a column of another name, one row of them blank."""
    rows = [json.loads(line) for line in (SOURCE / "test.jsonl").read_text().splitlines()[-count:]]
    with (folder / name).open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "body"], ["0", " "], *((row["id"], row["text"]) for row in rows)])
    return folder / name


@pytest.mark.usefixtures("unproved")
def test_texts_without_labels_are_as_good_as_given_prevalences(
    copy: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = write_texts(tmp_path, 120)
    settings = ["decision.calibration=platt"]
    options = ["--unlabelled", str(there), "--text", "body", "--objective", "fixed"]
    assert cli.call(["tune", str(copy), *settings, *options]) == 0
    told = said(capsys)
    assert "estimating prevalences from 120 texts of there.csv" in told
    assert "Prevalences: of 48 labelled rows, and estimated for the 120 texts of there.csv" in told
    assert "rows without text are left out, 1: " in told
    assert "as frequent as they were labelled, not as given or estimated in decision.prevalence" in told

    decision = read(copy, "config.json")["decision"]
    refitted = decision.pop("refitted")
    prevalence = refitted.pop("prevalence")
    assert refitted == {"data": None, "settings": ["decision.objective=fixed", *settings]}
    assert (prevalence["file"], prevalence["texts"]) == ("there.csv", 120)
    assert set(prevalence["estimated"]) == set(prevalence["intervals"]) <= set(FinishedModel.load(run).labels.names)
    for label, share in prevalence["estimated"].items():
        low, high = prevalence["intervals"][label]
        assert 0 < low <= share * 1.001
        assert share * 0.999 <= high <= 1
    assert any(offset != 0 for offset in decision["calibration"]["parameters"]["offset"])
    assert decision["calibration"]["prevalence"] == prevalence["estimated"]
    assert "Made for label prevalences estimated from 120 unlabelled texts of there.csv" in (
        copy / "README.md"
    ).read_text(encoding="utf-8")
    verify_bundle(copy)

    given = tune(str(copy), **SHIFTED, prevalence=prevalence["estimated"])
    assert given.pop("refitted")["settings"][-1].startswith("decision.prevalence=")
    assert given == decision


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {},
            r"R103\] decision\.calibration: expected platt, beta or isotonic beside .* found null; fix: add dec",
        ),
        ({"calibration": "temperature"}, r"decision\.calibration: .* found temperature; fix: add"),
        (
            {"calibration": "platt"},
            r"decision\.objective: expected fixed or cost_plug_in beside prevalence.*--unlabelled",
        ),
        (
            {"calibration": "platt", "risk": {"recall": 0.8}},
            r"decision\.prevalence: expected null: the promise .*there\.csv",
        ),
        (
            {**SHIFTED, "prevalence": {"cs": 0.5}},
            r"C119\] --unlabelled: expected no given prev.* found decision\.prevalence=",
        ),
        (
            {**SHIFTED, "overrides": ["evaluation.keep_scores=4"]},
            r"calibration: expected none that needs all scores, for of 8 labels",
        ),
        ({**SHIFTED, "text": "comment"}, r"there\.csv.*found.*body.*--text COLUMN"),
        ({**SHIFTED, "text": None}, r"there\.csv.*expected a column 'text'"),
        (
            {**SHIFTED, "count": 49},
            r"D125\] .*there\.csv: expected at least 50 texts, found 49: prevalences among so few",
        ),
        ({**SHIFTED, "unlabelled": "nowhere.txt"}, r"D101\] nowhere\.txt: expected a file, found none"),
        ({**SHIFTED, "unlabelled": None}, r"C119\] --text: expected --unlabelled, whose column it names, found none"),
    ],
)
def test_prevalences_that_can_not_be_estimated_are_refused_before_scoring(
    run: Path, tmp_path: Path, arguments: dict, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(run)
    monkeypatch.setattr(tuning.Task, "score", lambda *args: pytest.fail("scored"))
    given = {"unlabelled": str(write_texts(tmp_path, arguments.pop("count", 60))), "text": "body", **arguments}
    with pytest.raises(InputError, match=match):
        tune(str(run), **given)
    assert tree(run) == before


def test_a_hub_id_is_no_folder() -> None:
    with pytest.raises(InputError, match=r"C114\] me/model: .*tune_hub_model"):
        tune("me/model")


def test_keys_of_the_decision_are_keywords(run: Path) -> None:
    def decision(objective: str | None, **keys: object) -> DecisionSection:
        asked = tuning.with_objective(tuning.with_keys(["data.id=null"], keys), objective)
        return tuning.recipe_of(FinishedModel.load(run), asked).decision

    cost = decision("cost", false_negative_cost=np.float64(2.0), max_labels=3, risk=None)
    assert (cost.objective, cost.false_negative_cost, cost.max_labels) == ("cost", 2.0, 3)
    promised = decision(None, risk={"recall": 0.8, "confidence": 0.9})
    assert (promised.risk.recall, promised.risk.confidence) == (0.8, 0.9)


def test_options_of_the_old_objective_are_cleared_unless_given() -> None:
    found = tuning.with_objective(["decision.beta=2"], "samples_f1")
    assert "decision.shrinkage=null" in found
    assert "decision.threshold=0.5" in found
    assert "decision.risk=null" in found
    assert "decision.beta=null" not in found
    assert tuning.with_objective(["decision.empty=allow"], None) == ["decision.empty=allow"]
