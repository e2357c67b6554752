from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from hf_multilabel import MultiLabelForSequenceClassification, default_decision, hash_labels
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.publishing.bundle import write_bundle
from hf_multilabel.publishing.card import CardFacts, render_card
from hf_multilabel.publishing.reproduction import score_texts
from tests.loopback_hub import LoopbackHub

LABELS = ["0010", "no", "a|b `c`", "<i>{{ 7 * 7 }}</i>", "naïve"]
MAX_LENGTH, BATCH_SIZE = 16, 4


@dataclass
class Trained:
    """A tiny model as training leaves it, and what it gives for some texts."""

    model: MultiLabelForSequenceClassification
    tokenizer: PreTrainedTokenizerBase
    texts: list[str]
    logits: np.ndarray
    predictions: np.ndarray

    @property
    def arguments(self) -> dict:
        files = {"recipe.yaml": "model: {pooling: mean}\n", "metrics.json": '{"test": {"tuned": {"micro_f1": 0.75}}}\n'}
        return {"model": self.model, "tokenizer": self.tokenizer, "files": files, "card": render_card(facts(self))}

    @property
    def evidence(self) -> tuple:
        return self.texts, self.logits, self.predictions, MAX_LENGTH, BATCH_SIZE


def facts(trained: Trained, **changes: object) -> CardFacts:
    known = {
        "name": "tiny topics",
        "labels": LABELS,
        "metrics": {
            "test": {"fixed": {"micro_f1": 0.5, "rows": 7}, "tuned": {"micro_f1": np.float32(0.75), "rows": 7}}
        },
        "decision": trained.model.config.decision,
        "max_length": MAX_LENGTH,
        "examples": trained.texts[:2],
        "recipe": "model: {pooling: mean}\n",
        "license": "cc0-1.0",
        "languages": ["en"],
    }
    return CardFacts(**{**known, **changes})


@pytest.fixture(scope="session")
def trained(tiny_backbone: Backbone, tiny_texts: list[str]) -> Trained:
    torch.manual_seed(0)
    model = build_model(tiny_backbone, LABELS, pooling="mean", head="linear", head_kwargs={}).eval()
    torch.nn.init.normal_(model.head.output.weight)
    fitted = {"thresholds": [0.2, 0.4, 0.5, 0.6, 0.3], "objective": "macro_f1", "fitted_on": "validation", "rows": 7}
    model.config.decision = default_decision() | fitted | {"labels_sha256": hash_labels(LABELS)}
    logits = score_texts(model, tiny_backbone.tokenizer, tiny_texts, MAX_LENGTH, BATCH_SIZE)
    return Trained(model, tiny_backbone.tokenizer, tiny_texts, logits.numpy(), model.decide(logits).numpy())


@pytest.fixture(scope="session")
def finished(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published bundle; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_bundle(folder, **trained.arguments)
    return folder


@pytest.fixture(scope="session")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as running:
        yield running


PUSHER = """
import json, os, sys
from hf_multilabel.errors import MultiLabelError
from hf_multilabel.publishing import hub
hub.FIRST_WAIT_S, hub.LAST_WAIT_S = 0.05, 0.2
for line in sys.stdin:
    order = json.loads(line)
    os.environ["HF_TOKEN"] = order.pop("login")
    try:
        answer = {"url": hub.push_bundle(**order)}
    except MultiLabelError as error:
        answer = {"exit_code": error.exit_code, "message": str(error)}
    print("ANSWER " + json.dumps(answer), flush=True)
"""


class Pusher:
    """One process with the real client, whose endpoint is fixed at its import; it pushes whatever it is asked to."""

    def __init__(self, hub: LoopbackHub, home: Path) -> None:
        environment = hub.environment(home, PYTHONPATH=python_path())
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", PUSHER], env=environment, **pipes)
        self.token, self.said = hub.token, ""

    def push(self, folder: Path, repo_id: str, login: str | None = None, **arguments: object) -> dict:
        login = self.token if login is None else login
        order = {"folder": str(folder), "repo_id": repo_id, "login": login, **arguments}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            self.said += line
            if line.startswith("ANSWER "):
                return json.loads(line.removeprefix("ANSWER "))
        raise AssertionError(self.said)


def python_path() -> str:
    return os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="session")
def pusher(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pusher]:
    running = Pusher(hub, tmp_path_factory.mktemp("home"))
    yield running
    running.process.stdin.close()
    running.process.wait(timeout=30)
