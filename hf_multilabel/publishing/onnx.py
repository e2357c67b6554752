"""A finished model as an ONNX graph that decides: token ids in; logits, probabilities and label sets out.

    input_ids, attention_mask (N, T) -> logits, probabilities (N, L) float32, labels (N, L) bool

What the graph does after the logits is a trace of `decision_multilabel`: calibration, thresholds and limits are in it,
so whoever runs it cannot decide otherwise by accident.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.publishing.onnx_operators import OPSET, translations
from hf_multilabel.publishing.onnx_recurrence import OnnxRNNHead
from hf_multilabel.publishing.onnx_windows import WindowedModel
from hf_multilabel.remote_code.calibration_multilabel import knot_tables, read_knots
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities, probabilities
from hf_multilabel.remote_code.expected_f1_multilabel import TOP
from hf_multilabel.remote_code.heads_rnn_multilabel import RNNHead
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

if TYPE_CHECKING:
    import onnx

OUTPUTS = ("logits", "probabilities", "labels")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# What one protobuf file can hold. Beyond it weights would lie in a second file, which we neither write nor read.
LIMIT = 2 * 1024**3 - 64 * 1024**2
SCOPES = "pkg.torch.onnx.name_scopes"


class DecidedModel(nn.Module):
    """Model, calibration and decision as one module that can be traced.

    Args:
        model: On the CPU, in eval mode; a copy of it is changed where torch cannot trace it.
        attention: How transformers is to compute attention. Of its own ways only the plain one gives plain graphs:
            torch's fused kernels are traced with guards against rows without tokens, step by step and slowly.
    """

    def __init__(self, model: MultiLabelForSequenceClassification, attention: str = "eager") -> None:
        super().__init__()
        read = copy.deepcopy(model).float().eval().requires_grad_(False)
        read.set_attn_implementation(attention)
        if isinstance(read.head, RNNHead):
            read.head = OnnxRNNHead(read.head)
        self.model = read if model.config.windows is None else WindowedModel(read)
        self.decision = model.config.decision
        found = self.decision["calibration"]
        self.by_knots = found is not None and found["method"] == "isotonic"
        if self.by_knots:
            values = {key: torch.as_tensor(value, dtype=torch.float64) for key, value in found["parameters"].items()}
            self.register_buffer("offset", values.pop("offset", torch.zeros((), dtype=torch.float64)))
            for name, table in zip(("xs", "ys", "slopes", "last"), knot_tables(**values), strict=True):
                self.register_buffer(name, table)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids, mask and, where the tokenizer has them, kinds (N, T) -> logits, probabilities, labels (N, L)."""
        kinds = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found = self.model(input_ids=input_ids, attention_mask=attention_mask, **kinds)
        logits = found if isinstance(found, Tensor) else found.logits
        if self.by_knots:  # the tables' sizes depend on their content, so they are made before the trace
            knots = read_knots(logits, self.xs, self.ys, self.slopes, self.last)
            probs = torch.sigmoid(knots + self.offset.to(knots.dtype))
        else:
            probs = probabilities(logits, self.decision)
        # checked when the model was loaded; a trace can't look at numbers
        return logits, probs, decide_probabilities(probs, {**self.decision, "calibration": None})


def check_exportable(model: MultiLabelForSequenceClassification, where: str, padding_side: str = "right") -> None:
    """Refuse what no graph of one file can do.

    Args:
        model: The finished model.
        where: Its name.
        padding_side: Of its tokenizer.

    Raises:
        InputError: If the model reads windows of texts that are padded on the left, chooses sets by expected F1 among
            more labels than are computed exactly, or weighs more than a file can hold.
    """
    findings = []
    if model.config.windows is not None and padding_side != "right":
        what = f"expected padding on the right, from which windows are counted, found {padding_side}"
        findings.append(Finding("P510", where, what, "set the tokenizer's padding_side, or serve it with transformers"))
    if model.config.decision["rule"] == "expected_f1" and model.config.num_labels > TOP:
        what = f"expected at most {TOP} labels for the rule expected_f1, found {model.config.num_labels}"
        fix = "the rest is approximated by an operation ONNX lacks; `hf-multilabel tune` with decision.rule=threshold"
        findings.append(Finding("P511", where, what, fix))
    size = 4 * sum(parameter.numel() for parameter in model.parameters())
    if size > LIMIT:
        what = f"expected weights of at most {LIMIT / 1e9:.1f} GB in one ONNX file, found {size / 1e9:.1f} GB"
        findings.append(Finding("P512", where, what, "serve it with transformers, or train a smaller backbone"))
    if findings:
        raise InputError(findings)


def build_graph(
    model: MultiLabelForSequenceClassification,
    max_length: int | None,
    inputs: Sequence[str],
    where: str,
    attention: str = "eager",
) -> tuple[onnx.ModelProto, list[str]]:
    """Trace a model with its decision.

    Args:
        model: On the CPU.
        max_length: Longest text in tokens; None where nothing limits it.
        inputs: The first two or all of `INPUTS`.
        where: Its name, for messages.
        attention: See `DecidedModel`.

    Returns:
        The graph, without paths of this machine in it, and the names of the backbone's nodes.

    Raises:
        InputError: As `check_exportable`, or if torch can't trace the backbone.

    Cost: 5 to 60 seconds; three times the weights in memory.
    """
    check_exportable(model, where)
    rows, tokens = 2, example_length(model, max_length)  # one row would be taken for a constant
    example = tuple(torch.ones(rows, tokens, dtype=torch.long) for _ in inputs)
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=max_length)}
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                DecidedModel(model, attention).eval(), example, dynamo=True, opset_version=OPSET, verbose=False,
                dynamic_shapes=tuple(dims for _ in inputs), input_names=list(inputs), output_names=list(OUTPUTS),
                custom_translation_table=translations(),
            )  # fmt: skip
        graph = program.model_proto
    except torch.onnx.errors.OnnxExporterError as error:
        cause = error.__cause__ or error
        found = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
        what = f"expected a {model.config.backbone_config.model_type} that torch.onnx can trace, found {found}"
        raise InputError(Finding("P513", where, what, "serve it with transformers")) from error
    backbone = [node.name for node in graph.graph.node if _belongs(node, "model.backbone")]
    fixed = [tensor.name for tensor in graph.graph.input if not _is_dynamic(tensor)]
    if fixed:  # torch then falls back to the example's sizes without a word
        raise AssertionError(f"{where}: expected free sizes of {fixed}, found those of the example")
    strip_traces(graph)
    return graph, backbone


def example_length(model: MultiLabelForSequenceClassification, max_length: int | None) -> int:
    """Tokens of the example that is traced; several windows, since one would be taken for a constant."""
    windows = model.config.windows
    enough = 8 if windows is None else windows["length"] + 2 * windows["stride"]
    return min(enough, max_length or enough)


def strip_traces(graph: onnx.ModelProto) -> None:
    """Remove what the exporter notes of the source: stack traces with this machine's paths, and guesses of shapes."""
    parts = [graph, graph.graph, *graph.functions]
    for container in (graph.graph, *graph.functions):
        parts += [*container.node, *container.value_info]
    for part in (*parts, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    # quantization would trust them, and some name shapes that only the example had
    del graph.graph.value_info[:]


def write_metadata(graph: onnx.ModelProto, facts: Mapping[str, Any]) -> None:
    """Store facts in the file itself, each as JSON."""
    del graph.metadata_props[:]
    for key, value in facts.items():
        graph.metadata_props.add(key=key, value=json.dumps(value, sort_keys=True))


def _is_dynamic(tensor: onnx.ValueInfoProto) -> bool:
    return all(dim.dim_param for dim in tensor.type.tensor_type.shape.dim)


def _belongs(node: onnx.NodeProto, scope: str) -> bool:
    return any(prop.key == SCOPES and f"{scope}'" in prop.value for prop in node.metadata_props)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of absent libraries and constants it leaves alone; nothing there is for a user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
