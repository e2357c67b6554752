"""ONNX graphs: what comes out of them, and which files they pull in. Read as protobuf fields, never loaded.

    ModelProto.graph (7) -> GraphProto: node (1), initializer (5), output (12)
    NodeProto: output (2), op_type (4);  TensorProto: external_data (13), of key (1) and value (2)
    ValueInfoProto: name (1)

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from hf_multilabel.publishing.doctor.files import Files, LocalFiles
from hf_multilabel.publishing.doctor.subject import Subject
from hf_multilabel.publishing.doctor.symptoms import Symptom, error, listed, note, ok, warning

# From the Hub only small graphs are read: their fields lie scattered between the weights.
LONGEST_REMOTE = 8 << 20
WINDOW = 1 << 18
GRAPH, NODE, INITIALIZER, OUTPUT = 7, 1, 5, 12
NODE_OUTPUT, OP_TYPE, EXTERNAL_DATA, NAME, KEY, VALUE = 2, 4, 13, 1, 1, 2


@dataclass(frozen=True)
class Graph:
    """What of a graph matters here.

    Args:
        outputs: Name of each output to the operator that makes it.
        external: Files its weights lie in.
    """

    outputs: dict[str, str]
    external: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What a caller gets at best: softmax, labels, probabilities or logits."""
        if any(op in ("Softmax", "LogSoftmax") for op in self.outputs.values()):
            return "softmax"
        if "labels" in self.outputs:
            return "labels"
        return "probabilities" if "probabilities" in self.outputs or "Sigmoid" in self.outputs.values() else "logits"


class Reader:
    """Bytes of a file through a window, so that skipping weights costs nothing."""

    def __init__(self, files: Files, name: str) -> None:
        self.files, self.name, self.size = files, name, files.infos[name].size
        self.start, self.window = 0, b""

    def take(self, at: int, length: int) -> bytes:
        """`length` bytes from `at` on; fewer are an error."""
        if not (self.start <= at and at + length <= self.start + len(self.window)):
            self.start, self.window = at, self.files.read(self.name, max(length, WINDOW), start=at)
        found = self.window[at - self.start : at - self.start + length]
        if len(found) != length:
            raise ValueError(f"an end at byte {at + len(found):,}")
        return found

    def varint(self, at: int) -> tuple[int, int]:
        """A number in base 128, least significant first, and where it ends."""
        value = shift = 0
        while shift < 64:
            byte = self.take(at, 1)[0]
            value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
            if byte < 0x80:
                return value, at
        raise ValueError(f"no number at byte {at:,}")

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Field number, start and end of the content of each length-delimited field of a message."""
        at = start
        while at < end:
            tag, at = self.varint(at)
            kind = tag & 7
            if kind == 2:
                length, at = self.varint(at)
                if at + length > end:
                    raise ValueError(f"a field of {length:,} bytes at byte {at:,}")
                yield tag >> 3, at, at + length
                at += length
            elif kind == 0:
                _, at = self.varint(at)
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                raise ValueError(f"no field at byte {at:,}")

    def text(self, start: int, end: int) -> str:
        """A string field of sane length."""
        return self.take(start, min(end - start, 4096)).decode("utf-8", errors="replace")


def read_graph(files: Files, name: str) -> Graph:
    """Outputs and external files of an ONNX model.

    Raises:
        ValueError: If it is not one.
    """
    reader = Reader(files, name)
    graph = next(((start, end) for number, start, end in reader.fields(0, reader.size) if number == GRAPH), None)
    if graph is None:
        raise ValueError("no graph")
    made: dict[str, str] = {}
    outputs, external = [], set()
    for number, start, end in reader.fields(*graph):
        if number == NODE:
            parts = [(kind, reader.text(a, b)) for kind, a, b in reader.fields(start, end) if kind in (2, 4)]
            op = next((text for kind, text in parts if kind == OP_TYPE), "")
            made |= {text: op for kind, text in parts if kind == NODE_OUTPUT}
        elif number == INITIALIZER:
            external |= set(_external(reader, start, end))
        elif number == OUTPUT:
            outputs += [reader.text(a, b) for kind, a, b in reader.fields(start, end) if kind == NAME]
    return Graph({output: made.get(output, "") for output in outputs}, tuple(sorted(external)))


def graphs(subject: Subject) -> dict[str, Graph | str]:
    """Each ONNX file to its graph, or to the reason why it was not read."""
    found: dict[str, Graph | str] = {}
    for name in subject.onnx_files:
        if not isinstance(subject.files, LocalFiles) and subject.files.infos[name].size > LONGEST_REMOTE:
            found[name] = "too large to be read from the Hub"
            continue
        try:
            found[name] = read_graph(subject.files, name)
        except (ValueError, RecursionError) as reason:
            found[name] = f"damaged: {reason}"
    return found


def check_onnx(subject: Subject) -> Iterator[Symptom]:
    """Graphs parse, weights outside them are beside them, and no softmax is built in."""
    for name, graph in graphs(subject).items():
        if isinstance(graph, str):
            if graph.startswith("damaged"):
                yield error("onnx.damaged", name, f"expected an ONNX model, found {graph}", "export it again")
            else:
                yield note("onnx.unread", name, graph, "download the repo and examine the folder")
            continue
        yield from _check_external(subject, name, graph)
        if graph.kind == "softmax":
            what = f"expected logits or sigmoid, found softmax before {listed(list(graph.outputs))}: the labels compete"
            yield error("onnx.softmax", name, what, "export the logits; for our models: hf-multilabel export onnx")
        elif graph.kind == "logits":
            what = f"expected probabilities or label sets among the outputs, found {listed(list(graph.outputs))} only"
            fix = "apply sigmoid and thresholds yourself; hf-multilabel export onnx builds both in"
            yield warning("onnx.outputs", name, what, fix)
        else:
            yield ok("onnx.outputs", name, f"gives {listed(list(graph.outputs))}")


def _check_external(subject: Subject, name: str, graph: Graph) -> Iterator[Symptom]:
    for location in graph.external:
        path = PurePosixPath(location)
        if path.is_absolute() or ".." in path.parts or "\\" in location:
            what = f"expected weights beside the graph, found the path {location[:120]!r}"
            yield error("onnx.path", name, what, "do not load it: it reads files outside the model's folder")
        elif not subject.has((PurePosixPath(name).parent / path).as_posix()):
            what = f"expected its weights in {location}, found no such file"
            yield error("onnx.external", name, what, "download or push that file too")


def _external(reader: Reader, start: int, end: int) -> Iterator[str]:
    for number, a, b in reader.fields(start, end):
        if number == EXTERNAL_DATA:
            entry = {kind: reader.text(c, d) for kind, c, d in reader.fields(a, b)}
            if entry.get(KEY) == "location":
                yield entry.get(VALUE, "")
