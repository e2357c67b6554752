"""How far a long step is: a bar with rate and remaining time on a terminal, a line now and then in a log file.

`HF_MULTILABEL_LOG` chooses: empty for what fits the place, `quiet` for nothing, `json` for one JSON object a line.
Only the first process of several says anything.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

T = TypeVar("T")
VARIABLE = "HF_MULTILABEL_LOG"
MODES = ("auto", "quiet", "json")
# In a log file: a line each tenth, and none within so many seconds, so that quick steps leave no trace.
TENTHS, SECONDS = 10, 10.0

console = Console(stderr=True, highlight=False)
_shown: dict[str, Progress] = {}
_file: list[IO[str]] = []


def mode() -> str:
    """One of `MODES`; what is unknown counts as auto."""
    found = os.environ.get(VARIABLE, "auto")
    return found if found in MODES else "auto"


def is_first() -> bool:
    """Whether this is the process that speaks."""
    return os.environ.get("RANK", "0") == "0"


def emit(event: str, **values: Any) -> None:
    """Write one JSON line, flushed, with the time in UTC."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = json.dumps({"time": now, "event": event, **values}, ensure_ascii=False, default=str)
    print(line, file=_file[-1] if _file else sys.stderr, flush=True)


class JsonLines(logging.Handler):
    """Log records as JSON lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        emit("log", level=record.levelname.lower(), logger=record.name, text=record.getMessage())


def log_as_json() -> None:
    """Let the warnings of all libraries be JSON lines, too."""
    logging.captureWarnings(True)
    root = logging.getLogger()
    if not any(isinstance(handler, JsonLines) for handler in root.handlers):
        root.addHandler(JsonLines(logging.WARNING))
    for name in ("transformers", "datasets", "huggingface_hub"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def current_console() -> Console:
    """The console of this moment: stderr, or the file of `redirected`."""
    return Console(file=_file[-1], width=120, highlight=False) if _file else console


@contextlib.contextmanager
def redirected(file: IO[str]) -> Iterator[None]:
    """Let everything that is said go into a file; bars become lines."""
    _file.append(file)
    try:
        yield
    finally:
        _file.pop()


def stdout_console() -> Console:
    """For what a command was asked for; in a file as wide as it needs."""
    out = Console(highlight=False)
    return out if out.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=160)


class Bar:
    """How far one step is.

    Args:
        name: What is done, for instance `scoring test`.
        total: Units in all; None if unknown.
        unit: Of the rate, for instance `texts`.
        done: Units that were done before and do not count for the rate.
        said: Whether to show it.

    Example:
        with Bar("tokenizing", len(rows), "texts") as bar:
            bar.update(1000)
    """

    def __init__(self, name: str, total: float | None, unit: str = "", done: float = 0, said: bool = True) -> None:
        self.name, self.total, self.unit, self.note = name, total, unit, ""
        self.done = self.before = done
        self.said = said and is_first() and mode() != "quiet"
        self.start = self.last = time.monotonic()
        self.tenth = 0
        self.task: Any = None

    def __enter__(self) -> Bar:
        self.start = self.last = time.monotonic()
        if self.said and not _file and mode() == "auto" and console.is_terminal:
            if "bars" not in _shown:
                texts = [TextColumn(field, markup=False) for field in ("{task.description}", "{task.fields[text]}")]
                _shown["bars"] = Progress(texts[0], BarColumn(24), texts[1], console=console)
                _shown["bars"].start()
            self.task = _shown["bars"].add_task(self.name, total=self.total, completed=self.done, text=self.text())
        return self

    def __exit__(self, *error: object) -> None:
        if self.task is not None and "bars" in _shown:
            bars = _shown["bars"]
            bars.update(self.task, completed=self.done, text=self.text())
            bars.stop_task(self.task)
            if all(task.stop_time is not None for task in bars.tasks):
                bars.stop()
                del _shown["bars"]

    def update(self, units: float = 1) -> None:
        """So many more units are done."""
        self.set(self.done + units)

    def set(self, done: float, note: str | None = None) -> None:
        """So many units are done; the note stands behind them."""
        self.done, self.note = done, self.note if note is None else note
        if self.task is not None:
            _shown["bars"].update(self.task, completed=done, total=self.total, text=self.text())
        elif self.said and self.total:
            now, tenth = time.monotonic(), int(TENTHS * done / self.total)
            if tenth > self.tenth and now - self.last >= SECONDS:
                self.tenth, self.last = tenth, now
                self.line()

    def line(self) -> None:
        """Say it in one line."""
        if mode() == "json":
            emit(
                "progress", step=self.name, done=round(self.done, 2), total=self.total, unit=self.unit,
                rate=round(self.rate(), 3), remaining_s=self.remaining(), note=self.note,
            )  # fmt: skip
        else:
            current_console().print(f"{self.name}: {self.text()}", markup=False, soft_wrap=True)

    def rate(self) -> float:
        """Units a second since the start."""
        return (self.done - self.before) / max(time.monotonic() - self.start, 1e-9)

    def remaining(self) -> float | None:
        """Seconds until the end at this rate; None if nobody knows."""
        if self.total is None or self.done <= self.before:
            return None
        return round(max(self.total - self.done, 0) / self.rate(), 1)

    def text(self) -> str:
        """Done, rate and remaining time."""
        done = f"{self.done:,.0f}" + (f"/{self.total:,.0f}" if self.total is not None else "")
        parts = [f"{done} {self.unit}".strip()]
        if self.done > self.before and time.monotonic() - self.start > 0.5:
            rate = self.rate()
            parts.append(f"{rate:,.1f}/s" if rate >= 1 else f"{1 / rate:,.1f} s each")
        left, passed = self.remaining(), time.monotonic() - self.start
        if left:
            parts.append(f"{duration(left)} left")
        elif self.total is not None and self.done >= self.total:
            parts.append(f"in {duration(passed)}")
        return ", ".join([*parts, *([self.note] if self.note else [])])


def duration(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> duration(42.4), duration(237.7), duration(7300)
        ('42 s', '3 min 58 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def track(items: Iterable[T], name: str, unit: str = "", total: int | None = None, said: bool = True) -> Iterator[T]:
    """The items, with a bar that counts those that were worked on."""
    known = len(items) if total is None and hasattr(items, "__len__") else total  # type: ignore[arg-type]
    with Bar(name, known, unit, said=said) as bar:
        for item in items:
            yield item
            bar.update()
