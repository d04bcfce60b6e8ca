"""Runs prepared events through a graph of caches and gives back exact counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError, PolicyError
from tiersim.sim import cache_loop, kernels
from tiersim.sim.blame import blame, check_ways
from tiersim.sim.cache_loop import COUNTERS, FIRST_COUNTER, HEADER, MEMORY_COUNTERS, Level
from tiersim.sim.events import Events

__all__ = ["EMPTY", "Cut", "Result", "first_words", "futures", "replay", "warm"]

CHUNK = 1 << 20
EMPTY = -1  # in place of a tag; a tag is a line's number twice, plus one if it is dirty
NEVER = (1 << 62) - 1  # as tiersim.policies.way.contract.NEVER


@dataclass
class Cut:
    """The counters accumulated between two cuts of the stream: shape (caches, counters), and memory's."""

    end: int
    caches: NDArray[np.int64]
    memory: NDArray[np.int64]


@dataclass
class Result:
    """One replay: the counters of each stretch between cuts, and what the caches hold at the end."""

    levels: tuple[Level, ...]
    cuts: list[Cut]
    contents: list[set[tuple[int, bool]]] | None
    resident: list[int]

    def counters(self, since: int = 0) -> list[dict[str, int]]:
        """For each cache its counters summed over all stretches that end after event `since`."""
        total = sum(
            (cut.caches for cut in self.cuts if cut.end > since), np.zeros((len(self.levels), len(COUNTERS)), int)
        )
        return [dict(zip(COUNTERS, map(int, row), strict=True)) for row in total]

    def memory(self, since: int = 0) -> dict[str, int]:
        total = sum((cut.memory for cut in self.cuts if cut.end > since), np.zeros(len(MEMORY_COUNTERS), int))
        return dict(zip(MEMORY_COUNTERS, map(int, total), strict=True))


class _State:
    """The arrays of one replay."""

    def __init__(self, levels: Sequence[Level], sets: Sequence[int], seed: int, distinct: int | None) -> None:
        self.levels, self.sets = levels, sets
        self.room = distinct or 0
        front = (len(levels) + 1) * HEADER
        blocks = [np.zeros(front, np.int64)]
        tags_at, words_at = 0, front
        for k, (level, count) in enumerate(zip(levels, sets, strict=True)):
            words = first_words(level, count, seed + k)
            header = blocks[0][k * HEADER :]
            lines = count * level.ways
            roomy = distinct is not None and lines >= distinct  # only saves time
            header[:7] = count, tags_at, words_at, words.shape[1], 0, lines, roomy
            tags_at += lines
            words_at += words.size
            blocks.append(words.reshape(-1))
        self.words = np.concatenate(blocks)
        self.tags = np.full(tags_at, EMPTY, np.int32)
        self.classified = [k for k, level in enumerate(levels) if level.classify]
        self.shadow = self._shadows()
        for held in self._by_level(self.shadow):
            held[:2] = 0

    def _shadows(self) -> NDArray[np.int32]:
        """For each cache that tells misses apart two words, and two for each line; where they begin is noted."""
        each = 2 * (self.room + 1)
        for place, k in enumerate(self.classified):
            self.words[k * HEADER + cache_loop.SHADOW] = place * each
        return np.full(max(each * len(self.classified), 2), -2, np.int32)

    def _by_level(self, shadow: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        return np.split(shadow, len(self.classified)) if self.classified else []

    def room_for(self, lines: int) -> None:
        """Make room for the lines that are known by now."""
        if lines <= self.room:
            return
        self.room = max(lines, 2 * self.room)
        before, self.shadow = self._by_level(self.shadow), self._shadows()
        for old, new in zip(before, self._by_level(self.shadow), strict=True):
            new[: len(old)] = old

    def counters(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = self.words[: (len(self.levels) + 1) * HEADER].reshape(-1, HEADER)
        counted = rows[:, FIRST_COUNTER : FIRST_COUNTER + len(COUNTERS)]
        return counted[:-1].copy(), counted[-1, : len(MEMORY_COUNTERS)].copy()

    def clear_counters(self) -> None:
        rows = self.words[: (len(self.levels) + 1) * HEADER].reshape(-1, HEADER)
        rows[:, FIRST_COUNTER:] = 0

    def cursor(self, k: int) -> int:
        return int(self.words[k * HEADER + cache_loop.CURSOR])

    def held(self, k: int) -> NDArray[np.int32]:
        """What cache k holds: for each line its number twice, plus one if it is dirty."""
        begin = int(self.words[k * HEADER + cache_loop.TAGS])
        tags = self.tags[begin : begin + self.sets[k] * self.levels[k].ways]
        kept: NDArray[np.int32] = tags[tags != EMPTY]
        return kept


def first_words(level: Level, sets: int, seed: int) -> NDArray[np.int64]:
    """The policy's words before the first access, shape (sets, words a set)."""
    who = f"{type(level.policy).__name__}.state({sets}, {level.ways}, {seed}) in {level.name}"
    try:
        words = np.ascontiguousarray(level.policy.state(sets, level.ways, seed), np.int64)
    except (PolicyError, MemoryError):
        raise
    except Exception as error:
        raise PolicyError(f"{who} fails: {type(error).__name__}: {error}") from None
    if words.ndim != 2 or len(words) != sets:
        raise PolicyError(f"{who} must have the shape ({sets}, words), not {words.shape}")
    return words


def warm(levels: Sequence[Level]) -> None:
    """Compile the loops of these caches into the disk cache, so that several processes do not each do so."""
    nothing = Events(counts=_no_counts(), lines=np.zeros(1, np.int64), held=np.zeros(0, np.int32))
    replay(levels, [1] * len(levels), nothing)


def _no_counts() -> Any:
    from tiersim.sim.events import Counts

    return Counts()


def replay(
    levels: Sequence[Level],
    sets: Sequence[int],
    events: Events,
    *,
    seed: int = 0,
    cuts: Sequence[int] = (),
    compiled: bool = True,
    contents: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Replay all events through the caches.

    `sets` gives each cache's number of sets; `cuts` are event positions at which counters are read (the end always
    is). `compiled=False` runs the same functions as plain Python. `progress` is called with the number of events that
    were added since its last call. Raises PolicyError when a policy cannot be compiled, fails, or chooses a way that
    its set does not have; AuditError when the counters contradict each other.
    """
    compiled = compiled and all(getattr(level.policy, "compiled", True) for level in levels)
    extra = futures(levels, sets, events, seed, compiled)
    loop = cache_loop.make_loop(levels, compiled=compiled)
    state = _State(levels, sets, seed, events.distinct)
    found: list[Cut] = []
    begin = 0
    for end in sorted({*(cut for cut in cuts if 0 < cut < _end(events)), _end(events)}):
        for chunk in events.chunks(begin, end, CHUNK):
            state.room_for(len(events.lines))
            _call(loop, state, events, chunk, extra, levels)
            if progress:
                progress(len(chunk))
        found.append(Cut(end, *state.counters()))
        state.clear_counters()
        begin = end
    if not events.counts.events:  # an empty stream still compiles
        _call(loop, state, events, np.zeros(0, np.int32), extra, levels)
    resident = [len(state.held(k)) for k in range(len(levels))]
    result = Result(tuple(levels), found, _contents(state, events) if contents else None, resident)
    _audit(result, state)
    return result


def futures(
    levels: Sequence[Level], sets: Sequence[int], events: Events, seed: int = 0, compiled: bool = True
) -> list[NDArray[np.int64]]:
    """The next use of each reference at each cache whose policy asks for it, in the order of the levels."""
    known: dict[int, NDArray[np.int64]] = {}
    for k in _top_down(levels):
        if getattr(levels[k].policy, "needs_future", False):
            events.complete()
            known[k] = _future(levels, sets, events, k, known, seed, compiled)
    return [known[k] for k in sorted(known)]


def _end(events: Events) -> int:
    return events.counts.events


def _call(
    loop: ModuleType,
    state: _State,
    events: Events,
    chunk: NDArray[np.int32],
    extra: Sequence[NDArray[Any]],
    levels: Sequence[Level],
) -> None:
    try:
        loop.run(chunk, len(chunk), state.tags, state.words, events.lines, state.shadow, *extra)
    except MemoryError:
        raise
    except Exception as error:
        fault = blame(error, levels, loop)
        if fault is error:
            raise
        raise fault from None
    check_ways(levels, state.words)


def _top_down(levels: Sequence[Level]) -> list[int]:
    def depth(k: int) -> int:
        return max((1 + depth(j) for j, level in enumerate(levels) if level.below == k), default=0)

    return sorted(range(len(levels)), key=depth)


def _future(
    levels: Sequence[Level],
    sets: Sequence[int],
    events: Events,
    k: int,
    known: dict[int, NDArray[np.int64]],
    seed: int,
    compiled: bool,
) -> NDArray[np.int64]:
    """The next use of each reference at cache k, found by running the caches above it and logging what reaches it."""
    if any(level.inclusion == "inclusive" for level in levels) or levels[k].exclusive:
        raise PolicyError(
            f"{levels[k].policy.registered.name} in {levels[k].name} needs references that no eviction changes",
            None,
            "use it where no cache is inclusive and the cache itself is not exclusive",
        )
    above = _standing_on(levels, k)
    shown = [
        replace(level, log=j == k, policy=level.policy if j in above else _Stand(), classify=False)
        for j, level in enumerate(levels)
    ]
    loop = cache_loop.make_loop(shown, compiled=compiled)
    state = _State(shown, sets, seed, len(events.lines))
    extra = [known[j] for j in sorted(known) if j in above]
    # one event makes at most two references at each cache that it passes, and each of those again
    size = min(CHUNK, 1 << 16)
    log = np.empty(size * 4 ** (1 + len(above)), np.int32)
    parts = []
    for chunk in events.chunks(0, _end(events), size):
        state.words[k * HEADER + cache_loop.CURSOR] = 0
        _call(loop, state, events, chunk, [log, *extra], shown)
        used = state.cursor(k)
        if used > len(log):
            raise AuditError(f"{used} references logged at {levels[k].name}, room for {len(log)}")
        parts.append(log[:used].copy())
    stream = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    out = np.empty(len(stream), np.int64)
    kernels.next_uses(stream, np.full(len(events.lines), NEVER, np.int64), NEVER, out)
    return out


def _standing_on(levels: Sequence[Level], k: int) -> set[int]:
    direct = {j for j, level in enumerate(levels) if level.below == k}
    return direct.union(*(_standing_on(levels, j) for j in direct)) if direct else set()


class _Stand:
    """Takes a policy's place where only the references that reach a cache matter: always evicts way 0."""

    hit_is_idempotent = True

    def state(self, sets: int, ways: int, seed: int) -> NDArray[np.int64]:
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s: Any, at: int) -> None:
        return

    @staticmethod
    def fill(s: Any, at: int) -> None:
        return

    @staticmethod
    def victim(s: Any, at: int) -> int:
        return 0


def _contents(state: _State, events: Events) -> list[set[tuple[int, bool]]]:
    out = []
    for k in range(len(state.levels)):
        held = state.held(k)
        out.append({(int(line), bool(mark)) for line, mark in zip(events.lines[held >> 1], held & 1, strict=True)})
    return out


def _audit(result: Result, state: _State) -> None:
    """Conservation of lines and of references; inclusion and exclusion of what is held at the end."""
    all_counters = result.counters()
    memory = result.memory()
    asked = sent = 0
    for k, (level, own) in enumerate(zip(result.levels, all_counters, strict=True)):
        held = own["fills"] - own["evictions"] - own["invalidations"] - own["taken"]
        _equal(f"{level.name}: fills - evictions - invalidations - taken", held, "lines held", result.resident[k])
        if level.classify:
            kinds = own["cold"] + own["capacity"] + own["conflict"]
            _equal(
                f"{level.name}: cold + capacity + conflict", kinds, "misses", own["read_misses"] + own["write_misses"]
            )
        above = [all_counters[j] for j, other in enumerate(result.levels) if other.below == k]
        brings = [_reads_below(other, all_counters[j]) for j, other in enumerate(result.levels) if other.below == k]
        if above:
            _equal(f"{level.name}: reads", own["reads"], "read below by the caches above", sum(brings))
        if level.below is None:
            asked += _reads_below(level, own)
            sent += own["writebacks"]
    _equal("memory: reads", memory["reads"], "read below by the last caches", asked)
    if all(level.write_back and (level.write_allocate or level.exclusive) for level in result.levels) and not any(
        level.exclusive for level in result.levels
    ):
        _equal("memory: writes", memory["writes"], "write-backs of the last caches", sent)
    for k, level in enumerate(result.levels):
        if level.inclusion == "inclusive":
            mine = state.held(k) >> 1
            for j in _standing_on(result.levels, k):
                if not np.isin(state.held(j) >> 1, mine).all():
                    raise AuditError(f"{result.levels[j].name} holds lines that the inclusive {level.name} does not")


def _reads_below(level: Level, own: dict[str, int]) -> int:
    """A cache reads below for each read miss, and for each write miss that allocates."""
    return own["read_misses"] + (own["write_misses"] if level.write_allocate and not level.exclusive else 0)


def _equal(left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise AuditError(f"{left} is {a:,}, but {right}: {b:,}", None, "this is a fault in tiersim: please report it")
