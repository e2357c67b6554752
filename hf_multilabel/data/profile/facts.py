"""What is known of a dataset, as plain values: what tables, figures and reports show is read from here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class SplitFacts:
    """One split.

    Args:
        rows: Its rows.
        origin: `given` by the source, or `stratified`: made from the training rows.
        cardinality: Labels a row.
        density: That, divided by the number of labels.
        rows_without_labels: Rows that have none.
        labels_present: Labels with a row here.
        labels_missing: Labels with a row in another split and none here.
        missing_examples: Some of these.
        label_sets: Different sets of labels.
        single_sets: Those of them that one row alone has.
    """

    rows: int
    origin: str
    cardinality: float
    density: float
    rows_without_labels: int
    labels_present: int
    labels_missing: int
    missing_examples: tuple[str, ...]
    label_sets: int
    single_sets: int


@dataclass(frozen=True)
class LabelPair:
    """Two labels that stand in the same training rows.

    Args:
        first: The more frequent label.
        second: The other.
        together: Rows that have both.
        lift: That, over the number expected if they were independent.
        jaccard: That, over the rows that have one of them.
    """

    first: str
    second: str
    together: int
    lift: float
    jaccard: float


@dataclass(frozen=True)
class CoOccurrence:
    """Which labels stand together in training rows.

    Args:
        labels: The most frequent ones, in that order.
        counts: Rows that have both of two of them; on the diagonal those of the label.
        least: A pair is listed if so many rows have both: below, lift ranks chance.
        by_lift: The strongest pairs.
        by_jaccard: The strongest pairs.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    least: int
    by_lift: tuple[LabelPair, ...]
    by_jaccard: tuple[LabelPair, ...]


@dataclass(frozen=True)
class LookAlike:
    """Two labels whose names are nearly the same.

    Args:
        first: The label of more rows.
        second: The other.
        first_rows: Rows of all splits with the first.
        second_rows: Rows of all splits with the other.
    """

    first: str
    second: str
    first_rows: int
    second_rows: int


@dataclass(frozen=True)
class LengthFacts:
    """How long the texts are.

    Args:
        unit: `tokens`, special ones included, or `words` where no tokenizer could be loaded.
        tokenizer: Name of the backbone whose tokenizer counted; None for words.
        max_length: Where the recipe cuts.
        measured: Split to the number of texts that were measured.
        percentiles: Split to percentile (5, 25, 50, 75, 95, 99, 100) to length.
        truncated: Split to the share of texts longer than `max_length`; of words only where a text has more words.
        cut_at: Length to the share of training texts that are longer.
        edges: Of the histogram of training texts; the last bin holds all longer ones.
        counts: Its texts, one number fewer than edges.
    """

    unit: str
    tokenizer: str | None
    max_length: int
    measured: dict[str, int]
    percentiles: dict[str, dict[int, int]]
    truncated: dict[str, float]
    cut_at: dict[int, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class NearPair:
    """Two rows whose texts are nearly the same.

    Args:
        first: Split and id of the earlier row, `train t-17`.
        second: The same of the later.
        similarity: Jaccard similarity of their word shingles.
        first_text: Start of the text.
        second_text: Start of the text.
    """

    first: str
    second: str
    similarity: float
    first_text: str
    second_text: str


@dataclass(frozen=True)
class NearDuplicates:
    """Texts that are nearly, but not byte for byte, the same.

    Args:
        threshold: Least Jaccard similarity.
        words: Words of a shingle.
        rows: Rows searched.
        of: Rows there are; more than were searched where a sample was drawn.
        within: Split to its rows with an earlier near duplicate in it.
        between: `first/second` to the rows of the second split with one in the first.
        examples: The most similar pairs, those between splits first.
    """

    threshold: float
    words: int
    rows: int
    of: int
    within: dict[str, int]
    between: dict[str, int]
    examples: tuple[NearPair, ...]


@dataclass(frozen=True)
class ShiftedLabel:
    """A label whose share of rows differs between two splits.

    Args:
        label: Its name.
        first: Share of the rows of the first split.
        second: Share of the rows of the second.
        p_value: Chance of such a difference between random parts of the same rows; two-sided.
    """

    label: str
    first: float
    second: float
    p_value: float


@dataclass(frozen=True)
class LabelShift:
    """How far two splits differ in their labels.

    Args:
        cardinality: Labels a row of the second less those of the first.
        mean_difference: Mean over labels of the absolute difference of the shares.
        labels: Labels compared: those that occur in one of the two.
        significant: Those of them that differ by more than chance, 5% of false discoveries.
        largest: The surest ones.
    """

    cardinality: float
    mean_difference: float
    labels: int
    significant: int
    largest: tuple[ShiftedLabel, ...]


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory of a training run on one device, in bytes.

    Args:
        parameters: Weights of the model.
        trainable: Those of them that are trained.
        batch_size: Texts of a step on a device.
        length: Tokens of the longest text of a batch.
        weights: Of all parameters.
        gradients: Of those that are trained.
        optimizer: State of the optimizer.
        activations: Kept from the forward pass for the backward pass.
        evaluation: Scores that are kept while a split is measured.
        libraries: Of the process on a CPU before a model is loaded; 0 on a GPU.
    """

    parameters: int
    trainable: int
    batch_size: int
    length: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    evaluation: int
    libraries: int

    @property
    def total(self) -> int:
        """The peak: a step, or the evaluation if that needs more."""
        step = self.gradients + self.activations
        return self.libraries + self.weights + self.optimizer + max(step, self.evaluation)


@dataclass(frozen=True)
class SuspectedErrors:
    """What the search for wrong labels found.

    Args:
        method: What scored the rows, in words.
        rows: Rows scored.
        labels: Labels judged; of the others there are too few rows.
        missing: Suspected labels that hold and are not given.
        wrong: Suspected labels that are given and do not hold.
        by_label: Label to suspected pairs, the most affected first.
        file: Where the list was written.
    """

    method: str
    rows: int
    labels: int
    missing: int
    wrong: int
    by_label: dict[str, int]
    file: str


@dataclass(frozen=True)
class DataProfile:
    """All that `hf-multilabel inspect` finds out about a dataset.

    Args:
        source: Its name, as the user gave it.
        guessed: What was guessed about the columns, one sentence each; empty under a recipe.
        splits: Split to its facts.
        labels: Names, in the order of their ids.
        counts: Split to the rows of each label.
        imbalance: As `measure_imbalance` gives it, of the training rows.
        ratios: IRLbl of each label; None where it has no training row.
        cooccurrence: Of the training rows.
        lengths: Of the texts.
        duplicates: As `find_duplicates` counts them: texts that are byte for byte the same.
        near_duplicates: None if they were not searched for.
        shift: `train/validation`, `train/test` and so on.
        unseen: Labels that occur only outside training: `count`, `examples`, `never`.
        memory: Of a run of the recipe; None where the backbone could not be read.
        errors: Suspected label errors; None if they were not searched for.
        corrections: What `data.corrections` changed; empty without such a file.
        textless: Split to `count` and `examples` of rows without text, which were left out.
        lookalikes: Labels that are probably one, written in two ways.
    """

    source: str
    guessed: tuple[str, ...]
    splits: dict[str, SplitFacts]
    labels: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    imbalance: dict[str, float]
    ratios: tuple[float | None, ...]
    cooccurrence: CoOccurrence
    lengths: LengthFacts
    duplicates: dict[str, Any]
    near_duplicates: NearDuplicates | None
    shift: dict[str, LabelShift]
    unseen: dict[str, Any]
    memory: MemoryEstimate | None = None
    errors: SuspectedErrors | None = None
    corrections: dict[str, Any] = field(default_factory=dict)
    textless: dict[str, Any] = field(default_factory=dict)
    lookalikes: tuple[LookAlike, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Nested dictionaries and lists, as JSON takes them."""
        found = asdict(self)
        if self.memory is not None:
            found["memory"]["total"] = self.memory.total
        return found
