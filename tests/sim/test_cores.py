"""Several cores that keep time: contents against the brute-force model, times against plain sums and lists."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.models.test_dram import memory as dram_memory
from tests.oracles.hierarchy import COUNTERS, Cache, Memory, Reference, read_graph
from tests.oracles.strategies import Graph, graphs, reuse, streams
from tiersim._base.errors import AuditError
from tiersim._base.registry import build
from tiersim.models.dram import FIELDS, LINE, serve, shape_of, sizes_of
from tiersim.sim import cores as engine
from tiersim.sim.cache_loop import Level
from tiersim.sim.cores import CoreResult, Cores, Timed, run_cores
from tiersim.sim.events import Events, events_from
from tiersim.sim.replay import replay

CODE = {"load": 0, "store": 1, "fetch": 3}
APART = math.lcm(*range(1, 9)) << 20  # lines of two cores are so far apart, and in the same sets


class Stream:
    """References of one core with the instructions between them, the same for all or one for each."""

    def __init__(self, references: list[Reference], gaps: int | list[int] = 1, fetches: bool = True) -> None:
        kinds = np.array([CODE[kind] for kind, _ in references], np.uint8)
        self.held: Events = events_from(
            np.array([line for _, line in references], np.uint64), kinds, 1, fetches=fetches
        )
        self.lines = self.held.lines
        self.gaps = np.full(self.held.counts.events, gaps) if isinstance(gaps, int) else np.array(gaps)

    def pieces(self, size: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.uint32]]]:
        end = self.held.counts.events
        for begin in range(0, end, size):
            (piece,) = self.held.chunks(begin, min(begin + size, end), size)
            yield piece, self.gaps[begin : begin + len(piece)].astype(np.uint32)


def levels_of(graph: Graph) -> tuple[list[Level], list[int]]:
    names = list(graph)
    levels = [
        Level(
            name,
            said["ways"],
            build("way-replacement", said.get("policy", "lru")),
            None if said["below"] == "memory" else names.index(said["below"]),
            frozenset({"all": {"data", "instructions"}, None: set()}.get(said.get("serves"), {said.get("serves")})),
            said.get("write", "back") == "back",
            said.get("inclusion") != "exclusive" and said.get("write_allocate", True),
            said.get("inclusion", "non-inclusive"),
            not said["sets"] & (said["sets"] - 1),
        )
        for name, said in graph.items()
    ]
    return levels, [said["sets"] for said in graph.values()]


def cores_of(levels: list[Level], **given: Any) -> Cores:
    said: dict[str, Any] = {"pace": 7 << 20, "outstanding": 3, "window": 40, "latency": 900} | given
    return Cores(latencies=tuple(11 * (k + 1) for k in range(len(levels))), **said)


def chips(**given: Any) -> Timed:
    made = dram_memory(**given)
    sizes = sizes_of(made)
    return Timed(
        shape_of(made),
        made.channels,
        tuple(sizes[name] for name in made.mapping),
        tuple(FIELDS.index(name) for name in made.mapping),
        made.hashed,
        LINE // made.access,
        made.frequency // 1000,
        made.capacity // LINE,
        0,
    )


def modelled(graph: Graph, shared: set[str], streams: list[list[Reference]], order: list[int]) -> dict[Any, Cache]:
    """The brute-force caches of every core after the references in this order; shared ones are core 0's."""
    specs, memory = read_graph(graph), Memory()
    made: dict[Any, Cache] = {}
    for core in range(len(streams)):
        for name, spec in specs.items():
            made[name, core] = made[name, 0] if name in shared and core else Cache(spec, [])
        for name, spec in specs.items():
            if name in shared and core:
                continue
            if spec.below != "memory":
                below = made[spec.below, core]
                made[name, core].below = below
                below.above.append(made[name, core])
            else:
                made[name, core].below = memory
    left = [iter(stream) for stream in streams]
    instructions = [name for name, spec in specs.items() if spec.serves in ("instructions", "all")]
    (data,) = [name for name, spec in specs.items() if spec.serves in ("data", "all")]
    for core in order:
        kind, line = next(left[core])
        line += core * APART
        if kind == "fetch":
            made[instructions[0], core].read(line)
        elif kind == "load":
            made[data, core].read(line)
        else:
            made[data, core].store(line)
    made["memory"] = memory  # type: ignore[assignment]
    return made


@st.composite
def shared_graphs(draw: st.DrawFn) -> tuple[Graph, set[str]]:
    """A graph without Belady, and which of its caches all cores share: with a cache all that are below it."""
    graph = draw(graphs().filter(lambda graph: not any(said["policy"] == "belady" for said in graph.values())))
    below = {said["below"] for said in graph.values()} - {"memory"}
    shared: set[str] = set()
    for name in draw(st.sets(st.sampled_from(sorted(below)))) if below else ():
        while name != "memory":
            shared.add(name)
            name = graph[name]["below"]
    return graph, shared


def run(
    graph: Graph, shared: set[str], streams: list[list[Reference]], *, compiled: bool = False, **given: Any
) -> tuple[CoreResult, list[list[Reference]]]:
    levels, sets = levels_of(graph)
    fetches = any("instructions" in level.serves for level in levels)
    kept = [[item for item in stream if fetches or item[0] != "fetch"] for stream in streams]
    places = frozenset(k for k, name in enumerate(graph) if name in shared)
    own = [Stream(stream, fetches=fetches) for stream in kept]
    settings = {key: given.pop(key) for key in ("pace", "outstanding", "window", "latency", "memory") if key in given}
    given = {"keep_order": True, "contents": True, "compiled": compiled} | given
    made = run_cores(levels, sets, places, own, cores_of(levels, **settings), **given)
    return made, kept


def assert_same_contents(
    graph: Graph, shared: set[str], made: CoreResult, kept: list[list[Reference]], order: list[int]
) -> None:
    right = modelled(graph, shared, kept, order)
    assert made.contents is not None
    for core in range(len(kept)):
        for k, name in enumerate(graph):
            if core and name in shared:
                continue
            held = right[name, core]
            assert {key: made.of(k, core)[key] for key in COUNTERS} == held.count, (name, core)
            assert made.contents[core][k] == {(line % APART, dirty) for line, dirty in held.content()}, (name, core)
    assert {way: made.memory[way] for way in ("reads", "writes")} == right["memory"].count


@settings(deadline=None, max_examples=80)
@given(shared_graphs(), st.lists(streams(80), min_size=1, max_size=3), st.booleans())
def test_random_graphs(drawn: tuple[Graph, set[str]], streams: list[list[Reference]], timed: bool) -> None:
    graph, shared = drawn
    made, kept = run(graph, shared, streams, memory=chips() if timed else None)
    assert made.order is not None
    order = made.order.tolist()
    assert sorted(order) == sorted(core for core, stream in enumerate(kept) for _ in stream)
    assert_same_contents(graph, shared, made, kept, order)
    again, _ = run(graph, shared, streams, follow=made.order)  # additive: the order is followed, not found
    assert (again.caches == made.caches).all()
    assert (again.contents, again.memory) == (made.contents, made.memory)


TWO: Graph = {
    "l1": {"sets": 4, "ways": 2, "below": "l2", "serves": "data", "policy": "tree-plru"},
    "l1i": {"sets": 2, "ways": 2, "below": "l2", "serves": "instructions"},
    "l2": {"sets": 5, "ways": 4, "below": "l3", "policy": "srrip", "inclusion": "inclusive"},
    "l3": {"sets": 16, "ways": 4, "below": "memory", "inclusion": "exclusive"},
}


def test_compiled_as_plain() -> None:
    rng = random.Random(1)
    streams = [reuse(rng, 3000, 200) for _ in range(3)]
    for timed in (None, chips(channels=2)):
        plain, kept = run(TWO, {"l3"}, streams, memory=timed)
        made, _ = run(TWO, {"l3"}, streams, memory=timed, compiled=True)
        assert plain.order is not None
        assert made.order is not None
        assert made.order.tolist() == plain.order.tolist()
        assert made.cores.tolist() == plain.cores.tolist()
        assert made.chips == plain.chips
        assert_same_contents(TWO, {"l3"}, made, kept, made.order.tolist())


def test_one_core_counts_as_the_plain_replay() -> None:
    rng = random.Random(2)
    references = reuse(rng, 4000, 300)
    levels, sets = levels_of(TWO)
    stream = Stream(references)
    right = replay(levels, sets, stream.held, contents=True)
    made = run_cores(levels, sets, frozenset(), [stream], cores_of(levels, memory=chips()), contents=True)
    assert [made.of(k, 0) for k in range(len(levels))] == right.counters()
    assert made.memory == right.memory()
    assert made.contents == [right.contents]


# time

ONE: Graph = {"l1": {"sets": 1, "ways": 4, "below": "memory", "serves": "all"}}


@given(st.lists(st.tuples(st.sampled_from(["load", "fetch"]), st.integers(0, 9)), min_size=1), st.integers(0, 5))
@settings(deadline=None)
def test_a_core_that_waits_for_everything_takes_the_additive_time(references: list[Reference], gap: int) -> None:
    levels, sets = levels_of(TWO)
    given = cores_of(levels, outstanding=1, window=0, latency=900)
    made = run_cores(levels, sets, frozenset(), [Stream(references, gap)], given, compiled=False)
    beyond = sum(made.of(k, 0)["reads"] * 11 * (k + 1) for k in (2, 3)) + made.memory["reads"] * 900
    assert made.core(0)["time"] == 7 * gap * len(references) + beyond
    assert made.core(0)["delay"] + made.core(0)["fetch_delay"] == beyond


@st.composite
def timed_references(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    return draw(
        st.lists(
            st.tuples(st.sampled_from(["load", "store", "fetch"]), st.integers(0, 9), st.integers(0, 30)),
            min_size=1,
            max_size=60,
        )
    )


@given(timed_references(), st.integers(1, 4), st.integers(0, 60), st.integers(0, 400))
@settings(deadline=None, max_examples=300)
def test_times_against_a_list(
    references: list[tuple[str, int, int]], outstanding: int, window: int, latency: int
) -> None:
    """One cache of four lines, LRU, by hand: when each reference is issued, from the list of all misses so far."""
    held: list[int] = []
    misses: list[tuple[int, int, bool]] = []  # end, instruction, load
    now = instructions = 0
    for kind, line, gap in references:
        instructions += gap
        now += 7 * gap
        behind = [(end, instructions - window - at) for end, at, load in misses if load and at <= instructions - window]
        now = max([now, *(end + 7 * left for end, left in behind)])
        missed = line not in held
        if missed:
            flying = sorted(end for end, _, _ in misses if end > now)
            if len(flying) >= outstanding:
                now = flying[len(flying) - outstanding]
            if latency:
                misses.append((now + latency, instructions, kind != "store"))
            held = [*held, line][-4:]
        else:
            held.remove(line)
            held.append(line)
    right = max([now, *(end for end, _, _ in misses)])
    levels, sets = levels_of(ONE)
    stream = Stream([(kind, line) for kind, line, _ in references], [gap for *_, gap in references])
    given = cores_of(levels, outstanding=outstanding, window=window, latency=latency)
    made = run_cores(levels, sets, frozenset(), [stream], given, compiled=False)
    assert made.core(0)["time"] == right
    stalled = made.core(0)["window_stall"] + made.core(0)["outstanding_stall"]
    assert now == 7 * instructions + stalled


def test_one_at_a_time_through_dram_is_a_chase_of_pointers() -> None:
    """No instructions between, one miss at a time: the DRAM sees what `serve` sends with a window of 1."""
    made_of = dram_memory(rows=1024)
    lines = np.random.default_rng(0).permutation(made_of.capacity // LINE)[:3000]
    right = serve(made_of, lines, window=1)
    levels, sets = levels_of(ONE)
    stream = Stream([("load", int(line)) for line in lines], 0)
    given = cores_of(levels, outstanding=1, window=0, latency=0, memory=chips(rows=1024))
    made = run_cores(levels, sets, frozenset(), [stream], given)
    assert made.core(0)["time"] == int(right.done.max()) * 1000  # cycles of a nanosecond
    assert made.chips == right.counts


def test_four_cores_are_slower_than_one_and_no_faster_than_the_pins() -> None:
    rng = np.random.default_rng(1)
    made_of = dram_memory(rows=1024)
    levels, sets = levels_of(ONE)
    times = []
    for count in (1, 4):
        own = [Stream([("load", int(line)) for line in rng.integers(0, 30_000, 4000)], 1) for _ in range(count)]
        given = cores_of(levels, outstanding=8, window=1000, latency=0, memory=chips(rows=1024))
        made = run_cores(levels, sets, frozenset(), own, given)
        time = int(made.cores[:, 0].max())
        assert made.memory["reads"] * LINE / time <= made_of.bandwidth / 1e12
        times.append(time)
    assert 1.5 * times[0] < times[1] < 4.5 * times[0]


def test_refills_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    streams = [reuse(rng, length, 60) for length in (700, 100, 0)]
    whole, _ = run(TWO, {"l3"}, streams, memory=chips())
    monkeypatch.setattr(engine, "CHUNK", 16)
    parts, _ = run(TWO, {"l3"}, streams, memory=chips())
    drop = [name for name in range(len(engine.core_loop.FIELDS)) if engine.core_loop.FIELDS[name] in ("place", "end")]
    assert np.delete(parts.cores, drop, 1).tolist() == np.delete(whole.cores, drop, 1).tolist()
    assert parts.order is not None
    assert whole.order is not None
    assert parts.order.tolist() == whole.order.tolist()


def test_books_at_the_cuts() -> None:
    """Before a reference of the first core; their differences add up, and cuts change nothing."""
    rng = random.Random(4)
    streams = [reuse(rng, 500, 60), reuse(rng, 200, 60)]
    whole, kept = run(TWO, {"l3"}, streams, memory=chips())
    cut, _ = run(TWO, {"l3"}, streams, memory=chips(), cuts=[100, 350, 350, len(kept[0]) + 5])
    assert cut.cores.tolist()[1] == whole.cores.tolist()[1]
    assert (cut.caches == whole.caches).all()
    first, second = cut.cuts
    names = engine.core_loop.FIELDS
    met = [kind != "fetch" for kind, _ in kept[0]]
    for books, end in ((first, 100), (second, 350)):
        assert books.core()["references"] == sum(met[:end])
        assert books.core()["instructions"] == end
    since = second - first
    assert since.core()["instructions"] == 250
    assert since.memory["reads"] == second.memory["reads"] - first.memory["reads"]
    assert names[0] == "time"
    assert first.core()["time"] < second.core()["time"] < cut.core()["time"]


def test_others_begin_anew_until_the_first_has_ended() -> None:
    rng = random.Random(5)
    streams = [reuse(rng, 900, 60), reuse(rng, 20, 60)]
    made, kept = run(TWO, {"l3"}, streams, again=True, keep_order=False)
    rounds = made.core(1)["instructions"] / len(kept[1])
    assert made.core(0)["instructions"] == len(kept[0])
    assert rounds > 3
    assert made.core(1)["time"] < made.core(0)["time"] + 5000


def test_the_journal_has_every_miss_that_it_has_room_for() -> None:
    rng = random.Random(6)
    streams = [reuse(rng, 300, 200), reuse(rng, 300, 200)]
    for timed in (None, chips(channels=2)):
        made, _ = run(TWO, {"l3"}, streams, memory=timed, journal=10_000)
        rows = {name: made.journal[:, k] for k, name in enumerate(engine.core_loop.JOURNAL)}
        assert len(made.journal) == sum(made.core(core)["misses"] for core in (0, 1))
        assert (rows["issued"] <= rows["asked"]).all()
        assert (rows["asked"] <= rows["ended"]).all()
        read = rows["channel"] >= 0
        assert int(read.sum()) == (made.memory["reads"] if timed else 0)
        if timed:
            took = (rows["ended"] - rows["asked"])[read].sum()
            assert took == sum(made.core(core)["memory_delay"] for core in (0, 1))
        few, _ = run(TWO, {"l3"}, streams, memory=timed, journal=7)
        assert few.journal.tolist() == made.journal[:7].tolist()


def test_the_audit_can_fail() -> None:
    levels, sets = levels_of(ONE)
    made = run_cores(
        levels, sets, frozenset(), [Stream([("load", 1)])], cores_of(levels, memory=chips()), compiled=False
    )
    made.chips["reads"] += 1
    state = engine._State(levels, sets, frozenset(), 1, 0, 1)
    with pytest.raises(AuditError, match="took in 1 lines more than it gave"):
        engine._audit(made, state, None, False)
    made.caches[:] = 0
    with pytest.raises(AuditError, match="the caches sent 1 reads to memory, and it served 2 bursts"):
        engine._audit(made, state, chips(), False)
