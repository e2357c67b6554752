"""Label sets from an exported model. Needs onnxruntime, numpy and tokenizers, and the files beside this one.

python inference.py "A first text." "A second one."
python inference.py --model model_int8.onnx < texts.txt      # one text a line
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

# A longer text can't fill more tokens than are kept; a tokenizer needs minutes for one of 50 MB.
CHARACTERS_A_TOKEN = 100


class Classifier:
    """An exported model: the graph in the file holds weights, calibration and decision.

    Args:
        file: model.onnx or model_int8.onnx; tokenizer.json lies beside it.
        facts: What multilabel.json says: labels, max_length, inputs.
        threads: Of one forward pass; all cores if None.
    """

    def __init__(self, file: Path, facts: dict[str, Any], threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(file.parent / "tokenizer.json"))  # cuts and pads as in training
        self.facts = facts

    def encode(self, texts: Sequence[str]) -> list[Any]:
        """Token ids and masks of a batch, padded."""
        room = self.facts["max_length"]
        return self.tokenizer.encode_batch(
            [text if room is None else text[: room * CHARACTERS_A_TOKEN] for text in texts]
        )

    def run(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits, calibrated probabilities and decided labels of a batch, each of shape (texts, labels)."""
        encoded = self.encode(texts)
        columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        feed = {
            name: np.array([getattr(row, columns[name]) for row in encoded], dtype=np.int64)
            for name in self.facts["inputs"]
        }
        logits, probabilities, labels = self.session.run(["logits", "probabilities", "labels"], feed)
        return logits, probabilities, labels

    def __call__(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """The label set of each text, the most probable label first, with the probabilities."""
        _, probabilities, labels = self.run(texts)
        sets = []
        for probs, decided in zip(probabilities, labels, strict=True):
            order = [label for label in np.argsort(-probs, kind="stable") if decided[label]]
            sets.append({self.facts["labels"][label]: round(float(probs[label]), 6) for label in order})
        return sets


def main() -> None:
    """Print the label set of each text, one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="*", help="texts; without them each line of stdin is one")
    parser.add_argument("--model", default="model.onnx", help="file beside this one")
    options = parser.parse_args()
    folder = Path(__file__).resolve().parent
    facts = json.loads((folder / "multilabel.json").read_text(encoding="utf-8"))
    classify = Classifier(folder / options.model, facts)
    for text in options.texts or (line.rstrip("\n") for line in sys.stdin):
        print(json.dumps(classify([text])[0], ensure_ascii=False))


if __name__ == "__main__":
    main()
