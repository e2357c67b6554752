"""L1, L2 and elastic-net penalties on the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hf_multilabel.training.groups import plain_name


def elastic_net(weights: list[Tensor], l1: float, l2: float) -> Tensor:
    """Elastic net, l1 * sum |w| + l2 * sum w^2; either factor may be 0.

    Args:
        weights: Any shapes, at least one.
        l1: Of the absolute values: draws weights to zero, none exactly there under a gradient step.
        l2: Of the squares; its gradient is 2 l2 w.

    Returns:
        Scalar, float32.

    Example:
        >>> elastic_net([torch.tensor([[1.0, -2.0]])], l1=0.1, l2=0.01)
        tensor(0.3500)

    Reference: Zou and Hastie 2005, equation 3.
    """
    total = torch.zeros((), device=weights[0].device)
    for weight in weights:
        values = weight.float()
        total = total + l1 * values.abs().sum() + l2 * values.square().sum()
    return total


def head_weights(model: nn.Module) -> list[nn.Parameter]:
    """The head's trained weight matrices, with and without adapters around the model; no biases and no norms."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim > 1 and plain_name(name).startswith("head.")
    ]
