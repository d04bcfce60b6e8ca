"""Priorities, pre-emption and slots: against a model that goes picosecond by picosecond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy.events import Event

from tiersim._base.errors import AuditError
from tiersim.sim.queued.blocked import Blocked
from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.priority import PriorityServer
from tiersim.sim.queued.slots import Slots

JOBS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 9), st.integers(0, 2), st.sampled_from("ab")), min_size=1, max_size=14
)
Jobs = list[tuple[int, int, int, str]]


def stepped(jobs: Jobs, servers: int, preemptive: bool) -> tuple[list[int], dict[tuple[str, str], float]]:
    """When each job ends, and whom the waiting waited for, by going through every picosecond."""
    came = np.cumsum([job[0] for job in jobs]).tolist()
    left = [job[1] for job in jobs]
    running: list[int] = []
    ends: dict[int, int] = {}
    lost: dict[tuple[str, str], float] = {}
    now = 0
    while len(ends) < len(jobs):
        if (
            not preemptive
        ):  # who comes and finds a server free has it, before those who end at the same instant are gone
            running += [k for k, at in enumerate(came) if at == now][: servers - len(running)]
        for k in [k for k in running if not left[k]]:
            ends[k] = now
            running.remove(k)
        ready = sorted((jobs[k][2], k) for k, at in enumerate(came) if at <= now and k not in ends and left[k])
        if preemptive:  # all compete anew, but one that runs keeps its server from its equals
            order = sorted(ready, key=lambda item: (item[0], item[1] not in running, item[1]))
            running = [k for _, k in order[:servers]]
        else:
            running += [k for _, k in ready if k not in running][: servers - len(running)]
        for _, k in ready:
            if k not in running:
                for other in running:
                    key = (jobs[k][3], jobs[other][3])
                    lost[key] = lost.get(key, 0) + 1 / servers
        for k in running:
            left[k] -= 1
        now += 1
    return [ends[k] for k in range(len(jobs))], lost


@given(JOBS, st.integers(1, 3), st.booleans())
def test_against_stepping(jobs: Jobs, servers: int, preemptive: bool) -> None:
    clock, blocked = Clock(), Blocked()
    server = PriorityServer(clock, "it", servers, preemptive=preemptive, blocked=blocked)
    ends = [0] * len(jobs)
    now = 0

    def come(k: int) -> None:
        _, service, priority, owner = jobs[k]
        server.serve(service, priority, owner).callbacks.append(lambda _: ends.__setitem__(k, clock.now))

    for k, (gap, *_) in enumerate(jobs):
        now += gap
        clock.after(now, lambda _, k=k: come(k))
    clock.run()
    server.audit()
    right, lost = stepped(jobs, servers, preemptive)
    assert ends == right
    assert server.busy == sum(job[1] for job in jobs)
    found = {(who, whom): time for who, whom, _, time in blocked.rows()}
    assert found == pytest.approx(lost)


@pytest.mark.parametrize("at", [9, 10])
def test_blocked_before_and_free_at_the_time(at: int) -> None:
    clock = Clock()
    server = PriorityServer(clock, "it")
    server.serve(10)
    done: list[Event] = []
    clock.after(at, lambda _: done.append(server.serve(5)))
    clock.run()
    assert (clock.now, done[0].value) == (15, 15 - at)


def test_one_that_ends_at_this_instant_is_not_stopped() -> None:
    clock = Clock()
    server = PriorityServer(clock, "it", 2, preemptive=True)
    ends: dict[str, int] = {}

    def come(name: str, service: int, priority: int) -> None:
        server.serve(service, priority).callbacks.append(lambda _: ends.update({name: clock.now}))

    clock.after(10, lambda _: (come("a", 5, 0), come("b", 5, 0)))  # before the ends at 10 are told
    come("worst", 10, 2)
    come("bad", 20, 1)
    clock.run()
    assert ends == {"worst": 10, "a": 15, "b": 15, "bad": 25}
    assert server.preemptions == 1


def test_slots() -> None:
    clock = Clock()
    slots = Slots(clock, "engines", 3)
    got: list[tuple[str, int, int]] = []

    def ask(name: str, count: int, priority: int) -> None:
        event = slots.take(count, priority)
        event.callbacks.append(lambda event: got.append((name, clock.now, event.value)))

    ask("first", 2, 0)
    ask("large", 3, 0)  # waits, and holds up who comes later
    ask("small", 1, 0)
    ask("urgent", 1, -1)
    clock.run(5)
    assert got == [("first", 0, 0), ("urgent", 0, 0)]
    assert slots.waiting == 2
    slots.give(2)
    slots.audit()
    clock.run(7)
    slots.give()
    clock.run(8)
    assert got[2:] == [("large", 7, 7)]
    slots.give(3)
    clock.run()
    assert got[3:] == [("small", 8, 8)]
    assert (slots.used.level, slots.used.most, slots.waits.most) == (1, 3, 8)
    slots.audit()


def test_what_slots_refuse() -> None:
    slots = Slots(Clock(), "engines", 2)
    with pytest.raises(ValueError, match="engines has 2 slots, and will never have 3"):
        slots.take(3)
    with pytest.raises(ValueError, match="1 slots come back, and 0 are taken"):
        slots.give()
    with pytest.raises(ValueError, match="a capacity must be at least 1"):
        Slots(Clock(), "engines", 0)
    slots.take(2)
    slots.take(1)
    slots.used.level = 1
    with pytest.raises(AuditError, match="a job waits for 1 slots that are free"):
        slots.audit()
    slots.used.level = 3
    with pytest.raises(AuditError, match="3 of 2 slots are taken"):
        slots.audit()
