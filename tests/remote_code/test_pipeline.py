"""The pipeline says what the model decides, one dictionary a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Pipeline, pipeline

from hf_multilabel import MultiLabelClassificationPipeline, MultiLabelForSequenceClassification, default_decision
from hf_multilabel.backbones import Backbone, build_model

TASK = "multi-label-classification"


@pytest.fixture
def make(tiny_backbone: Backbone, tiny_label_names: list[str]) -> Callable[..., Pipeline]:
    def make_pipeline(**decision: Any) -> Pipeline:
        model = build_model(tiny_backbone, tiny_label_names, decision={**default_decision(), **decision})
        torch.nn.init.normal_(model.head.output.weight)  # scores on both sides of 0.5
        return pipeline(TASK, model=model, tokenizer=tiny_backbone.tokenizer, device="cpu")

    return make_pipeline


def logits_of(pipe: Pipeline, text: str) -> torch.Tensor:
    with torch.no_grad():
        return pipe.model(**pipe.tokenizer(text, return_tensors="pt")).logits


def test_task_is_registered(make: Callable[..., Pipeline]) -> None:
    assert type(make()) is MultiLabelClassificationPipeline


def test_label_sets_and_scores_are_the_models(make: Callable[..., Pipeline], tiny_texts: list[str]) -> None:
    pipe = make()
    for text in tiny_texts:
        result, logits = pipe(text), logits_of(pipe, text)
        assert sorted(result["labels"]) == sorted(pipe.model.predict_labels(logits)[0])
        assert list(result["scores"]) == result["labels"]
        assert list(result["scores"].values()) == sorted(result["scores"].values(), reverse=True)
        probs = dict(zip(pipe.model.config.label_names, logits.sigmoid()[0].tolist(), strict=True))
        assert all(probs[name] == pytest.approx(score, abs=1e-6) for name, score in result["scores"].items())
        assert set(result) == {"labels", "scores"}


def test_one_text_gives_a_dictionary_and_several_a_list(make: Callable[..., Pipeline], tiny_texts: list[str]) -> None:
    pipe = make()
    single = [pipe(text) for text in tiny_texts]
    batched = pipe(tiny_texts, batch_size=5)
    assert [sorted(result["labels"]) for result in batched] == [sorted(result["labels"]) for result in single]
    for one, other in zip(batched, single, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-6)
    assert len(pipe(tuple(tiny_texts[:2]))) == 2
    assert [result["labels"] for result in pipe(text for text in tiny_texts)] == [item["labels"] for item in single]
    assert pipe([]) == []


def test_probabilities_of_the_best_or_of_all_on_request(make: Callable[..., Pipeline], tiny_texts: list[str]) -> None:
    pipe = make()
    everything = pipe(tiny_texts[0], return_all_scores=True)["probabilities"]
    assert set(everything) == set(pipe.model.config.label_names)
    assert list(pipe(tiny_texts[0], top_k=2)["probabilities"].items()) == list(everything.items())[:2]
    with pytest.raises(ValueError, match="top_k: expected a whole number above 0, found 0"):
        pipe(tiny_texts[0], top_k=0)


def test_abstaining_is_told_apart_from_no_label(make: Callable[..., Pipeline]) -> None:
    nothing = make(empty="abstain", thresholds=1.0)("some text")
    assert nothing == {"labels": [], "scores": {}, "abstained": True}
    assert make(empty="abstain", thresholds=0.0)("some text")["abstained"] is False
    assert make(thresholds=1.0)("some text") == {"labels": [], "scores": {}}


def test_long_and_empty_texts_are_read_as_far_as_the_model_goes(make: Callable[..., Pipeline]) -> None:
    pipe = make()
    assert pipe("shares rise " * 100_000, return_all_scores=True) == pipe("shares rise " * 31, return_all_scores=True)
    assert pipe("shares rise", max_length=3, return_all_scores=True) == pipe("shares", return_all_scores=True)
    assert "labels" in pipe("")
    with pytest.raises(ValueError, match="inputs: expected a text, found 7"):
        pipe([7])


def test_saved_pipeline_loads_again(make: Callable[..., Pipeline], tmp_path: Path, tiny_texts: list[str]) -> None:
    pipe = make()
    pipe.save_pretrained(tmp_path)
    loaded = pipeline(TASK, model=str(tmp_path), trust_remote_code=True, device="cpu")
    assert isinstance(loaded.model, MultiLabelForSequenceClassification)
    assert loaded(tiny_texts)[3]["scores"] == pytest.approx(pipe(tiny_texts)[3]["scores"], abs=1e-6)
