"""Links between devices: closed forms, edges, and transfers that share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.sim.queued.test_timeline import read
from tiersim._base.errors import AuditError, StudyError
from tiersim.models.links.cable import Cable
from tiersim.models.links.copy_engines import CopyEngines
from tiersim.models.links.duplex import Duplex, Wire
from tiersim.models.links.nic import Nic
from tiersim.models.links.nvlink import Nvlink
from tiersim.models.links.pcie import Pcie, Port
from tiersim.models.pool import Pool
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import SECOND, Clock
from tiersim.sim.queued.timeline import Timeline

NAMES = ("down", "up")
NANOSECOND = 1000
MICROSECOND = 10**6


def pcie(**said: Any) -> Pcie:
    return TypeAdapter(Pcie).validate_python({"generation": 4} | said)


def ended(event: Any, into: dict[Any, int], key: Any) -> None:
    event.callbacks.append(lambda _: into.update({key: event.env.now}))


# --- PCI Express


@pytest.mark.parametrize(
    ("generation", "lanes", "quoted"),
    [(3, 16, 15.754), (4, 16, 31.508), (5, 16, 63.015), (6, 16, 118.0), (3, 1, 0.985), (4, 4, 7.877), (5, 8, 31.508)],
)
def test_raw_bandwidth_is_the_quoted_one(generation: int, lanes: int, quoted: float) -> None:
    """GB/s of the PCI-SIG's tables: 8 GT/s by 128/130 is 0.985 a lane. Generation 6: 128 by 236/256."""
    assert pcie(generation=generation, lanes=lanes).raw / 1e9 == pytest.approx(quoted, abs=6e-4)


@pytest.mark.parametrize(("payload", "share"), [(128, 128 / 152), (256, 256 / 280), (512, 512 / 536)])
def test_goodput_of_writes(payload: int, share: float) -> None:
    """A write of 4 x16 with 64-bit addresses: 24 bytes a packet; 256 B: 28.81 GB/s of 31.51."""
    link = pcie(payload=f"{payload} B")
    assert link.wire(link.write).goodput / link.raw == pytest.approx(share)
    clock = Clock()
    port = link.connect(clock, NAMES)
    port.send(payload * 10**6, forth=False)
    clock.run()
    port.audit()
    assert clock.now == -(-(payload + 24) * 10**6 * SECOND // link.raw)
    assert payload * 10**6 * SECOND / clock.now == pytest.approx(link.wire(link.write).goodput, rel=1e-9)


def test_the_share_of_the_link_layer_goes_off() -> None:
    whole, less = pcie(), pcie(link_layer="8 %")
    assert less.wire(24).goodput == pytest.approx(0.92 * whole.wire(24).goodput)


def test_intel_s_figure_for_writes() -> None:
    """Intel's AN 708: writes of 3-dword headers (5 dwords in all) reach 256 / (256 + 20), of 8 GB/s."""
    link = pcie(generation=3, lanes=8, write="20 B")
    assert link.wire(link.write).goodput / link.raw == pytest.approx(0.9275, abs=1e-4)


def test_reads_cost_requests_the_other_way() -> None:
    """1 MiB read: 2,048 requests of 512 B take 24 B each of the way up, the data 20 B for each 256 B down."""
    clock = Clock()
    port = pcie().connect(clock, NAMES)
    port.send(1 << 20)
    clock.run()
    port.audit()
    assert port.there.wire == (1 << 20) + 4096 * 20
    assert (port.back.size, port.back.wire) == (0, 2048 * 24)
    posted = pcie().connect(clock, NAMES)
    posted.send(1 << 20, posted=True)
    clock.run()
    assert (posted.there.wire, posted.back.wire) == ((1 << 20) + 4096 * 24, 0)


def test_reads_are_bounded_by_what_is_outstanding() -> None:
    """Little's law: 16 requests of 512 B each 1.2 us are 6.83 GB/s, whatever the lanes could; two share that."""
    link = pcie(outstanding=16, latency="400 ns", memory="400 ns")
    assert link.reads == 16 * 512 * SECOND // (1200 * NANOSECOND)
    for count in (1, 2):
        clock = Clock()
        port = link.connect(clock, NAMES)
        for _ in range(count):
            port.send(10**6)
        clock.run()
        port.audit()
        alone = -(-(count * 10**6) * SECOND // link.reads) + 400 * NANOSECOND
        assert alone <= clock.now <= alone + 2
    assert pcie(outstanding=256, latency="400 ns", memory="400 ns").connect(Clock(), NAMES).tags is None


def test_both_directions_are_independent() -> None:
    ends: dict[str, int] = {}
    for both in (False, True):
        clock = Clock()
        port = pcie().connect(clock, NAMES)
        ended(port.send(10**6, forth=False, owner="a"), ends, ("up", both))
        if both:
            port.send(10**6, posted=True, owner="b")
        clock.run()
    assert ends["up", False] == ends["up", True]


def test_blocked_just_before_and_free_at_the_time() -> None:
    """A transfer of 256 B ends at t: who comes a picosecond before shares with it, who comes at t is alone."""
    link = pcie(latency="100 ns")
    end = -(-280 * SECOND // link.raw)
    alone = end + 100 * NANOSECOND
    for at, blocked in ((end - 1, True), (end, False)):
        clock, lost = Clock(), Blocked()
        port = link.connect(clock, NAMES, blocked=lost)
        took: list[int] = []
        port.send(256, forth=False, owner="first")
        clock.after(
            at,
            lambda _, port=port, took=took: port.send(256, forth=False, owner="second").callbacks.append(
                lambda event: took.append(event.value)
            ),
        )
        clock.run()
        assert bool(lost.of("second")) is blocked
        assert took == [alone + blocked]


def test_a_copy_against_another_takes_exactly_the_shared_time(tmp_path: Path) -> None:
    """28 MB of packets each: with one engine one after the other; with two both share, and both end at the end."""
    link = pcie()
    single = -(-28 * 10**6 * SECOND // link.raw)
    double = -(-56 * 10**6 * SECOND // link.raw)
    for engines, right in ((1, [single, 2 * single]), (2, [double, double])):
        clock, blocked = Clock(), Blocked()
        path = tmp_path / f"{engines}.json.gz"
        with Timeline(path) as timeline:
            port = Port(clock, ("node0/gpu0/down", "node0/gpu0/up"), link, timeline=timeline, blocked=blocked)
            copies = CopyEngines(clock, "node0/gpu0/engines", engines, timeline=timeline, blocked=blocked)
            ends: dict[str, int] = {}
            for owner in "ab":
                ended(copies.copy(port, 25_600_000, forth=False, owner=owner), ends, owner)
            clock.run()
        port.audit()
        copies.audit()
        assert list(ends.values()) == pytest.approx(right, abs=1)
        assert blocked.of("b") == pytest.approx(single, abs=1)
        events = read(path)
        spans = [event for event in events if event["ph"] == "b"]
        assert [event["args"]["bytes"] for event in spans] == [25_600_000] * 2
        assert max(event["args"]["value"] for event in events if event["ph"] == "C") == engines
        overlap = spans[1]["ts"] < next(event["ts"] for event in events if event["ph"] == "e")
        assert overlap is (engines == 2)


def test_what_pcie_cannot_be() -> None:
    with pytest.raises(StudyError, match="384 B is no power of two"):
        pcie(payload="384 B").connect(Clock(), NAMES)
    with pytest.raises(ValueError, match="generation"):
        pcie(generation=7)


# --- NVLink, cables, network


@pytest.mark.parametrize(("generation", "links", "both"), [(2, 6, 300), (3, 12, 600), (4, 18, 900), (5, 18, 1800)])
def test_nvlink_is_as_fast_as_quoted(generation: int, links: int, both: int) -> None:
    """NVIDIA quotes both directions together; of one direction 256 of 272 bytes are data."""
    link = TypeAdapter(Nvlink).validate_python({"generation": generation, "links": links})
    assert 2 * link.wire().bandwidth == both * 10**9
    assert link.wire().goodput == pytest.approx(both / 2 * 1e9 * 16 / 17)


def test_cables_side_by_side() -> None:
    cable = TypeAdapter(Cable).validate_python(
        {
            "count": 3,
            "bandwidth": "20 GB/s",
            "latency": "60 ns",
            "efficiency": "75 %",
            "payload": "64 B",
            "header": "8 B",
        }
    )
    clock = Clock()
    pair = cable.connect(clock, NAMES)
    event = pair.send(64 * 1000)
    clock.run()
    assert event.value == 72 * 1000 * SECOND // (45 * 10**9) + 60 * NANOSECOND


def nic(**said: Any) -> Nic:
    base = {"bandwidth": "200 Gb/s", "messages": "200M /s", "pcie": {"generation": 4}}
    return TypeAdapter(Nic).validate_python(base | said)


def test_small_messages_are_bound_by_their_number_and_large_by_their_bytes() -> None:
    """200 million messages a second are 5 ns each, and 64 B take 2.56 ns at 25 GB/s; 4 KiB take 163.84 ns."""
    for size, each in ((64, 5_000), (4096, 163_840)):
        clock = Clock()
        port = nic().connect(clock, NAMES)
        for _ in range(1000):
            port.send(size)
        clock.run()
        port.audit()
        assert clock.now == pytest.approx(1000 * each, rel=1e-2)
        assert clock.now >= 1000 * each


def test_a_message_pays_its_turn_its_packets_and_its_way() -> None:
    adapter = nic(mtu="4 KiB", header="82 B", latency="1 us")
    clock = Clock()
    port = adapter.connect(clock, NAMES)
    there, back = port.send(10_000), port.send(100, forth=False)
    clock.run()
    assert there.value == 5_000 + (10_000 + 3 * 82) * 40 + MICROSECOND  # 40 ps a byte
    assert back.value == 5_000 + 182 * 40 + MICROSECOND


# --- any of them

SENDS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans(), st.integers(0, 2), st.sampled_from("ab")),
    min_size=1,
    max_size=12,
)
KINDS: list[Any] = [
    pcie(latency="200 ns"),
    pcie(outstanding=4, latency="200 ns", memory="100 ns"),
    TypeAdapter(Nvlink).validate_python({"generation": 3, "links": 12, "latency": "500 ns"}),
    nic(latency="1 us", header="82 B"),
]


@given(SENDS, st.sampled_from(KINDS), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_and_nothing_is_faster_than_alone(sends: Any, kind: Any, engines: int) -> None:
    clock, blocked = Clock(), Blocked()
    pair: Duplex = kind.connect(clock, NAMES, blocked=blocked)
    copies = CopyEngines(clock, "engines", engines, blocked=blocked)
    took: dict[int, int] = {}

    def come(k: int) -> None:
        _, size, forth, priority, owner = sends[k]
        event = copies.copy(pair, size, forth, priority=priority, owner=owner)
        event.callbacks.append(lambda event: took.update({k: event.value}))

    now = 0
    for k, (gap, *_) in enumerate(sends):
        now += gap
        clock.after(now, lambda _, k=k: come(k))
    clock.run()
    pair.audit()
    copies.audit()
    assert copies.used.level == 0
    assert sorted(took) == list(range(len(sends)))
    for forth in (True, False):
        assert pair.link(forth).size == sum(send[1] for send in sends if send[2] is forth)
    for k, (_, size, forth, *_) in enumerate(sends):
        link = pair.link(forth)
        assert took[k] >= size * SECOND // link.rate + link.latency


# --- pools


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(1, 4), st.integers(0, 3), st.integers(1, 60), st.sampled_from("abc")),
        min_size=1,
        max_size=15,
    )
)
def test_waits_for_a_pool_are_shared_out_whole(jobs: list[tuple[int, int, int, int, str]]) -> None:
    clock, blocked = Clock(), Blocked()
    pool = Pool(clock, "pool", 4, blocked=blocked)
    waits = dict.fromkeys("abc", 0)

    def job(gap: int, count: int, priority: int, time: int, owner: str) -> Any:
        yield clock.timeout(gap)
        waited = yield pool.take(count, priority, owner)
        waits[owner] += waited
        yield clock.timeout(time)
        pool.audit()
        pool.give(count, owner)

    for said in jobs:
        clock.process(job(*said))
    clock.run()
    pool.audit()
    assert not pool.held
    for owner, wait in waits.items():
        assert blocked.of(owner) == pytest.approx(wait)


def test_a_pool_takes_back_only_what_was_taken() -> None:
    clock = Clock()
    pool = Pool(clock, "pool", 4)
    pool.take(2, owner="a")
    clock.run()
    with pytest.raises(ValueError, match="pool: b gives 1 slots back, and has 0"):
        pool.give(1, "b")
    pool.held["b"] += 1
    with pytest.raises(AuditError, match="pool: owners hold 3 slots, and 2 are taken"):
        pool.audit()


def test_a_wire_without_packets_has_no_headers() -> None:
    assert Wire(10**9).goodput == 1e9
    assert Wire(10**9, efficiency=5 * 10**8).goodput == 5e8
