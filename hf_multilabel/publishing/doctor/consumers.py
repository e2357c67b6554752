"""What each consumer returns for a model, by the rules in that consumer's own source.

Every rule names the file it was read in; docs/doctor.md lists them with their commits.

    right      label sets, as the stored decision says
    scores     one probability a label, right; whoever calls it must cut
    wrong      numbers that look like probabilities and are none
    refused    it does not start, or does not return anything
    unknown    it depends on something that is not in these files
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hf_multilabel.publishing.doctor.card import CARD
from hf_multilabel.publishing.doctor.onnx import Graph, graphs
from hf_multilabel.publishing.doctor.subject import CONFIG, MALFORMED, MULTI_LABEL, Subject, is_weight_pickle
from hf_multilabel.publishing.plain import can_be_plain
from hf_multilabel.remote_code.configuration_multilabel import MultiLabelConfig

VERDICTS = ("right", "scores", "wrong", "refused", "unknown")
MERGE = "merge it first: model.merge_and_unload()"
# Types whose implementation takes a classifier in backends/candle/src/models of TEI.
TEI_TYPES = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "deberta-v2", "modernbert", "new"})
# MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES of transformers.js 4.2, models/registry.js.
JS_TYPES = frozenset(
    {
        *("bert", "eurobert", "neobert", "modernbert", "roformer", "electra", "esm", "convbert", "camembert"),
        *("deberta", "deberta-v2", "mpnet", "albert", "distilbert", "roberta", "xlm", "xlm-roberta", "bart"),
        *("mbart", "mobilebert", "squeezebert"),
    }
)


@dataclass(frozen=True)
class Outlook:
    """What one consumer will do.

    Args:
        consumer: Its name.
        verdict: One of `VERDICTS`.
        returns: What comes back, or why nothing does.
        advice: What to do about it; empty where all is well.
        source: Where the rule was read.
    """

    consumer: str
    verdict: str
    returns: str
    advice: str
    source: str


Answer = tuple[str, str, str]


def forecast(subject: Subject, broken: str | None = None) -> list[Outlook]:
    """All of `CONSUMERS`, in their order.

    Args:
        subject: The model.
        broken: Why nothing that reads the safetensors loads them; None if it does.
    """
    outlooks = []
    for name, (rule, reads_weights, source) in CONSUMERS.items():
        answer = ask(rule, subject)
        if broken and reads_weights and answer[0] != "refused":
            # a missing head is not refused: transformers fills in a random one and warns
            verdict, effect = ("wrong", "a random head") if broken == "weights.no_head" else ("refused", "fails")
            answer = (verdict, f"{effect}: {broken}", "mend the errors below first")
        outlooks.append(Outlook(name, *answer, source))
    return outlooks


def ask(rule: Callable[[Subject], Answer], subject: Subject) -> Answer:
    """What a rule says; of a configuration with values of the wrong types nobody can say what a consumer makes."""
    try:
        return rule(subject)
    except MALFORMED as reason:
        return "unknown", f"the configuration is malformed ({type(reason).__name__})", "save it again"


def multi_label_pipeline(subject: Subject) -> Answer:
    """`pipeline("multi-label-classification")`, the task that comes with a model of this package.

    Found through `custom_pipelines` in config.json (transformers, pipelines/__init__.py: check_task with
    `trust_remote_code`); it calls `model.decide`, which stock models do not have.
    """
    if not subject.is_ours:
        return "refused", "no such task: the repo brings no pipeline with a decision", "train with hf-multilabel"
    if "multi-label-classification" not in (subject.config.get("custom_pipelines") or {}):
        return "refused", "no such task: custom_pipelines is not in config.json", "save the model again"
    if subject.decision is None:
        return "scores", "label sets at a cut of 0.5 for all labels: nothing was fitted", "hf-multilabel tune"
    return "right", "label sets by the stored decision (with trust_remote_code=True)", ""


def text_pipeline(subject: Subject) -> Answer:
    """`pipeline("text-classification")`: sigmoid for multi_label_classification or one label, softmax for several.

    Regression gets nothing applied. Without `top_k=None` only the best label comes back. No decision is read.
    """
    if subject.is_adapter:
        return "unknown", "what the base model's configuration says: labels and problem type are read there", MERGE
    if not subject.config or not _has_weights(subject):
        return "refused", "no weights that torch reads", "publish model.safetensors too"
    verdict, said, advice = _by_problem_type(subject)
    if subject.config.get("auto_map"):
        said += " (with trust_remote_code=True)"
    if verdict == "scores":
        said += "; only the best label unless top_k=None"
    return verdict, said, advice


def inference_server(subject: Subject) -> Answer:
    """Text Embeddings Inference: softmax over several labels unless the request says `raw_scores`, whatever the config.

    It starts as a classifier if an architecture ends in Classification, and needs id2label, label2id, tokenizer.json
    and max_position_embeddings; Candle knows `TEI_TYPES`, others need an ONNX graph with an output `logits`.
    """
    if reason := _tei_refuses(subject):
        return "refused", reason, MERGE if subject.is_adapter else _export(subject)
    if len(subject.labels) == 1:
        return "scores", "sigmoid of the one label", ""
    said = "softmax over all labels: they sum to 1, whatever problem_type says"
    return "wrong", said, 'send "raw_scores": true, then apply sigmoid and the cuts yourself'


def vllm(subject: Subject) -> Answer:
    """VLLM's classify: sigmoid for multi_label_classification, else softmax (sigmoid for one label).

    Older releases apply softmax always (threads 11881, 23164). An architecture that is not in its registry goes to the
    transformers backend, which asks for `is_backend_compatible` and a layer `classifier` or `score`.
    """
    if subject.is_adapter:
        return "refused", "an adapter of an encoder is no model to it", MERGE
    if not subject.config or not _has_weights(subject):
        return "refused", "no safetensors", "publish model.safetensors too"
    if subject.is_ours:
        return "refused", "no architecture of this name, and no layer called classifier or score", _export(subject)
    verdict, said, advice = _by_problem_type(subject)
    if verdict == "scores":
        said += ", in recent versions; older ones apply softmax"
        advice = f"upgrade vLLM; {advice}"
    return verdict, f"{said}, if it knows the architecture", advice


def transformers_js(subject: Subject) -> Answer:
    """Transformers.js: sigmoid for multi_label_classification, else softmax, of one label too; `top_k` 1 unless given.

    It reads onnx/model.onnx (Node) or onnx/model_quantized.onnx (browser, WASM), tokenizer.json, tokenizer_config.json
    and a config.json whose model_type is in `JS_TYPES`; the graph needs an output `logits`.
    """
    own = [name for name in subject.onnx_files if name.startswith("onnx/")]
    if not own:
        said = "no graph in onnx/" + (", where it looks: others are elsewhere" if subject.onnx_files else "")
        return "refused", said, f"{_export(subject)}, into the folder onnx/ of the repo"
    if missing := [name for name in ("tokenizer.json", "tokenizer_config.json") if not subject.has(name)]:
        return "refused", f"no {missing[0]}", "save the fast tokenizer beside it"
    if subject.model_type not in JS_TYPES:
        said = f"its text-classification knows no model_type {subject.model_type!r}"
        return (
            "refused",
            said,
            f"use onnxruntime-web with tokenizer.json{_plain(subject, ', or export plain before onnx')}",
        )
    if not any(isinstance(graph, str) or "logits" in graph.outputs for graph in graphs(subject).values()):
        return "refused", "no output called logits", _export(subject)
    verdict, said, advice = _by_problem_type(subject)
    if subject.config.get("problem_type") != MULTI_LABEL:
        alone = ", and of one label that is always 1" if len(subject.labels) == 1 else ""
        verdict, said, advice = "wrong", f"softmax over all labels{alone}", _set_problem_type()
    browser = "" if "onnx/model_quantized.onnx" in own else "; a browser needs onnx/model_quantized.onnx or a dtype"
    return verdict, f"{said}; only the best label unless top_k: null{browser}", advice


def onnx_runtime(subject: Subject) -> Answer:
    """ONNX Runtime returns the graph's outputs as they are: nothing is added, nothing read beside the graph."""
    if not subject.onnx_files:
        return "refused", "no ONNX graph", _export(subject)
    found = {name: graph for name, graph in graphs(subject).items() if isinstance(graph, Graph)}
    if not found:
        return "unknown", "the graph was not read", "download the repo and examine the folder"
    name, graph = next(iter(found.items()))
    outputs = ", ".join(graph.outputs)
    return {
        "softmax": ("wrong", f"{outputs}, with softmax built in ({name})", _export(subject)),
        "labels": ("right", f"{outputs}: label sets by the decision it was exported with ({name})", ""),
        "probabilities": ("scores", f"{outputs}: probabilities ({name})", _cut(subject)),
        "logits": ("scores", f"{outputs}: raw ({name})", f"apply sigmoid; {_cut(subject)}"),
    }[graph.kind]


def widget(subject: Subject) -> Answer:
    """HF Inference and the widget: the pipelines of transformers, no code from the repo, off with `inference: false`.

    Source of the refusal: the Hub's own line, "does not support model that require custom code execution".
    """
    if subject.is_adapter or not subject.config or not _has_weights(subject):
        return "refused", "no whole model for transformers", MERGE if subject.is_adapter else "publish safetensors"
    if subject.config.get("auto_map"):
        said = "nothing: it runs no code that comes with a model"
        return "refused", said, f"write a Space (hf-multilabel space){_plain(subject)}"
    if subject.has(CARD) and b"\ninference: false" in subject.files.read(CARD, 1 << 16):
        return "refused", "nothing: the card says inference: false", "remove that line"
    verdict, said, advice = _by_problem_type(subject)
    return verdict, f"{said}, where transformers serves it; softmax where TEI does", advice


def _by_problem_type(subject: Subject) -> Answer:
    """What transformers, vLLM and transformers.js have in common."""
    found, several = subject.config.get("problem_type"), len(subject.labels) != 1
    if found == "regression":
        return "wrong", "raw numbers: problem_type is regression", _set_problem_type()
    if found == MULTI_LABEL or not several:
        calibrated = (subject.decision or {}).get("calibration") is not None
        said = "sigmoid of each label" + (", without the stored calibration" if calibrated else "")
        return "scores", said, _cut(subject, calibrated)
    stated = f"problem_type is {found!r}" if found else "there is no problem_type"
    return "wrong", f"softmax over all labels: {stated}", _set_problem_type()


def _set_problem_type() -> str:
    return f'set "problem_type": "{MULTI_LABEL}" in {CONFIG}'


def _cut(subject: Subject, calibrated: bool = False) -> str:
    if subject.decision is None:
        return "choose cuts on validation rows"
    if calibrated:
        return "calibrate before you cut: stored cuts are for calibrated probabilities"
    return f"cut at decision.thresholds of {CONFIG}"


def _export(subject: Subject) -> str:
    if subject.is_ours:
        return f"hf-multilabel export onnx{_plain(subject)}"
    return MERGE if subject.is_adapter else "export it with optimum-cli export onnx"


def _plain(subject: Subject, advice: str = ", or export plain") -> str:
    """The advice to export a stock class, where that works."""
    if not subject.is_ours:
        return ""
    try:
        return advice if can_be_plain(MultiLabelConfig.from_dict(subject.config)) else ""
    except Exception:  # anybody's values reach the classes of transformers here
        return ""


def _has_weights(subject: Subject) -> bool:
    return bool(subject.weight_files) or any(is_weight_pickle(name) for name in subject.files.infos)


def _tei_refuses(subject: Subject) -> str | None:
    """Why TEI does not start as a classifier; None if it does."""
    config = subject.config
    if subject.is_adapter or not config:
        return "no model of its own"
    if not any(name.endswith("Classification") for name in subject.architectures):
        return "no architecture ends in Classification: it serves embeddings"
    for key in ("id2label", "label2id", "max_position_embeddings"):
        if config.get(key) is None and not (key == "max_position_embeddings" and "max_trained_positions" in config):
            return f"no {key} in {CONFIG}"
    if not subject.has("tokenizer.json"):
        return "no tokenizer.json"
    read = graphs(subject)
    graph = next((read[name] for name in ("model.onnx", "onnx/model.onnx") if name in read), None)
    served = isinstance(graph, Graph) and "logits" in graph.outputs or isinstance(graph, str)
    if subject.model_type not in TEI_TYPES and not served:
        return f"it has no classifier of type {subject.model_type!r}"
    return None


# Consumer -> its rule, whether it reads the safetensors, and where the rule was read.
CONSUMERS: dict[str, tuple[Callable[[Subject], Answer], bool, str]] = {
    'pipeline("multi-label-classification")': (multi_label_pipeline, True, "this package: pipeline_multilabel.py"),
    'pipeline("text-classification")': (text_pipeline, True, "transformers: pipelines/text_classification.py"),
    "text-embeddings-inference": (inference_server, True, "text-embeddings-inference: core/src/infer.rs"),
    "vLLM classify": (vllm, True, "vllm: model_executor/layers/pooler/activations.py"),
    "transformers.js": (transformers_js, False, "transformers.js: pipelines/text-classification.js"),
    "ONNX Runtime": (onnx_runtime, False, "the graph's own outputs"),
    "Hub widget, HF Inference": (widget, True, "huggingface.co/docs/hub/models-inference"),
}
