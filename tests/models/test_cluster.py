"""Routers that hold requests: by hand, against plain servers, and as other drivers where nothing is held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.prefill_servers import Servers
from tests.oracles.routing import Request, router
from tests.sim.serving import Linear, System, engines, prompts_from, systems
from tiersim._base.errors import PolicyError
from tiersim._base.registry import build, index, load
from tiersim.models.cluster import Cluster, drives
from tiersim.models.routed import Driver
from tiersim.sim.serving import Engines, Server

RATES = [0, 0, 10, 0, 0, 0, 1, 0, 0]  # 10 for each token of a prompt, 1 for one of an answer
DECIDING = sorted(
    name for name, entry in index("routing").items() if name == entry.name and not drives(load("routing", name))
)


@dataclass
class Holding:
    """Gives one request at a time to each instance, the last one first; ``log`` is what it heard."""

    log: list[Any] = field(default_factory=list)

    def __deepcopy__(self, memo: Any) -> Holding:
        return self

    def start(self, instances: int, seed: int) -> None:
        self.queue: list[int] = []
        self.free = list(range(instances))
        self.where: dict[int, int] = {}

    def arrive(self, request: Any, view: Any) -> None:
        self.log.append((view.time, "arrives", request.number))
        self.queue.append(request.number)

    def first(self, requests: Any) -> None:
        self.log.append(("first", *requests))

    def ended(self, requests: Any) -> None:
        self.log.append(("ended", *requests))
        self.free += [self.where.pop(number) for number in requests]
        self.free.sort()

    def dispatch(self, view: Any) -> list[tuple[int, int]]:
        out = []
        while self.queue and self.free:
            number, place = self.queue.pop(), self.free.pop(0)
            self.where[number] = place
            out.append((number, place))
        self.log.append((view.time, "gives", *out))
        return out


def cluster(
    requests: list[tuple[int, int, int]], policy: Any, count: int = 1, refresh: int = 0, **said: Any
) -> Cluster:
    """Servers of 20 pages of 4 tokens."""
    server = Server(**{"pages": 20, "page": 4, "max_requests": 1, "budget": 100} | said)
    rows: Any = [(*row, [], 0) for row in requests]
    held = Engines(
        prompts_from(rows, 0), server, count, Linear(), {"rates": np.array(RATES)}, compiled=False, audited=True
    )
    return Cluster(held, policy, 0, lambda done: None, refresh=refresh)


def test_what_a_router_hears_and_when() -> None:
    """Prompts of 2, 3 and 1 tokens take 20, 30 and 10; both that come at 5 come before it is asked."""
    policy = Holding()
    made = cluster([(0, 2, 3), (5, 3, 1), (5, 1, 1)], policy)
    assert made.as_recorded().tolist() == [0, 5, 5]
    assert policy.log == [
        (0, "arrives", 0),
        (0, "gives", (0, 0)),
        (5, "arrives", 1),
        (5, "arrives", 2),
        (5, "gives"),
        ("first", 0),
        (20, "gives"),
        ("ended", 0),
        (22, "gives", (2, 0)),
        ("first", 2),
        (32, "gives"),
        ("ended", 2),
        (32, "gives", (1, 0)),
        ("first", 1),
        (62, "gives"),
        ("ended", 1),
        (62, "gives"),
    ]
    assert made.engines.served.first.tolist() == [20, 62, 32]


def test_ends_of_one_time_are_told_at_once() -> None:
    policy = Holding()
    cluster([(0, 2, 1), (0, 2, 1), (0, 2, 1)], policy, 2).as_recorded()
    assert policy.log[3] == (0, "gives", (2, 0), (1, 1))
    assert policy.log[4:7] == [("first", 1, 2), (20, "gives"), ("ended", 1, 2)]
    assert policy.log[7] == (20, "gives", (0, 0))


def test_who_is_not_taken_has_ended_and_the_next_one_is_asked_for() -> None:
    policy = Holding()
    made = cluster([(0, 1, 1), (0, 999, 1)], policy)
    made.as_recorded()
    assert policy.log[2:5] == [(0, "gives", (1, 0)), ("ended", 1), (0, "gives", (0, 0))]
    assert made.engines.served.rejected.tolist() == [False, True]


def test_turns_wait_for_what_is_held() -> None:
    made = cluster([(0, 2, 1), (1, 2, 1), (3, 1, 1)], Holding())
    made.prompts.session[:] = [7, 8, 7]
    assert made.in_turn(4).tolist() == [0, 1, 24]
    assert made.engines.served.end.tolist() == [20, 40, 50]


@dataclass
class Odd(Holding):
    """Answers what it is told to."""

    answers: list[Any] = field(default_factory=list)

    def ended(self, requests: Any) -> None:
        self.log.append(("ended", *requests))

    def dispatch(self, view: Any) -> Any:
        return self.answers.pop(0) if self.answers else []


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[(0, 3)]], r"Odd\.dispatch gave 3, which is none of 1 instances"),
        ([[(5, 0)]], r"Odd\.dispatch gave request 5, which it does not hold"),
        ([[(0, 0), (0, 0)]], r"Odd\.dispatch gave request 0, which it does not hold"),
        ([], "Odd still holds 1 requests, 0 among them, and nothing else is to come"),
    ],
)
def test_a_router_that_is_wrong_is_told_so(answers: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        cluster([(0, 1, 1)], Odd(answers=answers)).as_recorded()


def test_a_held_request_may_be_refused() -> None:
    made = cluster([(0, 1, 1)], Odd(answers=[[(0, None)]]))
    made.as_recorded()
    assert made.engines.served.refused.tolist() == [True]
    assert made.router.policy.log[-1] == ("ended", 0)


@pytest.mark.parametrize("name", DECIDING)
@settings(max_examples=4)
@given(systems(policies=("lru",)), st.booleans())
def test_where_nothing_is_held_it_does_as_the_driver_does(name: str, system: System, in_turn: bool) -> None:
    made: list[Any] = []
    for kind in (Driver, Cluster):
        held = kind(engines(system, compiled=False), build("routing", name), 3, lambda done: None)
        held.prompts.session[:] = np.arange(len(held.prompts)) % 3
        came = held.in_turn(5) if in_turn else held.as_recorded()
        served = held.engines.served
        made.append([came.tolist(), served.instance.tolist(), served.end.tolist(), served.hit.tolist(), held.loads])
    assert made[0] == made[1]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1, 3]))
def test_dualmap_in_front_of_engines_and_of_plain_servers(seed: int, rebalance: bool, pending: int) -> None:
    """Prompts one after the other, and what each router gives out when."""
    rng = np.random.default_rng(seed)
    block, count, n = 16, int(rng.integers(1, 5)), 40
    paths: list[list[int]] = [[]]
    tree: dict[tuple[int, ...], int] = {}
    rows: list[Any] = []
    now = 0
    for _ in range(n):
        now += int(rng.integers(0, 400)) * int(rng.random() < 0.7)
        path = paths[int(rng.integers(len(paths)))][: int(rng.integers(0, 4))] + rng.integers(0, 3, 2).tolist()
        paths.append(path)
        nodes = [tree.setdefault(tuple(path[: k + 1]), len(tree)) for k in range(len(path))]
        rows.append((now, block * len(path) - int(rng.integers(0, 9)), int(rng.integers(1, 40)), nodes, 0))
    said = {"slo": "1 ns", "prefill": "10 ps/token", "patience": "500 ps", "rebalance": rebalance, "pending": pending}
    plain = Servers(count, router("dualmap", count, **said), prefill=10)
    asked = [Request(k, row[0], row[1], -1, block, row[3]) for k, row in enumerate(rows)]
    expected = plain.serve(asked, [row[2] for row in rows])
    server = Server(4000, 16, 1, 10**6, prefix="apart", blocks=10**5)
    held = Engines(
        prompts_from(rows, block),
        server,
        count,
        Linear(),
        {"rates": np.array(RATES)},
        policy=build("object-replacement", "lru"),
        compiled=False,
        audited=True,
    )
    Cluster(held, build("routing", {"use": "dualmap", **said}), 0, lambda done: None).as_recorded()
    served = held.served
    columns = (served.instance, served.routed, served.admitted, served.first, served.end, served.hit)
    assert [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)] == [
        [one.place, one.routed, one.start, one.first, one.end, one.hit] for one in expected
    ]


@dataclass
class Looking:
    """Sends in turn; ``saw`` is when it was asked, and what it saw."""

    saw: list[Any] = field(default_factory=list)

    def __deepcopy__(self, memo: Any) -> Looking:
        return self

    def route(self, request: Any, view: Any) -> int:
        self.saw.append((view.time, list(view.waiting), list(view.pending), list(view.hits(request))))
        return request.number % len(view.instances)


def test_loads_are_as_old_as_the_last_multiple() -> None:
    """Prompts of 5 take 50: 0 and 1 are seen from 20 on, of which 0 still counts at 40, and not at 60."""
    policy = Looking()
    requests = [(0, 5, 1), (19, 5, 1), (20, 5, 1), (39, 5, 1), (40, 5, 1), (51, 5, 1), (61, 1, 1), (500, 1, 1)]
    made = cluster(requests, policy, refresh=20)
    made.as_recorded()
    assert [row[:3] for row in policy.saw] == [
        (0, [0], [0]),
        (19, [0], [0]),
        (20, [1], [10]),
        (39, [1], [10]),
        (40, [3], [20]),
        (51, [3], [20]),
        (61, [4], [25]),
        (500, [0], [0]),
    ]


@settings(max_examples=40)
@given(systems(policies=("lru",)), st.integers(1, 50), st.booleans())
def test_stale_loads_are_those_that_were_seen_then(system: System, refresh: int, in_turn: bool) -> None:
    """Sent in turn both times: what is seen later is what a router with a look at every multiple has seen."""
    policy = Looking()
    held = Cluster(engines(system, compiled=False), policy, 3, lambda done: None, refresh=refresh)
    held.prompts.session[:] = np.arange(len(held.prompts)) % 3
    came = held.in_turn(5) if in_turn else held.as_recorded()
    again, at = engines(system, compiled=False), -1
    seen: dict[str, list[int]] = {}
    order = sorted(range(len(came)), key=lambda number: (came[number], number))
    for number, (time, waiting, pending, hits) in zip(order, policy.saw, strict=True):
        assert time == came[number]
        while at < time // refresh:
            at += 1
            again.advance(at * refresh)
            seen = again.view()
        again.advance(time)
        assert (waiting, pending, hits) == (seen["waiting"], seen["pending"], again.hits(number))
        again.submit(number, number % system.count, time)
