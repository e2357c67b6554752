"""The files of an exported model: graphs, tokenizer, what they are, and an example that runs them.

model.onnx            fp32                      multilabel.json   labels, decision, checks
model_int8.onnx       int8, if asked for        inference.py      onnxruntime, numpy and tokenizers are enough
tokenizer.json        cuts and pads as in training
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from hf_multilabel.data.batching import UNLIMITED
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.publishing.onnx import INPUTS
from hf_multilabel.publishing.onnx_session import FACTS

EXAMPLE = "inference.py"


def export_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int | None, where: str) -> Tokenizer:
    """A tokenizer as one file of the tokenizers library, which cuts and pads by itself.

    Args:
        tokenizer: Of the finished model.
        max_length: Longest text in tokens; None cuts nothing.
        where: Name of the model, for messages.

    Raises:
        InputError: If it is written in Python, or has nothing to pad with.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or tokenizer.pad_token_id is None:
        lack = "no tokenizer.json" if backend is None else "no padding token"
        what = f"expected a tokenizer of the tokenizers library, found {type(tokenizer).__name__} with {lack}"
        raise InputError(Finding("P515", where, what, "serve the model with transformers"))
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    if max_length is not None:
        copy.enable_truncation(max_length, direction=tokenizer.truncation_side)
    copy.enable_padding(
        direction=tokenizer.padding_side, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token,
        pad_type_id=tokenizer.pad_token_type_id,
    )  # fmt: skip
    return copy


def longest_text(tokenizer: PreTrainedTokenizerBase, positions: int | None) -> int | None:
    """Tokens that tokenizer and model allow; None if nothing limits them."""
    limits = [limit for limit in (tokenizer.model_max_length, positions) if limit is not None and limit < UNLIMITED]
    return min(limits, default=None)


def model_inputs(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Inputs a graph needs: kinds of tokens only where a single text has other kinds than 0."""
    kinds = tokenizer("a text").get("token_type_ids", [])
    return INPUTS if any(kinds) else INPUTS[:2]


def describe_files(folder: Path, checks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Size, SHA-256 and what was checked of each file of the folder."""
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        files[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
        if path.name in checks:
            files[path.name]["checked"] = checks[path.name]
    return files


def write_description(folder: Path, facts: Mapping[str, Any], checks: Mapping[str, Any]) -> None:
    """The example and, last, the facts of the graphs with all files."""
    (folder / EXAMPLE).write_text(
        Path(__file__).with_name("onnx_example.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    content = {**facts, "files": describe_files(folder, checks)}
    (folder / FACTS).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
