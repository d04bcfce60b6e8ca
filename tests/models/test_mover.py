"""Copies between tiers: closed forms, priorities, pinned buffers, and nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.models.test_ssd import ssd
from tests.models.test_topology import cable
from tests.sim.queued.test_timeline import read
from tiersim._base.errors import AuditError, StudyError
from tiersim.models.links.copy_engines import CopyEngines
from tiersim.models.mover import Copy, Copying, Mover
from tiersim.models.ssd import Drive
from tiersim.models.tiers import DriveTier, MemoryTier, Tier
from tiersim.models.topology import Topology, connect, place
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.timeline import Timeline

NANOSECOND = 1000
MICROSECOND = 10**6


class Box:
    """A processor with DRAM, a GPU with HBM on a link of 1 GB/s, a drive; memories are fast enough not to matter."""

    def __init__(self, engines: int = 1, timeline: Timeline | None = None, **said: Any) -> None:
        self.clock, self.blocked = Clock(), Blocked()
        graph = nx.Graph()
        for name, kind in (("cpu", "cpu"), ("gpu", "gpu"), ("ssd", "ssd")):
            place(graph, name, kind)
        connect(graph, "cpu", "gpu", cable(0))
        connect(graph, "cpu", "ssd", cable(0, 4 * 10**9))
        both: Any = {"timeline": timeline, "blocked": self.blocked}
        self.topology = Topology(self.clock, graph, **both)
        memory = Tier(capacity=1 << 30, bandwidth=10**15)
        self.dram = MemoryTier(self.clock, "dram", memory, "cpu", **both)
        self.hbm = MemoryTier(self.clock, "hbm", memory, "gpu", **both)
        self.flash = DriveTier(Drive(self.clock, "flash", ssd(), **both), "ssd")
        self.engines = {"gpu": CopyEngines(self.clock, "engines", engines, **both)}
        copying = TypeAdapter(Copying).validate_python({"chunk": "1 kB", "window": 2} | said)
        self.mover = Mover(self.clock, self.topology, copying, engines=self.engines, staging=self.dram, **both)
        self.ends: list[tuple[str, int]] = []

    def copy(self, key: str, size: int, source: Any = None, target: Any = None, **said: Any) -> Copy:
        source, target = source or self.dram, target or self.hbm
        source.space.put(key, size)
        made = self.mover.copy(key, source, target, owner=said.pop("owner", key), **said)
        made.done.callbacks.append(lambda _: self.ends.append((key, self.clock.now // NANOSECOND)))
        return made

    def at(self, time: int, do: Any) -> None:
        self.clock.after(time * NANOSECOND, lambda _: do())

    def run(self) -> None:
        self.clock.run()
        self.audit()
        assert not self.mover.running
        assert self.engines["gpu"].used.level == 0

    def audit(self) -> None:
        for part in (self.mover, self.topology, self.dram, self.hbm, self.flash, *self.engines.values()):
            part.audit()


def test_a_copy_alone_is_paced_by_its_link() -> None:
    """10 kB at a byte a nanosecond; the first of its chunks is there after 1 us."""
    box = Box()
    copy = box.copy("a", 10_000)
    firsts: list[int] = []
    copy.first.callbacks.append(lambda event: firsts.append(event.value // NANOSECOND))
    box.run()
    assert box.ends == [("a", 10_000)]
    assert firsts == [1_000]
    assert (copy.state, copy.arrived, copy.done.value) == ("done", 10_000, 10_000)
    assert box.hbm.space.whole == box.dram.space.whole == {"a"}


def test_an_urgent_copy_goes_ahead_between_two_chunks() -> None:
    """It comes at 2.5 us, waits for the third chunk to end at 3 us, takes 2 us, and the rest follows."""
    box = Box()
    box.copy("bulk", 5_000, priority=1)
    box.at(2_500, lambda: box.copy("urgent", 2_000, priority=0))
    box.run()
    assert box.ends == [("urgent", 5_000), ("bulk", 7_000)]
    assert ("urgent", "bulk", "engines", pytest.approx(500 * NANOSECOND, abs=10)) in box.blocked.rows()
    assert ("bulk", "urgent", "engines", pytest.approx(2_000 * NANOSECOND, abs=10)) in box.blocked.rows()


def test_blocked_just_before_the_end_of_a_chunk_and_next_at_its_end() -> None:
    for at, end in ((1_999, 3_000), (2_000, 4_000), (2_001, 4_000)):  # at 2 us the third chunk has begun already
        box = Box()
        box.copy("bulk", 5_000, priority=1)
        box.at(at, lambda box=box: box.copy("urgent", 1_000))
        box.run()
        assert box.ends[0] == ("urgent", end)


def test_equals_take_turns_and_two_engines_share_the_link() -> None:
    for engines in (1, 2):
        box = Box(engines)
        box.copy("a", 4_000)
        box.copy("b", 4_000)
        box.run()
        assert sorted(box.ends) == [("a", 7_000 if engines == 1 else 8_000), ("b", 8_000)]


def test_without_an_engine_in_the_way_weights_decide() -> None:
    box = Box(2)
    box.copy("heavy", 3_000, weight=3)
    box.copy("light", 3_000)
    box.run()
    assert box.ends == [("heavy", 4_000), ("light", 6_000)]


def test_a_window_of_one_waits_for_each_chunk() -> None:
    """The way back and forth between chunks: with a latency of 500 ns each of five chunks takes 1.5 us."""
    for window, right in ((1, 7_500), (2, 5_500)):
        box = Box(window=window)
        box.topology.pairs[frozenset(("cpu", "gpu"))][1].there.latency = 500 * NANOSECOND
        box.copy("a", 5_000)
        box.run()
        assert box.ends == [("a", right)]


def test_a_staged_copy_goes_through_pinned_memory() -> None:
    """From the drive over DRAM to the GPU: the buffer of two chunks is never exceeded, and is empty in the end."""
    box = Box(window=8, staging="2 kB")
    assert box.dram.space.objects == {"pinned staging buffer": 2_000}
    box.copy("a", 20_000, box.flash, staged=True)
    box.run()
    buffers = box.mover.buffers
    assert buffers is not None
    assert (buffers.used.most, buffers.used.level) == (2_000, 0)
    assert box.dram.writes.size == 40_000  # written and read again: one link
    assert box.hbm.space.whole == {"a"}
    larger = Box(window=8, staging="8 kB")
    larger.copy("a", 20_000, larger.flash, staged=True)
    larger.run()
    assert larger.ends[0][1] < box.ends[0][1]  # reads of the drive overlap


def test_staging_is_fought_for_by_priority() -> None:
    box = Box(window=4, staging="1 kB")
    for name, priority in (("first", 1), ("low", 2), ("high", 0)):
        box.copy(name, 3_000, box.flash, staged=True, priority=priority)
    box.run()
    assert [name for name, _ in box.ends] == ["high", "first", "low"]
    waits = {(who, whom) for who, whom, where, _ in box.blocked.rows() if where == "dram staging"}
    assert ("low", "high") in waits
    assert ("first", "high") in waits


def test_a_move_empties_its_source() -> None:
    box = Box()
    box.copy("a", 3_000, move=True)
    box.run()
    assert box.dram.space.objects == {}
    assert box.hbm.space.whole == {"a"}


def test_a_cancelled_copy_gives_all_back() -> None:
    """At 2.5 us two chunks are there and one is on the link; nothing of the rest is sent."""
    box = Box()
    copy = box.copy("a", 10_000)
    box.at(2_500, lambda: box.mover.cancel(copy))
    box.at(2_600, lambda: box.copy("b", 1_000))
    box.run()
    assert (copy.state, copy.arrived, copy.dropped) == ("cancelled", 2_000, 2_000)
    assert box.ends == [("a", 3_000), ("b", 4_000)]
    assert box.hbm.space.objects == {"b": 1_000}
    assert box.dram.space.whole == {"a", "b"}
    box.mover.cancel(copy)  # again: nothing
    assert copy.state == "cancelled"


def test_a_copy_that_waits_is_cancelled_at_once() -> None:
    box = Box()
    box.copy("bulk", 5_000)
    waiting = box.copy("late", 1_000, priority=5)
    box.at(1_500, lambda: box.mover.cancel(waiting))
    box.run()
    assert box.ends == [("late", 1_500), ("bulk", 5_000)]
    assert waiting.arrived == 0


def test_an_object_without_bytes_is_copied_too() -> None:
    box = Box()
    copy = box.copy("empty", 0)
    box.run()
    assert copy.state == "done"
    assert copy.first.processed
    assert "empty" in box.hbm.space.whole


def test_what_is_no_copy() -> None:
    box = Box()
    with pytest.raises(ValueError, match="dram does not hold 'a' whole"):
        box.mover.copy("a", box.dram, box.hbm)
    box.dram.space.put("a", 1_000)
    box.hbm.space.put("full", (1 << 30) - 999)
    with pytest.raises(StudyError, match="hbm has no room for 'a'"):
        box.mover.copy("a", box.dram, box.hbm)
    with pytest.raises(StudyError, match="is to be staged, and there is no pinned buffer"):
        box.mover.copy("a", box.dram, box.hbm, staged=True)
    with pytest.raises(StudyError, match="a buffer of 10 B holds no chunk of 1000 B"):
        Box(staging="10 B")
    with pytest.raises(StudyError, match="no tier that it lies in"):
        Mover(box.clock, box.topology, Copying(chunk=1, staging=1))
    assert not box.mover.running


def test_the_audits_can_fail() -> None:
    box = Box(staging="2 kB")
    box.copy("a", 1_000)
    box.run()
    box.mover.arrived -= 1
    with pytest.raises(AuditError, match="of 1000 bytes 999 arrived, 0 were dropped, 0 are under way"):
        box.mover.audit()
    box.mover.arrived += 1
    assert box.mover.buffers is not None
    box.mover.buffers.take(5)
    with pytest.raises(AuditError, match="5 bytes are held, and no copy runs"):
        box.mover.audit()
    box = Box()
    box.copy("a", 1_000)
    box.at(500, lambda: box.dram.space.release("a"))
    with pytest.raises(AuditError, match="'a' left dram while it was copied to hbm"):
        box.run()


def test_copies_are_on_the_timeline(tmp_path: Path) -> None:
    with Timeline(tmp_path / "t.json.gz") as timeline:
        box = Box(timeline=timeline)
        box.copy("a", 2_000, owner="fetch")
        box.copy("b", 2_000, owner="evict")
        box.run()
    events = read(tmp_path / "t.json.gz")
    named = {(event["name"], event["args"]["name"]) for event in events if event["ph"] == "M"}
    assert {("process_name", "mover"), ("thread_name", "fetch"), ("thread_name", "evict")} <= named
    spans = {event["name"]: event["args"] for event in events if event["ph"] == "b" and event["name"] in "ab"}
    assert spans["a"] == {"bytes": 2_000, "from": "dram", "to": "hbm", "state": "done"}


JOBS = st.lists(
    st.tuples(
        st.integers(0, 20_000),  # when
        st.integers(0, 5_000),  # bytes
        st.integers(0, 2),  # priority
        st.sampled_from(["up", "down", "staged", "local"]),
        st.none() | st.integers(0, 8_000),  # cancelled after
        st.booleans(),  # moved
    ),
    min_size=1,
    max_size=10,
)


@given(JOBS, st.integers(1, 2), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_nothing_is_lost_whatever_comes(jobs: Any, engines: int, window: int) -> None:
    box = Box(engines, window=window, staging="2 kB")
    ways = {
        "up": (box.hbm, box.dram, False),
        "down": (box.dram, box.hbm, False),
        "staged": (box.flash, box.hbm, True),
        "local": (box.flash, box.dram, False),
    }
    made: dict[int, Copy] = {}

    def come(k: int) -> None:
        _, size, priority, way, cancelled, moved = jobs[k]
        source, target, staged = ways[way]
        made[k] = box.copy(str(k), size, source, target, staged=staged, priority=priority, move=moved)
        if cancelled is not None:
            box.at(cancelled, lambda: box.mover.cancel(made[k]))

    for k, job in enumerate(jobs):
        box.at(job[0], lambda k=k: come(k))
        box.at(job[0] + 777, box.audit)
    box.run()
    assert box.mover.pushed == box.mover.arrived + box.mover.dropped
    for k, (_, size, _, way, _, moved) in enumerate(jobs):
        source, target, _ = ways[way]
        copy, key = made[k], str(k)
        assert copy.state in ("done", "cancelled")
        assert (key in target.space.whole) is (copy.state == "done")
        assert (key in source.space.whole) is not (copy.state == "done" and moved)
        assert copy.arrived == size or copy.state == "cancelled"


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5)), min_size=2, max_size=8))
@settings(deadline=None)
def test_copies_that_wait_together_end_by_priority(jobs: list[tuple[int, int]]) -> None:
    """All are there while a first chunk is on the link: then of two the one of the lower number ends first."""
    box = Box()
    box.copy("first", 1_000, priority=-1)
    for k, (count, priority) in enumerate(jobs):
        box.at(100 + k, lambda k=k, count=count, priority=priority: box.copy(str(k), count * 1000, priority=priority))
    box.run()
    order = [jobs[int(name)][1] for name, _ in box.ends[1:]]
    assert order == sorted(order)
    assert box.ends[-1][1] == 1_000 + sum(count for count, _ in jobs) * 1_000  # the link is never idle
