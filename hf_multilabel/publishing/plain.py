"""A finished model as a stock transformers class, where one computes the same logits: no remote code is needed.

A stock class reads one state of a text, the first token's, through `output(activation(dense(state)))`. A linear head
has no layer before its output. It passes through theirs unchanged in one of these ways:

    pooling "pooler"         dense is the backbone's own pooler, activation its tanh: nothing to do
    tanh, head tanh          dense is the identity
    tanh, head without any   tanh(e x) / e is x to float32 precision for a small power of two e
    relu, gelu, silu         f(x) - f(-x) = x: dense gives the logits and their negatives, output subtracts them
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.remote_code.calibration_multilabel import calibrate
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig
from hf_multilabel.remote_code.heads_base_multilabel import ACTIVATIONS
from hf_multilabel.remote_code.heads_label_embedding_multilabel import LabelEmbeddingHead
from hf_multilabel.remote_code.heads_linear_multilabel import LinearHead, MLPHead
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

# tanh(e x) / e differs from x by (e x)^2 / 3 of it: 3e-9 at x = 100, below the 6e-8 of float32.
SMALL = 2.0**-20
# How many layers a configuration has, which its head does not ask.
LAYERS = ("num_hidden_layers", "num_hidden_groups", "inner_group_num")
# f(x) - f(-x) = x for each of them: f(x) = x s(x) with s(x) + s(-x) = 1.
ODD_PARTS = ("relu", "gelu", "silu", "swish")


@dataclass(frozen=True)
class Stock:
    """Where a stock class has its layers.

    Args:
        dense: Path of the layer before the activation.
        output: Path of the layer of the labels.
        activation: Name of the activation, or the key of the configuration that names it.
        pooler: Whether `dense` is the backbone's own pooler.
    """

    dense: str
    output: str
    activation: str
    pooler: bool = False


# To add a class: where its layers are. The export is compared with the model, so that a wrong entry is found out.
STOCK: dict[str, Stock] = {
    "bert": Stock("bert.pooler.dense", "classifier", "tanh", pooler=True),
    "albert": Stock("albert.pooler", "classifier", "tanh", pooler=True),
    "ernie": Stock("ernie.pooler.dense", "classifier", "tanh", pooler=True),
    "deberta-v2": Stock("pooler.dense", "classifier", "pooler_hidden_act"),
    "deberta": Stock("pooler.dense", "classifier", "pooler_hidden_act"),
    "distilbert": Stock("pre_classifier", "classifier", "relu"),
    "electra": Stock("classifier.dense", "classifier.out_proj", "gelu"),
    **{
        name: Stock("classifier.dense", "classifier.out_proj", "tanh")
        for name in ("roberta", "xlm-roberta", "camembert", "mpnet", "roberta-prelayernorm", "data2vec-text")
    },
}


@dataclass(frozen=True)
class Layers:
    """A head as at most two linear layers.

    Args:
        dense: Weight (D, H) and bias (D,) of the first, None where there is none.
        activation: Key of `ACTIVATIONS`, between the two or, with one layer, before it.
        weight: Of the output, (L, D or H).
        bias: Of the output, (L,).
    """

    dense: tuple[Tensor, Tensor] | None
    activation: str
    weight: Tensor
    bias: Tensor


def build_plain(model: MultiLabelForSequenceClassification, where: str) -> PreTrainedModel:
    """The same model as a stock class.

    Args:
        model: In eval mode.
        where: Its name, for messages.

    Returns:
        The stock model in eval mode, with label names; its logits are the model's.

    Raises:
        InputError: If no stock class computes these logits, saying why and what to do.
    """
    stock, layers = _check_plain(model, where)
    config = copy.deepcopy(model.config.backbone_config)
    config.id2label, config.label2id = dict(model.config.id2label), dict(model.config.label2id)
    config.problem_type, config.architectures = "multi_label_classification", None
    plain = AutoModelForSequenceClassification.from_config(config).eval()
    backbone = getattr(plain, plain.base_model_prefix)
    # poolers that only one of the two has; dense and output are written below
    missing = backbone.load_state_dict(model.backbone.state_dict(), strict=False)
    lost = [name for name in (*missing.missing_keys, *missing.unexpected_keys) if not name.startswith("pooler")]
    dense, output = plain.get_submodule(stock.dense), plain.get_submodule(stock.output)
    activation = getattr(config, stock.activation, stock.activation)
    folded = None if lost else _fold(model, layers, activation, dense.weight.shape)
    if folded is None:
        what = f"expected a head that passes through the {activation} of {type(plain).__name__}, found {_name(model)}"
        if activation in ODD_PARTS:
            what += f" with {model.config.num_labels} labels (at most {dense.weight.shape[0] // 2} fit)"
        raise InputError(Finding("P603", where, what, "use `hf-multilabel export onnx`"))
    with torch.no_grad():
        for target, value in zip((dense.weight, dense.bias, output.weight, output.bias), folded, strict=True):
            target.copy_(value)
    return plain


def can_be_plain(config: MultiLabelConfig) -> bool:
    """Whether `build_plain` has a stock class for models of a configuration: it is asked, without any weights.

    Args:
        config: Anybody's: as many layers as it wants are not made.

    Example:
        >>> from transformers import BertConfig
        >>> [can_be_plain(MultiLabelConfig(BertConfig(), pooling=pooling)) for pooling in ("cls", "mean")]
        [True, False]
    """
    config = copy.deepcopy(config)
    for count in LAYERS:
        if hasattr(config.backbone_config, count):
            setattr(config.backbone_config, count, 1)
    try:
        with torch.device("meta"):
            build_plain(MultiLabelForSequenceClassification(config).eval(), "")
    except InputError:
        return False
    return True


def stock_thresholds(decision: dict[str, Any], num_labels: int) -> list[float]:
    """Each label's cut on what the stock pipeline shows, the sigmoid of the uncalibrated logit.

    Calibration grows with the logit, so the cut on calibrated probabilities is one on these; bisection finds it.

    Args:
        decision: As stored.
        num_labels: L.
    """
    cuts = torch.as_tensor(decision["thresholds"], dtype=torch.float64).expand(num_labels)
    if decision["calibration"] is None:
        return cuts.tolist()
    low, high = torch.full((1, num_labels), -60.0).double(), torch.full((1, num_labels), 60.0).double()
    for _ in range(80):
        middle = (low + high) / 2
        reached = torch.sigmoid(calibrate(middle, decision["calibration"])) >= cuts
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return torch.sigmoid(high)[0].tolist()


def _check_plain(model: MultiLabelForSequenceClassification, where: str) -> tuple[Stock, Layers]:
    config, findings = model.config, []
    kind = config.backbone_config.model_type
    remedy = "train with model.pooling=cls and model.head=linear, or use `hf-multilabel export onnx`"
    layers = _read_layers(model.head)
    if layers is None:
        what = f"expected a head of linear layers on one state, found {_name(model)}"
        findings.append(Finding("P601", where, what, remedy))
    elif config.pooling not in ("cls", "pooler"):
        what = f"expected the pooling cls or pooler, which stock classes have, found {config.pooling!r}"
        findings.append(Finding("P601", where, what, remedy))
    if config.windows is not None:
        what = "expected a model that reads a text at once, found windows, which stock classes have not"
        findings.append(Finding("P601", where, what, "train without data.windows, or serve it with its own code"))
    if kind not in STOCK:
        what = f"expected a backbone among {', '.join(STOCK)}, found {kind!r}"
        findings.append(Finding("P602", where, what, "use `hf-multilabel export onnx`"))
    if findings:
        raise InputError(findings)
    return STOCK[kind], layers


def _name(model: MultiLabelForSequenceClassification) -> str:
    arguments = {key: value for key, value in model.config.head_kwargs.items() if key != "dropout"}
    return f"{model.config.head!r} with {arguments}" if arguments else repr(model.config.head)


def _read_layers(head: nn.Module) -> Layers | None:
    """The head's layers, or None where it is something else."""
    names = {kind: name for name, kind in ACTIVATIONS.items()}
    activation, output = names.get(type(getattr(head, "activation", None)), ""), getattr(head, "output", None)
    if isinstance(head, LinearHead):
        return Layers(None, activation, output.weight, output.bias)
    if isinstance(head, MLPHead):
        return Layers((head.hidden.weight, head.hidden.bias), activation, output.weight, output.bias)
    if isinstance(head, LabelEmbeddingHead) and head.similarity == "dot" and activation == "none":
        # two products in a row are one
        weight = head.log_scale.double().exp() * output.weight.double() @ head.project.weight.double()
        return Layers(None, "none", weight.float(), output.bias)
    return None


def _fold(
    model: MultiLabelForSequenceClassification, layers: Layers, activation: str, shape: torch.Size
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Weights and biases of dense and output, or None where there are none that give the same logits."""
    width, labels = shape[0], len(layers.bias)
    weight, bias, none = layers.weight.detach(), layers.bias.detach(), torch.zeros(width)
    single = layers.dense is None
    if model.config.pooling == "pooler":
        pooler = getattr(model.backbone.pooler, "dense", model.backbone.pooler)
        own = activation == "tanh" and single and layers.activation == "none" and isinstance(pooler, nn.Linear)
        return (pooler.weight.detach(), pooler.bias.detach(), weight, bias) if own else None
    if not single:
        first, shift = (value.detach() for value in layers.dense)
        if layers.activation != activation or len(first) > width:
            return None
        room = width - len(first)  # rows of zeros, which the output does not read
        pad = nn.functional.pad
        return pad(first, (0, 0, 0, room)), pad(shift, (0, room)), pad(weight, (0, room)), bias
    if layers.activation == activation:
        return torch.eye(width), none, weight, bias
    if layers.activation == "none" and activation == "tanh":
        return SMALL * torch.eye(width), none, weight / SMALL, bias
    if layers.activation == "none" and activation in ODD_PARTS and 2 * labels <= width:
        dense = nn.functional.pad(torch.cat([weight, -weight]), (0, 0, 0, width - 2 * labels))
        output = nn.functional.pad(torch.cat([torch.eye(labels), -torch.eye(labels)], dim=1), (0, width - 2 * labels))
        return dense, none, output, bias
    return None
