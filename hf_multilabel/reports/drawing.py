"""How all figures are drawn: one style, names that can hold anything, PNG files of a bounded size."""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_multilabel.errors import Finding, InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Readable side by side for the colour-blind, and on white: Okabe and Ito 2008, black and yellow left out.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
PART_COLORS = {"head": COLORS[0], "torso": COLORS[2], "tail": COLORS[1], "all": "#333333"}
GREY, PALE = "#666666", "#d9d9d9"
HEAT = "Blues"
# A PNG above this is drawn with fewer dots; a card with five figures stays below 300 kB.
MOST_BYTES = 60_000
DOTS = (140, 110, 90, 72, 55)
TONES = 96
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
}
# Fonts with the letters that matplotlib's own lacks, taken where a machine has them.
MORE_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans", "Arial Unicode MS", "WenQuanYi Micro Hei")
# Where a name may stand beside its point: the side that is at the point, and points above it, the best first.
BESIDE = (2, -12, -5)
PLACES = tuple((side, shift) for shift in (*BESIDE, 10, -20, 18) for side in ("left", "right"))
# What has no picture of its own and would end or turn a line.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def need_extra(package: str, extra: str) -> InputError:
    """The error of a package that is not installed, one line."""
    fix = f"pip install 'hf-multilabel[{extra}]'"
    return InputError(Finding("C120", package, f"this needs hf-multilabel[{extra}], found no {package}", fix))


def check_installed(*packages: str) -> None:
    """Refuse to begin what these packages are needed for at its end.

    Raises:
        InputError: Naming the first that is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise need_extra(package, "report")


def styled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that draws, in the style of all figures.

    Raises:
        InputError: If matplotlib is not installed.
    """

    @functools.wraps(function)
    def in_style(*args: Any, **kwargs: Any) -> Any:
        check_installed("matplotlib")
        import matplotlib as mpl

        with mpl.rc_context({**STYLE, "font.family": fonts()}):
            return function(*args, **kwargs)

    return in_style


@functools.cache
def fonts() -> list[str]:
    """The font that comes with matplotlib, then those of `MORE_FONTS` that are there."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in MORE_FONTS if name in there)]


def new_figure(width: float = 8.0, height: float = 4.0) -> Figure:
    """An empty figure, in inches; nothing of pyplot's global state is touched."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def title_left(figure: Figure, title: str) -> None:
    """A title that begins at the edge of the figure: above axes with long names beside them it would leave it."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")


def shorten(name: str, length: int = 28) -> str:
    r"""A name as it is written into a figure: on one line, not too long, no formula.

    Example:
        >>> print(shorten("$x$ and a long tail of words", 14))
        \$x\$ and a l...
    """
    plain = UNSEEN.sub(" ", str(name)).strip()
    plain = plain if len(plain) <= length else plain[: length - 3].rstrip() + "..."
    return plain.replace("$", r"\$")


def count_labels(count: int) -> str:
    """How many labels, for a legend.

    Example:
        >>> count_labels(1), count_labels(4271)
        ('1 label', '4,271 labels')
    """
    return f"{count:,} label{'s'[: count != 1]}"


def name_points(
    axes: Axes,
    points: Sequence[tuple[float, float, str]],
    length: int = 24,
    others: Sequence[tuple[float, float]] = (),
) -> None:
    """Write names beside points, the first ones first; one that would lie on another name is left out.

    Args:
        axes: With its final limits and scales.
        points: x, y and name of each.
        length: Letters of a name, at most.
        others: Further dots, and places on lines, that names should not lie on where there is another place.
    """
    from matplotlib.patheffects import withStroke

    box = axes.get_window_extent()
    inches = (box.width / axes.figure.dpi, box.height / axes.figure.dpi)
    seen = np.array([*((x, y) for x, y, _ in points), *others], float).reshape(-1, 2)
    dots = axes.transAxes.inverted().transform(axes.transData.transform(seen))
    taken: list[tuple[float, float, float, float]] = []
    for (x, y, name), (across, up) in zip(points, dots[: len(points)].tolist(), strict=True):
        shown = shorten(name, length)
        wide, high = (0.065 * len(shown) + 0.03) / inches[0], 0.13 / inches[1]
        places = []
        for side, shift in PLACES:
            left = across + (0.07 / inches[0] if side == "left" else -0.07 / inches[0] - wide)
            low = up + shift / 72 / inches[1]
            inside = left >= -0.01 and left + wide <= 1.01 and low >= 0 and low + high <= 1.04
            if inside and not any(
                left < end and start < left + wide and low < top and floor < low + high
                for start, end, floor, top in taken
            ):
                covered = (abs(dots - (left + wide / 2, low + high / 2)) < (wide / 2, high / 2)).all(axis=1).sum()
                places.append((int(covered), len(places), side, shift, (left, left + wide, low, low + high)))
        if places:
            _, _, side, shift, taken_box = min(places)
            taken.append(taken_box)
            axes.annotate(
                shown, (x, y), xytext=(5 if side == "left" else -5, shift + 2), textcoords="offset points", fontsize=7,
                ha=side, path_effects=[withStroke(linewidth=2, foreground="white")], zorder=2.5,
                arrowprops=_thread(side, shift),
            )  # fmt: skip


def _thread(side: str, shift: float) -> dict[str, Any] | None:
    """A thin line from a name to its dot, where the name had to go so far that it may be taken for another's."""
    if shift in BESIDE:
        return None
    corner = (0.0 if side == "left" else 1.0, 0.0 if shift > 0 else 1.0)
    return {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 2, "relpos": corner}


def log_ticks(axis: Any) -> None:
    """Numbers as people write them on a logarithmic axis: 1, 10, 1,000, 0.01, or all of them as 5e-05 and 1e-03."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if 0 < low < high < 40 * low:  # powers of ten alone would leave one number, or none
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: write_tick(value, axis.get_view_interval()[0])))
    axis.set_minor_formatter(NullFormatter())


def write_tick(value: float, low: float) -> str:
    """A number of a logarithmic axis; below 1 all in one form, so that they are compared at a glance.

    Args:
        value: The number.
        low: Where the axis begins.

    Example:
        >>> [write_tick(value, 0.01) for value in (1000, 0.01)], [write_tick(value, 5e-5) for value in (1e-3, 1e-4)]
        (['1,000', '0.01'], ['1e-03', '1e-04'])
    """
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:g}" if low >= 5e-4 else f"{value:.0e}"


def whole_ticks(axis: Any) -> None:
    """Whole numbers with thousands marked; those of two directions without a sign."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))


def label_last(grid: Sequence[Axes], columns: int, panels: int) -> None:
    """Hide the panels of a shared grid that are left over; those above them carry the numbers of the x axis."""
    for place, axes in enumerate(grid):
        axes.set_visible(place < panels)
        axes.tick_params(labelbottom=place + columns >= panels)


def heat(axes: Axes, table: Any, rows: list[str], columns: list[str], texts: list[list[str]], **kwargs: Any) -> Any:
    """A table in colours with its values written in.

    Args:
        axes: Where.
        table: Values, (R, C).
        rows: Names of the rows, already short.
        columns: Names of the columns, already short.
        texts: What is written into each cell, R lists of C.
        **kwargs: Of `imshow`.
    """
    image = axes.imshow(table, cmap=HEAT, aspect="auto", **kwargs)
    axes.grid(False)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    low, high = image.get_clim()
    for i, line in enumerate(texts):
        for j, text in enumerate(line):
            dark = table[i][j] > low + 0.55 * (high - low)
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "#333333")
    return image


@styled
def render(figure: Figure, most: int = MOST_BYTES) -> bytes:
    r"""A figure as PNG of at most so many bytes; few tones are enough for charts and a third of the size.

    Example:
        >>> render(new_figure())[:4]
        b'\x89PNG'
    """
    from PIL import Image

    content = b""
    for dots in DOTS:
        drawn, packed = io.BytesIO(), io.BytesIO()
        with warnings.catch_warnings():  # letters that no font here has become boxes; the tables beside have them
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure.savefig(drawn, format="png", dpi=dots)
        drawn.seek(0)
        Image.open(drawn).convert("RGB").quantize(TONES, kmeans=1).save(packed, format="png", optimize=True)
        content = packed.getvalue()
        if len(content) <= most:
            break
    return content
