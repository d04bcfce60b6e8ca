"""What is written by something that must run from its beginning, read from any place on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Machine", "Tape"]

BLOCK: Final = 1 << 16  # records written at a time


class Machine(Protocol):
    """What writes records: ``step`` writes into columns until it has made as many as it is asked for.

    It makes at most ``unit`` more, keeps its place, and returns how many there are.
    """

    unit: int

    def step(self, columns: tuple[NDArray[Any], ...], most: int) -> int:
        """Write on."""


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
