"""Timelines that Perfetto and chrome://tracing open."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

__all__ = ["Timeline"]

BUDGET: Final = 1_000_000  # events: more than viewers like
FLUSH: Final = 4096  # events between two points up to which a file that is cut can be read


class Timeline:
    """A file of what happened when, in Chrome's trace event format (JSON), gzipped if its name ends in ``.gz``.

    A track named ``node0/gpu1/copy`` is the thread ``copy`` of the process ``node0/gpu1``. Use it as a context manager.
    After ``budget`` events the rest is counted and left out, and the file says so; what is there is whole and valid. A
    file that was cut because its writer died ends in the middle of the list, which the format allows and viewers read.

    Format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
    """

    def __init__(self, path: Path | str, budget: int = BUDGET) -> None:
        self.path = Path(path)
        self.budget = budget
        self.events = self.left_out = 0
        self._tracks: dict[str, tuple[int, int]] = {}
        self._processes: dict[str, int] = {}
        self._spans = 0
        self._last = 0
        self._begun = False
        self._raw: IO[bytes] = self.path.open("wb")
        zipped = self.path.suffix == ".gz"  # no time and no name in the header: same events, same bytes
        self._file: Any = gzip.GzipFile("", "wb", 6, self._raw, mtime=0) if zipped else self._raw
        self._file.write(b"[")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def slice(self, track: str, name: str, start: int, end: int, args: dict[str, Any] | None = None) -> None:
        """A stretch of time of a track on which only one thing goes on at a time, in picoseconds."""
        pid, tid = self._place(track)
        self._write(f'"ph":"X","ts":{_us(start)},"dur":{_us(end - start)}', pid, tid, name, end, args)

    def span(self, track: str, name: str, start: int, end: int, args: dict[str, Any] | None = None) -> None:
        """A stretch of time of a track on which several may overlap, in picoseconds."""
        pid, tid = self._place(track)
        self._spans += 1
        if self.events + 2 > self.budget:  # a beginning without an end would last for ever
            self.left_out += 2
            return
        same = f'"cat":"{pid}","id":{self._spans}'
        self._write(f'"ph":"b","ts":{_us(start)},{same}', pid, tid, name, end, args)
        self._write(f'"ph":"e","ts":{_us(end)},{same}', pid, tid, name, end, None)

    def counter(self, track: str, time: int, value: float) -> None:
        """The level of something from this time on."""
        pid, tid = self._place(track)
        self._write(f'"ph":"C","ts":{_us(time)}', pid, tid, track, time, {"value": value})

    def instant(self, track: str, name: str, time: int, args: dict[str, Any] | None = None) -> None:
        """Something that happens at once."""
        pid, tid = self._place(track)
        self._write(f'"ph":"i","s":"t","ts":{_us(time)}', pid, tid, name, time, args)

    def close(self) -> None:
        """Write the end, with what was left out."""
        if self._file.closed:
            return
        if self.left_out:
            said = f"{self.left_out:,} events left out: the budget is {self.budget:,}"
            self._put(f'"ph":"i","s":"g","ts":{_us(self._last)},"pid":0,"tid":0,"name":{json.dumps(said)}')
        self._file.write(b"\n]\n")
        self._file.close()
        self._raw.close()

    def _place(self, track: str) -> tuple[int, int]:
        place = self._tracks.get(track)
        if place is None:
            process, _, thread = track.rpartition("/")
            pid = self._processes.get(process)
            if pid is None:
                pid = self._processes[process] = len(self._processes) + 1
                self._name("process_name", pid, 0, process or "tiersim")
            place = self._tracks[track] = (pid, len(self._tracks) + 1)
            self._name("thread_name", *place, thread)
        return place

    def _name(self, what: str, pid: int, tid: int, name: str) -> None:
        self._put(f'"ph":"M","name":"{what}","pid":{pid},"tid":{tid},"args":{json.dumps({"name": name})}')

    def _write(self, what: str, pid: int, tid: int, name: str, at: int, args: dict[str, Any] | None) -> None:
        if self.events >= self.budget:
            self.left_out += 1
            return
        self.events += 1
        self._last = max(self._last, at)
        more = f',"args":{json.dumps(args)}' if args else ""
        self._put(f'{what},"pid":{pid},"tid":{tid},"name":{json.dumps(name)}{more}')
        if self.events % FLUSH == 0:
            self._file.flush()

    def _put(self, body: str) -> None:
        self._file.write(f"{',' if self._begun else ''}\n{{{body}}}".encode())
        self._begun = True


def _us(time: int) -> str:
    """Picoseconds as microseconds, which the format counts in, exactly."""
    whole, rest = divmod(time, 10**6)
    return f"{whole}.{rest:06d}" if rest else str(whole)
