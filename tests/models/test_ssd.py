"""Flash drives: closed forms, limits, interference, and nothing lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tiersim._base.errors import AuditError, StudyError
from tiersim.models.ssd import Drive, Ssd
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import SECOND, Clock
from tiersim.sim.queued.streams import stream

MICROSECOND = 10**6
BASE = {
    "capacity": "1 GiB", "depth": 256, "channels": 4, "dies": 4, "page": "16 KiB", "sense": "50 us",
    "program": "500 us", "channel": "1 GB/s", "buffer": "4 MiB", "read_commands": "1M /s", "write_commands": "1M /s",
    "read_bandwidth": "3 GB/s", "write_bandwidth": "2 GB/s", "read_latency": "10 us", "write_latency": "8 us",
    "pcie": {"generation": 4, "lanes": 4},
}  # fmt: skip


def ssd(**said: Any) -> Ssd:
    return TypeAdapter(Ssd).validate_python(BASE | said)


def closed(drive: Drive, depth: int, count: int, size: int, seed: int = 0) -> float:
    """Reads a second of ``depth`` clients that each keep one read under way, at random pages."""
    clock = drive.clock
    places = stream(seed, "addresses").integers(0, drive.ssd.capacity // drive.ssd.page, count) * drive.ssd.page
    left = iter(places.tolist())

    def client() -> Any:
        for address in left:
            yield drive.read(size, address)

    for _ in range(depth):
        clock.process(client())
    clock.run()
    drive.audit()
    return count * SECOND / clock.now


def test_a_read_alone_is_the_sum_of_its_parts() -> None:
    """4 KiB: 1 us command, 50 us in the die, 4,096 ns on the channel, 4,096 / 3 ns out, 10 us besides."""
    clock = Clock()
    drive = Drive(clock, "ssd", ssd())
    event = drive.read(4096, 16384)
    clock.run()
    drive.audit()
    assert event.value == ssd().read_alone(4096, 16384) == 61 * MICROSECOND + 4_096_000 + 1_365_334


@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_any_read_alone_is_its_closed_form(size: int, address: int) -> None:
    clock = Clock()
    drive = Drive(clock, "ssd", ssd())
    event = drive.read(size, address)
    clock.run()
    drive.audit()
    assert event.value == ssd().read_alone(size, address)


def test_throughput_over_queue_depth_by_little_s_law() -> None:
    """At depth 1 exactly one over the latency. Then it rises, and never over the bound of `Ssd.reads`."""
    before = 0.0
    for depth in (1, 2, 4, 16, 64, 256):
        drive = Drive(Clock(), "ssd", ssd())
        found = closed(drive, depth, 2000, 4096)
        bound = ssd().reads(4096, depth)
        assert found <= bound * 1.001
        assert found > before
        before = found
        if depth == 1:
            assert found == pytest.approx(bound, rel=1e-6)
    busiest = max(die.busy for die in drive.dies)  # chance gave it the most pages, and all wait for it in the end
    assert busiest < drive.clock.now < 1.05 * busiest


def test_a_die_that_is_random_among_d_is_a_balanced_network() -> None:
    """Of N clients on D equal exponential servers N / (N + D - 1) are busy; constant times do better, up to all."""
    only_dies = ssd(
        read_latency="0 s", read_bandwidth="10 TB/s", channel="10 TB/s", read_commands="1000M /s", depth=1024
    )
    for depth in (4, 16, 64):
        found = closed(Drive(Clock(), "ssd", only_dies), depth, 4000, 4096) / (16 * SECOND / (50 * MICROSECOND))
        least = depth / (depth + 15)
        most = min(depth / 16, 1)
        assert least * 0.97 < found <= most


def test_a_die_by_itself_is_m_d_1() -> None:
    """Poisson reads of one die that takes 50 us each: the mean wait is load / (2 (1 - load)) of that."""
    made = ssd(
        channels=1, dies=1, read_latency="0 s", read_bandwidth="10 TB/s", channel="10 TB/s", read_commands="1000M /s",
        depth=65536,
    )  # fmt: skip
    load, waits = 0.7, []
    alone = made.read_alone(4096)
    for seed in range(10):
        clock = Clock()
        drive = Drive(clock, "ssd", made)
        took: list[int] = []
        comes = np.cumsum(stream(seed, "arrivals").exponential(50 * MICROSECOND / load, 4000)).astype(int).tolist()
        for at in comes:
            clock.after(at, lambda _, drive=drive, took=took: took_by(drive.read(4096), took))
        clock.run()
        drive.audit()
        waits.append(np.mean(took[400:]) - alone)
    error = np.std(waits, ddof=1) / np.sqrt(len(waits))
    right = 50 * MICROSECOND * load / (2 * (1 - load))
    assert abs(np.mean(waits) - right) < 3.25 * error  # 99 %, 9 degrees of freedom
    assert error < 0.05 * right


def took_by(event: Any, into: list[int]) -> None:
    event.callbacks.append(lambda event: into.append(event.value))


@pytest.mark.parametrize(
    ("said", "size", "right"),
    [
        ({"read_commands": "100k /s"}, 4096, 100_000),
        ({"read_bandwidth": "400 MB/s"}, 4096, 400e6 / 4096),
        ({"channel": "50 MB/s"}, 4096, 4 * 50e6 / 4096),
        ({"depth": 8}, 4096, 8 * SECOND / ssd().read_alone(4096)),
    ],
)
def test_each_ceiling_binds(said: dict[str, Any], size: int, right: float) -> None:
    made = ssd(**said)
    assert made.reads(size, 256) == pytest.approx(right)
    found = closed(Drive(Clock(), "ssd", made), 256, 3000, size)
    assert 0.75 * right < found <= right * 1.001  # random dies and channels are not always all busy


def test_the_queue_holds_what_is_too_many() -> None:
    clock = Clock()
    drive = Drive(clock, "ssd", ssd(depth=2))
    for k in range(5):
        drive.read(4096, k * 16384)
    clock.run(1)
    assert (drive.queue.used.level, drive.queue.waiting) == (2, 3)
    clock.run()
    assert drive.queue.used.most == 2


def test_writes_are_fast_until_the_buffer_is_full() -> None:
    """2 GB/s into 4 MiB; then 16 dies program 16 KiB each 500 us, which is 524 MB/s."""
    made = ssd()
    assert made.writes == pytest.approx(16 * 16384 / 500e-6)
    clock = Clock()
    drive = Drive(clock, "ssd", made)
    first = drive.write(1 << 20)
    clock.run()
    assert first.value == pytest.approx((1 << 20) / 2e9 * SECOND + 9 * MICROSECOND, rel=1e-6)
    begun = clock.now
    for k in range(256):
        drive.write(1 << 20, k << 20)
    clock.run()
    drive.audit()
    assert drive.programmed == drive.written == 257 << 20
    assert (256 << 20) / ((clock.now - begun) / SECOND) == pytest.approx(made.writes, rel=0.02)
    assert ssd(amplification="400 %").writes == pytest.approx(made.writes / 4)


def test_a_page_is_programmed_when_it_is_full() -> None:
    clock = Clock()
    drive = Drive(clock, "ssd", ssd())
    for size, programmed, held in ((10_000, 0, 10_000), (6_384, 16384, 0), (20_000, 32768, 3616)):
        drive.write(size)
        clock.run()
        drive.audit()
        assert (drive.programmed, drive.buffer.used.level) == (programmed, held)


def test_a_read_waits_for_the_program_of_its_die() -> None:
    """The die that programs is busy for 500 us; the same read of another die is not held up."""
    for die, waits in ((0, True), (1, False)):
        clock, blocked = Clock(), Blocked()
        drive = Drive(clock, "ssd", ssd(), blocked=blocked)
        drive.write(16384, owner="writer")
        clock.run(50 * MICROSECOND)
        event = drive.read(4096, die * 16384, owner="reader")
        clock.run()
        late = event.value - ssd().read_alone(4096, die * 16384)
        assert (late > 0) is waits
        assert blocked.rows() == ([("reader", "writer", "ssd die 0", late)] if waits else [])


def test_blocked_just_before_and_free_at_the_time() -> None:
    """A die is busy from 1 us to 51 us: a second read that reaches it a picosecond before waits that picosecond."""
    free = ssd().read_alone(4096)
    for at, late in ((50 * MICROSECOND - 1, 1), (50 * MICROSECOND, 0)):
        clock = Clock()
        drive = Drive(clock, "ssd", ssd(channel="10 TB/s", read_bandwidth="10 TB/s"))
        free = drive.ssd.read_alone(4096)
        took: list[int] = []
        drive.read(4096)
        clock.after(
            at, lambda _, drive=drive, took=took: drive.read(4096).callbacks.append(lambda e: took.append(e.value))
        )
        clock.run()
        assert took == [free + late]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.booleans(), st.integers(0, 100_000), st.integers(0, 10**7)),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost(jobs: list[tuple[int, bool, int, int]], depth: int) -> None:
    clock = Clock()
    drive = Drive(clock, "ssd", ssd(depth=depth, buffer="64 KiB"), blocked=Blocked())
    took: list[int] = []

    def come(write: bool, size: int, address: int) -> None:
        event = (drive.write if write else drive.read)(size, address)
        event.callbacks.append(lambda event: took.append(event.value))
        drive.audit()

    for at, write, size, address in jobs:
        clock.after(at, lambda _, said=(write, size, address): come(*said))
    clock.run()
    drive.audit()
    assert len(took) == len(jobs)
    assert drive.out.size == sum(size for _, write, size, _ in jobs if not write)
    assert drive.written == sum(size for _, write, size, _ in jobs if write)
    assert drive.buffer.used.level == drive.written - drive.programmed < drive.ssd.page
    assert drive.queue.used.level == 0


def test_what_is_no_drive_and_no_command() -> None:
    with pytest.raises(StudyError, match="a buffer of 4096 B holds no page of 16384 B"):
        Drive(Clock(), "ssd", ssd(buffer="4 KiB"))
    drive = Drive(Clock(), "ssd", ssd())
    with pytest.raises(ValueError, match="ssd: bytes 1073741823 to 1073741825 lie beyond 1073741824"):
        drive.read(2, (1 << 30) - 1)
    with pytest.raises(ValueError, match="ssd: bytes must be at least 0"):
        drive.write(-1)


def test_the_audit_can_fail() -> None:
    clock = Clock()
    drive = Drive(clock, "ssd", ssd())
    drive.write(10)
    clock.run()
    drive.written += 1
    with pytest.raises(AuditError, match="ssd: of 11 bytes written 0 are programmed, and the buffer holds 10"):
        drive.audit()


def test_same_seed_same_times() -> None:
    made = [closed(Drive(Clock(), "ssd", ssd()), 8, 300, 4096, seed=3) for _ in range(2)]
    assert made[0] == made[1]
    assert np.isfinite(made[0])
