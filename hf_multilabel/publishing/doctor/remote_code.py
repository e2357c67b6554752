"""Code that comes with a model: which files, what they import, whose they are. It is parsed, never run."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Generator, Iterator

from hf_multilabel.publishing.doctor.subject import CONFIG, Subject
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, listed, note, ok, warning

LONGEST_CODE = 1 << 20
COMMIT = re.compile(r"[0-9a-f]{40}")
# What transformers itself needs is there wherever a model is loaded.
PRESENT = frozenset(
    {
        *("torch", "transformers", "numpy", "safetensors", "tokenizers", "huggingface_hub", "packaging"),
        *("regex", "yaml", "tqdm", "filelock"),
    }
)
# Modules of the standard library that reach the network, other programs or memory: a model needs none of them.
RISKY = frozenset({"subprocess", "socket", "ctypes", "urllib", "http", "ftplib", "smtplib", "pickle", "marshal", "pty"})
RISKY_CALLS = frozenset({"eval", "exec", "compile", "__import__"})
FIX_READ = "read it before you pass trust_remote_code=True"


def check_remote_code(subject: Subject) -> Iterator[Symptom]:
    """Every file that auto_map leads to is here, parses, and imports only what is there.

    Source: transformers, dynamic_module_utils.py: `auto_map` values are module.Class, or OWNER/NAME--module.Class for
    code of another repo; relative imports are followed, others must be installed.
    """
    references = _references(subject)
    if not references:
        return
    foreign = sorted({value.split("--")[0] for value in references.values() if "--" in value})
    if foreign:
        what = f"expected code of this repo, found that of {listed(foreign)}: it changes without a commit here"
        fix = "copy the files here, or let users pin code_revision= to a commit of that repo"
        yield warning("code.foreign", f"{CONFIG}:auto_map", what, fix)
    own = {key: value for key, value in references.items() if "--" not in value}
    if own:
        yield from _check_files(subject, own)
        yield from _check_revision(subject)


def _references(subject: Subject) -> dict[str, str]:
    """Where code is named: key of a configuration -> module.Class."""
    found: dict[str, str] = {}
    for source, settings in ((CONFIG, subject.config), ("tokenizer_config.json", subject.tokenizer_config)):
        auto_map = settings.get("auto_map")
        for key, value in auto_map.items() if isinstance(auto_map, dict) else ():
            for number, name in enumerate(value if isinstance(value, list) else [value]):
                if name is not None:
                    found[f"{source}:auto_map.{key}{number or ''}"] = str(name)
    pipelines = subject.config.get("custom_pipelines")
    for task, entry in pipelines.items() if isinstance(pipelines, dict) else ():
        if isinstance(entry, dict) and entry.get("impl"):
            found[f"{CONFIG}:custom_pipelines.{task}"] = str(entry["impl"])
    return found


def _check_files(subject: Subject, references: dict[str, str]) -> Iterator[Symptom]:
    waiting = {f"{value.split('.')[0]}.py": key for key, value in references.items()}
    read: dict[str, ast.Module] = {}
    while waiting:
        name, named_by = waiting.popitem()
        if not subject.has(name):
            what = f"expected the file that {named_by} needs, found none: nothing loads with trust_remote_code"
            yield error("code.missing", name, what, "save the model again, or push the file")
            continue
        tree = yield from _parse(subject, name)
        if tree is not None:
            read[name] = tree
            waiting |= {other: name for other in _siblings(tree) if other not in read}
    if not read:
        return
    faults = [symptom for name, tree in sorted(read.items()) for symptom in _check_imports(name, tree)]
    yield from faults
    if not faults:
        what = f"{len(read)} files run with trust_remote_code=True; they import torch and transformers only"
        yield ok("code.files", listed(sorted(read), 3), what)


def _parse(subject: Subject, name: str) -> Generator[Symptom, None, ast.Module | None]:
    if subject.files.infos[name].size > LONGEST_CODE:
        size = subject.files.infos[name].size
        yield warning("code.unreadable", name, f"expected code, found {size:,} bytes", FIX_READ)
        return None
    try:
        return ast.parse(subject.files.read(name, LONGEST_CODE))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as reason:
        what = f"expected Python, found {type(reason).__name__}: {str(reason)[:100]}"
        yield error("code.syntax", name, what, "push the file again")
        return None


def _siblings(tree: ast.Module) -> set[str]:
    """Files that relative imports name."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {f"{str(name).split('.')[0]}.py" for name in names}
    return found


def _check_imports(name: str, tree: ast.Module) -> Iterator[Symptom]:
    optional = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.Try) for inner in ast.walk(node)}
    needed, risky = set(), set()
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [str(node.module).split(".")[0]]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RISKY_CALLS:
            risky.add(f"{node.func.id}()")
        risky |= {module for module in modules if module in RISKY}
        # transformers asks for what stands outside try blocks only
        known = PRESENT | sys.stdlib_module_names
        needed |= {module for module in modules if module not in known and id(node) not in optional}
    if needed:
        what = f"expected imports of torch, transformers and the standard library, found {listed(sorted(needed))}"
        yield warning("code.imports", name, what, "name them in the card: users must install them first")
    if risky:
        what = f"expected a model's code, found {listed(sorted(risky))}"
        yield warning("code.risky", name, what, FIX_READ)


def _check_revision(subject: Subject) -> Iterator[Symptom]:
    if subject.files.revision is None:
        what = "code runs with trust_remote_code=True; on the Hub a branch can change under a user"
        fix = "after a push, show users the commit to pin: revision=<40 hexadecimal digits>"
        yield note("code.revision", f"{CONFIG}:auto_map", what, fix)
    elif not COMMIT.fullmatch(subject.files.asked_revision or ""):
        what = f"expected a pinned commit, found {subject.files.asked_revision or 'main'}, which can change"
        fix = f'read the code, then load it with revision="{subject.files.revision}"'
        yield warning("code.revision", f"{CONFIG}:auto_map", what, fix)
    else:
        yield ok("code.revision", f"{CONFIG}:auto_map", f"pinned to {subject.files.revision}")
