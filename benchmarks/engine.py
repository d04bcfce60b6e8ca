"""Speed of the queued engine, as ratios to SimPy's own in one run: `python benchmarks/engine.py`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import simpy
from pydantic import TypeAdapter

from tiersim.experiments.presets import find
from tiersim.experiments.yaml_tree import plain
from tiersim.models.caches import System
from tiersim.models.cores import simulate_cores
from tiersim.sim.core_loop import FIELDS
from tiersim.sim.events import Events, events_from
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


def memory_requests(copies: int) -> tuple[float, float]:
    """Lines read and written, and references, per CPU second: random accesses of so many cores on shared DDR4."""
    system = TypeAdapter(System).validate_python(SYSTEM)
    address = np.random.default_rng(0).integers(0, 1 << 30, 200_000).astype(np.uint64)
    kind = (np.random.default_rng(1).random(len(address)) < 0.3).astype(np.uint8)
    events = events_from(address, kind, system.line)
    stream = Held(events)
    simulate_cores(system, [stream] * copies)  # compiled, and in the caches of the host
    begun = time.process_time()
    result = simulate_cores(system, [stream] * copies)
    spent = time.process_time() - begun
    moved = result.memory["reads"] + result.memory["writes"]
    return moved / spent, int(result.cores[:, FIELDS.index("references")].sum()) / spent


class Held:
    """References in memory, three instructions apart."""

    def __init__(self, events: Events) -> None:
        self.events, self.lines = events, events.lines

    def pieces(self, size: int) -> Iterator[tuple[Any, Any]]:
        for piece in self.events.chunks(0, self.events.counts.events, size):
            yield piece, np.full(len(piece), 3)


SYSTEM: dict[str, Any] = {
    "caches": {
        "l1": {"capacity": "32 KiB", "ways": 8, "latency": "4 cycles"},
        "l2": {"capacity": "256 KiB", "ways": 8, "latency": "10 cycles"},
        "l3": {"capacity": "4 MiB", "ways": 16, "latency": "36 cycles", "shared": True},
    },
    "memory": {"latency": "80 ns", "dram": plain(find("ddr4-3200").tree)},
    "core": {"frequency": "3 GHz"},
}


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
    print("cores on shared DDR4 by its commands, random accesses, four wanted at 300 k lines a CPU second or more")
    for copies in (1, 4):
        lines, references = memory_requests(copies)
        print(f"{copies:44} {lines / 1e3:9,.0f} k lines/s {references / 1e3:16,.0f} k references/s")


if __name__ == "__main__":
    main()
