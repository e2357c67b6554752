"""A finished model for other runtimes, checked on real texts: `hf-multilabel export onnx` and `export plain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack

from hf_multilabel.console import note
from hf_multilabel.errors import Finding, InputError
from hf_multilabel.inference import FinishedModel
from hf_multilabel.label_sets import decide_by_length
from hf_multilabel.measurement import load_rows, reading_of
from hf_multilabel.progress import Bar
from hf_multilabel.publishing.new_folder import check_new_folder, new_folder
from hf_multilabel.publishing.onnx_session import FACTS, FORMAT, FULL, INT8, OnnxModel, need_onnx
from hf_multilabel.publishing.plain import build_plain, stock_thresholds
from hf_multilabel.publishing.plain_folder import DECISION, prove_plain, write_plain
from hf_multilabel.remote_code.decision_multilabel import hash_labels
from hf_multilabel.version import __version__

HELD_OUT = ("validation", "test")
PROOF_BATCH = 16


def export_onnx(
    model: str,
    output: Path | None = None,
    *,
    int8: bool = False,
    data: str | None = None,
    rows: int = 1000,
    overwrite: bool = False,
    batch_size: int = 32,
) -> Path:
    """Write the folder of an ONNX export.

    Args:
        model: Folder or Hub id.
        output: The new folder; None takes a neighbour of the model's, its name with `-onnx`.
        int8: Write an int8 graph too.
        data: Rows to check it on; None takes those of the model's recipe that it was not trained on.
        rows: Most of them.
        overwrite: Replace an earlier export.
        batch_size: Texts of one forward pass of the checks.

    Returns:
        The folder.

    Raises:
        InputError: If model, data or folder are not as expected, or no graph can do what the model does.
        EnvironmentFault: If a graph gives something else than the model, or int8 loses too much.

    Cost: A trace, and a forward pass a row in torch, in ONNX and, if asked for, in int8.
    """
    need_onnx()
    # they import onnx, which the other commands do without
    from hf_multilabel.publishing import onnx as graphs
    from hf_multilabel.publishing import onnx_folder as files

    finished = FinishedModel.load(model)
    folder = output or neighbour(model, "onnx")
    check_new_folder(folder, FACTS, overwrite)
    graphs.check_exportable(finished.model, model, finished.tokenizer.padding_side)
    length = files.longest_text(finished.tokenizer, finished.model.max_tokens())
    tokenizer, inputs = (
        files.export_tokenizer(finished.tokenizer, length, model),
        files.model_inputs(finished.tokenizer),
    )
    texts, targets = held_out_rows(finished, data, rows)
    facts = {**describe(finished), "max_length": length, "inputs": list(inputs)}
    with new_folder(folder) as staging:
        note("tracing the model with its decision")
        graph, backbone = graphs.build_graph(finished.model, length, inputs, model)
        tokenizer.save(str(staging / "tokenizer.json"))
        _save(graph, staging / FULL, {**facts, "precision": "fp32"})
        checks = {FULL: _check_full(finished, staging / FULL, texts, batch_size)}
        if int8:
            from hf_multilabel.publishing.onnx_attention import fuse_attention
            from hf_multilabel.publishing.onnx_int8 import quantize

            fast = fuse_attention(finished.model, length, graph, model) or (graph, backbone)
            _save(quantize(*fast, model), staging / INT8, {**facts, "precision": "int8"})
            checks[INT8] = _check_int8(finished, staging, texts, targets, batch_size)
        files.write_description(staging, {**facts, "precision": "fp32"}, checks)
    return folder


def describe(finished: FinishedModel) -> dict[str, Any]:
    """What every export says of its model: labels, decision, how texts are read."""
    names = list(finished.labels.names)
    return {
        "format": FORMAT,
        "labels": names,
        "labels_sha256": hash_labels(names),
        "decision": finished.model.config.decision,
        "reading": reading_of(finished),
        "model": Path(finished.name).name if Path(finished.name).is_dir() else finished.name,
        "hf_multilabel": __version__,
    }


def neighbour(model: str, kind: str) -> Path:
    """Where an export goes: beside a folder, into the working folder for a model of the Hub."""
    path = Path(model)
    return path.with_name(f"{path.resolve().name}-{kind}") if path.is_dir() else Path(f"{model.split('/')[-1]}-{kind}")


def held_out_rows(finished: FinishedModel, source: str | None, most: int) -> tuple[list[str], csr_matrix]:
    """Labelled texts the model was not trained on, evenly spread over all there are.

    Args:
        finished: The model.
        source: File, folder or Hub dataset, used without its training split where it has others; None takes the run's.
        most: Rows at most.

    Returns:
        Texts and true label sets (N, L).

    Raises:
        InputError: If there are none.
    """
    try:
        recipe, data = load_rows(finished, source)
    except InputError as error:
        if source is not None:
            raise
        what = "expected the rows of the model's own run to check the export on, found an error:"
        fix = "give rows in the same form: --data FILE"
        raise InputError([Finding("P540", finished.name, what, fix), *error.findings]) from error
    splits = [name for name in HELD_OUT if name in data.splits] or ([] if source is None else list(data.splits))
    texts = [text for name in splits for text in data.splits[name]["text"]]
    if not texts:
        what = f"expected rows the model was not trained on, found {', '.join(data.splits)}"
        raise InputError(Finding("P541", recipe.data.source, what, "give labelled rows: --data FILE"))
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(most, len(texts))).round().astype(int))
    targets = vstack([csr_matrix(data.label_matrix(name)) for name in splits]).tocsr()
    return [texts[row] for row in chosen], targets[chosen]


def decide_texts(
    texts: Sequence[str], model: FinishedModel | OnnxModel, count: int, batch_size: int, said: str
) -> tuple[Any, Any]:
    """`decide_by_length` with a progress bar: probabilities and label sets, (N, L) each."""
    with Bar(said, len(texts), "texts") as bar:
        return decide_by_length(texts, batch_size, count, model.decide, model.lengths, bar.update)


def _save(graph: Any, path: Path, facts: dict[str, Any]) -> None:
    import onnx

    from hf_multilabel.publishing.onnx import write_metadata

    write_metadata(graph, facts)
    onnx.save(graph, path)


def _check_full(finished: FinishedModel, file: Path, texts: Sequence[str], batch_size: int) -> dict[str, Any]:
    """The fp32 graph, from text to label set through the files as they were written, beside the model."""
    from hf_multilabel.publishing.onnx_parity import Decided, check_same

    config = finished.model.config
    expected = decide_texts(texts, finished, config.num_labels, batch_size, "model")
    found = _decide_exported(file, texts, batch_size)
    checked = check_same(file.name, config.label_names, config.decision, Decided(*expected), Decided(*found))
    note(
        f"{file.name}: probabilities within {checked['max_abs_probability_difference']:.1e} of the model's on "
        f"{checked['rows']:,} texts; {checked['rows_with_other_labels']} have other label sets, "
        f"{checked['rows_near_a_cut']} a probability within {checked['near']} of its cut"
    )
    return checked


def _check_int8(
    finished: FinishedModel, staging: Path, texts: Sequence[str], targets: csr_matrix, batch_size: int
) -> dict[str, Any]:
    """The int8 graph beside the fp32 graph, on labelled rows."""
    from hf_multilabel.publishing.onnx_parity import Decided, check_int8

    config = finished.model.config
    full, found = (Decided(*_decide_exported(staging / name, texts, batch_size)) for name in (FULL, INT8))
    checked = check_int8(INT8, config.label_names, config.decision, full, found, targets)
    note(
        f"{INT8}: micro-F1 {checked['micro_f1']:.4f}, fp32 {checked['fp32_micro_f1']:.4f} on {checked['rows']:,} rows "
        f"({abs(checked['lost_points']):.2f} points {'lost' if checked['lost_points'] >= 0 else 'gained'})"
    )
    return checked


def _decide_exported(file: Path, texts: Sequence[str], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    exported = OnnxModel.load(file, torch.get_num_threads())
    return decide_texts(texts, exported, len(exported.facts["labels"]), batch_size, file.stem)


def export_plain(
    model: str, output: Path | None = None, *, data: str | None = None, rows: int = 200, overwrite: bool = False
) -> Path:
    """Write the folder of a stock transformers model that needs no remote code.

    Args:
        model: Folder or Hub id.
        output: The new folder; None takes a neighbour of the model's, its name with `-plain`.
        data: As for `export_onnx`.
        rows: As for `export_onnx`.
        overwrite: As for `export_onnx`.

    Returns:
        The folder.

    Raises:
        InputError: If model, data or folder are not as expected, or no stock class computes these logits.
        EnvironmentFault: If the folder, loaded without this package, gives other logits.
    """
    finished = FinishedModel.load(model)
    folder = output or neighbour(model, "plain")
    check_new_folder(folder, DECISION, overwrite)
    if (side := finished.tokenizer.padding_side) != "right":
        what = f"expected padding on the right, since stock classes read the first place, found {side}"
        raise InputError(Finding("P604", model, what, "set the tokenizer's padding_side, or use export onnx"))
    plain = build_plain(finished.model, model)
    texts, _ = held_out_rows(finished, data, rows)
    config = finished.model.config
    cuts = stock_thresholds(config.decision, config.num_labels)
    facts = {**describe(finished), "cut": dict(zip(config.label_names, cuts, strict=True))}
    with new_folder(folder) as staging:
        write_plain(staging, plain, finished.tokenizer, facts, facts["model"])
        checked = prove_plain(staging, texts, score_plainly(finished, texts), PROOF_BATCH)
    note(
        f"{checked['model_class']}: logits within {checked['max_difference']:.1e} of the model's on "
        f"{checked['rows']:,} texts, loaded without this package. Its pipeline shows scores and applies no thresholds: "
        "see its README.md"
    )
    return folder


def score_plainly(finished: FinishedModel, texts: Sequence[str]) -> np.ndarray:
    """Logits in batches of the texts' order, (N, L)."""
    found = []
    for start in range(0, len(texts), PROOF_BATCH):
        part = list(texts[start : start + PROOF_BATCH])
        batch = finished.tokenizer(part, truncation=True, padding=True, return_tensors="pt")
        with torch.inference_mode():
            found.append(finished.model(**batch).logits.float().cpu().numpy())
    return np.concatenate(found)
