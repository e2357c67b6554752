"""Cuts per label with a remedy for rare ones, whose own best cut is mostly chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hf_multilabel.decisions.counting import count_by_label, next_lower, scores_of
from hf_multilabel.decisions.cross_validation import take_rows
from hf_multilabel.decisions.cuts import MARGIN, find_candidates, keep_distance, logit, midway
from hf_multilabel.decisions.f_cuts import f_gain, micro_f1
from hf_multilabel.decisions.plug_in import expected_cuts
from hf_multilabel.evaluation.averages import f_beta, macro, micro
from hf_multilabel.evaluation.outcomes import Counts
from hf_multilabel.evaluation.scores import Scores, TopScores

SHRINKAGE = 1.0  # measured: docs/decisions.md
STRENGTHS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # tried by choose_shrinkage
FOLDS = 5  # of choose_shrinkage
REPEAT_UP_TO = 4e6  # scores: below, chance in the parts matters and time does not
FALLBACKS = ("never", "highest")


def balanced(scores: Scores, held: sparse.csr_array, *, shrinkage: float | str = SHRINKAGE) -> NDArray[np.float64]:
    """Cuts for (micro-F1 + macro-F1) / 2 that hold on other rows: own cuts drawn toward the global one, (L,).

    1. Own cut: the one that adds most to the expected micro- plus macro-F1 under calibrated probabilities, see
       `expected_cuts`: all rows of a label have a say in it, where the best cut of the rows themselves would hang on a
       few positives. A label for which none is worth anything keeps the global cut: that is mostly said of labels with
       one or two positives, of which little is known, and to close them costs both (docs/decisions.md).
    2. Shrinkage: on the logit scale a label with n positives goes n / (n + c) of the way from the global micro-F1 cut
       to its own, c being `shrinkage`; infinity gives `micro_f1`, `auto` what `choose_shrinkage` finds. The cut then
       keeps `MARGIN` or half the gap, if that is less, from the scores around it.

    Of scores kept in part, the next one below the global cut has to be known too, unless c is 0 or infinite: the way
    to a label's own cut starts half-way to it. Under `auto` all this holds for the parts as well.

    Cost: `micro_f1`, `expected_cuts` and two passes over the scores; under `auto` 5 to 20 times that.
    """
    shared, own = shared_and_own(scores, held)
    if not _known(scores, own):
        return own
    strength, known = _choose(scores, held, 0) if isinstance(shrinkage, str) else (shrinkage, True)
    if isinstance(scores, TopScores) and not (known and (strength in (0, np.inf) or _placed(scores, shared))):
        return np.minimum(shared, scores.ceiling)  # no exact cut: `fit_cuts` starts again with safe counts
    return draw_cuts(scores, np.bincount(held.indices, minlength=len(own)), shared, own, strength)


def shared_and_own(scores: Scores, held: sparse.csr_array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The global cut and each label's own, where `balanced` starts from: (L,), (L,)."""
    shared = micro_f1(scores, held)
    if not _known(scores, shared):
        return shared, shared
    own = expected_cuts(scores, held)
    return shared, np.where(own < 1, own, shared)


def draw_cuts(
    scores: Scores,
    positives: NDArray[np.int64],
    shared: NDArray[np.float64],
    own: NDArray[np.float64],
    shrinkage: float,
) -> NDArray[np.float64]:
    """Step 2 of `balanced`: (L,)."""
    some, cuts = np.flatnonzero(positives), shared.copy()
    weight = positives[some] / (positives[some] + max(shrinkage, np.finfo(float).tiny))
    drawn = weight * logit(own[some]) + (1 - weight) * logit(shared[some])
    cuts[some] = 1 / (1 + np.exp(-drawn))
    return keep_distance(scores, cuts)


def choose_shrinkage(scores: Scores, held: sparse.csr_array, seed: int = 0) -> float:
    """The shrinkage of the highest (micro-F1 + macro-F1) / 2 on rows that the cuts were not fitted on.

    The rows fall by chance into `FOLDS` parts, several times where scores are few; the cuts of the other parts judge
    each part, at every strength of `STRENGTHS`. Equal or less than a standard error better than `SHRINKAGE`, that
    default stays: a choice among eight has luck of its own.

    Args:
        scores: Probabilities, (N, L).
        held: True label sets, (N, L).
        seed: Of the parts.

    Cost: 5 to 20 fits of `balanced`.
    """
    return _choose(scores, held, seed)[0]


def _choose(scores: Scores, held: sparse.csr_array, seed: int) -> tuple[float, bool]:
    """`choose_shrinkage`, and whether all scores would choose the same."""
    rows, rng = scores.shape[0], np.random.default_rng(seed)
    if rows < 2 * FOLDS:
        return SHRINKAGE, True
    stored = scores.stored.nnz if isinstance(scores, TopScores) else scores.size
    leads, errors, known = [], [], True
    for _ in range(int(np.clip(REPEAT_UP_TO // stored, 1, 4))):
        part = rng.permutation(rows) % FOLDS
        judged = [_judge_strengths(scores, held, part == number) for number in range(FOLDS)]
        counted = np.array([counts for counts, _ in judged])  # (K, 3, S, L)
        known &= all(settled for _, settled in judged)
        whole = counted.sum(axis=0)
        leads.append(_lead(whole))
        left_out = np.array([_lead(whole - fold) for fold in counted])  # (K, S)
        errors.append(np.sqrt((FOLDS - 1) * left_out.var(axis=0)))
    lead, error = np.mean(leads, axis=0), np.mean(errors, axis=0)
    best = int(np.argmax(lead))
    return STRENGTHS[best] if lead[best] > error[best] else SHRINKAGE, known


def _lead(counted: NDArray[np.int64]) -> NDArray[np.float64]:
    """How much better than `SHRINKAGE` each strength is, in (micro-F1 + macro-F1) / 2: (3, S, L) -> (S,)."""
    counts = Counts(*counted)
    gain = (micro(f_beta, counts) + macro(f_beta, counts)) / 2
    return gain - gain[STRENGTHS.index(SHRINKAGE)]


def _judge_strengths(
    scores: Scores, held: sparse.csr_array, held_out: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], bool]:
    """Right, taken and true pairs of some rows by cuts fitted on the others, at every strength, and if all are known.

    Shapes: (3, S, L).
    """
    inside, outside = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    fitted, judged = take_rows(scores, inside), take_rows(scores, outside)
    known, truth = held[inside], held[outside]
    counted = np.zeros((3, len(STRENGTHS), held.shape[1]), np.int64)
    if not known.nnz:
        return counted, True
    shared, own = shared_and_own(fitted, known)
    settled = _known(fitted, own) and _placed(fitted, shared)
    positives, score = np.bincount(known.indices, minlength=len(own)), scores_of(judged, truth)
    counted[2] = np.bincount(truth.indices, minlength=len(own))
    for place, strength in enumerate(STRENGTHS):
        cuts = draw_cuts(fitted, positives, shared, own, strength)
        counted[0, place] = np.bincount(truth.indices[score >= cuts[truth.indices]], minlength=len(own))
        counted[1, place] = count_by_label(judged, cuts)
        settled &= _known(judged, cuts)
    return counted, settled


def _placed(scores: Scores, shared: NDArray[np.float64]) -> bool:
    """Whether the next score below the global cut is known, and with it where exactly the cut lies."""
    if not isinstance(scores, TopScores) or scores.unstored_at_floor or not len(shared):
        return True
    return bool(scores.stored.data.max(initial=-1, where=scores.stored.data < shared[0]) >= scores.ceiling)


def _known(scores: Scores, cuts: NDArray[np.floating]) -> bool:
    """Whether counts at these cuts may be built on; where not, `fit_thresholds` starts again with safe ones."""
    return not isinstance(scores, TopScores) or scores.unstored_at_floor or not len(cuts) or scores.knows(cuts)


def scut_fbr(
    scores: Scores, held: sparse.csr_array, *, beta: float = 1.0, fbr_floor: float = 0.3, fbr_fallback: str = "highest"
) -> NDArray[np.float64]:
    """Each label's own cut of the highest F-beta, unless that stays below a floor: then a cautious cut, (L,). Exact.

    FBR.0 (`never`) gives such labels a cut of 1, FBR.1 (`highest`) one just below the highest score of the label. A
    label without a positive is such a label, for its F is 0. Where the highest score may be one that was not kept, the
    cautious fit puts the cut just above all that it may be: no score is taken that is not known.

    Cost: `macro_f1` and two passes over the scores.

    Reference: Yang 2001, section 3 (SCut, FBR); Fan and Lin 2007.
    """
    cuts, kept = np.ones(scores.shape[1]), np.empty(0, np.int64)
    if held.nnz:
        found = find_candidates(scores, held)
        gain = found.gain(f_gain(beta))
        best = found.best(gain)
        good = gain[best] >= fbr_floor
        kept = found.present[good]
        cuts[kept] = found.place(scores, best[good])
    if fbr_fallback == "highest":
        poor = np.setdiff1d(np.arange(len(cuts)), kept)
        cuts[poor] = _below_highest(scores, poor)
    return cuts


def _below_highest(scores: Scores, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cuts of some labels just below their highest score; above it where a cautious fit does not know it: (V,)."""
    highest = _highest(scores)[labels]
    cuts = midway(highest, next_lower(scores, highest, labels))
    if not isinstance(scores, TopScores) or not scores.unstored_at_floor:
        return cuts
    unknown = scores.ceiling_by_label[labels]
    return np.where(highest > unknown, cuts, unknown + np.minimum(MARGIN, (1 - unknown) / 2))


def _highest(scores: Scores) -> NDArray[np.floating]:
    """The highest score of each label, 0 if none is kept: (L,)."""
    if not isinstance(scores, TopScores):
        return scores.max(axis=0)
    highest = np.zeros(scores.shape[1], scores.dtype)
    np.maximum.at(highest, scores.stored.indices, scores.stored.data)
    return highest
