"""A closer look at a few texts: what is said of them, which tokens speak for it, where the layers look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from hf_multilabel.remote_code.decision_multilabel import decide_probabilities, probabilities
from hf_multilabel.reports.attention import draw_label_attention, draw_layers, encode, read_attention
from hf_multilabel.reports.attributions import attribute, marked_pieces
from hf_multilabel.reports.drawing import render
from hf_multilabel.reports.evidence import RunEvidence
from hf_multilabel.reports.page import Block, Heading, Marked, Picture, Prose, Texts
from hf_multilabel.reports.worst import ShownLabel, ShownText, show_text, surprise_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

# Labels of a text whose tokens are weighed, and labels whose own attention is drawn.
EXPLAINED, ATTENDED = 2, 8
# Characters of a text that is chosen here, if there are any so short; given ones may be longer.
READABLE = 900
# Of the maps of all layers, which hold more dots than other figures.
MOST_BYTES = 180_000
SAID = (
    "Blue tokens speak for the label, orange ones against it (integrated gradients of its logit). Attention maps show "
    "what each layer mixes, averaged over heads; they are no explanation of a prediction by themselves."
)


def choose_rows(evidence: RunEvidence) -> list[int]:
    """A text decided wholly right, with as many labels as possible, and the one decided most surely wrong."""
    if not len(evidence.texts):
        return []
    length = np.array([len(text) for text in evidence.texts])
    short = length <= max(READABLE, np.quantile(length, 0.25))
    surprise, labels = surprise_of(evidence), evidence.outcome.by_row.positive
    right = np.where(short & (surprise == 0) & (labels > 0), labels, 0)
    wrong = np.where(short, surprise, 0)
    return [int(found.argmax()) for found in (right, wrong) if found.max() > 0]


def look_closely(
    model: MultiLabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    evidence: RunEvidence,
    texts: Sequence[str] = (),
) -> list[Block]:
    """Blocks on some texts.

    Args:
        model: In eval mode.
        tokenizer: Beside it.
        evidence: Of the split; its texts are chosen from where none are given.
        texts: Given ones.

    Raises:
        InputError: If captum or matplotlib is not installed.

    Cost: About 70 forward and backward passes of a text each.
    """
    blocks: list[Block] = []
    shown = [(text, None) for text in texts] or [(evidence.texts[row], row) for row in choose_rows(evidence)]
    for number, (text, row) in enumerate(shown, 1):
        probs, decided = judge_text(model, tokenizer, text)
        found = describe(model.config.label_names, text, probs, decided) if row is None else show_text(evidence, row)
        blocks += [Heading(f"Text {number}"), Texts([found])]
        blocks += explain(model, tokenizer, text, probs, decided)
        blocks += attend(model, tokenizer, text, probs, number)
    return [Prose([SAID]), *blocks] if blocks else []


def judge_text(
    model: MultiLabelForSequenceClassification, tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities and decided labels of a text, (L,) each."""
    inputs = encode(tokenizer, text, tokenizer.model_max_length).inputs
    with torch.no_grad():
        logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits.cpu()
    probs = probabilities(logits, model.config.decision)
    return probs[0].numpy(), decide_probabilities(probs, model.config.decision)[0].numpy()


def describe(names: Sequence[str], text: str, probs: np.ndarray, decided: np.ndarray) -> ShownText:
    """A text of which no truth is known: its labels, or the nearest one that it did not get."""
    ids = np.flatnonzero(decided)
    shown = [(label, "predicted") for label in ids[np.argsort(-probs[ids], kind="stable")]]
    shown = shown or [(int(probs.argmax()), "most probable, not predicted")]
    return ShownText("given", text, tuple(ShownLabel(names[i], float(probs[i]), kind, "plain") for i, kind in shown))


def explain(
    model: MultiLabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    probs: np.ndarray,
    decided: np.ndarray,
) -> list[Block]:
    """Which tokens speak for the labels of a text; for its most probable one if it has none."""
    blocks: list[Block] = []
    for label in ranked(probs, decided)[:EXPLAINED]:
        try:
            found = attribute(model, tokenizer, text, label)
        except ValueError:
            return [Prose(["This backbone does not embed token by token: no tokens are weighed."])]
        rest = "" if found.gap < 0.1 else f"; the tokens explain it up to {found.gap:.0%}"
        note = f"logit {found.logit:+.2f}, with every word masked {found.baseline:+.2f}{rest}"
        title = f"What speaks for {found.label} (probability {probs[label]:.3f})"
        blocks.append(Marked(title, marked_pieces(found, text), note))
    return blocks


def ranked(probs: np.ndarray, decided: np.ndarray) -> list[int]:
    """Label ids, the decided ones first, each part by probability."""
    return np.lexsort((-probs, ~decided)).tolist()[: max(1, int(decided.sum()))]


def attend(
    model: MultiLabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    probs: np.ndarray,
    number: int,
) -> list[Block]:
    """Attention maps by layer, and what each of the most probable labels looks at where the head attends."""
    labels = np.argsort(-probs, kind="stable")[:ATTENDED].tolist()
    found = read_attention(model, tokenizer, text, labels)
    blocks: list[Block] = []
    drawn = {
        "layers": (
            draw_layers(found),
            "Attention of each layer, averaged over its heads; every map has its own scale.",
        ),
        "labels": (draw_label_attention(found), "Where each of the most probable labels looks, in the head."),
    }
    for name, (figure, caption) in drawn.items():
        if figure is not None:
            blocks.append(Picture(f"text_{number}_{name}", render(figure, MOST_BYTES), f"Text {number}. {caption}"))
    return blocks
