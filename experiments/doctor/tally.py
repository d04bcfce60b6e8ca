"""What is told of the records of any schema as they pass: kinds, times, columns that say nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tiersim.experiments.doctor.contract import duration
from tiersim.traces.chunks import length
from tiersim.traces.schema import Chunk, Schema

__all__ = ["DEFAULTS", "SMALL", "TIME", "Tally", "clock_of"]

# what a column says when it says nothing, and may be taken to say where it is absent
DEFAULTS: Final[Mapping[str, Mapping[str, float]]] = {
    "access": {"gap": 0, "asid": 0, "core": 0},
    "object": {"size": 1, "op": 0, "ttl": 0, "tenant": 0, "cost": 1.0},
    "request": {"status": 0},
    "routing": {"phase": 0},
    "query": {"turn": 0},
    "edge": {"weight": 1.0},
}
TOLD: Final = "phase"  # a reader that looked for warm-up says by 0 that there is none
TIME: Final = ("ns", "int64")  # the unit and type of what is kept in whole nanoseconds
FEW_TIMES: Final = 2  # a clock ticks seldom where there are so many records or more to a tick
SMALL: Final = 16  # numbers were given one after the other if none is larger than so many times their count


def clock_of(schema: Schema) -> str:
    """The column of a schema that tells when, or nothing; measured times are no clock, and have fractions."""
    return next((column.name for column in schema.columns if (column.unit, column.dtype) == TIME), "")


class Tally:
    """What can be told of records in the order in which they come, in bounded memory.

    ``spread`` says what makes a coarse clock finer and ``forward`` what makes one that falls back go on, where the
    reader of the trace has an option that does; ``restarts`` counts falls to less than half of the time reached.
    """

    def __init__(self, trace: str, format: str, schema: Schema, *, spread: str = "", forward: str = "") -> None:
        self.trace, self.format, self.schema = trace, format, schema
        self.spread, self.forward = spread, forward
        self.records = 0
        self.kinds = schema.tally({})
        self.clock = clock_of(schema)
        self.timed = False
        self.step = self.restarts = 0
        self._defaults = DEFAULTS.get(schema.name, {})
        self._silent: set[str] = set()  # columns of nothing but their default
        self._ticks = self._back = self._first_back = self._furthest = 0
        self._last = self._earliest = self._latest = 0

    @property
    def span(self) -> int | None:
        """From the earliest time to the latest, in ns; None where records have no times."""
        return self._latest - self._earliest if self.timed else None

    @property
    def earliest(self) -> int:
        """The earliest time, in ns."""
        return self._earliest

    def about(self) -> dict[str, Any]:
        """What every fingerprint says first."""
        kinds = {name: int(count) for name, count in zip(self.schema.kinds, self.kinds, strict=True) if count}
        return {
            "trace": self.trace,
            "format": self.format,
            "schema": self.schema.name,
            "records": self.records,
            "kinds": kinds,
        }

    def over(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The chunks, each counted before it is passed on."""
        for chunk in chunks:
            self._add(chunk)
            yield chunk

    def _add(self, chunk: Chunk) -> None:
        self.kinds = self.kinds + self.schema.tally(chunk)
        if not self.records:
            self._silent = {name for name in chunk if name in self._defaults and name != TOLD}
        self._silent = {name for name in self._silent if bool((chunk[name] == self._defaults[name]).all())}
        if self.clock in chunk and length(chunk):
            self._times(chunk[self.clock].astype(np.int64))
        self.records += length(chunk)

    def _times(self, time: NDArray[np.int64]) -> None:
        begun = self.timed
        low, high = int(time.min()), int(time.max())
        self._earliest = min(self._earliest, low) if begun else low
        with_last = np.concatenate([[self._last], time]) if begun else time
        steps = np.diff(with_last)
        self._ticks += int(np.count_nonzero(steps)) + (not begun)
        self.step = int(np.gcd(self.step, np.gcd.reduce(np.abs(steps)))) if len(steps) else self.step
        backwards = np.flatnonzero(steps < 0)
        if len(backwards):
            if not self._back:
                self._first_back = self.records + int(backwards[0]) + (1 if begun else 2)
            self._back += len(backwards)
            self._furthest = max(self._furthest, int(-steps[backwards].min()))
            # to less than half of where it was: as where one file ends and another begins
            reached = np.maximum.accumulate(np.maximum(with_last, self._latest))
            self.restarts += int((with_last[backwards + 1] < reached[backwards] / 2).sum())
        self._latest = max(self._latest, high)
        self._last = int(time[-1])
        self.timed = True

    def warnings(self) -> list[str]:
        """What is odd about times and columns."""
        out = []
        if self._back:
            out.append(
                f"time goes back {self._back:,} times, first at record {self._first_back:,}, by up to "
                f"{duration(self._furthest)}: replays take records in their order; sort them if that is wrong"
                + (f", or read them with {self.forward}" if self.forward else "")
            )
        if self.timed and self.records > 1 and self._ticks * FEW_TIMES <= self.records:
            most = "at most " if self._back else ""
            times = "time" if self._ticks == 1 else "times"
            step = f", in steps of {duration(self.step)}" if self.step else ""
            out.append(
                f"the clock is coarse: {most}{self._ticks:,} different {times} in {self.records:,} records{step}; what "
                "happens within a step has no times of its own"
                f": {self.spread or '`tiersim traces convert --spread-times`'} spreads it evenly"
            )
        for name in sorted(self._silent):
            why = "; misses per instruction cannot be told" if name == "gap" else ""
            out.append(f"the column {name} says nothing: it is {self._defaults[name]:g} in every record{why}")
        return out
