"""A model and its stored decision; the slider moves the cuts of a copy.

    text -> tokenizer -> model -> logits (1, L) -> probabilities, cuts, label set

Tokenizing, scoring and deciding are the code shipped with the model. Only where the cuts lie is changed here.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

from torch import Tensor
from transformers import Pipeline, pipeline

# Rules that compare with no cut: there is nothing to move.
WITHOUT_CUTS = ("top_k", "expected_f1")


class Judgement(NamedTuple):
    """What is shown of one text.

    Args:
        probabilities: Calibrated, one a label.
        cuts: Where each label is cut off now; None where the rule has no cuts.
        stored: The same as stored with the model.
        decided: Whether the label is in the set.
    """

    probabilities: list[float]
    cuts: list[float] | None
    stored: list[float] | None
    decided: list[bool]


class Labeller:
    """The label sets of one model.

    Args:
        classify: Its pipeline, of the task `multi-label-classification`.
    """

    def __init__(self, classify: Pipeline) -> None:
        self.classify, self.model = classify, classify.model.eval()
        self.names: list[str] = self.model.config.label_names

    @classmethod
    def load(cls, model: str, revision: str | None) -> Labeller:
        """Load a Hub repo at one commit, or a folder; the code shipped in it runs.

        Args:
            model: OWNER/NAME, or a folder.
            revision: Commit on the Hub.
        """
        return cls(pipeline("multi-label-classification", model=model, revision=revision, trust_remote_code=True))

    @property
    def has_cuts(self) -> bool:
        """Whether there is anything to move."""
        return self.model.config.decision["rule"] not in WITHOUT_CUTS

    def logits(self, text: str) -> Tensor:
        """Score one text, cut to the length the model was trained on: -> (1, L)."""
        # a lone surrogate is no character, and no tokenizer takes it
        text = text.encode("utf-8", "replace").decode("utf-8")
        return self.classify.forward(self.classify.preprocess(text))["logits"]

    def judge(self, logits: Tensor, shift: float = 0.0) -> Judgement:
        """Decide one text.

        Args:
            logits: Shape (1, L).
            shift: As for `move_cuts`.
        """
        moved = at_shift(self.model, shift)
        return Judgement(
            moved.probabilities(logits)[0].tolist(),
            cuts_of(moved.config.decision, len(self.names)),
            cuts_of(self.model.config.decision, len(self.names)),
            moved.decide(logits)[0].tolist(),
        )


def at_shift(model: Any, shift: float) -> Any:
    """The model with its cuts moved; weights are shared, and the model itself keeps its decision.

    Args:
        model: Of the shipped class.
        shift: As for `move_cuts`.
    """
    if not shift:
        return model
    moved = copy.copy(model)
    moved.config = copy.copy(model.config)
    moved.config.decision = move_cuts(model.config.decision, shift)
    return moved


def move_cuts(decision: dict[str, Any], shift: float) -> dict[str, Any]:
    """A decision whose cuts lie `shift` lower on the scale of log-odds.

    Args:
        decision: As stored in config.json; it is not changed.
        shift: Above 0 more labels are decided (recall), below 0 fewer (precision). A cut of 0 or 1 stays.

    Example:
        >>> move_cuts({"rule": "threshold", "thresholds": [0.5, 1.0]}, math.log(4))
        {'rule': 'threshold', 'thresholds': [0.2, 1.0]}
    """
    cuts = decision["thresholds"]
    moved = [move_cut(cut, shift) for cut in cuts] if isinstance(cuts, list | tuple) else move_cut(cuts, shift)
    return {**decision, "thresholds": moved}


def move_cut(cut: float, shift: float) -> float:
    """One cut, moved as `move_cuts` says."""
    if not 0 < cut < 1:
        return cut
    odds = cut / (1 - cut) * math.exp(-shift)
    return odds / (1 + odds)


def cuts_of(decision: dict[str, Any], labels: int) -> list[float] | None:
    """One cut a label; None where the rule has none."""
    if decision["rule"] in WITHOUT_CUTS:
        return None
    cuts = decision["thresholds"]
    return list(cuts) if isinstance(cuts, list | tuple) else [cuts] * labels
