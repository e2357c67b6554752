"""The model under examination: configuration, labels, tensor shapes and tokenizer, read once and never executed."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from hf_multilabel.publishing.doctor.files import Files
from hf_multilabel.publishing.doctor.symptoms import Symptom, error

CONFIG, ADAPTER, INDEX = "config.json", "adapter_config.json", "model.safetensors.index.json"
WEIGHTS, ADAPTER_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
MULTI_LABEL = "multi_label_classification"
# A tokenizer of 250,000 pieces takes 17 MB; nothing else that is JSON here comes near.
LONGEST_JSON = 64 << 20
LONGEST_HEADER = 100 << 20  # the format's own limit
# Output layers of the sequence classification heads of transformers and of this package, the longer names first.
OUTPUTS = re.compile(
    r"(?:^|\.)(?:head\.output|classifier\.out_proj|classification_head\.out_proj|classifier|score|logits_proj)"
    r"(?:\.modules_to_save\.\w+|\.original_module)?\.weight$"
)
EMBEDDINGS = re.compile(r"(?:^|\.)(?:word_embeddings|embed_tokens|tok_embeddings|wte|shared|word_embedding)\.weight$")
POSITIONS = re.compile(r"(?:^|\.)(?:position_embeddings|wpe|embed_positions)\.weight$")
# What a value of another type than transformers writes makes of an operation on it.
MALFORMED = (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError)
LABEL_PLACEHOLDER = re.compile(r"LABEL_\d+$")


@dataclass(frozen=True)
class TensorInfo:
    """A tensor, unread.

    Args:
        shape: As in the file's header.
        file: Where it lies.
    """

    shape: tuple[int, ...]
    file: str


class Subject:
    """Everything the checks look at. Each property is read when first asked for; damage goes to `damaged`.

    Args:
        files: Where it lies.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.damaged: list[Symptom] = []

    def has(self, name: str) -> bool:
        """Whether there is a readable file of this name."""
        return name in self.files.infos and self.files.infos[name].outside is None

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file as a mapping; an empty one where it is missing or damaged."""
        if not self.has(name):
            return {}
        try:
            if self.files.infos[name].size > LONGEST_JSON:
                raise ValueError(f"{self.files.infos[name].size:,} bytes")
            found = json.loads(self.files.read(name, LONGEST_JSON), object_pairs_hook=self._unique(name))
            if not isinstance(found, dict):
                raise ValueError(f"a {type(found).__name__}")
        except (ValueError, RecursionError) as reason:
            what = f"expected a JSON mapping, found {str(reason)[:120]}"
            self.damaged.append(error("files.damaged", name, what, "write or download the file again"))
            return {}
        return found

    def _unique(self, name: str) -> Any:
        def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) < len(pairs):
                keys = [key for key, _ in pairs]
                twice = next(key for key in keys if keys.count(key) > 1)
                what = f"expected every key once, found {twice!r} twice: readers keep the last one silently"
                self.damaged.append(error("files.duplicate_key", name, what, "remove one of them"))
            return found

        return build

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json."""
        return self.json(CONFIG)

    @cached_property
    def adapter(self) -> dict[str, Any]:
        """adapter_config.json of PEFT; empty for a whole model."""
        return self.json(ADAPTER)

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        """tokenizer_config.json."""
        return self.json("tokenizer_config.json")

    @cached_property
    def encoder_config(self) -> dict[str, Any]:
        """The configuration that has the encoder's sizes: nested in ours, the whole of a stock one."""
        nested = self.config.get("backbone_config")
        return nested if isinstance(nested, dict) else self.config

    @property
    def architectures(self) -> list[str]:
        """Names of the classes it was saved from."""
        return [str(name) for name in as_list(self.config.get("architectures"))]

    @property
    def model_type(self) -> str:
        """The type that loaders choose a class by."""
        return str(self.config.get("model_type"))

    @property
    def is_ours(self) -> bool:
        """Whether it is a model of this package."""
        return self.model_type == "multilabel"

    @property
    def is_adapter(self) -> bool:
        """Whether it is a PEFT adapter without the model it belongs to."""
        return bool(self.adapter) and not self.has(WEIGHTS) and not self.has(INDEX)

    @property
    def onnx_files(self) -> list[str]:
        """Graphs of ONNX."""
        return [name for name in self.files.infos if name.endswith(".onnx") and self.has(name)]

    @property
    def kind(self) -> str:
        """What it is, in words."""
        if self.is_ours:
            return "a model of hf-multilabel"
        if self.is_adapter:
            return "a PEFT adapter"
        stored = any(name.endswith(".safetensors") or is_weight_pickle(name) for name in self.files.infos)
        if self.onnx_files and not stored:
            return "an ONNX model"
        return self.architectures[0] if self.architectures else "a model without architectures"

    @cached_property
    def id2label(self) -> dict[int, Any]:
        """Names by id, as far as the ids are numbers."""
        found = self.config.get("id2label")
        found = found if isinstance(found, dict) else {}
        return {int(key): value for key, value in found.items() if str(key).isdecimal()}

    @property
    def labels(self) -> list[str]:
        """Label names in the order of their ids."""
        return [str(self.id2label[number]) for number in sorted(self.id2label)]

    @property
    def decision(self) -> dict[str, Any] | None:
        """The decision in config.json."""
        found = self.config.get("decision")
        return found if isinstance(found, dict) else None

    @cached_property
    def weight_files(self) -> list[str]:
        """Names of the safetensors that make up the model, as a loader would choose them."""
        if self.has(WEIGHTS):
            return [WEIGHTS]
        if self.has(INDEX):
            found = self.json(INDEX).get("weight_map")
            return sorted({str(name) for name in found.values()}) if isinstance(found, dict) else []
        return [ADAPTER_WEIGHTS] if self.has(ADAPTER_WEIGHTS) else []

    @cached_property
    def tensors(self) -> dict[str, TensorInfo]:
        """Name to shape of all tensors, from the headers of the safetensors alone."""
        found: dict[str, TensorInfo] = {}
        for name in self.weight_files:
            if self.has(name):
                found |= self._header(name)
        return found

    def _header(self, name: str) -> dict[str, TensorInfo]:
        """Shapes in one file; its length must be what its header says.

        Reference: the format, https://huggingface.co/docs/safetensors/index#format.
        """
        size = self.files.infos[name].size
        try:
            (length,) = struct.unpack("<Q", self.files.read(name, 8))
            if length > min(LONGEST_HEADER, size - 8):
                raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
            header = json.loads(self.files.read(name, length, start=8))
            entries = {key: value for key, value in header.items() if key != "__metadata__"}
            end = max((value["data_offsets"][1] for value in entries.values()), default=0)
            if end != size - 8 - length:
                raise ValueError(f"{size:,} bytes where the header needs {end + 8 + length:,}")
            return {key: TensorInfo(tuple(value["shape"]), name) for key, value in entries.items()}
        except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as reason:
            what = f"expected safetensors, found {str(reason)[:120] or type(reason).__name__}"
            self.damaged.append(error("weights.damaged", name, what, "download or save the weights again"))
            return {}

    def find(self, pattern: re.Pattern[str]) -> tuple[str, TensorInfo] | None:
        """The first tensor whose name matches."""
        return next(((name, info) for name, info in self.tensors.items() if pattern.search(name)), None)

    @cached_property
    def head(self) -> tuple[str, TensorInfo] | None:
        """The output layer, one row a label."""
        return self.find(OUTPUTS)


def as_list(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one: a stranger's JSON may hold anything anywhere."""
    return value if isinstance(value, list) else []


def is_weight_pickle(name: str) -> bool:
    """Whether a file is weights in the old, pickled form.

    Example:
        >>> is_weight_pickle("pytorch_model-00001-of-00002.bin"), is_weight_pickle("training_args.bin")
        (True, False)
    """
    return re.fullmatch(r"(?:pytorch_|adapter_)model[\w.-]*\.bin", PurePosixPath(name).name) is not None
