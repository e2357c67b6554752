"""One examination: all checks, all consumers, one diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.publishing.doctor.adapter import check_adapter
from hf_multilabel.publishing.doctor.card import check_card
from hf_multilabel.publishing.doctor.consumers import Outlook, forecast
from hf_multilabel.publishing.doctor.decision import check_stored_decision
from hf_multilabel.publishing.doctor.files import open_files
from hf_multilabel.publishing.doctor.labels import check_labels
from hf_multilabel.publishing.doctor.manifest import check_manifest
from hf_multilabel.publishing.doctor.onnx import check_onnx
from hf_multilabel.publishing.doctor.remote_code import check_remote_code
from hf_multilabel.publishing.doctor.safety import check_safety
from hf_multilabel.publishing.doctor.subject import ADAPTER, CONFIG, MALFORMED, Subject
from hf_multilabel.publishing.doctor.symptoms import SEVERITIES, Symptom, error
from hf_multilabel.publishing.doctor.tokenizer import check_tokenizer
from hf_multilabel.publishing.doctor.weights import check_weights

# In this order; each takes the subject and yields what it finds. To add one: write its file, add its line.
CHECKS: dict[str, Callable[[Subject], Iterator[Symptom]]] = {
    "labels": check_labels,
    "weights": check_weights,
    "adapter": check_adapter,
    "onnx": check_onnx,
    "decision": check_stored_decision,
    "tokenizer": check_tokenizer,
    "code": check_remote_code,
    "safety": check_safety,
    "manifest": check_manifest,
    "card": check_card,
}
# Errors after which nothing that reads the weights starts, and those after which only a model of ours refuses.
FATAL = ("weights.missing", "weights.damaged", "weights.shard", "weights.head_rows")
FATAL += ("weights.vocab_size", "weights.no_head", "labels.gap")
FATAL_OURS = ("labels.count", "labels.duplicate", "labels.missing", "decision.", "code.missing", "code.syntax")


@dataclass(frozen=True)
class Diagnosis:
    """What an examination found.

    Args:
        name: Folder or repo.
        revision: The commit that was read; None for a folder.
        kind: What it is, in words.
        labels: How many.
        outlooks: What each consumer will do.
        symptoms: The worst first.
    """

    name: str
    revision: str | None
    kind: str
    labels: int
    outlooks: tuple[Outlook, ...]
    symptoms: tuple[Symptom, ...]

    @property
    def exit_code(self) -> int:
        """3 if there are errors, else 0."""
        return 3 if any(symptom.severity == "error" for symptom in self.symptoms) else 0


def examine(name: str, revision: str | None = None) -> Diagnosis:
    """Look at a model folder or a Hub repo. No code in it runs and no pickle is loaded.

    Args:
        name: Folder, or OWNER/NAME on the Hub.
        revision: Branch, tag or commit on the Hub.

    Returns:
        The diagnosis.

    Raises:
        InputError: If it is no model: neither configuration, adapter nor ONNX graph; or it can't be found.
        EnvironmentFault: If the Hub fails.

    Cost: Reads small files and the headers of safetensors; of a local bundle with a manifest every byte once.
    """
    subject = Subject(open_files(name, revision))
    if not any(subject.has(file) for file in (CONFIG, ADAPTER)) and not subject.onnx_files:
        what = f"expected {CONFIG}, {ADAPTER} or an ONNX graph, found none"
        raise InputError(Finding("P404", name, what, "name the folder or repo of a saved model"))
    found = [symptom for check in CHECKS.values() for symptom in perform(check, subject)]
    # what was damaged is known once everything was read
    found = list(dict.fromkeys([*subject.damaged, *found]))
    found.sort(key=lambda symptom: SEVERITIES.index(symptom.severity))
    outlooks = forecast(subject, _find_fatal(subject, found))
    labels = len(subject.labels)
    if not labels and subject.head is not None:
        labels = subject.head[1].shape[0]
    return Diagnosis(name, subject.files.revision, subject.kind, labels, tuple(outlooks), tuple(found))


def perform(check: Callable[[Subject], Iterator[Symptom]], subject: Subject) -> Iterator[Symptom]:
    """What a check finds; values of types that no loader expects end it with an error of the file, not of ours."""
    try:
        yield from check(subject)
    except MALFORMED as reason:
        what = f"expected values as transformers writes them, found others: {type(reason).__name__} in {check.__name__}"
        yield error("files.malformed", CONFIG, what, "save configuration and tokenizer again")


def _find_fatal(subject: Subject, symptoms: list[Symptom]) -> str | None:
    """Why the weights cannot be used as they are."""
    fatal = FATAL + FATAL_OURS if subject.is_ours else FATAL
    for symptom in symptoms:
        damaged = symptom.code == "files.damaged" and symptom.where == CONFIG
        if symptom.severity == "error" and (damaged or symptom.code.startswith(fatal)):
            return symptom.code
    return None
