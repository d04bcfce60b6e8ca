"""A shared link: at the edge, against exact fractions, and against queueing theory."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiersim._base.errors import AuditError
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import SECOND, Clock
from tiersim.sim.queued.link import Link
from tiersim.sim.queued.streams import stream

Sends = list[tuple[int, int, int, str]]  # time since the one before, bytes, weight, owner
SENDS = st.lists(
    st.tuples(st.integers(0, 4000), st.integers(0, 9), st.integers(1, 3), st.sampled_from("ab")),
    min_size=1,
    max_size=12,
)
RATE = 10**9 * 3  # 3 bytes a nanosecond


def shared(sends: Sends, rate: int) -> tuple[list[Fraction], dict[tuple[str, str], Fraction]]:
    """When each transfer ends, and who waited for whom, in exact fractions of a picosecond, from event to event."""
    came = np.cumsum([send[0] for send in sends]).tolist()
    left = {k: Fraction(send[1] * SECOND, rate) for k, send in enumerate(sends)}
    ends: dict[int, Fraction] = {}
    lost: dict[tuple[str, str], Fraction] = {}
    now, coming, on = Fraction(0), list(range(len(sends))), []
    while coming or on:
        weight = sum(sends[k][2] for k in on)
        next_end = min((left[k] * weight / sends[k][2] for k in on), default=None)
        until = Fraction(came[coming[0]]) if coming else None
        if next_end is not None and (until is None or now + next_end <= until):
            until = now + next_end
        assert until is not None
        for k in on:
            left[k] -= (until - now) * sends[k][2] / weight
            for other in on:
                if other != k:
                    key = (sends[k][3], sends[other][3])
                    lost[key] = lost.get(key, Fraction(0)) + (until - now) * sends[other][2] / weight
        now = until
        for k in [k for k in on if left[k] == 0]:
            ends[k] = now
            on.remove(k)
        while coming and came[coming[0]] <= now:
            on.append(coming.pop(0))
        for k in [k for k in on if left[k] == 0]:
            ends[k] = now
            on.remove(k)
    return [ends[k] for k in range(len(sends))], lost


@given(SENDS, st.integers(0, 50))
@settings(max_examples=200)
def test_against_exact_fractions(sends: Sends, latency: int) -> None:
    clock, blocked = Clock(), Blocked()
    link = Link(clock, "pcie", RATE, latency=latency, blocked=blocked)
    ends: dict[int, int] = {}
    took: dict[int, int] = {}

    def come(k: int) -> None:
        _, size, weight, owner = sends[k]
        link.audit()
        link.send(size, weight, owner).callbacks.append(
            lambda event: (ends.update({k: clock.now}), took.update({k: event.value}))
        )

    now = 0
    for k, (gap, *_) in enumerate(sends):
        now += gap
        clock.after(now, lambda _, k=k: come(k))
    clock.run()
    link.audit()
    right, lost = shared(sends, RATE)
    came = np.cumsum([send[0] for send in sends]).tolist()
    for k, end in enumerate(right):
        assert 0 <= ends[k] - latency - end < 1 + len(sends)  # one picosecond of rounding for each event, upwards
        assert took[k] == ends[k] - came[k]
    assert link.size == link.wire == sum(send[1] for send in sends)
    found = {(who, whom): time for who, whom, _, time in blocked.rows() if time > 1e-6}
    near = {key: float(time) for key, time in lost.items() if time}
    for key in found.keys() | near.keys():
        assert found.get(key, 0) == pytest.approx(near.get(key, 0), abs=5 * len(sends) ** 2)


def test_alone_it_takes_what_the_division_gives() -> None:
    for size in (0, 1, 2, 3, 4096, 10**9 + 7):
        clock = Clock()
        link = Link(clock, "pcie", RATE, latency=7)
        event = link.send(size)
        clock.run()
        assert clock.now == event.value == link.alone(size) == -(-size * SECOND // RATE) + 7


def test_blocked_before_and_free_at_the_time() -> None:
    """3 bytes a nanosecond: 30 bytes are gone at 10,000 ps; who comes then has the link alone, before has not."""
    for at, end in ((9_000, 21_000), (10_000, 20_000)):
        clock = Clock()
        link = Link(clock, "pcie", RATE)
        link.send(30)
        clock.after(at, lambda _, link=link: link.send(30))
        clock.run()
        assert clock.now == (20_000 if at == 9_000 else end)
        assert link.sojourn.most == (11_000 if at == 9_000 else 10_000)


def test_headers_and_efficiency() -> None:
    link = Link(Clock(), "pcie", 4 * 10**9, efficiency=750_000_000, payload=256, header=24)
    assert [link.on_wire(size) for size in (0, 1, 256, 257, 1024)] == [0, 25, 280, 305, 1120]
    assert link.rate == 3 * 10**9
    assert link.alone(1024) == 373_334
    fixed = Link(Clock(), "nic", 10**9, header=24)
    assert [fixed.on_wire(size) for size in (0, 1000)] == [24, 1024]


def test_sent_comes_a_latency_before_the_arrival() -> None:
    """So that the next can follow at once: two of 30 bytes are gone after 20,000 ps, the last arrives 7,000 later."""
    clock = Clock()
    link = Link(clock, "pcie", RATE, latency=7_000)
    sent = clock.event()
    times: list[int] = []
    sent.callbacks.append(lambda event: times.append(event.value))
    sent.callbacks.append(lambda _: link.send(30).callbacks.append(lambda _: times.append(clock.now)))
    link.send(30, sent=sent).callbacks.append(lambda _: times.append(clock.now))
    clock.run()
    assert times == [10_000, 17_000, 27_000]


def test_a_transfer_may_say_what_it_takes_on_the_wire() -> None:
    clock = Clock()
    link = Link(clock, "pcie", RATE, payload=256, header=24)
    event = link.send(0, wire=90)
    link.send(300)
    clock.run()
    link.audit()
    assert (link.size, link.wire) == (300, 90 + 348)
    assert event.value == 60_000  # 90 bytes at half of 3 bytes a nanosecond
    with pytest.raises(ValueError, match="pcie: bytes on the wire must be at least 0"):
        link.send(0, wire=-1)


def test_weights_share_in_proportion() -> None:
    clock = Clock()
    link = Link(clock, "pcie", 4 * 10**9)
    ends: list[tuple[str, int]] = []
    for owner, size, weight in (("heavy", 3000, 3), ("light", 1500, 1)):
        link.send(size, weight, owner).callbacks.append(lambda _, owner=owner: ends.append((owner, clock.now)))
    clock.run()
    assert ends == [("heavy", 1_000_000), ("light", 1_125_000)]
    assert link.busy == 1_125_000


def sojourn(load: float, seed: int) -> float:
    """The mean sojourn in M/G/1-PS in units of the mean work, hyperexponential sizes: 12,000 after 1,000 transfers."""
    clock, count = Clock(), 13_000
    link = Link(clock, "pcie", 10**9)  # a byte a nanosecond
    draw = stream(seed, "sizes")
    means = np.where(draw.random(count) < 0.9, 400, 6400)  # the mean is 1000, the squared coefficient of variation 7
    sizes = np.maximum(draw.exponential(means).astype(int), 1).tolist()
    gaps = stream(seed, "arrivals").exponential(10**6 / load, count).astype(int).tolist()
    times: list[int] = []

    def come(event: object) -> None:
        at = link.arrivals
        link.send(sizes[at]).callbacks.append(lambda event: times.append(event.value))
        if at + 1 < count:
            clock.after(gaps[at + 1], come)

    clock.after(gaps[0], come)
    clock.run()
    link.audit()
    return float(np.mean(times[1000:])) / np.mean(sizes) / 1000


def test_processor_sharing_does_not_mind_the_shape() -> None:
    """M/G/1-PS: the mean sojourn is that of M/M/1, mean work / (1 - load), whatever the sizes look like."""
    load = 0.6
    found = np.array([sojourn(load, seed) for seed in range(12)])
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert abs(found.mean() - 1 / (1 - load)) < 3.11 * error  # 99 %, 11 degrees of freedom
    assert error < 0.1 / (1 - load)


def test_what_is_no_transfer() -> None:
    link = Link(Clock(), "pcie", RATE)
    with pytest.raises(ValueError, match="pcie: bytes must be at least 0"):
        link.send(-1)
    with pytest.raises(ValueError, match="pcie: a weight must be at least 1"):
        link.send(1, 0)
    with pytest.raises(ValueError, match="not one byte a second is left of 5"):
        Link(Clock(), "pcie", 5, efficiency=10**8)


def test_the_audits_can_fail() -> None:
    clock = Clock()
    link = Link(clock, "pcie", RATE)
    link.send(3000)
    clock.run(500)
    link.audit()
    link._offered += 1
    with pytest.raises(AuditError, match="pcie: 3001 bytes came, 0 left and 3000 are on it: 1 are lost"):
        link.audit()
    link._offered -= 1
    link._virtual += 10 * SECOND
    with pytest.raises(AuditError, match=r"pcie: \d+ of work was done in 500 ps"):
        link.audit()
