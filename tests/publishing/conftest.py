from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from transformers import PreTrainedTokenizerBase

from hf_multilabel import MultiLabelForSequenceClassification, default_decision, hash_labels
from hf_multilabel.backbones import Backbone, build_model
from hf_multilabel.errors import MultiLabelError
from hf_multilabel.publishing.bundle import write_bundle
from hf_multilabel.publishing.card import CardFacts, render_card
from hf_multilabel.publishing.decision_push import push_decision
from hf_multilabel.publishing.hub import push_bundle
from hf_multilabel.publishing.reproduction import score_texts
from tests.loopback_hub import LoopbackHub

LABELS = ["0010", "no", "a|b `c`", "<i>{{ 7 * 7 }}</i>", "naïve"]
MAX_LENGTH, BATCH_SIZE = 16, 4
# what sleeps between two tries
WAITING = ("huggingface_hub.utils._http", "huggingface_hub.file_download", "hf_multilabel.publishing.attempts")


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


class Pusher:
    """The real client in this process, with its endpoint, cache and login those of the loopback Hub.

    Nothing waits: how long it would have is in `waits`.
    """

    def __init__(self, hub: LoopbackHub, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.hub, self.patch, self.waits = hub, patch, []
        clock = SimpleNamespace(sleep=self.waits.append, time=time.time, monotonic=time.monotonic)
        for module in (
            "huggingface_hub.utils._http",
            "huggingface_hub.file_download",
            "hf_multilabel.publishing.attempts",
        ):
            patch.setattr(f"{module}.time", clock)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
        }.items():
            patch.setattr(constants, name, value)
        self.log_in(hub.token)

    def log_in(self, token: str | None) -> None:
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            self.patch.delenv(name, raising=False)
        if token:
            self.patch.setenv("HF_TOKEN", token)

    def push(self, folder: Path, repo_id: str, login: str | None = None, only: str = "", **arguments: object) -> dict:
        """Push and say how it went; `only` takes the function of that name."""
        self.log_in(self.hub.token if login is None else login)
        push = push_decision if only == "decision" else push_bundle
        try:
            return {"url": push(folder, repo_id, **arguments)}
        except MultiLabelError as error:
            return {"exit_code": error.exit_code, "message": str(error)}
        finally:
            self.log_in(self.hub.token)


@pytest.fixture
def pusher(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pusher]:
    yield Pusher(hub, tmp_path / "home", monkeypatch)
    hub.faults.clear()
    hub.before_commit = None


CONSUMER = """
import json, re, sys, traceback
from pathlib import Path
sys.modules["hf_multilabel"] = None  # importing it fails
from huggingface_hub import hf_hub_download
from peft import PeftModel
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

def load(repo, revision, texts, max_length):
    where = {"trust_remote_code": True, "revision": revision}
    config = AutoConfig.from_pretrained(repo, **where)
    model = AutoModelForSequenceClassification.from_pretrained(repo, **where)
    tokenizer = AutoTokenizer.from_pretrained(repo, **where)
    inputs = tokenizer(texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
    classify = pipeline("multi-label-classification", model=repo, **where)
    return {
        "decided": model.decide(model(**inputs).logits).tolist(),
        "thresholds": config.decision["thresholds"],
        "base": type(AutoModel.from_pretrained(repo, **where)).__name__,
        "shipped": type(model).__module__.split(".")[0],
        "labels": [config.id2label[label] for label in range(config.num_labels)],
        "pipeline": [row["labels"] for row in classify(texts)],
    }

def card(repo, revision):
    text = Path(hf_hub_download(repo, "README.md", revision=revision)).read_text()
    names = {}
    for block in re.findall("^```python\\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        exec(block, names)
    pipeline = [row["labels"] for row in names["classify"](names["texts"])]
    return {"repo": names["model_id"], "labels": names["model"].predict_labels(names["logits"]), "pipeline": pipeline}

def adapter(repo, revision, backbone, texts):
    where = {"trust_remote_code": True, "revision": revision}
    config = AutoConfig.from_pretrained(repo, **where)
    merged = AutoModelForSequenceClassification.from_pretrained(repo, **where).eval()
    model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)
    model.backbone = AutoModel.from_pretrained(backbone, add_pooling_layer=False)
    adapted = PeftModel.from_pretrained(model, repo, subfolder="adapter", revision=revision).eval()
    inputs = AutoTokenizer.from_pretrained(repo, **where)(texts, truncation=True, padding=True, return_tensors="pt")
    return {"logits": adapted(**inputs).logits.tolist(), "merged": merged(**inputs).logits.tolist()}

for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = globals()[order.pop("do")](**order)
    except Exception:
        answer = {"error": traceback.format_exc()}
    print("ANSWER " + json.dumps(answer), flush=True)
"""


class Stranger:
    """A process with transformers and peft only, whose client talks to the loopback Hub through its own variables."""

    def __init__(self, hub: LoopbackHub, home: Path) -> None:
        environment = hub.environment(home, hub.token, OMP_NUM_THREADS="1")
        environment.pop("PYTHONPATH", None)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", CONSUMER], env=environment, cwd=home, **pipes)
        self.said = ""

    def ask(self, do: str, **order: object) -> dict:
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            self.said += line
            if line.startswith("ANSWER "):
                answer = json.loads(line.removeprefix("ANSWER "))
                assert "error" not in answer, answer["error"]
                return answer
        raise AssertionError(self.said)


@pytest.fixture(scope="session")
def stranger(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stranger]:
    running = Stranger(hub, tmp_path_factory.mktemp("stranger"))
    yield running
    running.process.stdin.close()
    running.process.wait(timeout=30)
