"""Score texts with a bundle as a stranger would: only transformers, the folder, and the code shipped in it.

`proof.py` runs this file by its path in a process of its own, in which hf_multilabel cannot be imported; it answers in
EXCHANGE/answer.safetensors. It therefore imports nothing of this package.

    python -P reproduction.py EXCHANGE
"""

from __future__ import annotations

import importlib.abc
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

# A probability this close to its cut may fall on either side of it when sums are rounded in another order.
NEAR = 1e-5
# A longer text can't fill more tokens than are kept; a tokenizer needs minutes for one of 50 MB.
CHARACTERS_A_TOKEN = 100


class PackageBlocker(importlib.abc.MetaPathFinder):
    """Makes every import of hf_multilabel fail: what is shipped must stand alone."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse our own package, leave every other to the next finder."""
        if name.partition(".")[0] == "hf_multilabel":
            raise ImportError(f"{name} cannot be imported here: the shipped files must stand alone.")


def score_texts(
    model: torch.nn.Module, tokenizer: Any, texts: Sequence[str], max_length: int, batch_size: int
) -> Tensor:
    """Logits of texts in the order given, each batch padded to its longest text.

    Args:
        model: In eval mode, on the CPU.
        tokenizer: Belongs to it.
        texts: N texts.
        max_length: Tokens kept.
        batch_size: Texts a batch.

    Returns:
        Logits, float32, shape (N, L).
    """
    logits = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            batch = [text[: CHARACTERS_A_TOKEN * max_length] for text in texts[start : start + batch_size]]
            encoded = tokenizer(
                batch, truncation=True, max_length=max_length, padding=True, pad_to_multiple_of=8, return_tensors="pt"
            )
            output = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"])
            logits.append(output.logits.float())  # (n, L)
    return torch.cat(logits)  # (N, L)


def near_a_cut(probs: Tensor, decision: dict[str, Any], width: float = NEAR) -> Tensor:
    """True where a change of `width` in a probability could put a label into its set or take it out.

    That is: it lies that close to its threshold, or to both neighbours of the rank at which a set is cut off.

    Args:
        probs: Calibrated probabilities, shape (N, L).
        decision: As stored in config.json.
        width: Largest change considered.

    Returns:
        bool, shape (N, L).
    """
    probs = probs.double()
    by_rank = decision["rule"] == "top_k"
    scores = probs if by_rank else probs - torch.as_tensor(decision["thresholds"], dtype=torch.float64)  # (N, L)
    near = torch.zeros_like(probs, dtype=torch.bool) if by_rank else scores.abs() < width
    least = 1 if decision["empty"] == "at_least_one" else None
    for rank in {decision["top_k"], decision["min_labels"], decision["max_labels"], least} - {None, 0}:
        if rank < probs.shape[1]:
            edges = scores.topk(rank + 1, dim=1).values[:, -2:]  # (N, 2)
            near |= ((scores - edges[:, :1]).abs() < width) & ((scores - edges[:, 1:]).abs() < width)
    return near


def main(exchange: Path) -> None:
    """Answer EXCHANGE/request.json: folder, texts, max_length, batch_size, threads."""
    sys.meta_path.insert(0, PackageBlocker())
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    request = json.loads((exchange / "request.json").read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    tokenizer = AutoTokenizer.from_pretrained(request["folder"], trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_pretrained(request["folder"], trust_remote_code=True).eval()
    logits = score_texts(model, tokenizer, request["texts"], request["max_length"], request["batch_size"])
    answer = {
        "logits": logits,
        "predictions": model.decide(logits),
        "near": near_a_cut(model.probabilities(logits), model.config.decision),
    }
    save_file(answer, exchange / "answer.safetensors", metadata={"model_class": str(type(model))})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
