"""Open an exported model, after a look at what its files say they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_multilabel.errors import Finding, InputError
from hf_multilabel.remote_code.decision_multilabel import check_decision

if TYPE_CHECKING:
    import onnx

    from hf_multilabel.publishing.onnx_example import Classifier

FACTS = "multilabel.json"
FULL, INT8 = "model.onnx", "model_int8.onnx"
FORMAT = 1
# Of one forward pass: states of more leave the cache between one layer and the next.
MOST_TOKENS = 2048
NEEDED = ("format", "labels", "labels_sha256", "decision", "max_length", "inputs", "reading", "precision")


def need_onnx() -> None:
    """Refuse to start without the libraries.

    Raises:
        InputError: Naming the extra.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        what = f"this needs hf-multilabel[onnx], found no {error.name}"
        raise InputError(Finding("P504", "onnx", what, 'pip install "hf-multilabel[onnx]"')) from error


def is_export(path: Path) -> bool:
    """Whether it is the folder or the file of an exported model."""
    return path.suffix == ".onnx" or ((path / FACTS).is_file() and (path / FULL).is_file())


@dataclass
class OnnxModel:
    """An exported model at work.

    Args:
        file: The graph.
        facts: What is stored in it, see `NEEDED`.
        classifier: Runs texts.
    """

    file: Path
    facts: dict[str, Any]
    classifier: Classifier

    @classmethod
    def load(cls, path: Path, threads: int | None = None) -> OnnxModel:
        """Open the file, or the fp32 file of a folder.

        Args:
            path: Folder or file.
            threads: Of one forward pass; all cores if None.

        Raises:
            InputError: If there is no such file, it is no export of ours, its decision belongs to other labels, or it
                names weights outside its own file.
        """
        need_onnx()
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        from hf_multilabel.publishing.onnx_example import Classifier

        file = path / FULL if path.is_dir() else path
        for needed in (file, file.parent / "tokenizer.json"):
            if not needed.is_file():
                what = f"expected {needed.name} of an exported model, found none"
                raise InputError(Finding("P520", str(path), what, "write it: hf-multilabel export onnx MODEL"))
        facts = read_facts(file)
        # it has a type for each of its error codes, with nothing above them but Exception
        types = [value for value in vars(state).values() if isinstance(value, type)]
        faults = [value for value in types if issubclass(value, Exception)]
        try:
            return cls(file, facts, Classifier(file, facts, threads))
        except (*faults, ValueError, OSError) as error:
            what = f"expected a graph that onnxruntime runs, found {' '.join(str(error).split())[:300]}"
            raise InputError(Finding("P521", str(file), what, "export it again, or upgrade onnxruntime")) from error

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens that are read of each text."""
        return [sum(row.attention_mask) for row in self.classifier.encode(texts)]

    def decide(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated probabilities and decided labels of a batch, (N, L) each."""
        _, probs, labels = self.classifier.run(texts)
        return probs, labels


def read_facts(file: Path) -> dict[str, Any]:
    """What an exported graph says of itself, checked.

    Raises:
        InputError: As `OnnxModel.load`.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(file, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        what = f"expected an ONNX file, found {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(Finding("P521", str(file), what, "export it again")) from error
    check_one_file(graph, file)
    found = {prop.key: prop.value for prop in graph.metadata_props}
    missing = [key for key in NEEDED if key not in found]
    if missing or found["format"] != json.dumps(FORMAT):
        what = f"found no {missing[0]!r} in it" if missing else f"found format {found['format']}"
        what = f"expected an export of this package, {what}"
        raise InputError(Finding("P522", str(file), what, "write it: hf-multilabel export onnx MODEL"))
    try:
        facts = {key: json.loads(found[key]) for key in NEEDED}
        check_decision(facts["decision"], facts["labels"])
    except (ValueError, TypeError) as error:
        what = f"expected a decision of the file's own labels, found: {error}"
        raise InputError(Finding("P523", str(file), what, "export it again")) from error
    return facts


def check_one_file(graph: onnx.ModelProto, file: Path) -> None:
    """Refuse weights that lie in other files: an export of ours has none, and a path could lead anywhere.

    Raises:
        InputError: Naming the first.
    """
    import onnx

    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            what = f"expected all weights in this file, found {tensor.name!r} in {place!r}"
            raise InputError(Finding("P524", str(file), what, "do not run it; export the model again"))


def _tensors(graph: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of a model, those of subgraphs and functions too."""
    containers: list[Any] = [graph.graph, *graph.functions]
    while containers:
        container = containers.pop()
        yield from getattr(container, "initializer", ())
        for sparse in getattr(container, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in container.node:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
                containers += [attribute.g] if attribute.HasField("g") else []
                containers += attribute.graphs
