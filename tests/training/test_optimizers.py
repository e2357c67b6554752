from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AlbertConfig, DebertaV2Config, DistilBertConfig, ModernBertConfig

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.training.optimizers import find_layers, freeze_lowest, groups_table, layer_groups, parameter_groups

SMALL = {"vocab_size": 50, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
ENCODERS = {
    "distilbert": DistilBertConfig(vocab_size=50, n_layers=3, n_heads=2, dim=8, hidden_dim=16),
    "deberta-v2": DebertaV2Config(**SMALL, hidden_size=8, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "modernbert": ModernBertConfig(
        **SMALL, hidden_size=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
    ),
}


def build(config: object) -> MultiLabelForSequenceClassification:
    return MultiLabelForSequenceClassification(MultiLabelConfig(backbone_config=config, id2label={0: "a", 1: "b"}))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_parameter_is_in_one_group_and_rates_decay_downwards(name: str) -> None:
    model = build(ENCODERS[name])
    groups = layer_groups(model, 1e-3, head_learning_rate=1e-2, layerwise_decay=0.5)
    names = [parameter for group in groups for parameter in group.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    rates = {group.name: group.learning_rate for group in groups}
    assert rates["head"] == 1e-2
    assert [rates[f"layer {d}"] for d in range(3)] == pytest.approx([2.5e-4, 5e-4, 1e-3])
    assert rates["embeddings"] == pytest.approx(1.25e-4)


def test_what_lies_above_the_layers_trains_like_the_top_one() -> None:
    groups = {group.name: group for group in layer_groups(build(ENCODERS["modernbert"]), 1e-3, None, 0.5)}
    assert list(groups["top"].parameters) == ["backbone.final_norm.weight"]
    assert groups["top"].learning_rate == groups["head"].learning_rate == 1e-3


def test_shared_layers_are_one_layer() -> None:
    config = AlbertConfig(**SMALL, hidden_size=8, embedding_size=8)
    rates = {group.name: group.learning_rate for group in layer_groups(build(config), 1e-3, None, 0.5)}
    assert rates["layer 0"] == 1e-3
    assert rates["embeddings"] == 5e-4


def test_frozen_parameters_are_left_out(tiny_backbone: Backbone) -> None:
    model = build_model(tiny_backbone, ["a", "b"])
    model.backbone.requires_grad_(False)
    assert [group.name for group in layer_groups(model, 1e-3)] == ["head"]


def test_torch_groups_split_by_weight_decay(tiny_backbone: Backbone) -> None:
    model = build_model(tiny_backbone, ["a", "b"])
    decayed = {name for name, parameter in model.named_parameters() if parameter.ndim > 1}
    found = parameter_groups(layer_groups(model, 1e-3, 1e-2, 0.9), 0.01, decayed)
    optimizer = torch.optim.AdamW(found)
    assert sum(len(group["params"]) for group in found) == len(list(model.parameters()))
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert rates["head"] == (1e-2, 0.01)
    assert rates["head (no decay)"] == (1e-2, 0.0)
    assert rates["layer 0"] == (pytest.approx(9e-4), 0.01)


def test_a_backbone_without_layers() -> None:
    assert find_layers(nn.Embedding(3, 2)) == ("", 0)


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.1])
def test_decay_out_of_range(decay: float, tiny_backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="layerwise_decay: expected a factor"):
        layer_groups(build_model(tiny_backbone, ["a", "b"]), 1e-3, None, decay)


def test_table_lists_head_first(tiny_backbone: Backbone) -> None:
    table = groups_table(layer_groups(build_model(tiny_backbone, ["a", "b"]), 1e-3), 0.01)
    assert list(table.columns[0].cells) == ["head", "layer 1", "layer 0", "embeddings"]


def test_freezing_the_lowest_layers(tiny_backbone: Backbone) -> None:
    model = build_model(tiny_backbone, ["a", "b"])
    for _ in range(2):  # a second trainer on the same model freezes no more
        freeze_lowest(model, 1)
    assert [group.name for group in layer_groups(model, 1e-3)] == ["layer 1", "head"]
    with pytest.raises(ValueError, match="freeze_layers: expected 0 to 2"):
        freeze_lowest(model, 3)
