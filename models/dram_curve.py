"""DRAM in its fast form: mean latency against load, fitted to the memory by its commands, and a ceiling of bandwidth.

The detailed form (`tiersim.models.dram`) sends every command; here a request costs some arithmetic, whatever its size.
The curve is fitted by running the detailed form once for a memory and a kind of traffic, and is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_left
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from tiersim._base.params import Param, config
from tiersim._base.paths import cache_folder
from tiersim.models import dram
from tiersim.models.dram import LINE, Dram, serve
from tiersim.sim.kernels import compiled
from tiersim.sim.queued import dram as commands
from tiersim.sim.queued.clock import SECOND
from tiersim.sim.queued.link import WHOLE
from tiersim.sim.queued.station import whole

__all__ = ["KINDS", "Curve", "FastDram", "Traffic", "arrivals", "curve_of", "fit", "picoseconds", "requests"]

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

MICROSECOND: Final = 10**6  # picoseconds
LOADS: Final = (0.02, 0.07, 0.13, 0.18, 0.24, 0.28, 0.34, 0.43, 0.55, 0.66, 0.75, 0.82, 0.87, 0.91, 0.94, 0.97)
COUNT: Final = 400_000  # requests of a run of the fit, or
EACH: Final = 20_000  # of a channel where there are many: runs must be long beside an interval of refreshes
RUN: Final = 1024  # lines of a stream before it goes on elsewhere
SEED: Final = 1
WINDOW: Final = 8192  # lines, at the reachable bandwidth, over which load is seen
LONGEST: Final = 1000 * MICROSECOND


@config
class Traffic:
    """A kind of traffic: how much is written, and how much goes to lines at random.

    What is not at random belongs to two streams, one that reads and one that writes, which go from line to line and
    begin anew at a random place after 64 KiB.
    """

    writes: Annotated[int, Param("share of requests that write", unit="ratio", ge=0, le=WHOLE)] = 0
    random: Annotated[int, Param("share of requests for any line, each alone", unit="ratio", ge=0, le=WHOLE)] = WHOLE


KINDS: Final = {
    "random": Traffic(),
    "streams": Traffic(random=0),
    "mix": Traffic(writes=WHOLE // 3, random=WHOLE // 2),
}


def requests(memory: Dram, traffic: Traffic, count: int, seed: int) -> tuple[Ints, Flags]:
    """Lines, by number, and whether each is written, of so many requests of a kind."""
    generator = np.random.default_rng([seed, 0])
    total = memory.capacity // LINE
    write = generator.random(count) < traffic.writes / WHOLE
    apart = generator.random(count) < traffic.random / WHOLE
    lines = generator.integers(0, total, count)
    for way in (False, True):
        mine = np.flatnonzero(~apart & (write == way))
        begin = generator.integers(0, total, len(mine) // RUN + 1)
        step = np.arange(len(mine))
        lines[mine] = (begin[step // RUN] + step % RUN) % total
    return lines, write


def arrivals(memory: Dram, rate: float, count: int, seed: int) -> Ints:
    """The cycles at which so many requests come, as a Poisson process of so many bytes a second.

    The span is what they take at this rate exactly, and the places in it are independent: no sample of the process is
    faster or slower than it should be.
    """
    span = count * LINE * memory.frequency / rate
    return np.sort(np.random.default_rng([seed, 1]).random(count) * span).astype(np.int64)


def picoseconds(memory: Dram, cycles: Ints) -> Ints:
    """Cycles in picoseconds, rounded down: in lowest terms, so that the products stay below 2^63 for many minutes."""
    each = Fraction(SECOND, memory.frequency)
    return cycles * each.numerator // each.denominator


@dataclass(frozen=True)
class Curve:
    """Mean latency against load, of reads and of writes: straight lines between points.

    ``bandwidth`` is what the traffic reaches when all requests come at once, in bytes a microsecond; ``load`` are
    shares of it in parts of 10**9, ``reads`` and ``writes`` the picoseconds from the arrival of a request for a line
    to the end of its data, without the way to the memory (`Controller.latency`). Below the first and above the last
    point the latency stays what it is there. The points are as they were measured, and are not made to rise: refreshes
    close the rows of an idle memory, and writes that wait for company wait less where more come.
    """

    bandwidth: int
    load: tuple[int, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]

    def latency(self, load: float, write: bool = False) -> int:
        """Picoseconds that a request for a line takes on average at a load, a share of the bandwidth."""
        points = self.writes if write else self.reads
        at = min(max(int(load * WHOLE), self.load[0]), self.load[-1])
        k = min(bisect_left(self.load, at), len(self.load) - 1)
        return points[k - 1] + (points[k] - points[k - 1]) * (at - self.load[k - 1]) // (
            self.load[k] - self.load[k - 1]
        )


def fit(memory: Dram, traffic: Traffic, count: int | None = None) -> Curve:
    """A curve from runs of the detailed form, each of so many requests, whose first twentieth does not count.

    Where the traffic has no writes they count as reads, and the other way round.
    """
    count = count or max(COUNT, EACH * memory.channels)
    lines, write = requests(memory, traffic, count, SEED)
    reached = int(serve(memory, lines, write=write).bandwidth(memory)) // MICROSECOND
    means: dict[bool, list[int]] = {False: [], True: []}
    for k, load in enumerate(LOADS):
        lines, write = requests(memory, traffic, count, SEED + k)
        came = arrivals(memory, load * reached * MICROSECOND, count, SEED + k)
        took = serve(memory, lines, arrival=came, write=write).done - came
        for way, points in means.items():
            some = took[count // 20 :][write[count // 20 :] == way]
            if len(some):
                points.append(int(some.mean() * SECOND / memory.frequency))
    return Curve(
        reached,
        tuple(int(load * WHOLE) for load in LOADS),
        tuple(means[False] or means[True]),
        tuple(means[True] or means[False]),
    )


def curve_of(memory: Dram, traffic: Traffic) -> Curve:
    """The curve of a memory and a kind of traffic: fitted the first time, which takes seconds, and kept."""
    code = [Path(str(file)).read_bytes() for file in (__file__, dram.__file__, commands.__file__)]
    asked = hashlib.sha256(b"\n".join([repr((memory, traffic)).encode(), *code])).hexdigest()[:24]
    path = cache_folder("dram") / f"{asked}.json"
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(asdict(fit(memory, traffic))), encoding="utf-8")
        draft.replace(path)
    held = json.loads(path.read_text(encoding="utf-8"))
    return Curve(held["bandwidth"], *(tuple(held[name]) for name in ("load", "reads", "writes")))


# words of a memory at work: until when its bandwidth is given away, and the rest of that division; the number of the
# window, what has come in it and in the one before; the least latency of reads, and of writes
FREE, REST, SLOT, SEEN, BEFORE, LEAST, _, WORDS = range(8)


@compiled
def load_at(state: Ints, bandwidth: int, window: int, now: int) -> int:
    """The load seen at a time, in parts of 10**9 of the bandwidth; moves the windows on."""
    slot = now // window
    if slot != state[SLOT]:
        state[BEFORE] = state[SEEN] if slot == state[SLOT] + 1 else 0
        state[SEEN] = 0
        state[SLOT] = slot
    left = (slot + 1) * window - now
    return int((state[SEEN] + state[BEFORE] * left // window) * WHOLE // (bandwidth * window // MICROSECOND))


@compiled
def step(state: Ints, points: Ints, bandwidth: int, window: int, now: int, size: int, write: bool) -> int:
    """When a request that comes now has its data: at its latency, and not before its turn at the bandwidth."""
    load = load_at(state, bandwidth, window, now)
    # beyond two windows' worth it is too much anyhow, and the products stay below 2^63
    state[SEEN] = min(state[SEEN] + size, 2 * (bandwidth * window // MICROSECOND))
    kind = 2 if write else 1
    k = 1
    while k < points.shape[1] - 1 and points[0, k] < load:
        k += 1
    low, high = points[0, k - 1], points[0, k]
    at = min(max(load, low), high)
    took = points[kind, k - 1] + (points[kind, k] - points[kind, k - 1]) * (at - low) // (high - low)
    if state[FREE] < now:
        state[FREE] = now
        state[REST] = 0
    work = size * MICROSECOND + state[REST]
    state[FREE] += work // bandwidth
    state[REST] = work % bandwidth
    # the last line of a request that waited for its turn then takes what it would in an idle memory
    turn = state[FREE] - min(size, LINE) * MICROSECOND // bandwidth
    return int(max(now + took, turn + state[LEAST + write]))


@compiled
def steps(
    state: Ints,
    points: Ints,
    bandwidth: int,
    window: int,
    times: Ints,
    sizes: Ints,
    write: Flags,
    out: Ints,
) -> None:
    """`step` for many."""
    for k in range(len(times)):
        out[k] = step(state, points, bandwidth, window, times[k], sizes[k], write[k])


class FastDram:
    """A memory at work that knows its curve.

    A request takes what the curve says for the load that was seen lately, and all of them together no more than the
    reachable bandwidth: each has its turn after those that came before, and a request of many lines takes as long as
    they do. Load is what has come in the running window and in the one before, of this one in proportion to how much of
    it lies less than a window back, over what the bandwidth would have carried. The request that asks is not in it.
    ``window`` is the time of 8,192 lines at the reachable bandwidth where none is said, and a millisecond at most.
    ``latency`` is the way to the memory and back, which is added to all.
    """

    def __init__(self, curve: Curve, latency: int = 0, window: int | None = None) -> None:
        least = -(-LINE * MICROSECOND // curve.bandwidth)
        self.curve = curve
        self.latency = whole(latency, "the latency of a memory")
        self.window = WINDOW * least if window is None else whole(window, "the window of a memory", least)
        if self.window > LONGEST:
            raise ValueError(f"the window of a memory is of {LONGEST} picoseconds at most, not of {self.window}")
        self._points = np.array([curve.load, curve.reads, curve.writes], np.int64)
        self._state = np.zeros(WORDS, np.int64)
        self._state[LEAST : LEAST + 2] = min(curve.reads), min(curve.writes)
        self._last = 0

    @classmethod
    def of(cls, memory: Dram, traffic: Traffic) -> FastDram:
        """The fast form of a memory under a kind of traffic, with the way to it and back."""
        return cls(curve_of(memory, traffic), memory.controller.latency)

    def load(self, now: int) -> float:
        """The load that a request would see that comes now: a share of the reachable bandwidth, 1 or more beyond it."""
        return int(load_at(self._state, self.curve.bandwidth, self.window, self._after(now))) / WHOLE

    def request(self, now: int, size: int = LINE, write: bool = False) -> int:
        """When so many bytes that are asked for now have been read or written, in picoseconds.

        Raises TypeError for what is no whole number, ValueError for less than a byte and for a time before that of the
        request before.
        """
        size = whole(size, "bytes of a memory", 1)
        now = self._after(now)
        return step(self._state, self._points, self.curve.bandwidth, self.window, now, size, write) + self.latency

    def serve(self, times: Ints, sizes: Ints, write: Flags) -> Ints:
        """`request` for many at once."""
        if len(times) == 0:
            return times
        if sizes.min() < 1 or (np.diff(times) < 0).any():
            raise ValueError("requests are for a byte or more, and one comes no earlier than that before it")
        self._after(int(times[0]))
        self._last = int(times[-1])
        done = np.empty(len(times), np.int64)
        steps(self._state, self._points, self.curve.bandwidth, self.window, times, sizes, write, done)
        return done + self.latency

    def _after(self, now: int) -> int:
        if whole(now, "a time") < self._last:
            raise ValueError(f"a request at {now} picoseconds comes after one at {self._last}")
        self._last = now
        return now
