"""First come, first served: at the edge, against a plain list, and against queueing theory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import AuditError
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.server import Server
from tiersim.sim.queued.streams import stream

JOBS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), st.sampled_from("abc")), min_size=1, max_size=30)


def test_blocked_before_and_free_at_the_time() -> None:
    clock = Clock()
    server = Server(clock, "disk")
    waits: dict[int, int] = {}
    clock.run(5)
    server.serve(10)  # until 15
    for at in (14, 15):
        clock.after(at - 5, lambda _: waits.update({clock.now: Server.book(server, 0)[0] - clock.now}))
    clock.run()
    assert waits == {14: 1, 15: 0}
    server.audit()
    assert (server.arrivals, server.departures, server.busy, server.waited) == (3, 3, 10, 1)


def played(jobs: list[tuple[int, int, str]], servers: int) -> list[tuple[int, int]]:
    """Start and end of jobs (time since the one before, service, owner), by a list of times."""
    free, now, made = [0] * servers, 0, []
    for gap, service, _ in jobs:
        now += gap
        at = free.index(min(free))
        start = max(now, free[at])
        free[at] = start + service
        made.append((start, start + service))
    return made


@given(JOBS, st.integers(1, 3))
def test_every_job_against_a_list(jobs: list[tuple[int, int, str]], servers: int) -> None:
    clock, blocked = Clock(), Blocked()
    server = Server(clock, "it", servers, blocked=blocked)
    found: list[tuple[int, int]] = []
    ends: list[int] = []
    now = 0

    def come(service: int, owner: str) -> None:
        wait, begun = server.waited, clock.now
        event = server.serve(service, owner)
        found.append((begun + server.waited - wait, begun + server.waited - wait + service))
        event.callbacks.append(lambda _: ends.append(clock.now))
        server.audit()

    for gap, service, owner in jobs:
        now += gap
        clock.after(now, lambda _, service=service, owner=owner: come(service, owner))
    clock.run()
    server.audit()
    assert found == played(jobs, servers)
    assert ends == sorted(end for _, end in found)
    lost = {who: blocked.of(who) for who in "abc"}
    came = np.cumsum([gap for gap, _, _ in jobs])
    for who in "abc":
        waits = [start - at for (start, _), at, job in zip(found, came, jobs) if job[2] == who]
        assert lost[who] == sum(waits)
    if servers == 1:  # whose service the wait was: the overlap of it with each job before
        shares: dict[tuple[str, str], int] = {}
        for k, (start, _) in enumerate(found):
            for j in range(k):
                overlap = min(start, found[j][1]) - max(int(came[k]), found[j][0])
                if overlap > 0:
                    key = (jobs[k][2], jobs[j][2])
                    shares[key] = shares.get(key, 0) + overlap
        assert {(who, whom): time for who, whom, _, time in blocked.rows()} == shares


def waits_of(service: Callable[[np.random.Generator, int], np.ndarray], servers: int, load: float, seed: int) -> float:
    """The mean wait in units of the mean service, of 20,000 jobs after 2,000."""
    clock, unit, count = Clock(), 10**6, 22_000
    server = Server(clock, "it", servers)
    gaps = stream(seed, "arrivals").exponential(unit / load / servers, count).astype(int).tolist()
    services = (service(stream(seed, "service"), count) * unit).astype(int).tolist()
    waits: list[int] = []

    def come(event: object) -> None:
        at = len(waits)
        waits.append(server.book(services[at])[0] - clock.now)
        if at + 1 < count:
            clock.after(gaps[at + 1], come)

    clock.after(gaps[0], come)
    clock.run()
    server.audit()
    return float(np.mean(waits[2000:])) / unit


def erlang(servers: int, load: float) -> float:
    """The mean wait of M/M/k in units of the mean service: Erlang's C."""
    offered = servers * load
    last = offered**servers / math.factorial(servers) / (1 - load)
    waiting = last / (sum(offered**k / math.factorial(k) for k in range(servers)) + last)
    return waiting / servers / (1 - load)


EXPONENTIAL = np.random.Generator.standard_exponential


@pytest.mark.parametrize(
    ("name", "service", "servers", "load", "right"),
    [
        ("M/M/1", EXPONENTIAL, 1, 0.6, 0.6 / 0.4),
        ("M/D/1", lambda _, count: np.ones(count), 1, 0.7, 0.7 / 2 / 0.3),
        ("M/M/4", EXPONENTIAL, 4, 0.8, erlang(4, 0.8)),
    ],
)
def test_waits_of_queueing_theory(
    name: str, service: Callable[[np.random.Generator, int], np.ndarray], servers: int, load: float, right: float
) -> None:
    found = np.array([waits_of(service, servers, load, seed) for seed in range(10)])
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert abs(found.mean() - right) < 3.25 * error, (name, found.mean(), right, error)  # 99 %, 9 degrees of freedom
    assert error < 0.06 * right


def test_what_is_no_job() -> None:
    server = Server(Clock(), "disk")
    with pytest.raises(ValueError, match="disk: a service time must be at least 0, and is -1"):
        server.serve(-1)
    with pytest.raises(TypeError):
        server.serve(0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be at least 1"):
        Server(Clock(), "disk", 0)
    assert server.serve(np.int64(3)).value == 0  # type: ignore[arg-type]  # becomes Python's


def test_the_audit_can_fail() -> None:
    clock = Clock()
    server = Server(clock, "disk")
    server.serve(3)
    clock.run(2)
    server.audit()
    server.inside.area += 1
    with pytest.raises(AuditError, match="disk: jobs were here for 2 ps, and the count of them says 3 ps"):
        server.audit()
    server.inside.level = 0
    with pytest.raises(AuditError, match="1 jobs came and did not leave, and 0 are inside"):
        server.audit()
