"""Runs cores in front of caches of their own, of shared ones, and of a memory, keeping time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError
from tiersim.sim import cache_loop, core_loop
from tiersim.sim.blame import blame, check_ways
from tiersim.sim.cache_loop import COUNTERS, FIRST_COUNTER, HEADER, MEMORY_COUNTERS, Level
from tiersim.sim.queued import dram
from tiersim.sim.replay import EMPTY, first_words

__all__ = ["CoreResult", "Cores", "Events", "Timed", "run_cores"]

CHUNK = 1 << 16  # references of each core that are held at a time
WRITES = 1 << 14  # lines on their way to memory that nobody waits for
RATE = 1 << 20  # parts of a picosecond that the pace of a core counts in


class Events(Protocol):
    """The references of one core: `tiersim.sim.events.Events` with the instructions between them."""

    @property
    def lines(self) -> NDArray[np.int64]:
        """The address of each numbered line divided by the line size."""

    def pieces(self, size: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.uint32]]]:
        """References, line number and kind as in `Events`, and the instructions since the one before, own included."""


@dataclass(frozen=True)
class Timed:
    """DRAM in the terms of the loop: the shape of a channel, and how the number of a line becomes a place.

    ``sizes`` and ``roles`` are the fields of a number from the lowest: how many values each has, and which it is, as a
    place in channel, group, column, bank, rank, row. ``lines`` is how many the memory has, ``page`` how many of them
    are placed together; 0 places the addresses of each core one after the other.
    """

    shape: dram.Shape
    channels: int
    sizes: tuple[int, ...]
    roles: tuple[int, ...]
    hashed: bool
    parts: int
    kilohertz: int
    lines: int
    page: int


@dataclass(frozen=True)
class Cores:
    """What the cores are: their pace in 2**-20 picoseconds an instruction, and how far they run ahead of misses.

    ``latency`` is that of memory in picoseconds: all of it, or what comes on top of DRAM. ``latencies`` are those of
    the caches, by level.
    """

    pace: int
    outstanding: int
    window: int
    latency: int
    latencies: tuple[int, ...]
    memory: Timed | None = None


@dataclass
class CoreResult:
    """What came out: counters by level and core (a shared cache has those of all in its first row), and times.

    ``cores`` has a row of `tiersim.sim.core_loop.FIELDS` for each core, ``chips`` what the DRAM did, ``order`` the core
    of each reference where it was kept.
    """

    levels: tuple[Level, ...]
    caches: NDArray[np.int64]
    memory: dict[str, int]
    cores: NDArray[np.int64]
    chips: dict[str, int] = field(default_factory=dict)
    order: NDArray[np.uint8] | None = None
    contents: list[list[set[tuple[int, bool]]]] | None = None

    def of(self, level: int, core: int) -> dict[str, int]:
        """The counters of a cache of a core."""
        return dict(zip(COUNTERS, map(int, self.caches[core, level]), strict=True))

    def core(self, number: int) -> dict[str, int]:
        """The times of a core, by name."""
        return dict(zip(core_loop.FIELDS, map(int, self.cores[number]), strict=True))


class _State:
    """The arrays of one run: a block of headers for each core, the words and tags of every cache."""

    def __init__(
        self, levels: Sequence[Level], sets: Sequence[int], shared: frozenset[int], cores: int, seed: int, lines: int
    ) -> None:
        self.levels, self.sets, self.shared, self.count = levels, sets, shared, cores
        block = (len(levels) + 1) * HEADER
        held = [np.zeros(cores * block, np.int64)]
        tags_at, words_at, shadow_at = 0, cores * block, 0
        for core in range(cores):
            for k, (level, count) in enumerate(zip(levels, sets, strict=True)):
                if core and k in shared:
                    continue
                words = first_words(level, count, seed + k + core * len(levels))
                header = held[0][core * block + k * HEADER :]
                room = count * level.ways
                header[:7] = count, tags_at, words_at, words.shape[1], shadow_at, room, room >= lines
                tags_at += room
                words_at += words.size
                shadow_at += 2 * (lines + 1) if level.classify else 0
                held.append(words.reshape(-1))
        self.words = np.concatenate(held)
        top = len(levels) * HEADER
        self.words[top + core_loop.CORES], self.words[top + core_loop.BLOCK] = cores, block
        self.tags = np.full(tags_at, EMPTY, np.int32)
        self.shadow = np.full(max(shadow_at, 2), -2, np.int32)
        for begin in range(0, shadow_at, 2 * (lines + 1)):
            self.shadow[begin : begin + 2] = 0

    def block(self, core: int) -> NDArray[np.int64]:
        size = (len(self.levels) + 1) * HEADER
        return self.words[core * size : (core + 1) * size].reshape(-1, HEADER)

    def counters(self) -> tuple[NDArray[np.int64], dict[str, int]]:
        last = FIRST_COUNTER + len(COUNTERS)
        caches = np.stack([self.block(core)[:-1, FIRST_COUNTER:last] for core in range(self.count)])
        memory = self.block(0)[-1, FIRST_COUNTER : FIRST_COUNTER + len(MEMORY_COUNTERS)]
        return caches, dict(zip(MEMORY_COUNTERS, map(int, memory), strict=True))

    def held(self, core: int, k: int) -> NDArray[np.int32]:
        begin = int(self.block(core)[k, cache_loop.TAGS])
        tags = self.tags[begin : begin + self.sets[k] * self.levels[k].ways]
        kept: NDArray[np.int32] = tags[tags != EMPTY]
        return kept


def run_cores(
    levels: Sequence[Level],
    sets: Sequence[int],
    shared: frozenset[int],
    events: Sequence[Events],
    cores: Cores,
    *,
    seed: int = 0,
    futures: Sequence[NDArray[Any]] = (),
    keep_order: bool = False,
    follow: NDArray[np.uint8] | None = None,
    contents: bool = False,
    compiled: bool = True,
    progress: Callable[[int], None] | None = None,
) -> CoreResult:
    """Run one stream of references on each core; caches that are not ``shared`` are each core's own.

    Cores have address spaces of their own: equal addresses of two are two lines. ``follow`` is the order of a run that
    was kept: references come just so, memory takes its fixed latency, and no core waits. ``progress`` is called with
    the number of references that were added since its last call. Raises PolicyError as
    `tiersim.sim.replay.replay` does, AuditError when the counters contradict each other.
    """
    count = len(events)
    compiled = compiled and all(getattr(level.policy, "compiled", True) for level in levels)
    loop = core_loop.make_core_loop(levels, shared, compiled=compiled)
    starts = np.cumsum([0, *(len(stream.lines) for stream in events)])
    lines = np.concatenate([stream.lines for stream in events])
    state = _State(levels, sets, shared, count, seed, len(lines))
    for core in range(count):
        state.block(core)[:-1, core_loop.LATENCY] = cores.latencies
    memory = cores.memory
    buffers = _Buffers(events, starts)
    held = dram.new_channels(memory.shape, memory.channels) if memory else dram.new_channels(_NONE, 0)
    reads = count * cores.outstanding
    table = np.zeros((reads + WRITES, dram.R_FIELDS), np.int64)
    spare = np.arange(reads + WRITES - 1, reads - 1, -1)
    settings = np.array(
        [
            count, cores.outstanding, cores.window, cores.pace, cores.latency, memory.lines if memory else 1,
            memory.page if memory else 0, memory.kilohertz if memory else 0, 0 if follow is None else len(follow),
            keep_order,
        ],
        np.int64,
    )  # fmt: skip
    roles = (
        [*memory.roles, memory.shape.groups, memory.shape.banks, memory.hashed, memory.parts] if memory else [0] * 10
    )
    order = np.zeros(_total(events) if keep_order else 1, np.uint8) if follow is None else follow
    placed = np.array([0, len(spare) - 1, dram.NEVER], np.int64)
    misses = np.zeros((count, cores.outstanding, 5), np.int64)
    given = (
        buffers.events, buffers.gaps, buffers.cores, misses, settings, order, placed,
        np.array(memory.sizes if memory else [1] * 6, np.int64), np.array(roles, np.int64), table, spare,
        np.zeros(64, np.int64), *held.arrays, np.zeros(1 << 12, np.int64), np.zeros((0, 4), np.int64),
        state.tags, state.words, lines, state.shadow, *futures,
    )  # fmt: skip
    for core in range(count):
        buffers.refill(core, cores.pace)
    done = 0
    while wanted := _call(loop, given, levels, state):
        buffers.refill(wanted - 1, cores.pace)
        if progress:
            progress(int(placed[0]) - done)
            done = int(placed[0])
    if progress:
        progress(int(placed[0]) - done)
    caches, traffic = state.counters()
    result = CoreResult(
        tuple(levels), caches, traffic, buffers.cores, _chips(held) if memory else {}, order if keep_order else None
    )
    if contents:
        result.contents = [
            [
                {(int(line), bool(mark)) for line, mark in zip(lines[tags >> 1], tags & 1, strict=True)}
                for k in range(len(levels))
                for tags in [state.held(core, k) if not core or k not in shared else np.zeros(0, np.int32)]
            ]
            for core in range(count)
        ]
    _audit(result, state, memory, follow is not None)
    return result


_NONE = dram.Shape(1, 1, 1, 0, 0, 1, 0, 0, 0, ())


def _total(events: Sequence[Events]) -> int:
    return sum(len(piece) for stream in events for piece, _ in stream.pieces(1 << 20))


class _Buffers:
    """A window on the references of each core, filled as far as they are used."""

    def __init__(self, events: Sequence[Events], starts: NDArray[np.int64]) -> None:
        self.cores = np.zeros((len(events), len(core_loop.FIELDS)), np.int64)
        self.events = np.zeros((len(events), CHUNK), np.int64)
        self.gaps = np.zeros((len(events), CHUNK), np.int64)
        self.starts = starts
        self._pieces = [stream.pieces(CHUNK) for stream in events]

    def refill(self, core: int, pace: int) -> None:
        """Put the next references of a core into its buffer, and let it meet the first of them."""
        own = dict(zip(core_loop.FIELDS, range(len(core_loop.FIELDS)), strict=True))
        row = self.cores[core]
        piece = next(self._pieces[core], None)
        if piece is None:
            row[own["closed"]] = 1
            row[own["place"]] = row[own["end"]] = 0
            return
        events, gaps = piece
        self.events[core, : len(events)] = events.astype(np.int64) + (int(self.starts[core]) << 2)
        self.gaps[core, : len(gaps)] = gaps
        row[own["place"]], row[own["end"]] = 0, len(events)
        gap = int(gaps[0])
        row[own["instructions"]] += gap
        paced = int(row[own["rest"]]) + gap * pace
        row[own["time"]] += paced // RATE
        row[own["rest"]] = paced % RATE


def _call(loop: Any, given: Sequence[Any], levels: Sequence[Level], state: _State) -> int:
    try:
        wanted = int(loop.run(*given))
    except MemoryError:
        raise
    except Exception as error:
        fault = blame(error, levels, loop)
        if fault is error:
            raise
        raise fault from None
    for core in range(state.count):
        check_ways(levels, state.block(core).reshape(-1))
    if wanted < 0:
        raise PolicyError(f"more than {WRITES:,} lines wait to be written to memory", None, "give it more bandwidth")
    return wanted


def _chips(held: dram.Channels) -> dict[str, int]:
    names = {
        "reads": dram.N_READ,
        "writes": dram.N_WRITE,
        "row_hits": dram.N_HIT,
        "activations": dram.N_ACT,
        "precharges": dram.N_PRE,
        "refreshes": dram.N_REF,
    }
    return {name: int(held.head[:, word].sum()) for name, word in names.items()}


def _audit(result: CoreResult, state: _State, memory: Timed | None, followed: bool) -> None:
    """Conservation of lines in every cache, of references, and of what the DRAM moved."""
    for core in range(state.count):
        for k, level in enumerate(result.levels):
            if core and k in state.shared:
                continue
            own = result.of(k, core)
            held = own["fills"] - own["evictions"] - own["invalidations"] - own["taken"]
            if held != len(state.held(core, k)):
                raise AuditError(
                    f"{level.name} of core {core} took in {held} lines more than it gave, and holds others"
                )
            if level.classify:
                kinds = own["cold"] + own["capacity"] + own["conflict"]
                if kinds != own["read_misses"] + own["write_misses"]:
                    raise AuditError(f"{level.name} of core {core}: the kinds of its misses do not add up")
    if memory is not None and not followed:
        for what in ("reads", "writes"):
            if result.chips[what] != result.memory[what] * memory.parts:
                raise AuditError(
                    f"the caches sent {result.memory[what]} {what} to memory, and it served {result.chips[what]} bursts"
                )
