from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hf_multilabel.assets import recipes_folder
from hf_multilabel.errors import InputError
from hf_multilabel.studies.cells import Cell, grid_cells, written
from hf_multilabel.studies.definition import load_study
from tests.studies.conftest import GRID

DATA = {"toxic_pooling": ["data.source=owner/toxic"], "imbalance": ["data.source=owner/topics"]}


@pytest.mark.parametrize("name", sorted(path.stem for path in (recipes_folder() / "studies").glob("*.yaml")))
def test_shipped_studies_load(name: str) -> None:
    plan = load_study(name, DATA.get(name, ()))
    header = plan.path.read_text(encoding="utf-8")
    assert "reduced:" in header
    assert not plan.is_grid or len(plan.cells()) > 1


def test_optimizer_study_covers_the_rates_of_both_bases() -> None:
    tried: dict[str, set[float]] = {}
    for cell in load_study("eurlex_optimizers").cells():
        tried.setdefault(cell.labels["optimizer"], set()).add(cell.values["training.learning_rate"])
    factors = (10, 1, 0.1, 0.01, 0.001)
    bases = {"Adam": [0.001], "AMSGrad": [0.001], "AdamW": [0.001], "Adadelta": [0.01, 1], "Adagrad": [1, 0.01]}
    assert set(tried) == set(bases)
    for optimizer, rates in bases.items():
        wanted = sorted({rate * factor for rate in rates for factor in factors})
        assert sorted(tried[optimizer]) == pytest.approx(wanted)


def test_groups_vary_together_and_lists_multiply() -> None:
    cells = grid_cells({"how": {"a": {"x.y": [1, 2], "x.z": 0}, "b": {"x.y": 3}}, "p.q": [True, False]})
    assert [cell.values for cell in cells] == [
        {"x.y": y, **({"x.z": 0} if y < 3 else {}), "p.q": q} for y in (1, 2, 3) for q in (True, False)
    ]
    assert cells[0].labels == {"how": "a", "y": 1, "q": True}


@pytest.mark.parametrize("value", [1e-05, 1e30, 0.1, 3, None, True, "no", "1e-5", {"a": [1e-7, "x: y"]}, [{"b": None}]])
def test_values_survive_the_way_through_an_override(value: object) -> None:
    from hf_multilabel.recipe.reading import Place, read_text

    assert read_text(written(value), lambda line, column: Place("x")).values == value


def test_the_recipe_of_a_run_has_every_value(write_study: Callable[..., Path], tmp_path: Path) -> None:
    plan = load_study(write_study(), ["training.max_steps=3"])
    recipe = plan.recipe(plan.cells()[1], 7, tmp_path / "run")
    assert recipe.training["learning_rate"] == 1e-4
    assert recipe.training["optimizer"] == "adam"
    assert recipe.training["seed"] == 7
    assert recipe.training["max_steps"] == 3  # the command line wins over the study
    assert recipe.training["save_strategy"] == "no"
    assert recipe.training["output_dir"] == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grid: {training.learnig_rate: [1]}", r"mine\.yaml:\d+:\d+ grid\.training\.learnig_rate.*learning_rate"),
        ("grid: {how: {a: {training.optimizer: adamm}}}", r"grid\.how\.a\.training\.optimizer.*adamw?\b"),
        ("grid: {training.learning_rate: 1.0}", r"grid\.training\.learning_rate.*a list of values"),
        ("grid: {training.seed: [1]}", "write seeds"),
        ("grid: {model.pooling: []}", "empty list"),
        ("grid: {}", "at least one key"),
        ("", "either grid or space"),
        ("grd: {}", r"mine\.yaml.*grid"),
        ("space: {training.learning_rate: {type: float, low: 2, high: 1}}", r"high.*more than low"),
        ("space: {training.learning_rate: {type: float, low: 0, high: 1, log: true}}", r"low.*number > 0"),
        ("space: {training.learning_rate: {type: float, low: -1.0, high: 1.0}}", r"learning_rate.*> 0"),
        ("space: {model.pooling: [cls, men]}", "mean"),
        ("grid: {model.pooling: [cls, mean]}\nseeds: [1, 1]", "different seeds"),
        ("grid: {model.pooling: [cls, mean]}\nmetric: mikro_f1", r"metric.*micro_f1"),
        ("grid: {model.pooling: [cls, mean]}\ndecision: tuned", "micro_f1 or macro_f1"),
    ],
)
def test_what_a_study_gets_wrong_is_said_at_its_line(text: str, said: str, write_study: Callable[..., Path]) -> None:
    path = write_study(text)
    if "metric" in text:
        path.write_text(path.read_text().replace("metric: micro_auc\n", "", 1))
    with pytest.raises(InputError, match=said):
        load_study(path)


def test_a_varied_key_is_no_override(write_study: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="leaves alone"):
        load_study(write_study(), ["training.learning_rate=1"])


def test_overrides_of_the_study_itself(write_study: Callable[..., Path]) -> None:
    plan = load_study(write_study(), ["study.seeds=[3, 4]", "study.curve.points=7"])
    assert plan.settings.seeds == [3, 4]
    assert plan.settings.curve.points == 7
    assert plan.settings.curve.rows == 16


def test_another_base_is_another_study(write_study: Callable[..., Path]) -> None:
    path = write_study()
    first = load_study(path)
    assert load_study(path, ["training.max_steps=3"]).base_sha256 != first.base_sha256
    assert load_study(path, ["study.seeds=[5]"]).base_sha256 == first.base_sha256
    path.write_text(path.read_text().replace(GRID, "grid: {model.pooling: [cls, mean]}"))
    assert load_study(path).base_sha256 == first.base_sha256
    assert Cell({}, {}).name == ""


def test_a_missing_study_names_the_nearest_file_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").touch()
    with pytest.raises(InputError, match=r"R001.*no such file; fix: write own/mine\.yaml$"):
        load_study("own/min.yaml")


def test_the_name_of_a_study_at_a_long_path_can_be_typed(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 90)
    folder.mkdir()
    (folder / "mine.yaml").touch()
    with pytest.raises(InputError, match=r"R001.*no such file; fix: write mine\.yaml, of that folder$"):
        load_study(str(folder / "min.yaml"))
