"""Runs cores in front of caches of their own, of shared ones, and of a memory, keeping time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError
from tiersim.sim import cache_loop, core_loop
from tiersim.sim.blame import blame, check_ways
from tiersim.sim.cache_loop import COUNTERS, FIRST_COUNTER, HEADER, MEMORY_COUNTERS, Level
from tiersim.sim.queued import dram
from tiersim.sim.replay import EMPTY, first_words

__all__ = ["Books", "Buffers", "CoreResult", "Cores", "Events", "Timed", "channels_of", "run_cores", "settings_of"]

CHUNK = 1 << 16  # references of each core that are held at a time
WRITES = 1 << 14  # lines on their way to memory that nobody waits for
B = TypeVar("B")
RATE = 1 << 20  # parts of a picosecond that the pace of a core counts in
TIME, REST, INSTRUCTIONS, PLACE, END, CLOSED = range(6)  # of `core_loop.FIELDS`


class Events(Protocol):
    """The references of one core: `tiersim.sim.events.Events` with the instructions between them."""

    @property
    def lines(self) -> NDArray[np.int64]:
        """The address of each numbered line divided by the line size."""

    def pieces(self, size: int) -> Iterator[tuple[NDArray[Any], ...]]:
        """References, line number and kind as in `Events`, and the instructions since the one before, own included.

        A loop that translates takes a third array: how many windows of instructions end before each.
        """


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
class Books:
    """Counters by core and level (a shared cache has those of all in its first row), and times, at one moment.

    ``cores`` has a row of `tiersim.sim.core_loop.FIELDS` for each core, ``chips`` what the DRAM did.
    """

    caches: NDArray[np.int64]
    memory: dict[str, int]
    cores: NDArray[np.int64]
    chips: dict[str, int]

    def __sub__(self, other: Books) -> Books:
        """What happened since."""
        return Books(
            self.caches - other.caches,
            {key: held - other.memory[key] for key, held in self.memory.items()},
            self.cores - other.cores,
            {key: held - other.chips[key] for key, held in self.chips.items()},
        )

    def of(self, level: int, core: int = 0) -> dict[str, int]:
        """The counters of a cache of a core."""
        return dict(zip(COUNTERS, map(int, self.caches[core, level]), strict=True))

    def core(self, number: int = 0) -> dict[str, int]:
        """The times of a core, by name."""
        return dict(zip(core_loop.FIELDS, map(int, self.cores[number]), strict=True))


@dataclass
class CoreResult(Books):
    """What came out at the end, and at each of the cuts.

    ``order`` is the core of each reference, ``journal`` the rows of `tiersim.sim.core_loop.JOURNAL`, where they were
    kept; ``contents`` what each cache of each core holds.
    """

    levels: tuple[Level, ...]
    cuts: list[Books]
    order: NDArray[np.uint8] | None
    journal: NDArray[np.int64]
    contents: list[list[set[tuple[int, bool]]]] | None = None

    @property
    def books(self) -> Books:
        """The books at the end."""
        return Books(self.caches, self.memory, self.cores, self.chips)


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
        self.words[top + core_loop.CORES] = cores
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
    cuts: Sequence[int] = (),
    again: bool = False,
    keep_order: bool = False,
    journal: int = 0,
    follow: NDArray[np.uint8] | None = None,
    contents: bool = False,
    compiled: bool = True,
    progress: Callable[[int], None] | None = None,
) -> CoreResult:
    """Run one stream of references on each core; caches that are not ``shared`` are each core's own.

    Cores have address spaces of their own: equal addresses of two are two lines. ``cuts`` are numbers of references of
    the first core before which the books are copied. With ``again`` the other cores begin anew when they end, until the
    first one has ended. ``follow`` is the order of a run that was kept: references come just so, memory takes its fixed
    latency, and no core waits. ``journal`` is how many misses are noted down. ``progress`` is called with the number of
    references of the first core that were added since its last call. Raises PolicyError as
    `tiersim.sim.replay.replay` does, AuditError when the counters contradict each other.
    """
    if keep_order and again:
        raise ValueError("no order is kept of cores that begin anew: nobody knows how long it will be")
    count = len(events)
    compiled = compiled and all(getattr(level.policy, "compiled", True) for level in levels)
    loop = core_loop.make_core_loop(levels, shared, compiled=compiled)
    starts = np.cumsum([0, *(len(stream.lines) for stream in events)])[:-1]
    lines = np.concatenate([stream.lines for stream in events])
    state = _State(levels, sets, shared, count, seed, len(lines))
    for core in range(count):
        state.block(core)[:-1, core_loop.LATENCY] = cores.latencies
    memory = cores.memory
    buffers = Buffers(events, starts, cuts, again)
    held = channels_of(memory)
    reads = count * cores.outstanding
    table = np.zeros((reads + WRITES, dram.R_FIELDS), np.int64)
    spare = np.arange(reads + WRITES - 1, reads - 1, -1)
    settings, sizes, roles = settings_of(cores, count, follow, keep_order)
    order = np.zeros(_total(events) if keep_order else 1, np.uint8) if follow is None else follow
    placed = np.array([0, len(spare) - 1, dram.NEVER, 0], np.int64)
    noted = np.zeros((journal, len(core_loop.JOURNAL)), np.int64)
    misses = np.zeros((count, cores.outstanding, 6), np.int64)
    given = (
        buffers.events, buffers.gaps, buffers.cores, misses, settings, order, placed, sizes, roles, table, spare,
        np.zeros(64, np.int64), noted, *held.arrays, np.zeros(1 << 12, np.int64), np.zeros((0, 4), np.int64),
        state.tags, state.words, lines, state.shadow, *futures,
    )  # fmt: skip

    def books() -> Books:
        caches, traffic = state.counters()
        return Books(caches, traffic, buffers.cores.copy(), held.counts() if memory else {})

    def call() -> int:
        return _call(loop, given, levels, state)

    kept = buffers.run(call, books, cores.pace, progress)
    end = books()
    result = CoreResult(
        **vars(end),
        levels=tuple(levels),
        cuts=kept,
        order=order if keep_order else None,
        journal=noted[: placed[3]],
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


def channels_of(memory: Timed | None) -> dram.Channels:
    """The channels of a memory, none where it has a fixed latency."""
    return dram.new_channels(memory.shape, memory.channels) if memory else dram.new_channels(_NONE, 0)


def settings_of(
    cores: Cores, count: int, follow: NDArray[np.uint8] | None, keep_order: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """What a loop takes: the words of `tiersim.sim.core_loop.SETTINGS`, and the sizes and roles of a line's fields."""
    memory = cores.memory
    settings = [
        count, cores.outstanding, cores.window, cores.pace, cores.latency, memory.lines if memory else 1,
        memory.page if memory else 0, memory.kilohertz if memory else 0, 0 if follow is None else len(follow),
        keep_order,
    ]  # fmt: skip
    roles = (
        [*memory.roles, memory.shape.groups, memory.shape.banks, memory.hashed, memory.parts] if memory else [0] * 10
    )
    sizes = memory.sizes if memory else [1] * 6
    return np.array(settings, np.int64), np.array(sizes, np.int64), np.array(roles, np.int64)


def _total(events: Sequence[Events]) -> int:
    return sum(len(piece) for stream in events for piece, _ in stream.pieces(1 << 20))


class Buffers:
    """A window on the references of each core, filled as far as they are used.

    ``met`` is how many of the first core were handed out and used, ``cut`` whether its books are to be copied then.
    ``starts`` are what the numbers of each core's lines begin with.
    """

    def __init__(self, events: Sequence[Events], starts: NDArray[np.int64], cuts: Sequence[int], again: bool) -> None:
        self.cores = np.zeros((len(events), len(core_loop.FIELDS)), np.int64)
        self.events = np.zeros((len(events), CHUNK), np.int64)
        self.gaps = np.zeros((len(events), CHUNK), np.int64)
        self.windows = np.zeros((len(events), CHUNK), np.int64)
        self.starts, self.again = starts, again
        self.met, self.cut = 0, False
        self._streams = events
        self._cuts = sorted(set(cuts))
        self._pieces = [stream.pieces(CHUNK) for stream in events]
        self._rest: tuple[NDArray[Any], ...] | None = None  # of the first core, behind a cut

    def run(
        self, call: Callable[[], int], books: Callable[[], B], pace: int, progress: Callable[[int], None] | None
    ) -> list[B]:
        """Call a loop until all references are used; gives the books at the cuts."""
        for core in range(len(self.cores)):
            self.refill(core, pace)
        told = 0
        kept = []
        while wanted := call():
            if self.cut and wanted == 1:
                kept.append(books())
            self.refill(wanted - 1, pace)
            if progress and wanted == 1:
                progress(self.met - told)
                told = self.met
        return kept

    def refill(self, core: int, pace: int) -> None:
        """Put the next references of a core into its buffer, and let it meet the first of them."""
        row = self.cores[core]
        piece = self._first() if core == 0 else next(self._pieces[core], None)
        if piece is None and core and self.again and not self.cores[0, CLOSED]:
            self._pieces[core] = self._streams[core].pieces(CHUNK)
            piece = next(self._pieces[core], None)
        if piece is None:
            row[CLOSED] = 1
            row[PLACE] = row[END] = 0
            if self.again and core == 0:
                self.cores[:, CLOSED] = 1
                self.cores[:, END] = self.cores[:, PLACE]
            return
        events, gaps, *windows = piece
        self.events[core, : len(events)] = events.astype(np.int64) + (int(self.starts[core]) << 2)
        self.gaps[core, : len(gaps)] = gaps
        for ended in windows:
            self.windows[core, : len(ended)] = ended
        row[PLACE], row[END] = 0, len(events)
        gap = int(gaps[0])
        row[INSTRUCTIONS] += gap
        paced = int(row[REST]) + gap * pace
        row[TIME] += paced // RATE
        row[REST] = paced % RATE

    def _first(self) -> tuple[NDArray[Any], ...] | None:
        """The next references of the first core, none beyond a cut."""
        self.met += int(self.cores[0, END])
        piece, self._rest = self._rest or next(self._pieces[0], None), None
        while self._cuts and self._cuts[0] <= self.met:
            del self._cuts[0]
        if piece is None:
            self.cut = False
            return None
        room = self._cuts[0] - self.met if self._cuts else len(piece[0]) + 1
        self.cut = room <= len(piece[0])
        if room < len(piece[0]):
            piece, self._rest = tuple(part[:room] for part in piece), tuple(part[room:] for part in piece)
        return piece


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
