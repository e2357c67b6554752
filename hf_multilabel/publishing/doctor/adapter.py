"""PEFT adapters: the head must travel with them, and the model they belong to must be found again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hf_multilabel.publishing.doctor.subject import ADAPTER, ADAPTER_WEIGHTS, CONFIG, Subject
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, note, ok, warning

CLASSIFIES = "SEQ_CLS"
# A commit of the base model, as opposed to a branch.
COMMIT = re.compile(r"[0-9a-f]{40}")


def check_adapter(subject: Subject) -> Iterator[Symptom]:
    """The head is among the saved tensors.

    peft saves whole modules only if `modules_to_save` names them; for the task SEQ_CLS it adds `classifier` and
    `score`, so that a head of another name, or an adapter made without the task, loses what it learned: after loading
    the head is random. Source: peft, peft_model.py (PeftModelForSequenceClassification); threads peft 310, 577, 1070.
    """
    if not subject.adapter:
        return
    if not subject.has(ADAPTER_WEIGHTS):
        fix = "save it with model.save_pretrained(folder)"
        yield error("adapter.weights", ADAPTER_WEIGHTS, "expected the adapter's weights, found none", fix)
        return
    yield from _check_head(subject)
    yield from _check_base(subject)


def _check_head(subject: Subject) -> Iterator[Symptom]:
    saved, task = subject.adapter.get("modules_to_save") or [], subject.adapter.get("task_type")
    mapping = subject.adapter.get("auto_mapping")
    base = str(mapping.get("base_model_class", "")) if isinstance(mapping, dict) else ""
    where = f"{ADAPTER}:modules_to_save"
    if subject.head is None and subject.tensors:
        what = f"expected the classification head among the saved modules, found {saved or 'none'}"
        fix = 'train again with task_type="SEQ_CLS" and modules_to_save=["classifier"], or what your head is called'
        classifies = task == CLASSIFIES or base.endswith("Classification") or bool(subject.labels)
        make = error if classifies else warning
        yield make("adapter.head", where, f"{what}: it is random after loading", fix)
        return
    if subject.head is None:
        return
    name, info = subject.head
    rows = info.shape[0]
    yield ok("adapter.head", f"{ADAPTER_WEIGHTS}:{name}", f"the head is saved, {rows:,} rows")
    if subject.labels and rows != len(subject.labels):
        what = f"expected {len(subject.labels):,} rows as in id2label, found {rows:,}"
        yield error("adapter.rows", f"{ADAPTER_WEIGHTS}:{name}", what, "write the id2label this head was trained with")
    elif not subject.labels:
        what = f"expected names for {rows:,} labels, found no {CONFIG}: users see LABEL_0, and softmax"
        fix = f"save the configuration beside it with id2label and problem_type: config.save_pretrained; or {MERGE}"
        yield warning("adapter.labels", CONFIG, what, fix)


def _check_base(subject: Subject) -> Iterator[Symptom]:
    name, revision = subject.adapter.get("base_model_name_or_path"), subject.adapter.get("revision")
    where = f"{ADAPTER}:base_model_name_or_path"
    if not name or not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", str(name)):
        what = f"expected a Hub id, found {name!r}: nobody else can load the adapter"
        yield error("adapter.base", where, what, f"write the Hub id of the base model, or {MERGE}")
    elif not COMMIT.fullmatch(str(revision)):
        what = f"expected a pinned commit of {name}, found {revision or 'main'}: another base makes other scores"
        yield note("adapter.revision", f"{ADAPTER}:revision", what, "write the commit it was trained on")


MERGE = "publish the whole model: merged = model.merge_and_unload(); merged.save_pretrained(folder)"
