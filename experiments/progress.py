"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["Bar", "Counted", "aloud", "reading"]

EVERY = 2.0  # seconds between plain lines


_aloud: ContextVar[bool] = ContextVar("aloud", default=False)
_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def aloud(yes: bool, plain: bool = False) -> Iterator[None]:
    """Let what reads a trace deep inside show its progress, where the command that asked for it does.

    `plain` makes it lines on a terminal too.
    """
    tokens = _aloud.set(yes), _plain.set(plain)
    try:
        yield
    finally:
        _aloud.reset(tokens[0])
        _plain.reset(tokens[1])


@contextmanager
def reading(name: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """Progress of a file that is read, called with what is done, of what, in which unit; silent before the first."""
    bar: Bar | None = None

    def step(done: int, total: int | None, unit: str) -> None:
        nonlocal bar
        if bar is None:
            bar = Bar(f"reading {name}", total or 0, unit, quiet=not _aloud.get())
            bar.__enter__()
        bar.update(done)

    try:
        yield step
    finally:
        if bar is not None:
            bar.__exit__(*sys.exc_info())


@dataclass
class Counted:
    """Runs of a study: all of them, those that are there, and the failed among these."""

    total: int
    done: int = 0
    failed: int = 0

    def __str__(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.done:,} of {self.total:,} runs{failed}"


class Bar:
    """Counts steps of a known total on standard error, and with them the runs of a study where there are `runs`.

    `update` may be called as often as wanted; drawing is limited.
    """

    def __init__(self, title: str, total: int, unit: str, *, quiet: bool = False, runs: Counted | None = None) -> None:
        self.title, self.total, self.unit, self.quiet, self.runs = title, total, unit, quiet, runs
        self.done = 0
        self.note_text = ""
        self._said: set[str] = set()  # notes that stand in a plain line already
        self._begin = self._last = time.monotonic()
        self._rich: Progress | None = None
        self._task: int = 0
        if not quiet and not _plain.get() and sys.stderr.isatty():
            self._rich = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[share]}"),
                TextColumn("{task.fields[rate]}"),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._rich:
            self._rich.start()
            self._task = self._rich.add_task(self.title, total=self.total or None, share="", rate="", note="")
        elif not self.quiet:
            runs = f"{self.runs}, " if self.runs else ""
            print(f"{self.title}: {runs}{self.total:,} {self.unit}", file=sys.stderr, flush=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich:
            self._rich.stop()
        elif not self.quiet and kind is None:
            how = f"{self.runs or 'done'}, {self._rate()}" if self.done else "there already"
            print(f"{self.title}: {how}", file=sys.stderr, flush=True)

    def _rate(self) -> str:
        spent = max(time.monotonic() - self._begin, 1e-9)
        rate = self.done / spent
        for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if rate >= size:
                return f"{rate / size:.1f} {sign} {self.unit}/s"
        return f"{rate:.0f} {self.unit}/s"

    def note(self, text: str) -> None:
        """Say what is going on beside the count; an empty text when it is over."""
        self.note_text = text
        if self._rich or self.quiet:
            self.update(self.done)
        elif text and text not in self._said:
            self._said.add(text)
            print(f"{self.title}: {text}", file=sys.stderr, flush=True)

    def update(self, done: int) -> None:
        """Set how many steps are done."""
        self.done = done
        if self.quiet:
            return
        now = time.monotonic()
        if self._rich:
            self._rich.update(self._task, completed=done, **self._fields())  # type: ignore[arg-type]
        elif now - self._last >= EVERY:
            self._last = now
            left = ""
            if 0 < done < self.total:
                left = f", {(now - self._begin) * (self.total - done) / done:.0f} s left"
            what = f" ({self.note_text})" if self.note_text else ""
            print(f"{self.title}: {self._share()}, {self._rate()}{left}{what}", file=sys.stderr, flush=True)

    def _share(self) -> str:
        share = f"{100 * self.done / self.total:.0f} %" if self.total else f"{self.done:,}"
        return f"{self.runs}, {share}" if self.runs else share

    def _fields(self) -> dict[str, str]:
        return {"share": self._share(), "rate": self._rate(), "note": self.note_text}

    def add(self, more: int) -> None:
        """Count more steps as done."""
        self.update(self.done + more)

    def count(self, runs: int, *, failed: bool = False) -> None:
        """Count more runs as there."""
        if self.runs is not None:
            self.runs.done += runs
            self.runs.failed += runs if failed else 0
        self.update(self.done)
