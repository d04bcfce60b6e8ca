"""Speed of the queued engine, as ratios to SimPy's own in one run: `python benchmarks/engine.py`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from tiersim.sim.queued.clock import Clock
from tiersim.sim.queued.link import Link
from tiersim.sim.queued.priority import PriorityServer
from tiersim.sim.queued.server import Server

ROUNDS = 5


def seconds(run: Callable[[], Any]) -> float:
    begun = time.process_time()
    run()
    return time.process_time() - begun


def against(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], count: int, what: str) -> None:
    """Both in turns, on CPU time: the median of the ratios."""
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    own, other = (statistics.median(side) for side in zip(*pairs))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{name:44} {count / own / 1e3:9,.0f} k {what}/s   SimPy {count / other / 1e3:9,.0f} k   {ratio:6.2f} times")


def timeouts(make: Callable[[], simpy.Environment], processes: int, rounds: int) -> None:
    clock = make()

    def process(delay: int) -> Generator[simpy.Event, Any, None]:
        for _ in range(rounds):
            yield clock.timeout(delay)

    for k in range(processes):
        clock.process(process(k + 1))
    clock.run()


def own_holds(clients: int, rounds: int) -> None:
    clock = Clock()
    server = Server(clock, "disk")

    def process() -> Generator[simpy.Event, Any, None]:
        for _ in range(rounds):
            yield server.serve(7)

    for _ in range(clients):
        clock.process(process())
    clock.run()
    server.audit()


def simpy_holds(clients: int, rounds: int) -> None:
    clock = simpy.Environment()
    server = simpy.Resource(clock)

    def process() -> Generator[simpy.Event, Any, None]:
        for _ in range(rounds):
            with server.request() as turn:
                yield turn
                yield clock.timeout(7)

    for _ in range(clients):
        clock.process(process())
    clock.run()


def own_priorities(waiting: int, served: int) -> None:
    clock = Clock()
    server = PriorityServer(clock, "disk")
    for priority in np.random.default_rng(0).integers(0, 1000, waiting).tolist():
        server.serve(7, priority)
    clock.run(7 * served)


def simpy_priorities(waiting: int, served: int) -> None:
    clock = simpy.Environment()
    server = simpy.PriorityResource(clock)

    def process(priority: int) -> Generator[simpy.Event, Any, None]:
        with server.request(priority) as turn:
            yield turn
            yield clock.timeout(7)

    for priority in np.random.default_rng(0).integers(0, 1000, waiting).tolist():
        clock.process(process(priority))
    clock.run(7 * served)


def transfers(concurrent: int, count: int) -> float:
    """CPU seconds a transfer, with so many always on the link."""
    clock = Clock()
    link = Link(clock, "pcie", 10**9)
    sizes = np.random.default_rng(0).integers(1, 10_000, count + concurrent).tolist()

    def next_one(event: Any) -> None:
        if link.departures < count:
            link.send(sizes[link.arrivals]).callbacks.append(next_one)

    def run() -> None:
        for _ in range(concurrent):
            next_one(None)
        clock.run()

    made = seconds(run) / (count + concurrent)
    link.audit()
    return made


def main() -> None:
    count = 200_000
    against(
        "timeouts, 1000 processes",
        lambda: timeouts(Clock, 1000, count // 1000),
        lambda: timeouts(simpy.Environment, 1000, count // 1000),
        count,
        "events",
    )
    for clients in (1, 100):
        rounds = count // 4 // clients
        against(
            f"first come first served, {clients} clients",
            lambda clients=clients, rounds=rounds: own_holds(clients, rounds),
            lambda clients=clients, rounds=rounds: simpy_holds(clients, rounds),
            clients * rounds,
            "jobs",
        )
    for waiting in (1000, 20_000):
        against(
            f"by priority, {waiting:,} waiting",
            lambda waiting=waiting: own_priorities(waiting, 900),
            lambda waiting=waiting: simpy_priorities(waiting, 900),
            900,
            "jobs",
        )
    print("processor sharing: microseconds a transfer, and times that of ten at a time")
    base = min(transfers(10, 20_000) for _ in range(3))
    for concurrent in (1, 10, 100, 1000, 10_000):
        found = min(transfers(concurrent, 20_000) for _ in range(3))
        print(f"{concurrent:44,} {found * 1e6:9.1f} us {found / base:26.2f} times")


if __name__ == "__main__":
    main()
