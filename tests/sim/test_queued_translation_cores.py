"""Several cores that translate: what they share, in which order, and that neighbours cost time and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.oracles.strategies import pages, variants
from tests.oracles.translation import CacheSpec, Config, NestedSpec, PomTlbSpec, PwcSpec, TlbSpec, VictimaSpec
from tests.sim.test_cores import chips
from tests.sim.test_queued_translation import PACE, Stream, queued
from tests.sim.test_translation_engine import POM_TLB, Machine
from tiersim.models.core_translation import pages_of
from tiersim.sim import core_translation as engine
from tiersim.sim.core_translation import CoreBooks, TranslatedCores, run_translation
from tiersim.sim.cores import Cores
from tiersim.sim.pages import LINE, NUMBER
from tiersim.sim.queued import dram

BASE = Config(
    {
        "dtlb": TlbSpec(2, 2, 1, serves="data"),
        "itlb": TlbSpec(1, 2, 1, serves="instructions"),
        "stlb": TlbSpec(3, 4, 12),
    },
    {
        "l1i": CacheSpec(2, 2, below="l2", serves="instructions"),
        "l1d": CacheSpec(4, 2, below="l2", serves="data"),
        "l2": CacheSpec(4, 8, policy="tlb-aware-srrip", below="l3"),
        "l3": CacheSpec(16, 4, policy="srrip"),
    },
    {"l1i": 3, "l1d": 4, "l2": 12, "l3": 30, "memory": 101},
    {level: PwcSpec(1, 2, 4, 1) for level in (2, 3, 4)},
    large=lambda space, number: number % 5 == 1,
)
CONFIGS = {
    "radix": BASE,
    "victima": replace(BASE, mechanism=VictimaSpec("l2")),
    "victima for guests": replace(BASE, mechanism=VictimaSpec("l2"), nested=NestedSpec(2, 4, 3)),
    "blocks in the shared cache": replace(BASE, mechanism=VictimaSpec("l3")),
    "pom-tlb": replace(BASE, mechanism=PomTlbSpec(4, 4)),
}


def machines(config: Config, lengths: Sequence[int], seed: str = "") -> list[Machine]:
    """One for each core."""
    rng = random.Random(seed)
    told = [[one for one in pages(rng, length, 60, 1) if one[2] != "shootdown"] for length in lengths]
    return [Machine(config, references) for references in told]


class Together:
    """The tables over the pages of several machines, in spaces of their own."""

    def __init__(self, cores: Sequence[Machine]) -> None:
        self.first = cores[0]
        self.streams = [Stream(core) for core in cores]
        lines = pages_of(self.streams)  # type: ignore[arg-type]
        self.first.spaces = list(range(int(lines.max() >> NUMBER) + 1))
        self.tables = self.first.make_tables(lines)
        self.starts = np.cumsum([0, *(len(stream.lines) for stream in self.streams)])[:-1].tolist()

    def run(self, shared: Iterable[str] = (), **given: Any) -> TranslatedCores:
        timing = self.first.timing()
        said: dict[str, Any] = {"pace": PACE << 20, "outstanding": 3, "window": 40}
        said |= {"latency": timing.latencies["memory"]}
        said |= {key: given.pop(key) for key in ("outstanding", "latency", "memory") if key in given}
        given = {"compiled": False, "contents": True, "walkers": 2} | given
        own = frozenset({*shared, POM_TLB} & set(self.first.sets))
        return run_translation(
            self.first.loop, self.first.sets, own, self.streams, self.starts, self.tables, timing,
            Cores(latencies=(), **said), given.pop("walkers"), **given,
        )  # fmt: skip


def same(one: CoreBooks, other: CoreBooks) -> bool:
    return all(vars(a) == vars(b) for a, b in zip(plain(one), plain(other), strict=True))


def plain(books: CoreBooks) -> list[Any]:
    """Books that can be compared."""
    return [replace(own, walks=own.walks.tolist(), reuse=own.reuse.tolist()) for own in books.own]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CONFIGS)
def test_an_order_that_was_kept_and_followed_gives_the_same_contents(name: str) -> None:
    together = Together(machines(CONFIGS[name], [300, 200, 100], name))
    for memory in (None, chips(channels=2)):
        made = together.run(["l3"], memory=memory, keep_order=True)
        assert made.order is not None
        lengths = [len(stream.held) for stream in together.streams]
        assert np.bincount(made.order).tolist() == lengths
        again = together.run(["l3"], follow=made.order)
        assert same(again, made)
        assert again.held == made.held
        turned = together.run(["l3"], follow=np.repeat(np.arange(3, dtype=np.uint8), lengths))
        assert turned.held != made.held


@settings(deadline=None, max_examples=40)
@given(config=variants(), seed=st.integers(0, 2**32), timed=st.booleans(), data=st.data())
def test_any_machines_on_any_shared_caches(config: Config, seed: int, timed: bool, data: st.DataObject) -> None:
    """No count contradicts another, and an order that is followed gives the same ones."""
    below = sorted({spec.below for spec in config.caches.values()} - {"memory"})
    shared: set[str] = set()
    for name in data.draw(st.sets(st.sampled_from(below))) if below else ():
        while name != "memory":
            shared.add(name)
            name = config.caches[name].below
    cores = machines(config, [60, 40], str(seed))
    assume(all(core.references for core in cores))
    together = Together(cores)
    shared |= {f"{name}.prefetcher" for name in shared & config.prefetchers.keys()}
    made = together.run(shared, memory=chips(channels=2) if timed else None, keep_order=True)
    again = together.run(shared, follow=made.order)
    assert same(again, made)
    assert again.held == made.held


@pytest.mark.parametrize("name", CONFIGS)
def test_counts_of_cores_add_up(name: str) -> None:
    """What all caches of their own could not serve is what the shared one is asked for, and so on."""
    together = Together(machines(CONFIGS[name], [300, 250], name))
    made = together.run(["l3"], memory=chips())
    first, second = made.own
    assert "l3" not in second.caches
    asked = sum(own.caches["l2"]["read_misses"] + own.caches["l2"]["write_misses"] for own in made.own)
    assert first.caches["l3"]["reads"] == asked
    assert sum(made.core(k)["memory_reads"] for k in (0, 1)) == first.memory["reads"]
    assert first.memory["reads"] == first.caches["l3"]["read_misses"]
    assert sum(made.core(k)["walks"] for k in (0, 1)) == first.own["walks"] + second.own["walks"]
    if name == "pom-tlb":
        looked = first.structures[POM_TLB]
        assert looked["lookups"] == first.own["missing"] + second.own["missing"]
        assert POM_TLB not in second.structures
        assert looked["lookups"] > looked["misses"] > 0
    if name.startswith("victima"):
        assert first.own["block_hits"] > 0
        assert second.own["block_hits"] > 0


@pytest.mark.parametrize("name", ["radix", "victima for guests"])
def test_cores_that_share_nothing_do_not_notice_each_other(name: str) -> None:
    """With a memory of a fixed latency the first core is as it is alone, to the picosecond."""
    cores = machines(CONFIGS[name], [250, 300], name)
    made = Together(cores).run()
    alone = Together(cores[:1]).run()
    assert made.core(0) == alone.core(0)
    assert made.own[0].structures == alone.own[0].structures
    assert {key: made.own[0].caches[key] for key in BASE.caches} == alone.own[0].caches
    assert made.held is not None
    assert alone.held is not None
    below = Together(cores).starts[1] << LINE  # pages of the program; tables are numbered behind all
    for cache, held in alone.held[0].caches.items():
        ours = {(line, dirty) for line, dirty in made.held[0].caches[cache] if line < below}
        assert ours == {(line, dirty) for line, dirty in held if line < below}


@pytest.mark.parametrize("shared", [[], ["l3"]])
def test_a_neighbour_costs_time(shared: list[str]) -> None:
    cores = machines(CONFIGS["victima"], [600, 700, 700], "neighbours")
    times = [Together(cores[:count]).run(shared, memory=chips(), latency=0).core(0)["time"] for count in (1, 2, 3)]
    assert times[0] < times[1] < times[2]


def test_one_core_is_the_same_on_its_own_and_as_the_first_of_one() -> None:
    (core,) = machines(CONFIGS["victima"], [300], "one")
    made, right = Together([core]).run(memory=chips()), queued(core, memory=chips())
    assert made.core() == right.core()
    assert made.chips == right.chips
    assert same(made, right)


@pytest.mark.parametrize("name", ["victima for guests"])
def test_compiled_as_plain(name: str) -> None:
    together = Together(machines(CONFIGS[name], [700, 500, 300], name))
    for memory in (None, chips(channels=2)):
        plain_, made = (together.run(["l3"], memory=memory, compiled=how, keep_order=True) for how in (False, True))
        assert made.cores.tolist() == plain_.cores.tolist()
        assert made.told.tolist() == plain_.told.tolist()
        assert made.chips == plain_.chips
        assert same(made, plain_)
        assert made.held == plain_.held
    assert made.core()["background_walks"] > 0


@pytest.mark.parametrize("name", ["victima", "pom-tlb"])
def test_memory_is_asked_when_a_read_is_due_and_never_too_late(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels are not ahead of what is offered to them, though their data is known before it comes."""
    together, offered = Together(machines(CONFIGS[name], [400, 300], name)), []
    make = engine.make_core_translation_loop

    def watched(*given: Any, **more: Any) -> Any:
        module = make(*given, **more)

        def offer(head: Any, table: Any, channel: int, number: int) -> None:
            assert head[channel, dram.NOW] <= table[number, dram.R_AT]
            offered.append(int(table[number, dram.R_AT]))
            dram.offer(head, table, channel, number)

        module.offer = offer  # type: ignore[attr-defined]
        return module

    monkeypatch.setattr(engine, "make_core_translation_loop", watched)
    made = together.run(["l3"], memory=chips(channels=2), outstanding=6, walkers=3)
    assert len(offered) == made.own[0].memory["reads"] + made.own[0].memory["writes"] > 300
    assert offered == sorted(offered)
