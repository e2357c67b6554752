"""From a saved model to a report: the command, its refusals, and the report at the end of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hf_multilabel.cli import call
from hf_multilabel.errors import EnvironmentFault
from hf_multilabel.inference import FinishedModel
from hf_multilabel.measurement import load_rows
from hf_multilabel.recipe import load_recipe
from hf_multilabel.release import FinishedRun
from hf_multilabel.reporting import (
    cosine_by_layer,
    data_profile,
    own_profile,
    report_training,
    write_page,
)
from hf_multilabel.reports.page import Page, Prose, Section, Table
from hf_multilabel.workflow import train

QUICK = [
    "data.max_rows={train: 64, validation: 40, test: 40}",
    "data.max_length=24",
    "training.max_steps=3",
    "training.logging_steps=1",
    "training.per_device_train_batch_size=8",
    "training.eval_strategy=no",
    "model.backbone_sha256=null",
    "training.freeze_layers=0",
    "evaluation.intervals=false",
]


@pytest.fixture(scope="module")
def run(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FinishedRun]:
    """A tiny run's folder, and what it handed over at its end."""
    folder = tmp_path_factory.mktemp("report") / "run"
    kept: list[FinishedRun] = []
    given = [*QUICK, f"model.backbone={tiny_backbone_folder}", f"training.output_dir={folder}"]
    train(load_recipe("quickstart", given), after=kept.append)
    return folder, kept[0]


def test_a_run_hands_over_what_a_report_needs(run: tuple[Path, FinishedRun]) -> None:
    folder, finished = run
    assert finished.folder == folder
    assert finished.history == json.loads((folder / "history.json").read_text())
    assert {name for name in finished.history[1] if name.startswith("learning_rate/")} >= {
        "learning_rate/embeddings", "learning_rate/layer 0", "learning_rate/layer 1", "learning_rate/head",
    }  # fmt: skip
    counts, rows = FinishedModel.load(folder).training_counts()
    assert (sum(counts), rows) == (finished.data.label_matrix("train").nnz, 64)


def test_the_command_writes_one_file_and_its_figures(
    run: tuple[Path, FinishedRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, finished = run
    output = tmp_path / "page.html"
    text = "We train <b>a transformer</b> & more."
    assert call(["report", str(folder), "--output", str(output), "--text", text]) == 0
    found = capsys.readouterr()
    assert found.out.strip() == str(output)
    named = found.err.partition(f"{tmp_path / 'page_figures'}/: ")[2].splitlines()[0].split(", ")
    assert set(named) == {path.name for path in (tmp_path / "page_figures").iterdir()}
    html = output.read_text(encoding="utf-8")
    for anchor in ("results", "decision", "training", "labels", "errors", "looks", "collapse", "recipe"):
        assert f'<section id="{anchor}">' in html
    assert f"{finished.metrics['test']['tuned']['micro_f1']:.4f}" in html
    assert "We train &lt;b&gt;a transformer&lt;/b&gt; &amp; more." in html
    head = html.split("</header>")[0]
    assert "<dt>data</dt><dd>quickstart</dd>" in head
    assert "A label is predicted when its probability is at least" in head
    assert "freeze_layers: 0" in html  # the recipe as it was run, not as it is read for scoring
    assert "backbone: scratch" not in html
    drawn = {path.stem for path in (tmp_path / "page_figures").iterdir()}
    assert {"curves", "reliability", "text_1_layers"} <= drawn
    assert {"data_label_distribution", "data_imbalance", "data_cooccurrence", "data_lengths"} <= drawn
    assert "labels a row (cardinality)" in html
    assert "hf-multilabel inspect finds them" in html
    assert html.count("data:image/png;base64,") == len(drawn)


def test_the_data_section_counts_the_run_s_own_data(run: tuple[Path, FinishedRun]) -> None:
    folder, finished = run
    model = FinishedModel(str(folder), finished.model, finished.tokenizer)
    recipe, data = load_rows(model, None)
    blocks = data_profile(model, recipe, data, finished.metrics)
    lengths = next(block for block in blocks if isinstance(block, Table) and "Percentiles" in block.caption)
    shares = {row[0]: row[-1] for row in lengths.rows}
    assert shares == finished.metrics["data"]["truncated_share"]  # of all texts, not of a sample
    assert not [block for block in blocks if isinstance(block, Prose) and block.warning]
    other = {"data": {"fingerprints": finished.metrics["data"]["fingerprints"] | {"train": "0"}}}
    warned = data_profile(model, recipe, data, other)[1]
    assert warned.warning
    assert "not the very rows of the training (train)" in warned.lines[0]


def test_a_report_on_other_rows_shows_the_training_s_data_or_says_what_is_missing(
    run: tuple[Path, FinishedRun], tmp_path: Path
) -> None:
    folder, finished = run
    there = own_profile(FinishedModel(str(folder), finished.model, finished.tokenizer), finished.metrics)
    splits = next(block for block in there if isinstance(block, Table))
    assert splits.rows[0] == ("rows", 64, 40, 40)
    for name in ("recipe.yaml", ".run.json"):
        (tmp_path / name).write_text((folder / name).read_text())
    (tmp_path / ".run.json").write_text(json.dumps({"sources": {"data.source": str(tmp_path / "gone")}}))
    (gone,) = own_profile(FinishedModel(str(tmp_path), finished.model, finished.tokenizer), finished.metrics)
    assert gone.warning
    assert "are not here" in gone.lines[0]
    assert str(tmp_path / "gone") in gone.lines[1]


def test_rows_of_the_decision_get_no_headline(run: tuple[Path, FinishedRun], tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert call(["report", str(run[0]), "--split", "validation", "--output", str(output)]) == 0
    html = output.read_text(encoding="utf-8")
    assert "fitted on these very rows" in html
    assert 'class="tiles"' not in html


def test_training_rows_get_no_headline(run: tuple[Path, FinishedRun], tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert call(["report", str(run[0]), "--split", "train", "--output", str(output)]) == 0
    html = output.read_text(encoding="utf-8")
    assert "trained on these very rows" in html
    assert 'class="tiles"' not in html


def test_without_the_extra_nothing_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "captum", None)
    assert call(["report", str(tmp_path)]) == 2  # before the folder is looked at
    assert "this needs hf-multilabel[report], found no captum" in capsys.readouterr().err


def test_two_runs_are_compared(run: tuple[Path, FinishedRun], tmp_path: Path) -> None:
    output = tmp_path / "pair.html"
    assert call(["report", str(run[0]), str(run[0]), "--output", str(output)]) == 0
    html = output.read_text(encoding="utf-8")
    assert "0 of 40 texts got other labels" in html
    assert "0 of 8 labels are decided differently" in html
    assert (tmp_path / "pair_figures" / "difference_metrics.png").is_file()


def test_what_is_wrong_is_said_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["report", str(tmp_path / "none")]) == 2
    assert "C102" in capsys.readouterr().err
    assert call(["report", str(tmp_path), "--output", str(tmp_path / "no" / "page.html")]) == 2
    assert "C202" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("enabled", "seconds", "written"), [(None, 30, False), (None, 300, True), (False, 300, False)])
def test_a_run_writes_its_report_where_it_costs_little(
    run: tuple[Path, FinishedRun],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    enabled: bool | None,
    seconds: float,
    written: bool,
) -> None:
    _, finished = run
    recipe = replace(finished.recipe, report=finished.recipe.report.model_copy(update={"enabled": enabled}))
    metrics = finished.metrics | {"training": finished.metrics["training"] | {"seconds": seconds}}
    (tmp_path / "report.html").write_text("of the model that was here before")
    report_training(replace(finished, recipe=recipe, metrics=metrics, folder=tmp_path))
    assert (tmp_path / "report.html").is_file() == written
    said = capsys.readouterr().err
    assert ("hf-multilabel report" in said) == (enabled is None and not written)


def test_a_report_that_fails_fails_no_run(
    run: tuple[Path, FinishedRun],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, finished = run
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    recipe = replace(finished.recipe, report=finished.recipe.report.model_copy(update={"enabled": True}))
    report_training(replace(finished, recipe=recipe, folder=tmp_path))
    assert "no report was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_equal_documents_are_one_point(run: tuple[Path, FinishedRun]) -> None:
    finished = FinishedModel(str(run[0]), run[1].model, run[1].tokenizer)
    apart = cosine_by_layer(finished, run[1].data.splits["test"]["text"])
    assert len(apart) == 3
    assert all(-1 <= cosine < 0.9999 for cosine in apart)
    assert cosine_by_layer(finished, ["the same words"] * 5) == pytest.approx([1, 1, 1])
    assert cosine_by_layer(finished, ["one"]) == []


def test_a_full_disk_leaves_no_half_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page("run", [Section("a", "A", [Prose(["text"])])])

    def refuse(self: Path, content: bytes) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(EnvironmentFault, match=r"C121.*No space left"):
        write_page(page, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_help_has_an_example(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert call(["report", "--help"]) == 0
    assert "hf-multilabel report runs/first runs/second" in capsys.readouterr().out
