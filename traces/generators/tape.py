"""What is written by something that must run from its beginning, read from any place on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Machine", "Tape"]

BLOCK: Final = 1 << 16  # records written at a time


class Machine:
    """What writes records, as many as it is asked for and at most ``unit`` more; it keeps its place in what is given.

    ``loop`` is called with what is given, the columns to write into, and how many records it shall make; it returns how
    many there are.
    """

    def __init__(self, loop: Callable[..., int], *given: Any, unit: int = 0) -> None:
        self.unit = unit
        self._loop = loop
        self._given = given

    def step(self, columns: tuple[NDArray[Any], ...], most: int) -> int:
        """Write on; how many records there are."""
        return self._loop(*self._given, columns, most)


class Tape:
    """The records of a machine from any place on: it runs on to a later one, and from its start to one before.

    ``begin`` makes a machine that has written nothing, whose columns are of these types.
    """

    def __init__(self, begin: Callable[[], Machine], *dtypes: Any) -> None:
        self._begin = begin
        self._dtypes = dtypes
        self._lock = threading.Lock()
        self._machine: Machine | None = None
        self._made: tuple[NDArray[Any], ...] = ()
        self._at = self._held = 0

    def read(self, start: int, count: int) -> tuple[NDArray[Any], ...]:
        """The records from ``start`` on."""
        found = tuple(np.empty(count, dtype) for dtype in self._dtypes)
        with self._lock:
            if self._machine is None or start < self._at:
                self._machine = self._begin()
                self._made = tuple(np.empty(BLOCK + self._machine.unit, dtype) for dtype in self._dtypes)
                self._at = self._held = 0
            done = 0
            while done < count:
                if start + done >= self._at + self._held:
                    self._at += self._held
                    self._held = self._machine.step(self._made, BLOCK)
                    continue
                begin = start + done - self._at
                take = min(self._held - begin, count - done)
                for into, of in zip(found, self._made):
                    into[done : done + take] = of[begin : begin + take]
                done += take
        return found
