"""The files of a plain export, and the proof that they give the model's logits without this package."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_multilabel.errors import EnvironmentFault, Finding
from hf_multilabel.publishing import plain_reproduction
from hf_multilabel.publishing.proof import PATIENCE_S, child_environment

DECISION = "multilabel.json"
# Of the logits' size, at least of 1: float32 has 7 digits, and the two ways round differently.
TOLERANCE = 1e-6

CARD = """---
library_name: transformers
pipeline_tag: text-classification
tags: [multi-label]
---

# {name}

A multi-label text classifier of {count} labels as a stock `{kind}`: it loads without remote code.
**The stock pipeline shows a score for each label and decides nothing: it does not know the thresholds.** {rule}
Labels, thresholds and the decision they belong to are in `{decision}`; `cut` is on the score the pipeline shows.

```python
import json
from transformers import pipeline

facts = json.load(open("{decision}", encoding="utf-8"))
classify = pipeline("text-classification", model=".", top_k=None)  # top_k=None: all labels, not the best one alone
scores = classify(["A text."], truncation=True)[0]
print([found["label"] for found in scores if found["score"] >= facts["cut"][found["label"]]])
```

Keep the weights in float32 or bfloat16: some folded weights are too small for float16.
"""


def write_plain(
    folder: Path,
    plain: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: Mapping[str, Any],
    name: str,
) -> None:
    """Model, tokenizer, thresholds and a README.

    Args:
        folder: New and empty.
        plain: As `build_plain` gives it.
        tokenizer: Of the model.
        facts: For multilabel.json: labels, cut (label to number), decision.
        name: Of the model, for the README.
    """
    plain.config.multilabel = {"cut": dict(facts["cut"]), "rule": facts["decision"]["rule"]}
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / DECISION).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = CARD.format(
        name=name.replace("\n", " "), count=len(facts["labels"]), kind=type(plain).__name__, decision=DECISION,
        rule=explain_rule(facts["decision"]),
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")


def explain_rule(decision: Mapping[str, Any]) -> str:
    """A sentence on what beyond cuts the decision has, which the lines of the README leave out."""
    extra = [f"{key} {decision[key]}" for key in ("top_k", "min_labels", "max_labels") if decision[key] is not None]
    extra += [f"empty sets: {decision['empty']}"] if decision["empty"] != "allow" else []
    if decision["rule"] in ("top_k", "expected_f1"):
        return f"Its decision is the rule `{decision['rule']}`, without thresholds: the lines below only come near it."
    return (
        f"Beyond its thresholds the decision has {', '.join(extra)}: the lines below leave that out." if extra else ""
    )


def prove_plain(folder: Path, texts: Sequence[str], logits: np.ndarray, batch_size: int) -> dict[str, Any]:
    """Load the folder in a process that cannot import hf_multilabel, and compare its logits.

    Args:
        folder: Written by `write_plain`.
        texts: N texts.
        logits: Of the model, float32, same batches, (N, L).
        batch_size: Texts a batch.

    Returns:
        rows, max_difference, tolerance, model_class.

    Raises:
        EnvironmentFault: If it does not load there, its logits differ by more than `TOLERANCE` of their size, or the
            pipeline shows something else than their sigmoid.

    Cost: One start of Python with torch and transformers, and N forward passes.
    """
    request = {"folder": str(folder), "texts": list(texts), "batch_size": batch_size}
    with tempfile.TemporaryDirectory(prefix="proof-") as temporary:
        exchange = Path(temporary)
        content = json.dumps(request | {"threads": torch.get_num_threads()}, ensure_ascii=True)
        (exchange / "request.json").write_text(content, encoding="ascii")
        command = [sys.executable, "-P", str(Path(plain_reproduction.__file__).resolve()), str(exchange)]
        try:
            done = subprocess.run(
                command, env=child_environment(exchange), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                errors="replace", cwd=exchange, timeout=PATIENCE_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise _differs(folder, "a folder that loads", f"no answer in {PATIENCE_S} s") from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise _differs(folder, "a folder that loads with transformers alone", last)
        with safe_open(exchange / "answer.safetensors", framework="np") as answer:
            found, shown = answer.get_tensor("logits"), answer.get_tensor("scores")
            kind = answer.metadata()["class"]
    difference = np.abs(found - logits.astype(np.float64)) / np.maximum(1, np.abs(logits))
    worst = float(difference.max(initial=0.0))
    if not worst <= TOLERANCE:
        raise _differs(folder, f"logits within {TOLERANCE} of the model's", f"a difference of {worst:.2g}")
    if not np.allclose(shown, 1 / (1 + np.exp(-found[0].astype(np.float64))), atol=1e-4):
        raise _differs(folder, "a pipeline that shows a sigmoid a label", f"{shown[:4].tolist()}")
    return {"rows": len(texts), "max_difference": worst, "tolerance": TOLERANCE, "model_class": kind}


def _differs(folder: Path, expected: str, found: str) -> EnvironmentFault:
    fix = "nothing was written; use `hf-multilabel export onnx`, and report this"
    return EnvironmentFault(Finding("P610", folder.name, f"expected {expected}, found {found}", fix))
