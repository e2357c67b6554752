"""What can do harm: pickles, links that leave the folder, access tokens. Nothing found here is loaded or shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from hf_multilabel.publishing.doctor.files import LocalFiles
from hf_multilabel.publishing.doctor.subject import INDEX, WEIGHTS, Subject, is_weight_pickle
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, listed, note, ok, warning

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill")
# A pickle of protocol 2 and later begins so; torch.save writes a ZIP archive around one.
PICKLE_STARTS = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
TEXTS = (".json", ".jsonl", ".yaml", ".yml", ".md", ".txt", ".py", ".toml", ".cfg", ".ini", ".csv", ".log", ".sh", "")
LONGEST_TEXT = 2 << 20
# hf_ and 34 letters and digits today; package names such as hf_multilabel have an underscore or are shorter.
TOKEN = re.compile(rb"(?<![A-Za-z0-9])(?:hf|api_org)_(?:oauth_)?[A-Za-z0-9]{16,}")
CHECKPOINT = re.compile(r"(?:^|/)(?:checkpoint-\d+|runs|logs)/")


def check_safety(subject: Subject) -> Iterator[Symptom]:
    """Pickles are named, never opened further than their first bytes; links and tokens are errors."""
    yield from _check_links(subject)
    yield from _check_pickles(subject)
    yield from _check_tokens(subject)


def _check_links(subject: Subject) -> Iterator[Symptom]:
    for name, info in subject.files.infos.items():
        if info.outside is not None:
            what = f"expected a file of this folder, found a link to {info.outside[:120]}"
            yield error("safety.link", name, what, "replace it by the file, or remove it; it was not read")


def _check_pickles(subject: Subject) -> Iterator[Symptom]:
    found = [name for name in subject.files.infos if _is_pickle(subject, name)]
    beside = [name for name in found if not CHECKPOINT.search(name)]
    if rest := [name for name in found if CHECKPOINT.search(name)]:
        what = f"{len(rest):,} pickles in checkpoints and logs: {listed(rest)}"
        yield note("safety.checkpoints", rest[0], what, "leave checkpoints out of what you publish")
    if not beside:
        yield ok("safety.pickle", subject.files.name, "no pickles beside the model")
        return
    what = f"expected nothing pickled, found {listed(beside)}: loading one can run any code"
    fix = "delete them from the repo: a model needs safetensors and JSON only"
    if all(is_weight_pickle(name) for name in beside) and not (subject.has(WEIGHTS) or subject.has(INDEX)):
        fix = "convert them to safetensors in a sandbox, then delete them"
    yield warning("safety.pickle", beside[0], what, fix)


def _is_pickle(subject: Subject, name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    if not subject.has(name) or suffix in (".safetensors", ".onnx"):
        return False
    if suffix in PICKLES:
        return True
    # disguised ones only where a look costs no request
    return isinstance(subject.files, LocalFiles) and subject.files.read(name, 2) in PICKLE_STARTS


def _check_tokens(subject: Subject) -> Iterator[Symptom]:
    unread = []
    for name, info in subject.files.infos.items():
        path = PurePosixPath(name)
        if not subject.has(name) or path.suffix.lower() not in TEXTS or path.name in ("tokenizer.json", "vocab.json"):
            continue
        if info.size > LONGEST_TEXT:
            unread.append(name)
        found = TOKEN.search(subject.files.read(name, LONGEST_TEXT))
        if found:
            line = subject.files.read(name, found.start()).count(b"\n") + 1
            what = f"expected no access token, found one that begins with {found.group()[:5].decode()}"
            fix = "revoke it at huggingface.co/settings/tokens, then remove it here and from the history"
            yield error("safety.token", f"{name}:{line}", what, fix)
    if unread:
        what = f"only the first {LONGEST_TEXT >> 20} MB were searched for tokens: {listed(unread)}"
        yield note("safety.unread", unread[0], what)
