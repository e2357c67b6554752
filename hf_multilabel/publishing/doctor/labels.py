"""Label names: one for every id, each once, and the problem type that every consumer reads."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

from hf_multilabel.publishing.doctor.subject import CONFIG, LABEL_PLACEHOLDER, MULTI_LABEL, Subject
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, listed, note, ok, warning


def check_labels(subject: Subject) -> Iterator[Symptom]:
    """Ids without a gap, names once, label2id the inverse of id2label, a multi-label problem type.

    Source: transformers derives `num_labels` from `id2label` and picks the loss and the pipeline's function by
    `problem_type` (configuration_utils.py, loss/loss_utils.py, pipelines/text_classification.py).
    """
    if not subject.config:
        return
    yield from _check_problem_type(subject)
    if not subject.id2label:
        fix = "write id2label and label2id; until then users see LABEL_0, LABEL_1"
        yield error("labels.missing", f"{CONFIG}:id2label", "expected a name for every label, found none", fix)
        return
    symptoms = [*_check_ids(subject), *_check_inverse(subject), *_check_names(subject)]
    yield from symptoms
    if not any(symptom.severity == "error" for symptom in symptoms):
        yield ok("labels.ids", f"{CONFIG}:id2label", f"{len(subject.labels):,} labels, numbered without a gap")


def _check_problem_type(subject: Subject) -> Iterator[Symptom]:
    found = subject.config.get("problem_type")
    if found == MULTI_LABEL:
        return
    what = f"expected {MULTI_LABEL!r}, found {found!r}"
    effect = "scores come out raw" if found == "regression" else "softmax makes the labels compete"
    if len(subject.labels) > 1 or found is not None:
        fix = f'set "problem_type": "{MULTI_LABEL}" in {CONFIG} if several labels can hold at once'
        yield error("labels.problem_type", f"{CONFIG}:problem_type", f"{what}: {effect}", fix)


def _check_ids(subject: Subject) -> Iterator[Symptom]:
    where, raw = f"{CONFIG}:id2label", subject.config["id2label"]
    if strange := [str(key) for key in raw if not str(key).isdecimal()]:
        yield error("labels.gap", where, f"expected whole numbers as ids, found {listed(strange)}", "number the labels")
    ids = sorted(subject.id2label)
    gap = next((number for number, found in enumerate(ids) if number != found), None)
    if gap is not None:
        what = f"expected ids 0 to {len(ids) - 1}, found no {gap}"
        yield error(
            "labels.gap", where, what, "number the labels from 0 without a gap, in the order of the head's rows"
        )
    stated = subject.config.get("num_labels")
    if stated is not None and stated != len(ids):
        what = f"expected {len(ids)} as in id2label, found {stated}"
        yield error("labels.count", f"{CONFIG}:num_labels", what, "remove num_labels: it follows from id2label")


def _check_inverse(subject: Subject) -> Iterator[Symptom]:
    found = subject.config.get("label2id")
    if not isinstance(found, dict):
        what = "expected the inverse of id2label, found none: TEI does not start"
        yield warning("labels.label2id", f"{CONFIG}:label2id", what, "write it")
        return
    expected = {str(name): number for number, name in subject.id2label.items()}
    given = {str(name): number for name, number in found.items()}
    wrong = sorted(name for name in {*expected, *given} if expected.get(name, -1) != given.get(name, -1))
    if wrong and len(expected) == len(subject.id2label):
        names = listed(wrong)
        what = f"expected the inverse of id2label, found another for {names}"
        yield error("labels.label2id", f"{CONFIG}:label2id", what, "write it from id2label")


def _check_names(subject: Subject) -> Iterator[Symptom]:
    where, names = f"{CONFIG}:id2label", subject.labels
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        fix = "rename one of them: a name must mean one row of the head"
        yield error("labels.duplicate", where, f"expected unique names, found {listed(twice)} more than once", fix)
    if not_text := [str(name) for name in subject.id2label.values() if not isinstance(name, str)]:
        yield error("labels.type", where, f"expected text, found {listed(not_text)}", "quote the names")
    # a single default name can be a real one; all of them are what save_pretrained writes without names
    if names and all(LABEL_PLACEHOLDER.fullmatch(name) for name in names):
        what = f"expected the labels' names, found {listed(names, 2)}"
        yield warning("labels.placeholder", where, what, "write the names into id2label and label2id")
    folded = Counter(unicodedata.normalize("NFC", name).casefold().strip() for name in set(names))
    alike = [name for name in names if folded[unicodedata.normalize("NFC", name).casefold().strip()] > 1]
    if alike := sorted(set(alike)):
        shown = listed([repr(name) for name in alike])
        what = f"expected names that differ in more than case, accents' encoding or spaces, found {shown}"
        yield warning("labels.alike", where, what, "merge or rename them: matching by name will confuse them")
    if odd := [repr(name) for name in names if name != name.strip() or not name.strip() or not name.isprintable()]:
        fix = "strip the names, here and in the data"
        yield note("labels.spelling", where, f"names with spaces at an end or unprintable: {listed(odd)}", fix)
