"""Graphs give what models give: every head, every pooling, every kind of decision, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from scipy.sparse import csr_matrix
from transformers import BertConfig

from hf_multilabel import (
    HEADS,
    POOLINGS,
    MultiLabelConfig,
    MultiLabelForSequenceClassification,
    default_decision,
    hash_labels,
)
from hf_multilabel.errors import EnvironmentFault, InputError
from hf_multilabel.publishing.onnx import INPUTS, OUTPUTS, build_graph, check_exportable
from hf_multilabel.publishing.onnx_int8 import quantize
from hf_multilabel.publishing.onnx_parity import LOST_POINTS, TOLERANCE, Decided, check_int8, check_same
from hf_multilabel.publishing.onnx_session import check_one_file
from hf_multilabel.remote_code.calibration_multilabel import CALIBRATIONS
from hf_multilabel.remote_code.decision_multilabel import EMPTY, RULES

NAMES = list("abcde")
CUTS = [0.3, 0.45, 0.5, 0.6, 0.35]
ISOTONIC = {
    "size": [2, 1, 3, 1, 2],
    "x": [-1, 1, 0, -1, 0, 1, 0, -2, 2],
    "y": [-2, 1.5, 0, -1, 0.5, 1, 0.3, -1, 2],
    "slope": [1, 1, 1.2, 0.7, 1],
    "offset": 0.1,
}
CALIBRATED = {
    "temperature": {"temperature": 2.0},
    "temperature_per_label": {"temperature": [1.0, 2.0, 0.5, 3.0, 1.5]},
    "platt": {"slope": [1, 1.2, 0.8, 1, 2], "intercept": 0.1, "offset": [0.1, -0.1, 0, 0, 0.2]},
    "beta": {"a": [1, 1.2, 0.8, 1, 2], "b": 1.0, "c": 0.1},
    "isotonic": ISOTONIC,
    "prior_shift": {"offset": -0.3},
}
# Heads, poolings, rules and calibrations are independent: each is traced once, beside different others.
GRAPHS = [
    ("linear", "cls", {}, {"thresholds": CUTS, "empty": "at_least_one", "max_labels": 2}, "temperature"),
    ("linear", "mean", {}, {"rule": "top_k", "top_k": 2}, "platt"),
    ("mlp", "max", {}, {"rule": "threshold_top_k", "top_k": 3, "thresholds": CUTS, "min_labels": 2}, "beta"),
    ("label_embedding", "attention", {"similarity": "cosine"}, {"empty": "abstain"}, "temperature_per_label"),
    ("crf", "pooler", {"iterations": 2}, {"thresholds": CUTS}, None),
    ("cnn", "mean", {"filters": 4}, {"rule": "expected_f1", "empty": "at_least_one", "max_labels": 3}, None),
    ("rnn", "mean", {"layers": 2, "width": 6}, {"thresholds": CUTS, "min_labels": 1, "max_labels": 1}, "prior_shift"),
    ("transformer", "mean", {"width": 8}, {"thresholds": CUTS, "max_labels": 3}, None),
    ("label_attention", "mean", {"chunk": 2}, {"thresholds": CUTS}, "isotonic"),
]
MORE = [
    ("rnn", "mean", {"cell": "gru", "layers": 2, "pooling": "last"}, {"thresholds": CUTS}, None),
    ("rnn", "mean", {"cell": "gru", "directions": 1, "pooling": "mean"}, {"thresholds": CUTS}, None),
    ("label_embedding", "mean", {}, {"rule": "expected_f1"}, "isotonic"),
]


def make(
    head: str,
    pooling: str,
    arguments: dict,
    decision: dict,
    calibration: str | None,
    names: list[str] = NAMES,
    layers: int = 0,
) -> MultiLabelForSequenceClassification:
    """A tiny model; without layers in its backbone it is traced in half the time."""
    backbone = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    rule = default_decision() | {"labels_sha256": hash_labels(names)} | decision
    if calibration:
        rule["calibration"] = {"method": calibration, "parameters": CALIBRATED[calibration]}
    config = MultiLabelConfig(
        backbone_config=backbone, pooling=pooling, head=head, head_kwargs=arguments, decision=rule,
        id2label=dict(enumerate(names)),
    )  # fmt: skip
    model = MultiLabelForSequenceClassification(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    with torch.no_grad():  # two labels that always tie: the rank decides, and it goes to the lower id
        for parameter in model.head.output.parameters():
            parameter[3] = parameter[1]
    return model


def run(graph: onnx.ModelProto, ids: torch.Tensor, mask: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(OUTPUTS), {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})


def batch(rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Padding on the right, and in one row on the left."""
    mask = torch.ones(rows, tokens, dtype=torch.long)
    for row in range(1, rows):
        mask[row, max(1, tokens - row) :] = 0
    mask[0, : tokens // 3] = 0
    return torch.randint(0, 50, (rows, tokens)), mask


def test_the_graphs_below_cover_every_registry() -> None:
    heads, poolings, _, decisions, calibrations = zip(*GRAPHS, strict=True)
    assert set(heads) == set(HEADS)
    assert set(poolings) == set(POOLINGS)
    assert set(calibrations) - {None} == set(CALIBRATIONS)
    assert {rule.get("rule", "threshold") for rule in decisions} == set(RULES)
    assert {rule.get("empty", "allow") for rule in decisions} == set(EMPTY)


@pytest.mark.parametrize(
    ("head", "pooling", "arguments", "decision", "calibration"),
    [*GRAPHS, *(pytest.param(*graph, marks=pytest.mark.slow) for graph in MORE)],
)
def test_graph_gives_what_the_model_gives(head, pooling, arguments, decision, calibration) -> None:
    model = make(head, pooling, arguments, decision, calibration, layers=int(pooling == "max"))
    graph, _ = build_graph(model, 32, INPUTS[:2], "tiny")
    onnx.checker.check_model(graph)
    if head == "crf":
        assert_nothing_of_this_machine(graph)
    for rows, tokens in ((40, 20), (1, 5), (3, 32), (2, 1)):
        ids, mask = batch(rows, tokens)
        if pooling == "pooler":
            mask[0] = 1  # it reads the first place
        logits, probs, labels = run(graph, ids, mask)
        with torch.inference_mode():
            expected = model(input_ids=ids, attention_mask=mask).logits
        np.testing.assert_allclose(logits, expected, atol=2e-5)
        np.testing.assert_allclose(probs, model.probabilities(expected), atol=TOLERANCE)
        same = Decided(probs, model.decide(expected).numpy())
        # exactly what its own probabilities give, and the model's sets
        check_same("tiny", NAMES, model.config.decision, same, Decided(probs, labels))
        if rows == 40:
            assert 0 < labels.mean() < 1


def assert_nothing_of_this_machine(graph: onnx.ModelProto) -> None:
    content = graph.SerializeToString()
    for path in (Path(__file__).parents[2], Path(torch.__file__).parent):
        assert str(path).encode() not in content


def test_int8_changes_the_backbone_alone() -> None:
    model = make("linear", "cls", {}, {"thresholds": CUTS}, None, layers=1)
    graph, backbone = build_graph(model, 32, INPUTS[:2], "tiny")
    before = graph.SerializeToString()
    found = quantize(graph, backbone, "tiny")
    assert graph.SerializeToString() == before
    weights = [tensor for tensor in found.graph.initializer if tensor.name.endswith("_quantized")]
    products = {name for node in found.graph.node if node.op_type == "MatMulInteger" for name in node.input}
    kinds = [tensor.data_type for tensor in weights if tensor.name in products]
    assert kinds == [TensorProto.INT8] * 6  # query, key, value, their output, and two of the feed-forward network
    head = {tensor.name: tensor for tensor in found.graph.initializer}["model.head.output.weight"]
    np.testing.assert_array_equal(numpy_helper.to_array(head), model.head.output.weight.detach().T)
    assert not any("head" in node.name and node.op_type == "MatMulInteger" for node in found.graph.node)
    ids, mask = batch(8, 16)
    full, small = run(graph, ids, mask), run(found, ids, mask)
    assert 0 < np.abs(full[0] - small[0]).max() < 0.2 * np.abs(full[0]).max()
    with pytest.raises(InputError, match="P514"):
        quantize(graph, ["none"], "tiny")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: Decided(d.probs + np.float32(2e-5), d.labels), "P53[03]"),
        (lambda d: Decided(np.where(d.probs > 0.5, np.nan, d.probs), d.labels), "NaN|P53"),
        (lambda d: Decided(d.probs, ~d.labels), "P533"),
    ],
)
def test_a_graph_that_differs_is_refused(change, said: str) -> None:
    probs = np.random.default_rng(0).uniform(0.1, 0.9, (20, 5)).astype(np.float32)
    decision = default_decision()
    same = Decided(probs, probs >= 0.5)
    assert check_same("x", NAMES, decision, same, same)["max_abs_probability_difference"] == 0
    with pytest.raises((EnvironmentFault, ValueError), match=said):
        check_same("x", NAMES, decision, same, change(same))


def test_other_labels_are_excused_only_at_the_cut() -> None:
    probs = np.array([[0.5 - 2e-6, 0.9, 0.1, 0.1, 0.1]], dtype=np.float32)
    moved = probs + np.float32(4e-6)
    expected, found = Decided(probs, probs >= 0.5), Decided(moved, moved >= 0.5)
    checked = check_same("x", NAMES, default_decision(), expected, found)
    assert (checked["rows_with_other_labels"], checked["rows_near_a_cut"]) == (1, 1)
    wrong = Decided(probs, np.array([[False, False, True, False, False]]))
    with pytest.raises(EnvironmentFault, match="P531.*row 0 in"):
        check_same("x", NAMES, default_decision(), wrong, Decided(probs, probs >= 0.5))


@pytest.mark.parametrize("lost", [1, 40])
def test_int8_is_refused_by_what_it_loses(lost: int) -> None:
    probs = np.full((1000, 1), 0.9, dtype=np.float32)
    targets = csr_matrix(np.ones((1000, 1), dtype=bool))
    worse = probs.copy()
    worse[:lost] = 0.1
    arguments = ("x", ["a"], default_decision(), Decided(probs, probs >= 0.5), Decided(worse, worse >= 0.5), targets)
    if lost == 1:
        assert 0 < check_int8(*arguments)["lost_points"] < LOST_POINTS
    else:
        with pytest.raises(EnvironmentFault, match=r"P532.*0\.9796 instead of 1\.0000 on 1,000 rows: 2\.04 points"):
            check_int8(*arguments)


def test_what_no_graph_can_do_is_refused() -> None:
    model = make("linear", "cls", {}, {"rule": "expected_f1"}, None, [str(i) for i in range(200)])
    windows = {"length": 8, "stride": 4, "aggregation": "max", "prefix": 1, "suffix": 1}
    model.config.windows = windows
    with pytest.raises(InputError, match="(?s)P510.*padding on the right.*found left.*P511.*at most 128 labels"):
        check_exportable(model, "tiny", "left")


@pytest.mark.parametrize("place", ["../x", "/etc/passwd", "weights.bin"])
@pytest.mark.parametrize("inside", [False, True])
def test_weights_in_other_files_are_refused(place: str, inside: bool, tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=place)
    node = (
        helper.make_node("Constant", [], ["y"], value=tensor) if inside else helper.make_node("Identity", ["w"], ["y"])
    )
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([node], "g", [], [output], [] if inside else [tensor])
    if inside:  # in a branch, where a look at the initializers alone does not reach
        branch = helper.make_graph([node], "b", [], [output])
        node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("c", TensorProto.BOOL, [])], [output])
    with pytest.raises(InputError, match=f"P524.*{place}"):
        check_one_file(helper.make_model(graph), tmp_path / "model.onnx")
