"""Sliding windows against a loop over texts and windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.remote_code.windows_multilabel import AGGREGATIONS, count_windows, cut_windows
from hf_multilabel.training.scoring import head_features

SETTINGS = {"length": 8, "stride": 4, "aggregation": "max", "prefix": 1, "suffix": 1}


def divide(ids: list[int], length: int, stride: int, prefix: int, suffix: int) -> list[list[int]]:
    """The obvious way: windows of one text, special tokens around each."""
    if len(ids) <= length:
        return [ids]
    before, own, after = ids[:prefix], ids[prefix : len(ids) - suffix], ids[len(ids) - suffix :]
    room = length - prefix - suffix
    starts = [0]
    while starts[-1] + room < len(own):
        starts.append(min(starts[-1] + stride, len(own) - room))
    return [[*before, *own[start : start + room], *after] for start in starts]


def padded(rows: list[list[int]], side: str) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        start = 0 if side == "right" else width - len(row)
        ids[number, start : start + len(row)] = torch.tensor(row, dtype=torch.long)
        mask[number, start : start + len(row)] = 1
    return ids, mask


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("length", "stride"), [(8, 4), (8, 6), (9, 1), (16, 10), (10, 7)])
@pytest.mark.parametrize(("prefix", "suffix"), [(1, 1), (0, 0), (0, 1), (2, 1)])
def test_windows_are_those_of_a_loop(side: str, length: int, stride: int, prefix: int, suffix: int) -> None:
    stride = min(stride, length - prefix - suffix)
    generator = np.random.default_rng(length * 7 + stride)
    sizes = [0, 1, prefix + suffix, length - 1, length, length + 1, length + stride, 3 * length, 41]
    rows = [generator.integers(5, 99, size).tolist() for size in sizes]
    ids, mask = padded(rows, side)
    windows = {"length": length, "stride": stride, "aggregation": "max", "prefix": prefix, "suffix": suffix}
    cut = cut_windows(mask, windows)
    found = [row[held.bool()].tolist() for row, held in zip(cut.take(ids, 0), cut.mask, strict=True)]
    expected = [
        (number, part) for number, row in enumerate(rows) for part in divide(row, length, stride, prefix, suffix)
    ]
    assert list(zip(cut.owner.tolist(), found, strict=True)) == expected
    counts = [max(sum(owner == number for owner, _ in expected), 1) for number in range(len(rows))]
    assert count_windows(torch.tensor(sizes), windows).tolist() == counts
    assert all(held == sorted(held, reverse=True) for held in cut.mask.tolist())  # real tokens on the left


def test_texts_no_longer_than_a_window_stay_as_they_are() -> None:
    assert cut_windows(torch.ones(3, 8, dtype=torch.long), SETTINGS) is None


def test_aggregations_follow_their_definitions() -> None:
    torch.manual_seed(0)
    values, owner = torch.randn(6, 4, dtype=torch.float64) * 3, torch.tensor([0, 0, 0, 1, 2, 2])
    parts = [values[:3], values[3:4], values[4:]]
    expected = {
        "max": [part.amax(0) for part in parts],
        "mean": [part.mean(0) for part in parts],
        "noisy_or": [torch.logit(1 - (1 - part.sigmoid()).prod(0)) for part in parts],
    }
    assert set(expected) == set(AGGREGATIONS)
    for name, rows in expected.items():
        torch.testing.assert_close(AGGREGATIONS[name](values, owner, 3), torch.stack(rows))


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_aggregations_stay_finite_and_train(name: str) -> None:
    values = torch.tensor([[-200.0, 60.0], [-90.0, 60.0], [0.5, -5.0]], requires_grad=True)
    found = AGGREGATIONS[name](values, torch.tensor([0, 0, 1]), 2)
    found.sum().backward()
    assert found.isfinite().all()
    assert values.grad.isfinite().all()
    torch.testing.assert_close(found[1], values[2])  # one window: its own logits


def model_of(backbone: Backbone, names: list[str], **windows: object) -> MultiLabelForSequenceClassification:
    torch.manual_seed(0)
    return build_model(backbone, names, windows={"length": 12, "aggregation": "max", **windows}, head="mlp")


def batch_of(backbone: Backbone, texts: list[str]) -> dict[str, Tensor]:
    return dict(backbone.tokenizer(texts, padding=True, return_tensors="pt"))


TEXTS = [
    "alpha beta gamma " * 9,
    "short text",
    "",
    "one two three four five six seven eight nine ten eleven twelve " * 2,
]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_text_is_judged_as_its_windows_are(
    tiny_backbone: Backbone, tiny_label_names: list[str], aggregation: str
) -> None:
    model = model_of(tiny_backbone, tiny_label_names, aggregation=aggregation, stride=5)
    plain = build_model(tiny_backbone, tiny_label_names, head="mlp")
    plain.load_state_dict(model.state_dict())
    batch = batch_of(tiny_backbone, TEXTS)
    with torch.no_grad():
        found = model(**batch).logits
        for number, row in enumerate(batch["input_ids"]):
            ids = row[batch["attention_mask"][number].bool()].tolist()
            parts = [plain(torch.tensor([part])).logits[0] for part in divide(ids, 12, 5, 1, 1)]
            owner = torch.zeros(len(parts), dtype=torch.long)
            expected = AGGREGATIONS[aggregation](torch.stack(parts), owner, 1)[0]
            torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=1e-4)


def test_neither_padding_nor_neighbours_change_a_text(tiny_backbone: Backbone, tiny_label_names: list[str]) -> None:
    model = model_of(tiny_backbone, tiny_label_names)
    batch = batch_of(tiny_backbone, TEXTS)
    with torch.no_grad():
        together = model(**batch).logits
        for number, text in enumerate(TEXTS):
            alone = model(**batch_of(tiny_backbone, [text])).logits[0]
            torch.testing.assert_close(together[number], alone, atol=1e-5, rtol=1e-4)


def test_windows_travel_with_the_model(tiny_backbone: Backbone, tiny_label_names: list[str], tmp_path) -> None:
    model = model_of(tiny_backbone, tiny_label_names, aggregation="noisy_or")
    assert model.config.windows == {"length": 12, "stride": 7, "aggregation": "noisy_or", "prefix": 1, "suffix": 1}
    model.save_pretrained(tmp_path)
    again = MultiLabelForSequenceClassification.from_pretrained(tmp_path)
    batch = batch_of(tiny_backbone, TEXTS)
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, again(**batch).logits)
    assert again.max_tokens() is None


def test_every_window_trains(tiny_backbone: Backbone, tiny_label_names: list[str]) -> None:
    model = model_of(tiny_backbone, tiny_label_names, aggregation="mean").train()
    batch = batch_of(tiny_backbone, TEXTS)
    labels = torch.zeros(len(TEXTS), len(tiny_label_names))
    model(**batch, labels=labels).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_features_of_windows_are_their_mean(tiny_backbone: Backbone, tiny_label_names: list[str]) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_backbone, tiny_label_names, windows={"length": 12, "stride": 5, "aggregation": "mean"})
    batch = batch_of(tiny_backbone, TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(model.head.output(head_features(model, batch)), model(**batch).logits)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"stride": 7}, "windows.stride: expected 1 to 6"),
        ({"stride": 0}, "windows.stride"),
        ({"aggregation": "median"}, "windows.aggregation: expected one of"),
        ({"size": 3}, "windows: expected the keys"),
    ],
)
def test_windows_that_skip_tokens_are_refused(change: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MultiLabelConfig(windows={**SETTINGS, **change}, id2label={0: "a"})


def test_embeddings_of_long_texts_are_refused(tiny_backbone: Backbone, tiny_label_names: list[str]) -> None:
    model = model_of(tiny_backbone, tiny_label_names)
    with pytest.raises(ValueError, match="input_ids"):
        model(inputs_embeds=torch.zeros(1, 20, model.config.backbone_config.hidden_size))
