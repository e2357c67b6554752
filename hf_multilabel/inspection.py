"""What a recipe's data holds, as tables in the terminal: `hf-multilabel inspect`."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hf_multilabel.data.loading import MultiLabelData, load_data
from hf_multilabel.recipe import Recipe

WIDEST_BAR = 30
PERCENTILES = (5, 50, 95, 100)


def inspect_data(recipe: Recipe, shown: int = 20) -> MultiLabelData:
    """Load the data of a recipe and print what it holds.

    Args:
        recipe: Only its section `data` is used.
        shown: Labels listed, half of them the most and half the least frequent.

    Returns:
        The data.

    Raises:
        InputError: With everything that is wrong with the data.
    """
    data = load_data(**recipe.data.load_arguments() | {"duplicates": "warn", "unseen_labels": "keep"})
    console = Console(highlight=False)
    console.print(split_table(data))
    console.print(label_table(data, shown))
    console.print(shared_table(data))
    return data


def split_table(data: MultiLabelData) -> Table:
    """Rows, labels a row and words a text of every split."""
    table = Table(title=f"{len(data.labels):,} labels", title_justify="left")
    headings = (
        "split",
        "rows",
        "labels a row",
        "rows without labels",
        "labels present",
        "words a text: 5% / median / 95% / most",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for split, dataset in data.splits.items():
        matrix = data.label_matrix(split)
        sizes, words = matrix.sum(1), [len(text.split()) for text in dataset["text"]]
        table.add_row(
            split,
            f"{len(dataset):,}",
            f"{sizes.mean():.2f}",
            f"{int((sizes == 0).sum()):,}",
            f"{int((matrix.sum(0) > 0).sum()):,}",
            " / ".join(f"{int(value):,}" for value in np.percentile(words, PERCENTILES)),
        )
    return table


def label_table(data: MultiLabelData, shown: int) -> Table:
    """The most and the least frequent labels with their share of the training rows."""
    counts, rows = np.asarray(data.labels.counts), len(data.splits["train"]) if "train" in data.splits else 0
    order = np.argsort(-counts, kind="stable")
    table = Table(title="Labels by training rows", title_justify="left")
    table.add_column("label")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    most, least = shown - shown // 2, shown // 2
    cut = len(order) > shown
    listed = [*order[:most], *order[-least:]] if cut else order
    for position, label in enumerate(listed):
        if cut and position == most:
            table.add_row("...", "", "", f"{len(order) - shown:,} more")
        bar = "#" * round(WIDEST_BAR * counts[label] / max(1, counts.max()))
        share = f"{counts[label] / rows:.2%}" if rows else "-"
        table.add_row(escape(data.labels.names[label]), f"{counts[label]:,}", share, bar)
    return table


def shared_table(data: MultiLabelData) -> Table:
    """What should not be: texts in two splits, texts twice in one, labels that only occur outside training."""
    shared, unseen = data.statistics["duplicates"], data.statistics.get("unseen_labels", {})
    table = Table(title="To look at before training", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    for pair, count in shared["between_splits"].items():
        table.add_row(f"texts shared: {pair}", f"{count:,}" if isinstance(count, int) else escape(str(count)))
    for split, count in shared["within_splits"].items():
        table.add_row(f"texts repeated in {split}", f"{count:,}" if isinstance(count, int) else escape(str(count)))
    table.add_row("labels only outside training", f"{unseen.get('count', 0):,}")
    return table
