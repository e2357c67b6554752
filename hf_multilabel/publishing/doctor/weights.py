"""Weights against the configuration: head rows, embedding rows, shards where they should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from hf_multilabel.publishing.doctor.subject import (
    CONFIG,
    EMBEDDINGS,
    INDEX,
    Subject,
    TensorInfo,
    is_weight_pickle,
)
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, listed, ok, warning


def check_weights(subject: Subject) -> Iterator[Symptom]:
    """Every shard is there and inside the folder, and the head has one row a label.

    A row too many or too few is refused by `from_pretrained`, or silently replaced by random rows with
    `ignore_mismatched_sizes=True`. Source: transformers, modeling_utils.py.
    """
    if subject.is_adapter:
        return
    if not subject.weight_files:
        yield from _check_presence(subject)
        return
    yield from _check_shards(subject)
    tensors = subject.tensors
    if tensors:
        yield from _check_head(subject)
        yield from _check_vocabulary(subject)
        yield from _check_index(subject, tensors)


def _check_presence(subject: Subject) -> Iterator[Symptom]:
    pickled = [name for name in subject.files.infos if is_weight_pickle(name)]
    fix = "save it again with model.save_pretrained(folder)"
    if pickled:
        what = f"expected safetensors, found only {listed(pickled)}, a pickle: loading one can run code"
        yield error("weights.pickled", pickled[0], what, f"load it in a sandbox once, then {fix}")
    elif not subject.onnx_files:
        yield error("weights.missing", subject.files.name, "expected model.safetensors, found no weights", fix)


def _check_shards(subject: Subject) -> Iterator[Symptom]:
    for name in subject.weight_files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            what = f"expected paths inside the folder, found {name!r}"
            yield error("weights.path", f"{INDEX}:weight_map", what, "do not load it: name files of this folder only")
        elif not subject.has(name) and name not in subject.files.infos:
            what = "expected every file of the index, found this one missing"
            yield error("weights.shard", name, what, "download or push it again")


def _check_index(subject: Subject, tensors: dict[str, TensorInfo]) -> Iterator[Symptom]:
    mapped = subject.json(INDEX).get("weight_map") if INDEX in subject.files.infos else None
    if not isinstance(mapped, dict) or subject.weight_files == ["model.safetensors"]:
        return
    wrong = [name for name, file in mapped.items() if name not in tensors or tensors[name].file != file]
    if wrong and all(subject.has(str(name)) for name in mapped.values()):
        what = f"expected each tensor in the file it is mapped to, found {listed(wrong, 3)} elsewhere or nowhere"
        yield error("weights.index", f"{INDEX}:weight_map", what, "save the model again")


def _check_head(subject: Subject) -> Iterator[Symptom]:
    classifies = any(name.endswith("Classification") for name in subject.architectures)
    if subject.head is None:
        if not all(subject.has(name) for name in subject.weight_files):
            return  # it may lie in what was not read
        what = f"expected a classification head, found none among {len(subject.tensors):,} tensors"
        fix = "save the whole fine-tuned model: until then the head is random after loading"
        if classifies or (subject.architectures and not subject.config.get("auto_map")):
            yield error("weights.no_head", subject.weight_files[0], f"{what} of {subject.kind}", fix)
        else:
            yield warning("weights.no_head", subject.weight_files[0], f"{what} that has a usual name", fix)
        return
    name, info = subject.head
    rows, labels = info.shape[0], len(subject.labels)
    if labels and rows != labels:
        what = f"expected {labels:,} rows as in id2label, found {rows:,}"
        fix = "write the id2label this head was trained with; never load it with ignore_mismatched_sizes"
        yield error("weights.head_rows", f"{info.file}:{name}", what, fix)
    elif labels:
        yield ok("weights.head_rows", f"{info.file}:{name}", f"{rows:,} rows, one a label")


def _check_vocabulary(subject: Subject) -> Iterator[Symptom]:
    found, stated = subject.find(EMBEDDINGS), subject.encoder_config.get("vocab_size")
    if found and isinstance(stated, int) and found[1].shape[0] != stated:
        what = f"expected {stated:,} rows as vocab_size in {CONFIG} says, found {found[1].shape[0]:,}"
        yield error("weights.vocab_size", f"{found[1].file}:{found[0]}", what, "save model and configuration together")
