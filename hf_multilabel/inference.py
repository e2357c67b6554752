"""A finished model at work: load it from a folder or the Hub, score texts, stream label sets, measure a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HTTPError, RemoteEntryNotFoundError
from safetensors import SafetensorError
from scipy.sparse import csr_matrix
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hf_multilabel.console import note
from hf_multilabel.data.batching import CHARACTERS_A_TOKEN, MultiLabelCollator, beginning, tokenize
from hf_multilabel.data.labels import LabelSpace
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.evaluation.keeping import RankedScores
from hf_multilabel.evaluation.outcomes import Outcome
from hf_multilabel.judging import COUNTS, TrainingCounts, judge, measure
from hf_multilabel.label_sets import READ_AHEAD, decide_by_length, label_sets
from hf_multilabel.publishing.reach import is_cached_only
from hf_multilabel.remote_code.decision_multilabel import decide_probabilities, probabilities
from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification
from hf_multilabel.request import check_model
from hf_multilabel.training.scoring import score_split


def one_line(error: Exception) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(error).split())


@dataclass
class FinishedModel:
    """A trained model with its tokenizer and decision.

    Args:
        name: Folder or Hub id it came from.
        model: In eval mode, fp32.
        tokenizer: Cuts texts where training did.
    """

    name: str
    model: MultiLabelForSequenceClassification
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def load(cls, name: str | Path, revision: str | None = None) -> FinishedModel:
        """Load a run's folder or a Hub repo with this package's own classes; no code from the repo runs.

        Args:
            name: Folder, or OWNER/NAME on the Hub.
            revision: Branch, tag or commit on the Hub.

        Raises:
            InputError: If there is no such model or it is none of ours.
            EnvironmentFault: If it can't be fetched or its weights do not belong to its config.
        """
        check_model(name)
        folder = Path(name)
        cached = not folder.exists() and is_cached_only(str(name), revision)
        if cached:
            note(f"the Hub does not answer; {name} is read from the cache")
        where = {"revision": revision or "main", "local_files_only": cached}
        try:
            model = MultiLabelForSequenceClassification.from_pretrained(str(name), dtype=torch.float32, **where)
            tokenizer = AutoTokenizer.from_pretrained(str(name), trust_remote_code=False, **where)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise EnvironmentFault(
                Finding(
                    "C103",
                    str(name),
                    f"expected a model that loads, found: {one_line(error)}",
                    "check the folder, the name and the connection, or train again",
                )
            ) from error
        except (ValueError, TypeError) as error:
            raise InputError(
                Finding(
                    "C104",
                    str(name),
                    f"expected a model of this package, found: {one_line(error)}",
                    "give a folder written by hf-multilabel train",
                )
            ) from error
        return cls(str(name), model.eval(), tokenizer)

    def file(self, name: str) -> Path:
        """A file beside the weights, fetched where the model is on the Hub.

        Raises:
            InputError: If the model has no such file.
            EnvironmentFault: If the Hub can't be reached.
        """
        try:
            path = Path(self.name) / name
            if not Path(self.name).is_dir():
                path = Path(hf_hub_download(self.name, name, local_files_only=is_cached_only(self.name)))
        except RemoteEntryNotFoundError:
            path = Path(self.name) / name
        except (OSError, HTTPError) as error:
            found = f"expected to fetch {name}, found {type(error).__name__}"
            raise EnvironmentFault(Finding("C107", self.name, found, "check the connection")) from error
        if not path.is_file():
            found = f"expected {name} beside the model, found none"
            raise InputError(Finding("C108", self.name, found, "give a folder written by hf-multilabel train"))
        return path

    def stored(self, name: str, otherwise: Any) -> Any:
        """The content of a JSON file beside the weights, or something else where there is none.

        Args:
            name: As for `file`.
            otherwise: Returned where the file is missing or damaged.

        Raises:
            EnvironmentFault: If the Hub can't be reached.
        """
        try:
            return json.loads(self.file(name).read_text(encoding="utf-8"))
        except (InputError, ValueError):
            return otherwise

    @property
    def labels(self) -> LabelSpace:
        """The labels in the order of the head's rows."""
        id2label = self.model.config.id2label
        return LabelSpace.from_names([id2label[i] for i in range(len(id2label))], where=f"{self.name}/config.json")

    def training_counts(self) -> TrainingCounts:
        """Training rows of each label, and of all, as the run counted them; None where it kept no such file."""
        names = self.labels.names
        try:
            stored = self.stored(COUNTS, {})
        except EnvironmentFault:  # a cached model of an older version, and no network: scores need no counts
            return None, None
        if not set(names) <= set(stored.get("labels", {})):
            return None, None
        return [stored["labels"][name] for name in names], stored["rows"]

    @property
    def collator(self) -> MultiLabelCollator:
        """Rows of `tokenize` to tensors."""
        return MultiLabelCollator(self.tokenizer, self.model.config.num_labels)

    def predict(
        self,
        rows: Iterable[Mapping[str, str]],
        batch_size: int = 32,
        read_ahead: int = READ_AHEAD,
        scores: str = "predicted",
    ) -> Iterator[dict[str, Any]]:
        """Label sets of a stream of texts, in its order.

        Args:
            rows: Each with `id` and `text`, whatever column the text had in training.
            batch_size: Texts of one forward pass.
            read_ahead: Texts read and sorted by length before the first is answered.
            scores: Labels whose scores are given: predicted or all.

        Returns:
            As `label_sets` yields them.

        Raises:
            ValueError: If `rows` is one text or one row; once rows are asked for, if `scores` is unknown or a row has
                no `id` or no `text`.

        Cost: Constant memory: `read_ahead` texts at a time.
        """
        if isinstance(rows, str | Mapping):
            raise ValueError(f"rows: expected several rows, found {rows!r:.80}. Write [{{'id': '0', 'text': TEXT}}].")
        limit, count = CHARACTERS_A_TOKEN[-1] * self.tokenizer.model_max_length, self.model.config.num_labels
        abstains = self.model.config.decision["empty"] == "abstain"

        def decide(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
            parts = [beginning(text, limit) for text in texts]
            return decide_by_length(parts, batch_size, count, self.decide, self.lengths)

        return label_sets(rows, self.labels.names, decide, read_ahead, abstains, scores)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens that are read of each text."""
        return [len(ids) for ids in self.tokenizer(list(texts), truncation=True)["input_ids"]]

    def decide(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated probabilities and decided labels of one batch, (N, L) each."""
        batch = self.tokenizer(list(texts), truncation=True, padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(**batch.to(self.model.device)).logits
        probs = probabilities(logits, self.model.config.decision).cpu()
        return probs.numpy(), decide_probabilities(probs, self.model.config.decision).numpy()

    def evaluate(
        self,
        data: MultiLabelData,
        split: str,
        batch_size: int = 32,
        k: Iterable[int] = (1, 3, 5),
        intervals: bool = False,
        keep: int | None = None,
        counts: TrainingCounts | None = None,
    ) -> dict:
        """Metrics of one split, at 0.5 and at the stored decision.

        Args:
            data: Loaded with `known_labels=self.labels`: targets are mapped by name.
            split: Its name in `data.splits`.
            batch_size: Rows of one forward pass.
            k: Cut-offs of the ranking metrics.
            intervals: Also give 95% confidence intervals at the decision.
            keep: See `training.scoring.score_split`.
            counts: Training rows of each label, and of all; None takes `training_counts`.

        Cost: One forward pass a row; a second one where scores are kept in part and the decision calibrates them.
        """
        targets, decision = data.label_matrix(split), self.model.config.decision
        score = self.scorer(data.splits[split], targets, keep, batch_size, split)
        scores, calibrated = score(), None
        if isinstance(scores, RankedScores) and decision["calibration"] is not None:
            calibrated = score(calibration=decision["calibration"])
        known = self.training_counts() if counts is None else counts
        return measure(scores, targets, decision, k, *known, intervals=intervals, calibrated=calibrated)

    def scorer(
        self, rows: Dataset, targets: csr_matrix, keep: int | None, batch_size: int, description: str
    ) -> Callable[..., np.ndarray | RankedScores]:
        """A function that scores these rows: without arguments, or with a `calibration` where scores are kept in part.

        Args:
            rows: With `text` and `labels`.
            targets: True label sets in the model's order, (N, L).
            keep: See `training.scoring.score_split`.
            batch_size: Rows of one forward pass.
            description: Beside the progress bar.
        """
        dataset, _ = tokenize(rows, self.tokenizer, self.tokenizer.model_max_length)
        return partial(
            score_split, self.model, dataset, self.collator, targets, keep,
            batch_size=batch_size, description=description,
        )  # fmt: skip

    def outcome(
        self,
        rows: Dataset,
        targets: csr_matrix,
        keep: int | None,
        batch_size: int,
        description: str,
        counts: TrainingCounts = (None, None),
    ) -> Outcome:
        """What the stored decision makes of some rows, beside the truth; arguments as of `scorer`.

        `counts` are the training rows of each label, and of all, where they are known.
        """
        score, decision = self.scorer(rows, targets, keep, batch_size, description), self.model.config.decision
        scores = score()
        if isinstance(scores, RankedScores) and decision["calibration"] is not None:
            scores = score(calibration=decision["calibration"])
        return judge(scores, targets, decision, *counts)
