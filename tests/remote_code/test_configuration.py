"""The configuration survives JSON and refuses labels or decisions that contradict each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, BertConfig, DistilBertConfig

from hf_multilabel import MultiLabelConfig, default_decision, hash_labels

NAMES = ["0010", "no", 'naïve, "quoted"']


def make(**changes: Any) -> MultiLabelConfig:
    fields = {"backbone_config": BertConfig(hidden_size=32), "id2label": dict(enumerate(NAMES)), **changes}
    return MultiLabelConfig(**fields)


def fitted() -> dict[str, Any]:
    return {**default_decision(), "thresholds": [0.1, 0.25, 1 / 3], "labels_sha256": hash_labels(NAMES)}


def test_round_trip_through_a_folder_keeps_everything(tmp_path: Path) -> None:
    config = make(pooling="max", head="mlp", head_kwargs={"width": 7}, decision=fitted())
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded.to_json_string() == config.to_json_string()
    assert loaded.decision == fitted()
    assert loaded.label_names == NAMES
    assert loaded.label2id == {name: label for label, name in enumerate(NAMES)}
    assert isinstance(loaded.backbone_config, BertConfig)
    assert loaded.backbone_config.hidden_size == 32
    assert (loaded.pooling, loaded.head, loaded.head_kwargs) == ("max", "mlp", {"width": 7})


def test_config_json_states_the_decision_even_if_it_is_the_default() -> None:
    stored = json.loads(make().to_json_string())
    assert stored["decision"] == default_decision()
    assert stored["problem_type"] == "multi_label_classification"
    assert list(stored["custom_pipelines"]) == ["multi-label-classification"]
    assert stored["backbone_config"]["model_type"] == "bert"


def test_equality_sees_own_fields() -> None:
    assert make() == make()
    assert make() != make(pooling="max")
    assert make() != make(decision=fitted())


def test_two_configs_share_no_state() -> None:
    one, other = MultiLabelConfig(), MultiLabelConfig()
    one.head_kwargs["dropout"] = 0.5
    one.decision["thresholds"] = 0.9
    one.custom_pipelines.clear()
    assert other.head_kwargs == {}
    assert other.decision == default_decision()
    assert other.custom_pipelines


def test_text_config_is_the_backbones() -> None:
    config = make(backbone_config=DistilBertConfig(dim=48))
    assert config.get_text_config() is config.backbone_config
    assert config.get_text_config(decoder=True).hidden_size == 48


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"id2label": {0: "a", 2: "c"}}, r"id2label: expected id 1, found 2"),
        ({"id2label": {0: "a", 1: "a"}}, r"id2label: expected unique names, found 'a' twice"),
        ({"num_labels": 7}, r"num_labels: expected 3 as in id2label, found 7"),
        ({"decision": {**fitted(), "thresholds": [0.5, 0.5]}}, r"thresholds: expected .* or 3, .* found '2 numbers'"),
        ({"decision": {**fitted(), "labels_sha256": "0"}}, r"labels_sha256: expected .* 3 labels, found '0'"),
        ({"id2label": dict(enumerate(reversed(NAMES))), "decision": fitted()}, r"labels_sha256"),
        ({"backbone_config": {"model_type": "unheard-of"}}, r"model_type: expected a type .* found 'unheard-of'"),
    ],
)
def test_contradiction_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(**changes)
