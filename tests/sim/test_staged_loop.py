"""Blocks of references in stages against one reference after the other: every count, all times, all that is held."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.translating import PAGE, REGION, some
from tiersim.policies.translation.predictors import Always, AtLeastOnce
from tiersim.policies.way.fifo import Fifo
from tiersim.policies.way.lru import Lru
from tiersim.policies.way.srrip import Srrip
from tiersim.policies.way.tlb_aware_srrip import TlbAwareSrrip
from tiersim.sim.cache_loop import Level
from tiersim.sim.hashed_tables import hashed_tables_of
from tiersim.sim.mechanisms.hashed import HashedLoop
from tiersim.sim.mechanisms.pom_tlb import PomTlbLoop
from tiersim.sim.mechanisms.radix import RadixLoop
from tiersim.sim.mechanisms.victima import VictimaLoop
from tiersim.sim.mechanisms.victima_artifact import VictimaArtifactLoop
from tiersim.sim.pages import ENTRY_MASK, PagedEvents, paged_from, tables_of
from tiersim.sim.prefetchers import Prefetcher
from tiersim.sim.staged_loop import PLACES, in_stages, tlbs_in_stages
from tiersim.sim.translation import Timing, Translated, translate
from tiersim.sim.translation_loop import Loop, Tlb

DATA = frozenset({"data"})
MECHANISMS = ("radix", "victima", "artifact", "pom-tlb", "hashed")


def power(number: int) -> bool:
    return not number & (number - 1)


def machine(rng: random.Random, what: str) -> tuple[Loop, dict[str, int]]:
    """Some machine with this mechanism, and its numbers of sets."""
    sets: dict[str, int] = {}

    def policy() -> Any:
        return rng.choice([Lru(), Lru(), TlbAwareSrrip(), TlbAwareSrrip(aware=False), Srrip(), Fifo()])

    names = ["l1", "l2", "l3"][: rng.choice([2, 3] if what in ("victima", "artifact") else [1, 2, 3])]
    levels = []
    for k, name in enumerate(names):
        sets[name] = rng.choice([1, 2, 3, 8, 128])
        below, serves = k + 1 if k + 1 < len(names) else None, DATA if k == 0 else frozenset[str]()
        ways, known = rng.choice([1, 2, 8, 16]), power(sets[name])
        levels.append(Level(name, ways, policy(), below, serves, power_of_two=known, classify=False))
    sets["dtlb"] = rng.choice([1, 2, 3])
    tlbs = [Tlb("dtlb", rng.choice([1, 4]), policy(), serves=DATA, power_of_two=power(sets["dtlb"]))]
    for name in ("stlb", "ltlb")[: rng.choice([0, 1, 1, 2])]:
        sets[name] = rng.choice([1, 2, 5])
        tlbs.append(Tlb(name, rng.choice([1, 4, 12]), policy(), power_of_two=power(sets[name])))
    walk_caches = []
    for name in ("pwc4", "pwc3", "pwc2") if what != "hashed" else ():
        sets[name] = rng.choice([1, 2, 4])
        walk_caches.append(Tlb(name, rng.choice([1, 2, 4]), Lru()))
    prefetchers = []
    for k, name in enumerate(names):
        if rng.random() < 0.4:
            sets[f"{name}.prefetcher"] = rng.choice([1, 2])
            prefetchers.append(Prefetcher(k, rng.choice([1, 2, 4]), rng.random() < 0.5))
    mechanism: Any = RadixLoop()
    if what == "victima":
        mechanism = VictimaLoop(rng.randrange(1, len(names)), rng.choice([Always, AtLeastOnce]))
    elif what == "artifact":
        mechanism = VictimaArtifactLoop(tuple(range(len(names))), 1)
    elif what == "pom-tlb":
        mechanism, sets["pom-tlb"] = PomTlbLoop(4, Lru(), True, rng.random() < 0.5, rng.random() < 0.5), 8
    elif what == "hashed":
        mechanism = HashedLoop()
    reuse = 1 if len(names) > 1 else None
    return Loop(tuple(levels), tuple(tlbs), tuple(walk_caches), mechanism, reuse, None, tuple(prefetchers)), sets


def references(rng: random.Random, count: int) -> PagedEvents:
    """Loads and stores, on pages that come again and in steps that do."""
    pages, regions, lines = rng.choice([5, 60, 500]), rng.choice([1, 3, 60]), rng.choice([2, 64])
    far, steps, stores = rng.choice([1, 700]), rng.random() < 0.5, rng.choice([0, 0.3])
    address = []
    while len(address) < count:
        page = rng.randrange(regions) * far * REGION + rng.randrange(pages) % 512 * PAGE
        address += [page + (rng.randrange(lines) + step) % 64 * 64 for step in range(6 if steps else 1)]
    return paged_from(
        {
            "address": np.array(address[:count], np.uint64),
            "kind": np.array([rng.random() < stores for _ in range(count)], np.uint8),
            "size": np.ones(count, np.uint16),
            "gap": np.array([rng.choice([1, 4, 30]) for _ in range(count)], np.uint32),
        },
        False,
    )


def both(loop: Loop, sets: dict[str, int], rng: random.Random, count: int, *, compiled: bool = False) -> Translated:
    """One run in stages, which is asserted to be as one without."""
    events, salt = references(rng, count), rng.randrange(1 << 30)
    if isinstance(loop.mechanism, HashedLoop):
        tables = hashed_tables_of(events.lines, some(0.3, salt), 9 * 10**8)
    else:
        tables = tables_of(events.lines, some(0.3, salt), 4)
    latencies = {name: rng.randrange(1, 30) * 1000 for name in (*sets, "memory")}
    timing = Timing(latencies, 700, 17_000, (1, 1))
    assert tlbs_in_stages(loop)
    made, other = (
        translate(
            loop, sets, events, tables, timing,
            cuts=[count // 3, count // 2], compiled=compiled, stages=stages, contents=True,
        )
        for stages in (True, False)
    )  # fmt: skip
    for ours, theirs in zip([made, *made.cuts], [other, *other.cuts], strict=True):
        for part in ("caches", "memory", "structures", "own"):
            assert getattr(ours, part) == getattr(theirs, part)
        assert ours.walks.tolist() == theirs.walks.tolist()
        assert ours.reuse.tolist() == theirs.reuse.tolist()
    assert made.held == other.held
    return made


@pytest.mark.parametrize("what", MECHANISMS)
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_any_machine(what: str, seed: int) -> None:
    rng = random.Random(seed)
    loop, sets = machine(rng, what)
    assert in_stages(loop) == (what == "radix")
    both(loop, sets, rng, rng.choice([100, 700]))


def test_more_sets_than_a_row_tells() -> None:
    rng = random.Random(5)
    loop, sets = machine(rng, "radix")
    levels = tuple(replace(level, ways=1, power_of_two=True) for level in loop.levels)
    tlbs = tuple(replace(tlb, ways=1, power_of_two=True) for tlb in loop.tlbs)
    sets |= {level.name: 2 * PLACES for level in levels} | {tlb.name: 2 * (ENTRY_MASK + 1) for tlb in tlbs}
    both(replace(loop, levels=levels, tlbs=tlbs), sets, rng, 500)


@pytest.mark.parametrize("what", ["radix", "victima"])
def test_compiled(what: str) -> None:
    """Sets in the order of use are written otherwise then."""
    levels = (
        Level("l1", 8, Lru(), 1, DATA, classify=False),
        Level("l2", 16, TlbAwareSrrip(), 2, classify=False),
        Level("l3", 11, Lru(), None, classify=False),
    )
    tlbs = (Tlb("dtlb", 4, Lru(), serves=DATA), Tlb("stlb", 12, Lru()))
    walk_caches = tuple(Tlb(name, 4, Lru()) for name in ("pwc4", "pwc3", "pwc2"))
    mechanism: Any = RadixLoop() if what == "radix" else VictimaLoop(1, AtLeastOnce)
    loop = Loop(levels, tlbs, walk_caches, mechanism, 1, None, (Prefetcher(0, 2), Prefetcher(1, 4, True)))
    sets = {"l1": 2, "l2": 4, "l3": 8, "dtlb": 2, "stlb": 2, "l1.prefetcher": 2, "l2.prefetcher": 2}
    sets |= dict.fromkeys(("pwc4", "pwc3", "pwc2"), 2)
    happened: dict[str, int] = {}
    for seed in range(12):
        made = both(loop, sets, random.Random(seed), 5000, compiled=True)
        counted = made.own | {f"{what}": made.caches["l2"][what] for what in ("prefetch_reads", "writebacks_in")}
        happened = {name: happened.get(name, 0) + count for name, count in counted.items()}
    wanted = {"walks_touched", "left", "prefetch_reads", "writebacks_in"}
    assert all(happened[name] for name in wanted | ({"block_hits"} if what == "victima" else set()))


class NewestGoes(Lru):
    @staticmethod
    def victim(s: Any, at: int, ways: int) -> int:
        way: int = s[at] & 15
        return way


def test_only_lru_itself_is_kept_in_the_order_of_use() -> None:
    rng = random.Random(2)
    loop, sets = machine(rng, "radix")
    levels = tuple(replace(level, ways=4, policy=NewestGoes()) for level in loop.levels)
    first, *others = loop.tlbs
    loop = replace(loop, levels=levels, tlbs=(replace(first, ways=4, policy=NewestGoes()), *others), prefetchers=())
    other = replace(loop, levels=tuple(replace(level, policy=Lru()) for level in levels))
    made, lru = (both(own, sets, random.Random(2), 700) for own in (loop, other))
    assert made.caches != lru.caches


def test_what_does_not_go_in_stages() -> None:
    loop, _ = machine(random.Random(1), "radix")
    first, *others = loop.tlbs
    inclusive = replace(loop.levels[0], inclusion="inclusive")
    assert in_stages(loop)
    assert not in_stages(replace(loop, levels=(inclusive, *loop.levels[1:])))
    assert tlbs_in_stages(replace(loop, levels=(inclusive, *loop.levels[1:])))
    small, large = (replace(first, name=str(size), sizes=frozenset({size})) for size in (0, 1))
    assert not tlbs_in_stages(replace(loop, tlbs=(small, large, *others)))
    assert not tlbs_in_stages(replace(loop, tlbs=(replace(first, coalesces=True), *others)))
    assert not tlbs_in_stages(replace(loop, tlbs=(first, Tlb("last", 4, Lru(), direct=True))))
