"""A tiny model with hostile label names, on a loopback Hub; the page `hf-multilabel space --local` serves for it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import PreTrainedTokenizerBase, pipeline

from hf_multilabel import MultiLabelForSequenceClassification, default_decision, hash_labels
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.publishing import space
from hf_multilabel.publishing.bundle import write_bundle
from hf_multilabel.publishing.card import CardFacts, render_card
from tests.loopback_spaces import SpacesHub

ROOT = Path(__file__).resolve().parents[2]
LABELS = [
    "sport",
    '<img src=x onerror="document.title=`owned`">',
    "${document.title='owned'}",
    "{{7*7}} & {{#each}}",
    '=HYPERLINK("http://x";"y")',
    'naïve ‮ reversed, \\ `quoted` "twice"',
]
START_S = 120


@dataclass
class Tiny:
    """A model and its tokenizer, and the folder they were written to."""

    model: MultiLabelForSequenceClassification
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    texts: list[str]

    def logits(self, text: str) -> torch.Tensor:
        with torch.inference_mode():
            return self.model(**self.tokenizer(text, truncation=True, max_length=64, return_tensors="pt")).logits

    def labels(self, text: str, decision: dict | None = None) -> list[str]:
        """Decided labels, in the order of their ids."""
        if decision is None:
            return self.model.predict_labels(self.logits(text))[0]
        stored, self.model.config.decision = self.model.config.decision, decision
        try:
            return self.labels(text)
        finally:
            self.model.config.decision = stored


def make_tiny(backbone: Backbone, names: list[str], texts: list[str], folder: Path, spread: float = 1.0) -> Tiny:
    """A model whose label sets differ from text to text: each cut lies between the two middle texts."""
    torch.manual_seed(0)
    model = build_model(backbone, names, pooling="mean", head="linear", head_kwargs={}).eval()
    torch.nn.init.normal_(model.head.output.weight, std=spread)
    tiny = Tiny(model, backbone.tokenizer, folder, texts)
    probs = torch.cat([tiny.logits(text) for text in texts]).sigmoid()
    ordered, half = probs.double().sort(0).values, len(texts) // 2
    cuts = ordered[half - 1 : half + 1].mean(0).clamp(0.01, 0.99).tolist()
    fitted = {"thresholds": cuts, "objective": "macro_f1", "fitted_on": "validation", "rows": len(texts)}
    model.config.decision = default_decision() | fitted | {"labels_sha256": hash_labels(names)}
    facts = CardFacts(
        name="tiny", labels=names, metrics={}, decision=model.config.decision, max_length=64, examples=texts[:2],
        license="cc-by-4.0",
    )  # fmt: skip
    files = {"recipe.yaml": "model: {pooling: mean}\n", "metrics.json": "{}\n"}
    write_bundle(folder, model=model, tokenizer=backbone.tokenizer, files=files, card=render_card(facts))
    return tiny


@pytest.fixture(scope="session")
def tiny(tiny_backbone: Backbone, tiny_texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return make_tiny(tiny_backbone, LABELS, tiny_texts, tmp_path_factory.mktemp("space") / "tiny")


@pytest.fixture(scope="session")
def hub() -> Iterator[SpacesHub]:
    with SpacesHub() as running:
        yield running


@pytest.fixture(scope="session")
def commit(hub: SpacesHub, tiny: Tiny) -> str:
    """The commit of the tiny model on the Hub, with a later one that no Space pinned to it must load."""
    files = {path.relative_to(tiny.folder).as_posix(): path.read_bytes() for path in tiny.folder.rglob("*.*")}
    pinned = hub.add_model("user/tiny", files)
    hub.repos["user/tiny"].branches["v1"] = list(hub.repos["user/tiny"].branches["main"])
    broken = files | {"modeling_multilabel.py": b"raise RuntimeError('a later commit was loaded')\n"}
    hub.add_model("user/tiny", broken)
    return pinned


@dataclass
class Served:
    """A page that is being served, and the folder it came from."""

    url: str
    folder: Path
    log: Path


@pytest.fixture(scope="session")
def served(hub: SpacesHub, commit: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """What `hf-multilabel space user/tiny --local` serves, the model loaded from the Hub at its commit."""
    pytest.importorskip("gradio")
    home = tmp_path_factory.mktemp("served")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "hf_multilabel", "space", "user/tiny", "--revision", "v1", "--local"]
    command += ["--port", str(port), "--output", str(home / "space"), "--title", "<i>tiny</i> {{1}}"]
    environment = hub.environment(
        home / "hf", PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", GRADIO_TEMP_DIR=str(home / "t")
    )
    log = home / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=stream, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + START_S
        while address not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield Served(address, home / "space", log)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def files() -> Callable[[str], ModuleType]:
    """`files("bars")` is a module of the Space; they import each other by their bare names, as in the Space."""
    sys.path.insert(0, str(space.TEMPLATE))
    yield __import__
    sys.path.remove(str(space.TEMPLATE))


@pytest.fixture(scope="session")
def labeller(files: Callable[[str], ModuleType], tiny: Tiny) -> object:
    """The Space's labeller on the tiny model, in this process."""
    classify = pipeline("multi-label-classification", model=tiny.model, tokenizer=tiny.tokenizer, device="cpu")
    return files("labelling").Labeller(classify)


def read_settings(folder: Path) -> dict:
    return json.loads((folder / space.SETTINGS).read_text(encoding="utf-8"))
