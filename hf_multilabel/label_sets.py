"""Label sets of a stream of texts, whatever decides them: a model, or a session of an export."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hf_multilabel.data.texts import checked_row

# Texts read ahead and sorted by length: enough to pad little, few enough to stream.
READ_AHEAD = 1024
# Labels whose scores are given.
SCORES = ("predicted", "all")
# Texts to calibrated probabilities and label sets, (N, L) each.
Decide = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]
# Texts to the number of tokens that are read of each.
Lengths = Callable[[list[str]], Sequence[int]]


def label_sets(
    rows: Iterable[Mapping[str, str]],
    names: Sequence[str],
    decide: Decide,
    read_ahead: int = READ_AHEAD,
    abstains: bool = False,
    scores: str = "predicted",
) -> Iterator[dict[str, Any]]:
    """Label sets of a stream of texts, in its order.

    Args:
        rows: Each with `id` and `text`.
        names: Label names by id.
        decide: Of any number of texts.
        read_ahead: Texts read before the first is answered.
        abstains: An empty set is an abstention, as `empty: abstain` of a decision says.
        scores: Of `SCORES`: the labels whose scores are given.

    Yields:
        `id`, `labels` (decided, most probable first) and `scores` (label to calibrated probability, highest first), and
        of a text that abstains `abstained`, True; of a text that is empty or blank there is nothing to decide, whatever
        the decision says of empty sets: labels and scores are empty, and it does not abstain.

    Raises:
        ValueError: If a row has no `id` or no `text`, or `scores` is unknown.
    """
    if scores not in SCORES:
        raise ValueError(f"scores: expected one of {', '.join(SCORES)}, found {scores!r}. Choose one of them.")
    rows = map(checked_row, rows, itertools.count())
    while block := list(itertools.islice(rows, read_ahead)):
        texts = [row["text"] for row in block if row["text"].strip()]
        decided = zip(*decide(texts), strict=True) if texts else iter(())
        for row in block:
            if not row["text"].strip():
                yield {"id": row["id"], "labels": [], "scores": {}}
                continue
            probs, chosen = next(decided)
            ids = np.arange(len(names)) if scores == "all" else np.flatnonzero(chosen)
            ids = ids[np.argsort(-probs[ids], kind="stable")]
            found = {names[i]: round(float(probs[i]), 6) for i in ids}
            labels = [names[i] for i in ids if chosen[i]]
            abstained = {"abstained": True} if abstains and not labels else {}
            yield {"id": row["id"], "labels": labels, "scores": found, **abstained}


def decide_by_length(
    texts: Sequence[str],
    batch_size: int,
    num_labels: int,
    decide: Decide,
    lengths: Lengths,
    progress: Callable[[int], Any] | None = None,
    most_tokens: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decide texts in batches of about equal length, which pads little.

    Args:
        texts: N texts.
        batch_size: Most texts of one forward pass.
        num_labels: L.
        decide: Of one batch.
        lengths: Of some texts, in tokens: characters tell too little, batches by them are a fifth padding.
        progress: Called after each batch with its number of texts.
        most_tokens: Of one forward pass, padding included, unless one text alone has more; None sets no limit.

    Returns:
        As `decide`, in the order of the texts.

    Cost: Each text is tokenized twice.
    """
    parts = [list(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
    sizes = [size for part in parts for size in lengths(part)]
    order = sorted(range(len(texts)), key=lambda i: -sizes[i])
    probs = np.empty((len(texts), num_labels), dtype=np.float32)
    decided = np.empty(probs.shape, dtype=np.bool_)
    while order:
        room = batch_size if most_tokens is None else max(1, min(batch_size, most_tokens // max(1, sizes[order[0]])))
        chosen, order = order[:room], order[room:]
        probs[chosen], decided[chosen] = decide([texts[i] for i in chosen])
        if progress is not None:
            progress(len(chosen))
    return probs, decided
