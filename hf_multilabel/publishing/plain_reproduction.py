"""Score texts with a stock model as a stranger would: only transformers and the folder.

`plain_folder.py` runs this file by its path in a process of its own, in which hf_multilabel cannot be imported; it
answers in EXCHANGE/answer.safetensors. It therefore imports nothing of this package.

    python -P plain_reproduction.py EXCHANGE
"""

from __future__ import annotations

import importlib.abc
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline


class PackageBlocker(importlib.abc.MetaPathFinder):
    """Makes every import of hf_multilabel fail: a stock model must do without."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse our own package, leave every other to the next finder."""
        if name.partition(".")[0] == "hf_multilabel":
            raise ImportError(f"{name} cannot be imported here: a stock model needs no code of ours.")


def main(exchange: Path) -> None:
    """Answer EXCHANGE/request.json: folder, texts, batch_size, threads."""
    sys.meta_path.insert(0, PackageBlocker())
    request = json.loads((exchange / "request.json").read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    tokenizer = AutoTokenizer.from_pretrained(request["folder"])
    model = AutoModelForSequenceClassification.from_pretrained(request["folder"]).eval()
    logits, texts, size = [], request["texts"], request["batch_size"]
    with torch.inference_mode():
        for start in range(0, len(texts), size):
            batch = tokenizer(texts[start : start + size], truncation=True, padding=True, return_tensors="pt")
            logits.append(model(**batch).logits.float())
    logits = torch.cat(logits)  # (N, L)
    # what its users see: the pipeline must show the sigmoid of each logit, not a softmax over labels
    shown = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)(texts[:1], truncation=True)
    scores = {found["label"]: found["score"] for found in shown[0]}
    first = torch.tensor([scores[model.config.id2label[label]] for label in range(logits.shape[1])])
    save_file(
        {"logits": logits, "scores": first}, exchange / "answer.safetensors", metadata={"class": type(model).__name__}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
