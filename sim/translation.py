"""Runs references through TLBs, page tables and caches, and gives back exact counters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiersim._base.errors import AuditError
from tiersim.sim.blame import blame, check_ways
from tiersim.sim.cache_loop import COUNTERS, FIRST_COUNTER, HEADER, MEMORY_COUNTERS, ROOMY, identifier
from tiersim.sim.pages import LINE, PagedEvents, Tables, with_frames
from tiersim.sim.prefetchers import PREFETCH, Streams
from tiersim.sim.replay import EMPTY, first_words
from tiersim.sim.staged_loop import in_stages, room_of, tlbs_in_stages
from tiersim.sim.translation_loop import (
    BACKGROUND_HOST,
    BINS,
    HOST,
    LATENCY,
    MEANS,
    MISSES_BY,
    READS_BY,
    REUSE,
    SOURCES,
    STORE_MISSES,
    STORES,
    STRUCTURE,
    Loop,
    make_translation_loop,
    structure_of,
    word_of,
)

__all__ = ["Books", "Held", "Timing", "Translated", "translate"]

CHUNK = 1 << 20
ONE = 1 << 16  # of a pressure
NONE = 1 << 62  # more than the number of any line
ABSOLUTE = (  # words that are no counters
    *("source", "delay", "tables", "blocks", "offset", "pwc_miss", "pressure", "data_pressure", "answer", "page"),
    *("hosts", "table_hosts", "guests", "nested_blocks", "nested_offset"),
)


@dataclass(frozen=True)
class Timing:
    """Latencies in picoseconds by structure: caches, memory, TLBs, page-walk caches (parts of a mechanism have none).

    `pwc_miss` is what a failed lookup in a page-walk cache pays, `answer` what the lookup of a TLB block takes, and
    `limits` the misses in 1,000 instructions above which translation's and the data's pressure are high.
    """

    latencies: dict[str, int]
    pwc_miss: int = 0
    answer: int = 0
    limits: tuple[int, int] = (5, 5)


@dataclass
class Books:
    """Counters at one moment: of caches, memory, TLBs and page-walk caches by name, and of translation as a whole.

    ``walks`` is the histogram of the latencies of demand walks, ``reuse`` how often lines of each kind (data, page
    table, TLB block, and with a nested TLB nested TLB block) had been hit when they were evicted. ``resident`` is how
    many TLB blocks the cache holds now.
    """

    caches: dict[str, dict[str, int]]
    memory: dict[str, int]
    structures: dict[str, dict[str, int]]
    own: dict[str, int]
    walks: NDArray[np.int64]
    reuse: NDArray[np.int64]

    def __sub__(self, other: Books) -> Books:
        """What happened since; what is a state and no count stays."""

        def less(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
            kept = ("resident", "nested_resident", "walk_longest")
            return {key: held if key in kept else held - b[key] for key, held in a.items()}

        return Books(
            {name: less(held, other.caches[name]) for name, held in self.caches.items()},
            less(self.memory, other.memory),
            {name: less(held, other.structures[name]) for name, held in self.structures.items()},
            less(self.own, other.own),
            self.walks - other.walks,
            self.reuse - other.reuse,
        )


class Lines(Collection[tuple[int, bool]]):
    """Lines that a cache holds, each with whether it is dirty, by their tags."""

    def __init__(self, tags: NDArray[np.int32]) -> None:
        ordered = np.sort(tags)
        self.tags: NDArray[np.int32] = ordered[np.diff(ordered, prepend=-1) > 0]  # each once; none is negative

    def __len__(self) -> int:
        return len(self.tags)

    def __iter__(self) -> Iterator[tuple[int, bool]]:
        return zip((self.tags >> 1).tolist(), (self.tags & 1 > 0).tolist(), strict=True)

    def __contains__(self, line: object) -> bool:
        return line in set(self)

    def since(self, first: int) -> Lines:
        """Those from this line on."""
        return Lines(self.tags[self.tags >> 1 >= first])


@dataclass
class Held:
    """What is held at the end: lines of each cache (number, dirty), units of each TLB, entries of each walk cache."""

    caches: dict[str, Collection[tuple[int, bool]]]
    structures: dict[str, set[int]]

    def listed(self) -> Held:
        """With sets."""
        return Held({name: set(held) for name, held in self.caches.items()}, self.structures)


@dataclass
class Translated(Books):
    """What came out at the end, and at each of the cuts; numbers of lines and units are those of `Tables`."""

    ends: list[int]
    cuts: list[Books]
    held: Held | None = None


class _State:
    """The arrays of one run."""

    def __init__(
        self,
        loop: Loop,
        sets: dict[str, int],
        tables: Tables,
        timing: Timing,
        seed: int,
    ) -> None:
        self.loop, self.tables = loop, tables
        self.names = [*(level.name for level in loop.levels), "memory", *(part.name for part in loop.lookups)]
        self.top = structure_of(loop)[""] * HEADER
        size = self.top + len(MEANS) - 1 + BINS + loop.kinds * REUSE + len(loop.words)
        self.size = size  # of the words in front of those of the policies
        front = np.zeros(size, np.int64)
        blocks = [front]
        own = {part.name for part in loop.mechanism.parts}
        streams = {part.name for part in loop.lookups if isinstance(part.policy, Streams)}
        tags_at, words_at = 0, size
        self.counts: dict[str, int] = {}
        for k, (name, part) in enumerate(zip(self.names, loop.structures, strict=True)):
            header = front[k * HEADER :]
            if name not in own | streams:
                header[LATENCY] = timing.latencies[name]
            if name == "memory":
                continue
            count = sets[name]
            words = first_words(part, count, seed + k)
            header[ROOMY] = _roomy(loop, tables, name, count)
            header[:4] = count, tags_at, words_at, words.shape[1]
            self.counts[name] = count * part.ways
            tags_at += count * part.ways
            words_at += words.size
            blocks.append(words.reshape(-1))
        self.words = np.concatenate(blocks)
        self.tags = _aligned(tags_at)
        self.counters = np.zeros(max(len(tables.rows), 1), np.uint8)
        last = 0 if loop.reuse is None else int(front[loop.reuse * HEADER + 1]) + self.counts[self.names[loop.reuse]]
        self.reused = np.zeros(max(last, 1), np.uint8)
        self.set("tables", tables.pages << LINE)
        self.set("blocks", _first_block(loop, tables))
        self.set("offset", tables.tables << 6)
        self.set("pwc_miss", timing.pwc_miss)
        self.set("answer", timing.answer)
        self.set("pressure_limit", timing.limits[0] * ONE)
        self.set("data_pressure_limit", timing.limits[1] * ONE)
        for name, value in tables.places.items():
            self.set(name, value)
        self.sources = {who: place for place, who in enumerate(SOURCES)}
        if loop.prefetchers:
            self.sources["prefetch"] = PREFETCH
        if loop.nested:
            self.sources |= {"host": HOST, "background_host": BACKGROUND_HOST}
            self.set("hosts", tables.pages)
            self.set("table_hosts", 2 * tables.pages)
            self.set("guests", 2 * tables.pages + tables.guests)
            self.set("nested_blocks", _first_nested_block(loop, tables))
            self.set("nested_offset", 2 * tables.tables - tables.guests << LINE)
        self.counted = [name for name in loop.words if name not in (*ABSOLUTE, *tables.places)]

    def set(self, name: str, value: int) -> None:
        self.words[self.top + word_of(self.loop, name)] = value

    def get(self, name: str) -> int:
        return int(self.words[self.top + word_of(self.loop, name)])

    def books(self) -> Books:
        caches, structures, memory = {}, {}, {}
        for k, name in enumerate(self.names):
            header = self.words[k * HEADER : (k + 1) * HEADER]
            by = {
                f"{who}_{what}": int(header[first + place])
                for what, first in (("reads", READS_BY), ("misses", MISSES_BY))
                for who, place in self.sources.items()
            }
            counted = header[FIRST_COUNTER:].tolist()
            if name == "memory":
                memory = dict(zip(MEMORY_COUNTERS, counted, strict=False))
                memory |= {key: held for key, held in by.items() if key.endswith("reads")}
            elif k < len(self.loop.levels):
                stored = {"pom_writes": int(header[STORES]), "pom_write_misses": int(header[STORE_MISSES])}
                caches[name] = dict(zip(COUNTERS, counted, strict=False)) | by | stored
            else:
                structures[name] = dict(zip(STRUCTURE, counted, strict=False))
        own = {
            name: int(self.words[self.top + place])
            for place, name in enumerate(MEANS[:-1])
            if name not in ABSOLUTE and not name.endswith(("_mean", "_limit", "_before"))
        }
        own |= {name: self.get(name) for name in self.counted}
        bins = self.top + len(MEANS) - 1
        reuse = self.words[bins + BINS : bins + BINS + self.loop.kinds * REUSE].reshape(-1, REUSE)
        return Books(caches, memory, structures, own, self.words[bins : bins + BINS].copy(), reuse.copy())

    def held(self) -> Held:
        caches: dict[str, Collection[tuple[int, bool]]] = {}
        structures: dict[str, set[int]] = {}
        for k, name in enumerate(self.names):
            if name == "memory":
                continue
            begin = int(self.words[k * HEADER + 1])
            tags = self.tags[begin : begin + self.counts[name]]
            tags = tags[tags != EMPTY]
            if k < len(self.loop.levels):
                caches[name] = Lines(tags)
            else:
                structures[name] = set((tags >> 1).tolist())
        return Held(caches, structures)


def _aligned(count: int) -> NDArray[np.int32]:
    """Empty tags, so that a set of 16 begins with a line of the processor's caches."""
    held = np.full(count + 16, EMPTY, np.int32)
    first = -held.ctypes.data // 4 % 16
    return held[first : first + count]


def _roomy(loop: Loop, tables: Tables, name: str, sets: int) -> bool:
    """Whether a page-walk cache above the last one has room for all entries that it can ever be asked for."""
    above = [cache.name for cache in loop.walk_caches[:-1]]
    if name not in above:
        return False
    depth = np.zeros(len(tables.parents), np.int64)
    up = tables.parents.copy()
    while (up >= 0).any():
        depth += up >= 0
        up = np.where(up >= 0, tables.parents[up >> 9], -1)
    k = above.index(name)
    entries = np.unique(tables.parents[depth == k + 1])
    return not len(entries) or int(np.bincount(entries % sets).max()) <= loop.walk_caches[k].ways


def translate(
    loop: Loop,
    sets: dict[str, int],
    events: PagedEvents,
    tables: Tables,
    timing: Timing,
    *,
    seed: int = 0,
    cuts: Sequence[int] = (),
    compiled: bool = True,
    shootdowns: bool = False,
    stages: bool = True,
    contents: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Translated:
    """Replay all references.

    `sets` gives the number of sets of each cache, TLB and page-walk cache, by name; `cuts` are positions of references
    before which the books are copied. `shootdowns` says that references may be of that kind. Without `stages` one
    reference is done after the other even where blocks of them come to the same (`tiersim.sim.staged_loop`). `progress`
    is called with the number of references that were added since its last call. Raises PolicyError and AuditError as
    `tiersim.sim.replay.replay` does.
    """
    compiled = compiled and all(getattr(part.policy, "compiled", True) for part in loop.structures)
    staged = stages and not shootdowns and not events.counts.fetches and tlbs_in_stages(loop)
    wholly = staged and in_stages(loop)
    module = make_translation_loop(loop, compiled=compiled, shootdowns=shootdowns, staged=staged)
    for part in loop.mechanism.parts:
        tables = with_frames(tables, f"{identifier(part.level)}_line", -(-sets[part.name] * part.lines >> LINE))
    grouped = []
    if any(part.coalesces for part in loop.tlbs):
        assert tables.groups is not None, "see tiersim.sim.pages.coalesced"
        grouped = [tables.groups.reshape(-1)]
    if staged:
        grouped.append(np.zeros(room_of(loop), np.int64))
    rows = (tables.packed if wholly else tables.rows).reshape(-1)
    seen = np.zeros(tables.tables + 1, np.int32) if wholly else NO_SHADOW
    state = _State(loop, sets, tables, timing, seed)
    whole = events.counts.events
    kept: list[Books] = []
    begin = 0
    ends = sorted({*(cut for cut in cuts if 0 < cut < whole), whole})
    for end in ends:
        at = begin
        for chunk in events.chunks(begin, end, CHUNK):
            own = events.ends_between(at, at + len(chunk))
            _call(
                module, chunk, len(chunk), own, len(own), state.tags, state.words, tables.numbers, seen,
                rows, tables.parents.reshape(-1), state.counters, state.reused, *grouped, loop=loop,
            )  # fmt: skip
            check_ways(loop.structures, state.words)
            at += len(chunk)
            if progress:
                progress(len(chunk))
        if end < whole:
            kept.append(state.books())
        begin = end
    if not whole:  # an empty stream still compiles
        nothing = np.zeros(0, np.int64)
        _call(
            module, np.zeros(0, np.int32), 0, nothing, 0, state.tags, state.words, tables.numbers, seen,
            rows, tables.parents.reshape(-1), state.counters, state.reused, *grouped, loop=loop,
        )  # fmt: skip
    result = Translated(**vars(state.books()), ends=ends, cuts=kept)
    held = state.held()
    _audit(loop, result, held, tables)
    if loop.nested:
        _audit_nested(loop, result, held, tables, timing)
    if contents:
        result.held = held.listed()
    return result


NO_SHADOW = np.zeros(2, np.int32)


def _call(module: Any, *given: Any, loop: Loop) -> None:
    try:
        module.run(*given)
    except MemoryError:
        raise
    except Exception as error:
        fault = blame(error, loop.structures, module)
        if fault is error:
            raise
        raise fault from None


def _audit(loop: Loop, result: Translated, held: Held, tables: Tables) -> None:
    """Conservation of lines, translations and walks."""
    for name, own in result.caches.items():
        kept = own["fills"] - own["evictions"] - own["invalidations"] - own["taken"]
        _equal(f"{name}: fills - evictions - invalidations - taken", kept, "lines held", len(held.caches[name]))
    for name, own in result.structures.items():
        kept = own["fills"] - own["evictions"] - own["removed"]
        _equal(f"{name}: fills - evictions - removed", kept, "held", len(held.structures[name]))
    total = result.own
    found = total["block_hits"]
    for part in loop.mechanism.parts:
        own = result.structures[part.name]
        _equal(f"{part.name}: lookups", own["lookups"], "missing translations", total["missing"])
        found += own["lookups"] - own["misses"]
    _equal("missing translations", total["missing"], "walks and translations found", total["walks"] + found)
    both = total["walks"] + total["background_walks"]
    for last in loop.walk_caches[-1:]:
        _equal(f"{last.name}: lookups", result.structures[last.name]["lookups"], "walks", both)
    _equal("walks in the histogram", int(result.walks.sum()), "walks", total["walks"])
    first = _first_block(loop, tables)
    blocks = _from(first, loop, held)
    counted = total["resident"] + total.get("nested_resident", 0)
    _equal("TLB blocks counted", counted, "TLB blocks held", len(blocks))
    _equal("TLB blocks", len(blocks), "different ones", len(set(blocks)))
    for held_ in held.caches.values():
        if any(dirty for _, dirty in _since(first, held_)):
            raise AuditError("a TLB block is dirty", None, "this is a fault in tiersim: please report it")


def _audit_nested(loop: Loop, result: Translated, held: Held, tables: Tables, timing: Timing) -> None:
    """Conservation of what is located, and the time of walks to the picosecond."""
    assert loop.nested is not None
    total, name = result.own, loop.nested.tlb.name
    own = result.structures[name]
    data = next(level.name for level in loop.levels if "data" in level.serves)
    lines = sum(result.caches[data][f"{who}_reads"] for who in ("walk", "background"))
    walks = total["walks"] + total["background_walks"]
    pages = 0 if loop.nested.virtual else walks
    _equal(f"{name}: lookups", own["lookups"], "tables read and pages located", lines + pages)
    done = total["host_walks"] + total["background_host_walks"] - total["nested_saved"]
    _equal(f"{name}: misses", own["misses"], "host walks and blocks found", done + total["nested_block_hits"])
    blocks = len(_from(_first_nested_block(loop, tables), loop, held))
    _equal("nested TLB blocks counted", total["nested_resident"], "nested TLB blocks held", blocks)

    def paid(who: str) -> int:
        parts = {**result.caches, "memory": result.memory}
        return sum(timing.latencies[part] * counted[f"{who}_reads"] for part, counted in parts.items())

    _equal("time of host walks", total["host_time"], "of their reads", paid("host"))
    _equal("background time of host walks", total["background_host_time"], "of their reads", paid("background_host"))
    answered = total.get("nested_block_time", total["nested_block_hits"] * timing.answer)
    looked = own["lookups"] * timing.latencies[name] + answered
    for part in loop.walk_caches:
        cache = result.structures[part.name]
        looked += (cache["lookups"] - cache["misses"]) * timing.latencies[part.name]
        looked += cache["misses"] * timing.pwc_miss
    of_hosts = total["host_time"] + total["background_host_time"] - total["nested_saved_time"]
    time = total["walk_time"] + total["background_time"]
    _equal("time of walks", time, "of all their parts", looked + paid("walk") + paid("background") + of_hosts)


def _from(first: int, loop: Loop, held: Held) -> list[int]:
    """The lines from this one on in the cache whose TLB blocks are counted; where others may have none, in all."""
    cache, several = loop.mechanism.cache, len(loop.mechanism.holders) > 1
    names = [loop.levels[cache].name] if several and cache is not None else list(held.caches)
    return [line for name in names for line, _ in _since(first, held.caches[name])]


def _since(first: int, lines: Collection[tuple[int, bool]]) -> Collection[tuple[int, bool]]:
    return lines.since(first) if isinstance(lines, Lines) else [held for held in lines if held[0] >= first]


def _first_nested_block(loop: Loop, tables: Tables) -> int:
    """The first line that is a nested TLB block."""
    blocks = loop.nested is not None and loop.nested.blocks
    return tables.pages + 2 * tables.tables << LINE if blocks else NONE


def _first_block(loop: Loop, tables: Tables) -> int:
    """The first line that is a TLB block; without blocks there may be other lines behind the tables."""
    return NONE if loop.mechanism.cache is None else tables.pages + tables.tables << LINE


def _equal(left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise AuditError(f"{left} is {a:,}, but {right}: {b:,}", None, "this is a fault in tiersim: please report it")
