"""The clock of the queued engine: SimPy's environment, in whole picoseconds."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop
from typing import Any

import simpy
from simpy.events import NORMAL, Event, Timeout

from tiersim.sim.queued import SECOND

__all__ = ["SECOND", "Clock", "cycles", "transfer"]


class Clock(simpy.Environment):
    """SimPy's environment, whose time is a Python integer of picoseconds from 0.

    Everything of SimPy works on it: processes, ``timeout``, conditions, interrupts. Events at one instant come in the
    order in which they were scheduled. A float as a delay would make times inexact, a NumPy integer would overflow in
    silence: both raise TypeError where they come in through tiersim's own stations, and at the end of `run`.
    """

    def __init__(self) -> None:
        super().__init__(0)

    @property
    def now(self) -> int:
        """The time, in picoseconds."""
        return self._now  # type: ignore[return-value]  # SimPy calls it int or float

    def after(self, delay: int, do: Callable[[Event], None], value: Any = None) -> Event:
        """Call ``do`` with an event of this value after so many picoseconds."""
        made = Timeout(self, delay, value)
        made.callbacks.append(do)
        return made

    def trigger(self, event: Event, delay: int, value: Any = None) -> None:
        """Make an event of one's own happen after so many picoseconds: what ``succeed`` does, and later."""
        event._ok = True
        event._value = value
        self.schedule(event, NORMAL, delay)

    def run(self, until: float | Event | None = None) -> Any:
        """Run until nothing is left to happen, until a time, or until an event, whose value is given back.

        Raises TypeError when the time has stopped being a whole number of picoseconds.
        """
        made = None
        if until is None:
            self._drain()
        else:
            made = super().run(until)
        if type(self._now) is not int:
            raise TypeError(f"the clock stands at {self._now!r}: some delay was no Python integer of picoseconds")
        return made

    def _drain(self) -> None:
        """SimPy's loop without its frame for each step, which is a quarter of the time of an event."""
        queue = self._queue
        while queue:
            self._now, _, _, event = heappop(queue)
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value


def cycles(count: int, frequency: int) -> int:
    """So many cycles of a clock of so many hertz, in picoseconds, rounded down once."""
    return count * SECOND // frequency


def transfer(size: int, rate: int) -> int:
    """How long so many bytes take at so many bytes a second, in picoseconds, rounded up."""
    return -(-size * SECOND // rate)
