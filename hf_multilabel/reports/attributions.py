"""Which tokens speak for a label: integrated gradients of its logit along the token embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hf_multilabel.reports.attention import EncodedText, encode, length_of
from hf_multilabel.reports.drawing import check_installed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hf_multilabel.remote_code.modeling_multilabel import MultiLabelForSequenceClassification

STEPS = 32
BATCH = 8
# A longer text is read to here: its cost grows with every token, and a page holds no more words.
MOST_TOKENS = 256


@dataclass(frozen=True)
class Attribution:
    """What the tokens of a text add to one label's logit.

    Args:
        label: Its name.
        logit: Of the text.
        baseline: Logit of the same text with every word masked.
        values: What each token adds, (T,): together about `logit - baseline`.
        encoded: The text.
    """

    label: str
    logit: float
    baseline: float
    values: NDArray[np.float64]
    encoded: EncodedText

    @property
    def gap(self) -> float:
        """How far the values are from adding up, as a share of what they should add up to; 0 is exact."""
        whole = self.logit - self.baseline
        return abs(float(self.values.sum()) - whole) / max(abs(whole), 1e-9)


def attribute(
    model: MultiLabelForSequenceClassification,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    label: int,
    steps: int = STEPS,
) -> Attribution:
    """Integrated gradients of a label's logit along the word embeddings.

    The path leads from the text with all its words masked, special tokens kept, to the text itself; positions and the
    attention mask stay, so that only the words count. (Some encoders count positions by padding, so it is no blank.)

    Args:
        model: In eval mode.
        tokenizer: Beside it.
        text: Its first `MOST_TOKENS` tokens are read, of a model that reads windows those of the first one.
        label: Id.
        steps: Points on the path; more of them close the `gap`.

    Raises:
        InputError: If captum is not installed.
        ValueError: If the backbone does not embed token by token, as XLNet.

    Cost: `steps` forward and backward passes of one text.

    Reference: Sundararajan et al. 2017, Axiomatic Attribution for Deep Networks.
    """
    check_installed("captum")
    from captum.attr import LayerIntegratedGradients

    encoded = encode(tokenizer, text, min(MOST_TOKENS, length_of(model, tokenizer)))
    inputs = {name: tensor.to(model.device) for name, tensor in encoded.inputs.items()}
    ids = inputs.pop("input_ids")
    blank = tokenizer.pad_token_id or 0 if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    special = torch.tensor(tokenizer.get_special_tokens_mask(ids[0].tolist(), already_has_special_tokens=True))
    blanked = torch.where(special.bool().to(ids.device), ids[0], blank)[None]

    def logit(input_ids: Tensor) -> Tensor:
        rows = {name: tensor.expand(len(input_ids), -1) for name, tensor in inputs.items()}
        return model(input_ids=input_ids, **rows).logits[:, label]

    gradients = LayerIntegratedGradients(logit, model.backbone.get_input_embeddings())
    found = gradients.attribute(ids, baselines=blanked, n_steps=steps, internal_batch_size=BATCH)
    with torch.no_grad():
        reached, start = logit(torch.cat([ids, blanked])).tolist()
    tokens = len(encoded.tokens)
    if found.ndim != 3 or len(found) != 1 or found.shape[1] < tokens:
        raise ValueError(f"backbone: expected embeddings (1, {tokens}, H), found {tuple(found.shape)}. Read attention.")
    # some encoders fill up what they read to whole blocks
    values = found[0, :tokens].detach().double().sum(dim=-1).cpu().numpy()
    return Attribution(model.config.label_names[label], reached, start, values, encoded)


def marked_pieces(attribution: Attribution, text: str) -> list[tuple[str, float]]:
    """The text in pieces, each with what it adds as a share of the largest; what lies between tokens adds nothing.

    Tokens without a place in the text (special ones, other tokenizers') are left out, or, where no token has one, are
    the pieces themselves.

    Example:
        >>> found = Attribution("x", 1.0, 0.0, np.array([0.0, 2.0, -1.0]),
        ...     EncodedText({}, ("[CLS]", "late", "goal"), (None, (0, 4), (5, 9))))
        >>> marked_pieces(found, "late goal!")
        [('late', 1.0), (' ', 0.0), ('goal', -0.5), ('!', 0.0)]
    """
    largest = max(float(np.abs(attribution.values).max(initial=0)), 1e-12)
    shares = (attribution.values / largest).tolist()
    if not any(attribution.encoded.spans):
        return [(f"{token} ", share) for token, share in zip(attribution.encoded.tokens, shares, strict=True)]
    pieces: list[tuple[str, float]] = []
    end = 0
    for span, share in zip(attribution.encoded.spans, shares, strict=True):
        if span is None or span[0] < end:
            continue
        pieces += [(text[end : span[0]], 0.0), (text[slice(*span)], share)]
        end = span[1]
    return [(piece, share) for piece, share in [*pieces, (text[end:], 0.0)] if piece]
