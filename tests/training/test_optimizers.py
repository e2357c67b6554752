from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import Adafactor
from transformers.training_args import OptimizerNames

from hf_multilabel.training.arguments import MultiLabelTrainingArguments
from hf_multilabel.training.optimizers import OPTIM_ARGS, OPTIMIZERS, is_ours, resolve_optimizer
from hf_multilabel.training.trainer import MultiLabelTrainer

# Name and arguments as a recipe gives them, and torch's own class with the arguments it must get.
TWINS = [
    ("adamw", {}, torch.optim.AdamW, {}),
    ("adamw", {"amsgrad": True, "eps": 1e-6}, torch.optim.AdamW, {"amsgrad": True, "eps": 1e-6}),
    ("adam", {"betas": [0.8, 0.9]}, torch.optim.Adam, {"betas": (0.8, 0.9)}),
    ("amsgrad", {}, torch.optim.Adam, {"amsgrad": True}),
    ("adamax", {}, torch.optim.Adamax, {}),
    ("nadam", {"momentum_decay": 0.01}, torch.optim.NAdam, {"momentum_decay": 0.01}),
    ("nadamw", {}, torch.optim.NAdam, {"decoupled_weight_decay": True}),
    ("radam", {}, torch.optim.RAdam, {}),
    ("radamw", {}, torch.optim.RAdam, {"decoupled_weight_decay": True}),
    ("adadelta", {"rho": 0.95}, torch.optim.Adadelta, {"rho": 0.95}),
    ("adagrad", {"lr_decay": 0.1}, torch.optim.Adagrad, {"lr_decay": 0.1}),
    ("rmsprop", {"centered": True, "momentum": 0.5}, torch.optim.RMSprop, {"centered": True, "momentum": 0.5}),
    ("sgd", {"momentum": 0.7, "dampening": 0.1}, torch.optim.SGD, {"momentum": 0.7, "dampening": 0.1}),
    ("sgd_momentum", {}, torch.optim.SGD, {"momentum": 0.9}),
    ("sgd_nesterov", {"momentum": 0.8}, torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    ("asgd", {"alpha": 0.6}, torch.optim.ASGD, {"alpha": 0.6}),
    ("adafactor", {}, Adafactor, {"scale_parameter": False, "relative_step": False}),
    ("adamw_torch", {}, torch.optim.AdamW, {}),
    ("adamw_torch_fused", {}, torch.optim.AdamW, {"fused": True}),
]


def arguments(folder: Path, **values: object) -> MultiLabelTrainingArguments:
    return MultiLabelTrainingArguments(output_dir=str(folder), use_cpu=True, **values)


def descend(optimizer: torch.optim.Optimizer, weight: torch.Tensor) -> torch.Tensor:
    for step in range(4):
        optimizer.zero_grad()
        ((weight - 1).square() * (step + 1) + weight.sin()).sum().backward()
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize(("name", "given", "torchs", "expected"), TWINS, ids=[f"{t[0]} {t[1]}" for t in TWINS])
def test_steps_equal_torchs(name: str, given: dict, torchs: type, expected: dict, tmp_path: Path) -> None:
    optimizer, found = resolve_optimizer(arguments(tmp_path, optimizer=name, optimizer_args=given, learning_rate=0.03))
    start = torch.linspace(-2, 2, 6).reshape(2, 3)
    ours, twin = (torch.nn.Parameter(start.clone()) for _ in range(2))
    moved = descend(optimizer([ours], weight_decay=0.1, **found), ours)
    assert torch.equal(moved, descend(torchs([twin], lr=0.03, weight_decay=0.1, **expected), twin))
    assert not torch.equal(moved, start)


def test_every_optimizer_of_ours_has_a_twin_and_the_trainers_are_all_there() -> None:
    assert {name for name in OPTIMIZERS if is_ours(name)} == {twin[0] for twin in TWINS}
    assert {name.value for name in OptimizerNames} <= set(OPTIMIZERS)
    assert set(OPTIM_ARGS) <= set(OPTIMIZERS)


def test_the_trainer_steps_with_the_arguments_given(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    trainer = make_trainer(
        optimizer="sgd", optimizer_args={"momentum": 0.9, "nesterov": True}, head_learning_rate=0.1, weight_decay=0.01
    )
    optimizer = trainer.create_optimizer()
    assert type(optimizer) is torch.optim.SGD
    for group in optimizer.param_groups:
        assert (group["momentum"], group["nesterov"]) == (0.9, True)
        assert group["lr"] == (0.1 if group["name"].startswith("head") else 0.01)
        assert group["weight_decay"] == (0.0 if "no decay" in group["name"] else 0.01)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if is_ours(name)])
def test_parameters_without_a_gradient_are_left_alone(name: str, tmp_path: Path) -> None:
    optimizer, found = resolve_optimizer(arguments(tmp_path, optimizer=name))
    trained, waiting = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    built = optimizer([{"params": [trained]}, {"params": [waiting], "weight_decay": 0.5}], **found)
    trained.square().sum().backward()
    built.step()
    assert torch.equal(waiting, torch.ones(2, 2))
    assert waiting not in built.state or built.state[waiting].get("step", 0) == 0
    assert not torch.equal(trained, torch.ones(2, 2))


def test_betas_come_from_the_trainers_fields(tmp_path: Path) -> None:
    _, found = resolve_optimizer(arguments(tmp_path, optimizer="nadam", adam_beta1=0.8, adam_epsilon=1e-7))
    assert (found["betas"], found["eps"]) == ((0.8, 0.999), 1e-7)


def test_a_name_of_the_trainers_reaches_it(tmp_path: Path) -> None:
    args = arguments(tmp_path, optimizer="schedule_free_adamw", optimizer_args={"r": 0.5})
    assert (args.optim, args.optim_args) == ("schedule_free_adamw", "r=0.5")
    again = arguments(
        tmp_path, optimizer=args.optimizer, optimizer_args={"r": 0.5}, optim=args.optim, optim_args=args.optim_args
    )
    assert again.optim == args.optim


WRONG = [
    ({"optimizer": "adma"}, r"optimizer: expected one of adamw, .*found 'adma'"),
    (
        {"optimizer": "sgd", "optimizer_args": {"momentun": 0.9}},
        r"optimizer_args.momentun: expected one of momentum, dampening, nesterov.*found 'momentun'. Write momentum.",
    ),
    ({"optimizer": "sgd", "optimizer_args": {"momentum": "0.9"}}, r"expected a number, found '0.9'"),
    ({"optimizer": "sgd", "optimizer_args": {"nesterov": "yes"}}, r"expected true or false, found 'yes'"),
    ({"optimizer": "sgd", "optimizer_args": {"nesterov": True}}, r"Nesterov momentum requires a momentum"),
    ({"optimizer": "adam", "optimizer_args": {"betas": [0.9]}}, r"expected a list of 2 numbers, found \[0.9\]"),
    ({"optimizer": "adam", "optimizer_args": {"betas": [0.9, 1.5]}}, r"Invalid beta parameter"),
    ({"optimizer": "adam", "optimizer_args": {"lr": 0.1}}, r"found 'lr'. Write training.learning_rate."),
    ({"optimizer": "sgd", "optimizer_args": {"weight_decay": 1}}, r"Write training.weight_decay."),
    ({"optimizer": "sgd", "adam_beta1": 0.8}, r"adam_beta1: expected nothing beside sgd, found 0.8"),
    ({"optimizer": "adam", "optimizer_args": {"eps": 1e-6}, "adam_epsilon": 1e-7}, r"adam_epsilon: expected its value"),
    ({"optimizer": "adam", "optim": "sgd"}, r"optim: expected nothing beside optimizer, found 'sgd'"),
    ({"optimizer": "adam", "optim_args": "amsgrad=True"}, r"optim_args: expected nothing beside optimizer"),
    ({"optimizer_args": {"momentum": 0.9}}, r"optimizer_args: expected nothing without optimizer"),
    ({"optimizer": "apollo_adamw", "optimizer_args": {"rnk": 4}}, r"expected one of rank, proj.*Write rank"),
    # what the Trainer would drop without a word
    ({"optim_args": "amsgrad=True"}, r"optim_args: expected no arguments, found 'amsgrad'. Write optimizer"),
    ({"optim": "sgd", "optim_args": "momentum=0.9,nesterof=True"}, r"found 'nesterof'. Write nesterov"),
    ({"optim": "sgd", "optim_args": "weight_decay=0.1"}, r"found 'weight_decay'. Write training.weight_decay"),
    ({"optim": "sgd", "optim_args": "momentum"}, r"optim_args: expected name=value"),
]


@pytest.mark.parametrize(("values", "match"), WRONG, ids=[str(values) for values, _ in WRONG])
def test_no_argument_is_ignored(values: dict, match: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=match):
        arguments(tmp_path, **values)


def test_the_trainers_own_way_still_works(make_trainer: Callable[..., MultiLabelTrainer]) -> None:
    optimizer = make_trainer(optim="sgd", optim_args="momentum=0.9, nesterov=True").create_optimizer()
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.param_groups[0]["nesterov"] is True
