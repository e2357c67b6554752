"""Suspected label errors of all splits, written to a list that a person corrects and `data.corrections` reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from scipy import sparse

from hf_multilabel.data.corrections import Suspect, one_line, write_suspects
from hf_multilabel.data.loading import MultiLabelData
from hf_multilabel.data.profile.facts import SuspectedErrors
from hf_multilabel.data.profile.label_errors import FOLDS, HeldOutScores, rank_suspects, score_held_out

# More than a person reads through; the surest come first.
MOST_PAIRS = 2_000
SHOWN = 10


def find_suspects(data: MultiLabelData, file: Path) -> SuspectedErrors:
    """Score all rows by models that did not see them, and write the pairs that look wrong, missing labels first.

    Cells that are unknown are left out: nobody says anything about them.

    Raises:
        InputError: If cleanlab is not installed, or the file's name has another ending.
        EnvironmentFault: If the file can't be written.
    """
    texts = [text for split in data.splits.values() for text in split["text"][:]]
    ids = [name for split in data.splits.values() for name in split["id"][:]]
    split_of = [split for split, rows in data.splits.items() for _ in range(len(rows))]
    targets = sparse.csr_matrix(sparse.vstack([data.label_matrix(split) for split in data.splits], format="csr"))
    scores = score_held_out(texts, targets)
    missing, wrong = (_known(data, scores, pairs) for pairs in rank_suspects(scores, targets))
    pairs = [*((*pair, 1) for pair in missing), *((*pair, 0) for pair in wrong)]
    # each kind gets at least half of the list where there are as many
    room = MOST_PAIRS - min(len(wrong), MOST_PAIRS // 2)
    kept = [*pairs[: min(len(missing), room)], *pairs[len(missing) :]][:MOST_PAIRS]
    names = data.labels.names
    write_suspects(
        file,
        (
            Suspect(
                id=ids[row],
                split=split_of[row],
                label=names[scores.judged[column]],
                given=1 - suggested,
                suggested=suggested,
                score=round(float(scores.probs[row, column]), 4),
                text=one_line(texts[row]),
            )
            for row, column, suggested in kept
        ),
    )
    by_label = Counter(names[scores.judged[column]] for _, column, _ in pairs)
    method = f"TF-IDF with logistic regression, {FOLDS} folds, confident learning"
    return SuspectedErrors(
        method, len(texts), len(scores.judged), len(missing), len(wrong), dict(by_label.most_common(SHOWN)), file.name
    )


def _known(data: MultiLabelData, scores: HeldOutScores, pairs: np.ndarray) -> np.ndarray:
    """The pairs without those that are marked as unknown."""
    unknown = data.unknown_matrix("train")
    if unknown is None or not len(pairs):
        return pairs
    first = list(data.splits).index("train")
    start = sum(len(rows) for rows in list(data.splits.values())[:first])
    inside = (pairs[:, 0] >= start) & (pairs[:, 0] < start + unknown.shape[0])
    asked = np.zeros(len(pairs), bool)
    cells = unknown[pairs[inside, 0] - start, scores.judged[pairs[inside, 1]]]
    asked[inside] = np.asarray(cells).ravel().astype(bool)
    return pairs[~asked]
