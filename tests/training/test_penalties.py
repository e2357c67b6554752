from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.penalties import elastic_net, head_weights
from hf_multilabel.training.trainer import MultiLabelTrainer


@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.0, 0.2), (0.1, 0.2)])
def test_equals_a_loop_and_its_derivative(l1: float, l2: float) -> None:
    weights = [torch.randn(3, 4, requires_grad=True), torch.randn(2, 3, requires_grad=True)]
    found = elastic_net(weights, l1, l2)
    slow = sum(l1 * abs(value) + l2 * value**2 for weight in weights for value in weight.flatten().tolist())
    assert found.item() == pytest.approx(slow, rel=1e-6)
    found.backward()
    for weight in weights:
        torch.testing.assert_close(weight.grad, l1 * weight.detach().sign() + 2 * l2 * weight.detach())


def test_only_the_weights_of_the_head(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    model = make_trainer().model
    assert [id(weight) for weight in head_weights(model)] == [id(model.head.output.weight)]


def losses(trainer: MultiLabelTrainer) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_added_once_a_step_however_it_is_divided(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    found = {}
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        found[batch] = losses(
            make_trainer(
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=accumulation,
                max_steps=4,
                head_l1=0.01,
                head_l2=0.02,
            )
        )
    np.testing.assert_allclose(found[2], found[4], atol=1e-6)
    np.testing.assert_allclose(found[1], found[4], atol=1e-6)
    plain = make_trainer(max_steps=4)
    penalty = elastic_net(head_weights(plain.model), 0.01, 0.02).item()
    assert found[4][0] == pytest.approx(losses(plain)[0] + penalty, abs=1e-6)


def test_it_is_the_gradient_of_the_penalty(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    values = {"optimizer": "sgd", "max_steps": 1, "max_grad_norm": 0.0, "learning_rate": 0.1}
    plain, penalised = make_trainer(**values), make_trainer(head_l1=0.03, head_l2=0.2, **values)
    start = plain.model.head.output.weight.detach().clone()
    plain.train()
    penalised.train()
    moved = plain.model.head.output.weight.detach() - penalised.model.head.output.weight.detach()
    torch.testing.assert_close(moved, 0.1 * (0.03 * start.sign() + 0.4 * start), atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(plain.model.head.output.bias, penalised.model.head.output.bias)


def test_evaluation_has_no_penalty(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    found = [make_trainer(head_l2=l2).evaluate()["eval_loss"] for l2 in (0.0, 10.0)]
    assert found[0] == found[1]


def test_a_negative_penalty(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="head_l1: expected a number >= 0, found -1"):
        MultiLabelTrainingArguments(output_dir=str(tmp_path), head_l1=-1.0)
