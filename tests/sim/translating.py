"""A small machine whose addresses are translated, and naive TLBs, for the tests of what stands behind them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim.policies.way.lru import Lru
from tiersim.sim.cache_loop import Level
from tiersim.sim.pages import NUMBER, PagedEvents, Tables, paged_from
from tiersim.sim.translation import Timing, Translated
from tiersim.sim.translation_loop import SHOOTDOWN, Loop, Mechanism, Tlb

__all__ = [
    "L1",
    "MEMORY",
    "NUMBER",
    "PAGE",
    "PWC",
    "REGION",
    "STLB",
    "TIMING",
    "Counts",
    "Machine",
    "Naive",
    "addresses",
    "all_of",
    "loop_of",
    "none_of",
    "references",
    "sets_of",
    "some",
]

PAGE, REGION = 1 << 12, 1 << 21
L1, MEMORY, STLB, PWC = 4, 100, 10, 2  # latencies
TIMING = Timing({"l1": L1, "memory": MEMORY, "dtlb": 1, "stlb": STLB} | dict.fromkeys(("pwc1", "pwc2", "pwc3"), PWC))

Which = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


def none_of(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.zeros(len(numbers), bool)


def all_of(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.ones(len(numbers), bool)


def some(share: float, salt: int) -> Which:
    """A share of all numbers, the same at every call."""

    def which(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([random.Random(f"{salt} {number}").random() < share for number in numbers.tolist()], bool)

    return which


def references(
    address: Sequence[int],
    shot: Sequence[int] = (),
    asid: Sequence[int] | None = None,
    stores: Sequence[int] = (),
) -> PagedEvents:
    """Loads of these addresses, or stores at the positions `stores`.

    Those at the positions `shot` take the translation of their page away instead.
    """
    count = len(address)
    columns = {
        "address": np.asarray(address, np.uint64),
        "kind": np.zeros(count, np.uint8),
        "size": np.ones(count, np.uint16),
        "gap": np.ones(count, np.uint32),
    }
    made = paged_from(columns if asid is None else columns | {"asid": np.asarray(asid, np.uint16)})
    assert made.held is not None
    made.held[list(stores)] |= 1
    made.held[list(shot)] |= SHOOTDOWN
    return made


def loop_of(
    mechanism: Mechanism,
    *,
    ways: tuple[int, int, int, int] = (16, 1, 1, 1),
    walk_caches: bool = True,
    coalesces: bool = False,
    power_of_two: bool = True,
) -> Loop:
    """One cache, two TLBs, and page-walk caches, with these ways each; the second TLB may coalesce."""
    l1, first, second, pwc = ways
    pwcs = tuple(Tlb(f"pwc{k}", pwc, Lru()) for k in (1, 2, 3)) if walk_caches else ()
    return Loop(
        (Level("l1", l1, Lru(), None, frozenset({"data"}), classify=False),),
        (
            Tlb("dtlb", first, Lru(), serves=frozenset({"data"})),
            Tlb("stlb", second, Lru(), power_of_two=power_of_two, coalesces=coalesces),
        ),
        pwcs,
        mechanism,
    )


def sets_of(loop: Loop, **sets: int) -> dict[str, int]:
    """One set in each part, unless said."""
    return dict.fromkeys(["l1", *(part.name for part in loop.lookups)], 1) | sets


@st.composite
def addresses(draw: st.DrawFn) -> list[int]:
    """Addresses in few pages of few regions, so that they come again."""
    regions = draw(st.lists(st.integers(0, 40), min_size=1, max_size=3))
    spread, step = draw(st.sampled_from([4, 9, 40])), draw(st.sampled_from([1, 3]))
    picked = st.tuples(st.sampled_from(regions), st.integers(0, spread - 1), st.integers(0, 3))
    return [
        region * REGION + page * step % 512 * PAGE + line * 64
        for region, page, line in draw(st.lists(picked, min_size=20, max_size=120))
    ]


class Naive:
    """A TLB or a cache by lists: each set has its ways, and their entries from the one used last on.

    `of` gives the key of what is asked for, and the number that its set is found by.
    """

    def __init__(self, sets: int, ways: int, of: Callable[[Any], tuple[Any, int]] = lambda unit: (unit, unit[1])):
        self.sets, self.ways, self.of = sets, ways, of
        self.places: dict[int, list[Any]] = {}
        self.order: dict[int, list[Any]] = {}
        self.dirty: set[Any] = set()

    def set_of(self, thing: Any) -> tuple[Any, int]:
        key, number = self.of(thing)
        number %= self.sets
        self.places.setdefault(number, [None] * self.ways)
        self.order.setdefault(number, [])
        return key, number

    def look(self, thing: Any) -> bool:
        key, number = self.set_of(thing)
        order = self.order[number]
        if key not in order:
            return False
        order.remove(key)
        order.insert(0, key)
        return True

    def enter(self, thing: Any) -> tuple[int, Any]:
        """The way that it takes, and what it evicts, or None."""
        key, number = self.set_of(thing)
        places, order = self.places[number], self.order[number]
        old = None if None in places else order.pop()
        way = places.index(old)
        places[way] = key
        order.insert(0, key)
        return way, old

    def put(self, thing: Any) -> Any:
        """What it evicts, or None; where it is there it is only used."""
        return None if self.look(thing) else self.enter(thing)[1]

    def remove(self, thing: Any) -> None:
        key, number = self.set_of(thing)
        if key in self.order[number]:
            self.order[number].remove(key)
            self.places[number][self.places[number].index(key)] = None

    def held(self) -> set[Any]:
        return {key for order in self.order.values() for key in order}


@dataclass
class Counts:
    """What `Machine` has counted."""

    missing: int = 0
    walks: int = 0
    walk_time: int = 0
    touched: int = 0
    beyond: int = 0
    left: int = 0
    pom_time: int = 0
    pom_stores: int = 0
    reads: dict[str, int] = field(default_factory=dict)
    misses: dict[str, int] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    writebacks: int = 0


class Machine:
    """The machine of `loop_of` with a radix table, told in the plainest way from docs/explanation/translation.md.

    A unit is (space, number, whether it is large); a line (where it is, its page there, its place in that page).
    """

    def __init__(self, events: PagedEvents, large: Which, ways: Sequence[int], sets: dict[str, int]) -> None:
        self.large = large
        self.pages = events.lines.tolist()
        self.l1 = Naive(sets.get("l1", 1), ways[0], lambda line: (line, line[1] << 6 | line[2]))
        number: Callable[[Any], tuple[Any, int]] = lambda unit: (unit, unit[1])  # noqa: E731
        self.tlbs = [Naive(1, ways[1], number), Naive(sets.get("stlb", 1), ways[2], number)]
        self.pwcs = [Naive(1, ways[3], lambda entry: (entry, entry)) for _ in range(3)]
        self.counts = Counts()
        self.frames: dict[Any, int] = {}
        for page in self.pages:
            for level in (4, 3, 2, 1):
                if level > 1 or not self.is_large(page):
                    self.frames.setdefault(self.covers(page, level), len(self.frames))

    @staticmethod
    def covers(page: int, level: int) -> tuple[int, int, int]:
        return page >> NUMBER, level, (page & ((1 << NUMBER) - 1)) >> 9 * level

    def is_large(self, page: int) -> bool:
        space, _, region = self.covers(page, 1)
        return bool(self.large(np.array([space << NUMBER | region]))[0])

    def unit(self, page: int) -> Any:
        size = self.is_large(page)
        return page >> NUMBER, (page & ((1 << NUMBER) - 1)) >> 9 * size, size

    # the cache

    def enter(self, line: Any) -> None:
        if (old := self.l1.enter(line)[1]) in self.l1.dirty:
            self.l1.dirty.discard(old)
            self.counts.writebacks += 1

    def read(self, line: Any, who: str) -> int:
        counts = self.counts
        counts.reads[who] = counts.reads.get(who, 0) + 1
        if self.l1.look(line):
            return L1
        counts.misses[who] = counts.misses.get(who, 0) + 1
        self.enter(line)
        return L1 + MEMORY

    def store(self, line: Any, who: str) -> None:
        self.counts.writes[who] = self.counts.writes.get(who, 0) + 1
        if not self.l1.look(line):
            self.enter(line)
        self.l1.dirty.add(line)

    # translation

    def walk(self, page: int) -> None:
        paid, before = 0, self.counts.misses.get("walk", 0)
        for level, pwc in zip((4, 3, 2, 1), [*self.pwcs, None], strict=True):
            if level == 1 and self.is_large(page):
                break
            entry = self.frames[self.covers(page, level)] << 9 | self.covers(page, level - 1)[2] & 511
            if pwc is not None and pwc.look(entry):
                paid += PWC
                continue
            paid += self.read(("frame", entry >> 9, (entry & 511) >> 3), "walk")
            if pwc is not None:
                pwc.enter(entry)
        self.walked(paid, before)

    def walked(self, paid: int, before: int) -> None:
        self.counts.walks += 1
        self.counts.walk_time += paid
        self.counts.beyond += paid
        self.counts.touched += self.counts.misses.get("walk", 0) > before

    def missing(self, page: int) -> None:
        self.walk(page)

    def gone(self, unit: Any) -> None:
        pass

    def reference(self, page: int, line: int, *, store: bool) -> None:
        unit = self.unit(page)
        if not self.tlbs[0].look(unit):
            self.counts.beyond += STLB
            if not self.tlbs[1].look(unit):
                self.counts.missing += 1
                self.missing(page)
            left = self.tlbs[0].enter(unit)[1]
            left = self.tlbs[1].put(left) if left else None
            if left:
                self.counts.left += 1
                self.gone(left)
        data = ("data", page & ((1 << NUMBER) - 1), line, page >> NUMBER)
        (self.store if store else self.read)(data, "program")

    def run(self, events: PagedEvents) -> Counts:
        assert events.held is not None
        for event in events.held.tolist():
            self.reference(self.pages[event >> 8], event >> 2 & 63, store=event & 3 == 1)
        return self.counts

    def equals(self, made: Translated, tables: Tables) -> None:
        """Asserts that what came out is what it counts, and what is held what it holds."""
        counts, own, cache = self.counts, made.own, made.caches["l1"]
        for name in ("missing", "walks", "walk_time", "beyond", "left"):
            assert own[name] == getattr(counts, name), name
        assert own["walks_touched"] == counts.touched
        assert own.get("pom_time", 0) == counts.pom_time
        assert own.get("pom_stores", 0) == counts.pom_stores
        for who in ("walk", "pom"):
            assert cache[f"{who}_reads"] == counts.reads.get(who, 0), who
            assert made.memory[f"{who}_reads"] - cache["pom_write_misses"] * (who == "pom") == counts.misses.get(who, 0)
        assert cache["pom_writes"] == counts.writes.get("pom", 0)
        assert cache["reads"] == sum(counts.reads.values())
        assert cache["read_misses"] == sum(counts.misses.values())
        assert cache["writes"] == sum(counts.writes.values())
        assert cache["writebacks"] == counts.writebacks
        assert made.held is not None
        page = [("data", key & ((1 << NUMBER) - 1), key >> NUMBER) for key in self.pages]
        page += [("frame", number, 0) for number in tables.numbers[len(page) :].tolist()]

        def line(number: int) -> Any:
            kind, at, space = page[number >> 6] if number >> 6 < len(page) else ("frame", self.frame(number >> 6), 0)
            return (kind, at, number & 63, space) if kind == "data" else (kind, at, number & 63)

        assert {(line(number), dirty) for number, dirty in made.held.caches["l1"]} == {
            (held, held in self.l1.dirty) for held in self.l1.held()
        }
        for name, tlb in zip(("dtlb", "stlb"), self.tlbs, strict=True):
            assert {self.unit(self.pages[unit]) for unit in made.held.structures[name]} == tlb.held(), name
        for name, pwc in zip(("pwc1", "pwc2", "pwc3"), self.pwcs, strict=True):
            assert made.held.structures.get(name, set()) == pwc.held(), name

    def frame(self, number: int) -> int:
        """The frame of a page that is numbered behind those of the tables and of as many blocks."""
        return number - len(self.pages) - len(self.frames)
