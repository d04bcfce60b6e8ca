"""Tiers: room that is never exceeded, and bytes that take their time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.models.test_ssd import ssd
from tests.sim.queued.test_timeline import read
from tiersim._base.errors import AuditError, StudyError
from tiersim.models.ssd import Drive
from tiersim.models.tiers import DriveTier, MemoryTier, Space, Tier
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.timeline import Timeline


def tier(**said: Any) -> Tier:
    return TypeAdapter(Tier).validate_python({"capacity": "1 MiB", "bandwidth": "10 GB/s"} | said)


def test_room_is_reserved_and_given_back() -> None:
    space = Space(Clock(), "hbm", 100)
    space.reserve("a", 60)
    space.put("b", 40)
    space.audit()
    assert (space.used, space.free, space.whole) == (100, 0, {"b"})
    with pytest.raises(StudyError, match=r"hbm has no room for 'c': 1 B are asked for, and 0 B of 100 B are free"):
        space.reserve("c", 1)
    space.complete("a")
    assert space.release("a") == 60
    space.audit()
    assert (space.free, space.whole) == (60, {"b"})
    space.reserve("empty", 0)
    assert space.release("empty") == 0


def test_blocked_until_there_is_room_and_in_at_that_time() -> None:
    clock = Clock()
    space = Space(clock, "hbm", 100)
    space.put("a", 60)
    got: list[tuple[str, int]] = []
    for key, size, priority in (("late", 50, 1), ("large", 100, 0), ("small", 10, 1)):
        space.room(key, size, priority).callbacks.append(lambda _, key=key: got.append((key, clock.now)))
    clock.after(7, lambda _: space.release("a"))
    clock.after(9, lambda _: space.release("large"))
    clock.after(8, lambda _: space.audit())
    clock.run()
    space.audit()
    assert got == [("large", 7), ("late", 9), ("small", 9)]  # nobody overtakes one who waits for more
    with pytest.raises(StudyError, match=r"hbm holds 100 B, and 'huge' has 101 B"):
        space.room("huge", 101)


def test_who_waits_is_not_overtaken_by_who_reserves() -> None:
    space = Space(Clock(), "hbm", 100)
    space.put("a", 60)
    space.room("b", 50)
    with pytest.raises(StudyError, match="no room for 'c'"):
        space.reserve("c", 10)
    with pytest.raises(ValueError, match="hbm holds 'b' already, or it waits for room"):
        space.room("b", 1)


def test_what_is_not_in_cannot_leave() -> None:
    space = Space(Clock(), "hbm", 100)
    with pytest.raises(ValueError, match="hbm does not hold 'a'"):
        space.release("a")
    with pytest.raises(ValueError, match="hbm does not hold 'a'"):
        space.complete("a")


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60), st.booleans(), st.integers(0, 2)), max_size=40)
)
def test_never_more_than_there_is(steps: list[tuple[str, int, bool, int]]) -> None:
    clock = Clock()
    space = Space(clock, "hbm", 100)
    for key, size, wait, priority in steps:
        if key in space.objects:
            space.release(key)
        elif key not in space._coming:
            if wait:
                space.room(key, size, priority)
            elif size <= space.free and not space.slots.waiting:
                space.reserve(key, size)
        clock.run()
        space.audit()
        assert sum(space.objects.values()) == space.used <= 100
    assert space.slots.used.most <= 100


def test_the_audits_can_fail() -> None:
    space = Space(Clock(), "hbm", 100)
    space.put("a", 60)
    space.objects["a"] = 61
    with pytest.raises(AuditError, match="hbm: its objects have 61 bytes, and 60 are taken"):
        space.audit()
    space.objects["a"] = 60
    space.whole.add("b")
    with pytest.raises(AuditError, match=r"hbm: \['b'\] are whole and not reserved"):
        space.audit()


def test_reads_and_writes_share_unless_each_has_its_own() -> None:
    for said, right in (({}, 200_000), ({"write_bandwidth": "5 GB/s"}, 200_000), ({"bandwidth": "20 GB/s"}, 100_000)):
        clock = Clock()
        memory = MemoryTier(clock, "dram", tier(**said))
        events = memory.read(1000), memory.write(1000)
        clock.run()
        memory.audit()
        assert events[1].value == right
        assert events[0].value == (100_000 if "write_bandwidth" in said or "bandwidth" in said else 200_000)


def test_efficiency_and_latency() -> None:
    clock = Clock()
    memory = MemoryTier(clock, "dram", tier(efficiency="80 %", latency="90 ns"))
    event = memory.read(8000)
    clock.run()
    assert event.value == 1_000_000 + 90_000


def test_weights_and_owners_reach_the_link() -> None:
    clock, blocked = Clock(), Blocked()
    memory = MemoryTier(clock, "dram", tier(), blocked=blocked)
    heavy, light = memory.read(3000, weight=3, owner="heavy"), memory.write(3000, owner="light")
    clock.run()
    assert heavy.value == 400_000
    assert light.value == 600_000
    assert blocked.of("light") == pytest.approx(300_000)


def test_a_drive_is_a_tier_whose_reads_go_round_its_dies() -> None:
    clock = Clock()
    held = DriveTier(Drive(clock, "ssd", ssd()))
    held.space.put("a", 1 << 20)
    for _ in range(16):  # 16 dies: none is asked twice
        held.read(16384)
    clock.run()
    assert [die.arrivals for die in held.drive.dies] == [1] * 16
    last = held.write(100)
    clock.run()
    held.audit()
    assert last.value > 8_000_000
    with pytest.raises(StudyError, match="no room"):
        held.space.reserve("b", 1 << 30)


def test_a_drive_begins_again_at_its_end() -> None:
    clock = Clock()
    held = DriveTier(Drive(clock, "ssd", ssd(capacity="64 KiB")))
    for _ in range(3):
        held.read(40_000)
    clock.run()
    held.audit()
    assert held.drive.out.size == 120_000


def test_the_bytes_in_use_are_on_the_timeline(tmp_path: Any) -> None:
    clock = Clock()
    with Timeline(tmp_path / "t.json") as timeline:
        memory = MemoryTier(clock, "gpu0/hbm", tier(), timeline=timeline)
        memory.space.put("a", 10)
        clock.after(5, lambda _: memory.space.release("a"))
        clock.run()
    assert [event["args"]["value"] for event in read(tmp_path / "t.json") if event["ph"] == "C"] == [10, 0]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans()), max_size=10))
@settings(deadline=None)
def test_all_bytes_pass(jobs: list[tuple[int, int, bool]]) -> None:
    clock = Clock()
    memory = MemoryTier(clock, "dram", tier(write_bandwidth="3 GB/s"))
    for at, size, write in jobs:
        clock.after(at, lambda _, size=size, write=write: (memory.write if write else memory.read)(size))
    clock.run()
    memory.audit()
    assert memory.reads.size == sum(size for _, size, write in jobs if not write)
    assert memory.writes.size == sum(size for _, size, write in jobs if write)
