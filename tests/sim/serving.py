"""Random servers and requests for them, run by the plain model and by the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.oracles import serving as oracle
from tiersim._base.registry import build
from tiersim.sim.prompts import Prompts
from tiersim.sim.serving import Engines, Link, Server, Tier
from tiersim.sim.serving_loop import VIEW
from tiersim.traces.ragged import Ragged

__all__ = ["Linear", "System", "Two", "engines", "modelled", "prompts_from", "simulated", "systems", "tiered", "told"]


class Linear:
    """A time model whose iterations take whole sums of all that they may."""

    @staticmethod
    def step(
        rates: NDArray[np.int64],
        chunks: int,
        new: int,
        area: int,
        squares: int,
        span: int,
        decodes: int,
        context: int,
    ) -> int:
        work = rates[0] + rates[1] * chunks + rates[2] * new + rates[3] * area + rates[4] * squares
        return int(work + rates[5] * span + rates[6] * decodes + rates[7] * context)

    @staticmethod
    def line(rates: NDArray[np.int64], decodes: int, context: int) -> tuple[int, int, int]:
        return int(rates[0] + rates[6] * decodes), int(rates[7]), 1 << 60


class Two:
    """As `Linear`, but decodes are slower from some context on: the line has a kink."""

    @staticmethod
    def step(
        rates: NDArray[np.int64],
        chunks: int,
        new: int,
        area: int,
        squares: int,
        span: int,
        decodes: int,
        context: int,
    ) -> int:
        work = rates[0] + rates[1] * chunks + rates[2] * new + rates[3] * area + rates[4] * squares
        slow = max(context - rates[8], 0)
        return int(work + rates[5] * span + rates[6] * decodes + rates[7] * context + 5 * slow)

    @staticmethod
    def line(rates: NDArray[np.int64], decodes: int, context: int) -> tuple[int, int, int]:
        if context <= rates[8]:
            return int(rates[0] + rates[6] * decodes), int(rates[7]), int(rates[8])
        return int(rates[0] + rates[6] * decodes - 5 * rates[8]), int(rates[7] + 5), 1 << 60


@dataclass
class Picky:
    """First in, first out, but for every third block, which it refuses where something would have to leave for it."""

    may_refuse: ClassVar[bool] = True

    @staticmethod
    def state(objects: int) -> dict[str, NDArray[np.int64]]:
        return {"entered": np.zeros(objects, np.int64), "clock": np.zeros(1, np.int64)}

    @staticmethod
    def lookup(entered: Any, x: int) -> bool:
        return entered[x] > 0

    @staticmethod
    def touch() -> None:
        return

    @staticmethod
    def insert(entered: Any, clock: Any, x: int) -> None:
        clock[0] += 1
        entered[x] = clock[0]

    @staticmethod
    def victim(entered: Any, objects: int, x: int) -> int:
        if x % 3 == 1:
            return x
        first = -1
        for k in range(objects):
            if entered[k] > 0 and (first < 0 or entered[k] < entered[first]):
                first = k
        return first

    @staticmethod
    def remove(entered: Any, x: int) -> None:
        entered[x] = 0


@dataclass
class System:
    """A server, how many instances of it, a policy, and requests as (arrival, prompt, answer, blocks, instance)."""

    server: Server
    count: int
    policy: Any
    requests: list[tuple[int, int, int, list[int], int]]
    block: int
    rates: list[int]
    think: int = -1  # each end brings the next request, after so long
    tier_policies: tuple[str, ...] = ()


@st.composite
def systems(draw: Any, *, policies: tuple[Any, ...] = ("lru", "fifo", "lfu"), closed: bool = False) -> System:
    """Small systems with little memory: prompts that share beginnings, bursts, preemptions, both kinds of cache."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    page = draw(st.sampled_from([1, 2, 3, 4]))
    block = page * draw(st.sampled_from([1, 2, 3]))
    most = draw(st.integers(1, 6))
    chunked = draw(st.booleans())
    prefix = draw(st.sampled_from(["none", "memory", "memory", "apart", "apart"]))
    if prefix == "apart" and draw(st.booleans()):
        block = draw(st.integers(1, 7))
    server = Server(
        pages=draw(st.sampled_from([8, 12, 16, 24, 40, 100])),
        page=page,
        max_requests=most,
        budget=(most if chunked else 1) + draw(st.sampled_from([0, 1, 3, 8, 30])),
        chunked=chunked,
        reserve=draw(st.sampled_from([0, 0, 0, 1, 3])),
        prefix=prefix,
        blocks=draw(st.integers(1, 12)) if prefix == "apart" else 0,
    )
    count = draw(st.sampled_from([1, 1, 2, 3]))
    longest = min(server.pages * page, 60)
    pace = draw(st.sampled_from([0, 5, 40, 300]))
    requests = requests_of(rng, draw(st.integers(1, 30)), count, block, longest, pace)
    rates = rates_of(rng, draw(st.sampled_from([1, 9])))
    policy = draw(st.sampled_from(policies))
    think = int(rng.integers(0, 20)) if closed else -1
    return System(server, count, policy, requests, block, rates, think)


def tiered(
    seed: int,
    *,
    policies: tuple[str, ...] = ("lru", "fifo", "lfu"),
    closed: bool = False,
    tiers: int | None = None,
    wired: bool = False,
) -> System:
    """A system with tiers behind the memory, room to swap to, and a limit of those that wait, now and then.

    With `wired` set each of two tiers has a link of its own, and there is a swap: all these have one loop.
    """
    rng = np.random.default_rng(seed)

    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    many = pick(1, 2, 3) if tiers is None else tiers
    page = pick(1, 2, 4)
    block = page * pick(1, 2, 3)
    most = int(rng.integers(1, 6))
    chunked = pick(True, False)
    links = tuple(
        Link(pick(0, 1, 4, 15, 60), pick(0, 1, 4, 15, 60), pick(0, 0, 3, 50), pick(True, False))
        for _ in range(2 if wired else rng.integers(1, 4))
    )

    def link(place: int) -> int:
        return place if wired else int(rng.integers(len(links)))

    server = Server(
        pages=pick(6, 8, 12, 16, 24),
        page=page,
        max_requests=most,
        budget=(most if chunked else 1) + pick(0, 1, 3, 8, 30),
        chunked=chunked,
        reserve=pick(0, 0, 0, 1, 3),
        prefix="memory" if many else pick("none", "memory", "apart"),
        blocks=pick(2, 4, 8),
        links=links,
        tiers=tuple(Tier(pick(1, 2, 4, 8, 30), link(place), pick(True, False)) for place in range(many)),
        write=pick("through", "eviction"),
        swap=pick(4 if wired else 0, 4, 20, 100),
        swap_link=link(0),
        max_waiting=pick(0, 0, 0, 0, 1, 4),
    )
    count = pick(1, 1, 2, 3)
    longest = min(server.pages * page, 60) * 2 // 3
    requests = requests_of(rng, int(rng.integers(5, 40)), count, block, longest, pick(0, 5, 40, 300))
    rates = rates_of(rng, pick(1, 9))
    think = int(rng.integers(0, 20)) if closed else -1
    names = tuple(pick(*policies) for _ in range(many))
    return System(server, count, pick(*policies), requests, block, rates, think, names)


@contextmanager
def told(seed: int) -> Iterator[None]:
    """What fails inside says of which seed it is."""
    try:
        yield
    except Exception as error:
        error.add_note(f"seed {seed}")
        raise


def requests_of(
    rng: np.random.Generator, many: int, count: int, block: int, longest: int, pace: int
) -> list[tuple[int, int, int, list[int], int]]:
    """Requests whose prompts have a beginning that was there, and a new end."""
    requests, now, paths = [], 0, [[0]]
    tree: dict[tuple[int, ...], int] = {}
    for _ in range(many):
        prompt = int(rng.integers(1, max(2, longest - 3)))
        answer = int(rng.integers(1, 12)) if rng.random() < 0.8 else int(rng.integers(1, longest))
        old = paths[int(rng.integers(len(paths)))]
        kept = old[: int(rng.integers(0, len(old) + 1))]
        path = (kept + [int(x) for x in rng.integers(0, 3, 60)])[: -(-prompt // block)]
        paths.append(path)
        nodes = [tree.setdefault(tuple(path[: k + 1]), len(tree)) for k in range(len(path))]
        requests.append((now, prompt, answer, nodes, int(rng.integers(count))))
        now += int(rng.integers(0, pace + 1)) if rng.random() < 0.7 else 0
    return requests


def rates_of(rng: np.random.Generator, most: int) -> list[int]:
    """Those of short iterations, so that now and then one ends just when a request comes, or of long ones."""
    rates = [int(rng.integers(0, most + 1)) * int(rng.random() < 0.6) for _ in range(8)]
    rates[0] += 1
    return [*rates, int(rng.integers(0, 60))]


def prompts_from(requests: list[tuple[int, int, int, list[int], int]], block: int) -> Prompts:
    nodes = [nodes for _, _, _, nodes, _ in requests]
    parent = np.full(max((max(held, default=-1) for held in nodes), default=-1) + 1, -1, np.int64)
    for held in nodes:
        parent[held[1:]] = held[:-1]
    unknown = np.full(len(requests), -1, np.int64)
    arrival, given, made = (np.array([row[k] for row in requests], np.int64) for k in range(3))
    return Prompts(arrival, given, made, Ragged.of(nodes), parent, block, unknown, unknown)


def policy_of(name: str) -> Any:
    return Picky() if name == "picky" else build("object-replacement", name)


def engines(system: System, clock: Any = Linear, **options: Any) -> Engines:
    return Engines(
        prompts_from(system.requests, system.block),
        system.server,
        system.count,
        clock(),
        {"rates": np.array(system.rates)},
        policy=policy_of(system.policy),
        tier_policies=[policy_of(name) for name in system.tier_policies],
        seed=7,
        **options,
    )


def cluster(system: System, clock: Any = Linear, verbs: bool = False) -> oracle.Cluster:
    server = system.server
    rates = np.array(system.rates)
    distinct = max(1, len(prompts_from(system.requests, system.block).parent))
    apart = server.blocks if server.prefix == "apart" else None
    per = max(1, system.block // server.page)
    room = max(1, apart if apart is not None else server.pages // per)
    plain: dict[str, Callable[[], oracle.Policy]] = {"lru": oracle.Lru, "fifo": oracle.Fifo, "lfu": oracle.Lfu}

    def ruled(name: str, room: int, k: int) -> oracle.Policy:
        if not verbs:
            return plain[name]()
        room = min(room, distinct)
        return oracle.Verbs(policy_of(name), min(distinct, 4 * room + 1), room, 7 + k)

    def policy(k: int) -> oracle.Policy | None:
        return None if server.prefix == "none" else ruled(system.policy, room, k)

    def tier_policy(tier: int, k: int) -> oracle.Policy:
        return ruled(system.tier_policies[tier], server.tiers[tier].blocks, k)

    memory = oracle.Memory(
        server.pages,
        server.page,
        server.max_requests,
        server.budget,
        server.chunked,
        server.reserve,
        system.block,
        apart,
        [oracle.LinkSaid(link.load, link.store, link.latency, link.shared) for link in server.links],
        [oracle.TierSaid(tier.blocks, tier.link, tier.shared) for tier in server.tiers],
        server.write,
        server.swap,
        server.swap_link,
        server.max_waiting,
        server.hold,
    )

    def step(*work: int) -> int:
        return int(clock.step(rates, *work))

    return oracle.Cluster(memory, system.count, step, policy, tier_policy)


def modelled(system: System, clock: Any = Linear, verbs: bool = False) -> tuple[list[Any], list[Any], oracle.Cluster]:
    """What became of each request by the plain model, what a router saw, and the model itself."""
    held = cluster(system, clock, verbs)
    jobs = [oracle.Job(0, *row[:3], list(row[3])) for row in system.requests]
    seen: list[Any] = []

    def submit(number: int, now: int) -> None:
        view = held.view()
        seen.append((now, [list(column) for column in zip(*(one.values() for one in view))], held.cached(jobs[number])))
        held.submit(jobs[number], system.requests[number][4], now)
        jobs[number].number = number

    def ended() -> list[int]:
        return [number for number, job in enumerate(jobs) if job.end >= 0]

    drive(system, lambda until, stop: held.advance(until, stop), submit, ended)
    rows = [
        [
            *(j.instance, j.routed, j.admitted, j.first, j.end, j.hit_tokens, j.preemptions, j.rejected, j.tokens),
            *(j.ready, j.fetched, j.swaps, j.refused),
        ]
        for j in jobs
    ]
    return rows, seen, held


def simulated(system: System, clock: Any = Linear, **options: Any) -> tuple[list[Any], list[Any], Engines]:
    """The same by the engine."""
    held = engines(system, clock, **options)
    seen: list[Any] = []
    over: list[int] = []

    def advance(until: int | None, stop: bool) -> int | None:
        made = held.advance(until, until_end=stop)
        over.extend(held.ended)
        return made

    def submit(number: int, now: int) -> None:
        seen.append((now, [held.view()[name] for name in VIEW], held.hits(number)))
        held.submit(number, system.requests[number][4], now)

    drive(system, advance, submit, lambda: over)
    served, log = held.served, held.iterations
    columns = [served.instance, served.routed, served.admitted, served.first, served.end, served.hit]
    columns += [served.preemptions, served.rejected, served.ready, served.fetched, served.swaps, served.refused]
    rows = [list(row) for row in zip(*(column.tolist() for column in columns))]
    return [[*row[:8], log.tokens(k), *row[8:]] for k, row in enumerate(rows)], seen, held


def drive(
    system: System,
    advance: Callable[[int | None, bool], int | None],
    submit: Callable[[int, int], None],
    ended: Callable[[], list[int]],
) -> None:
    """Send all requests: at their time, or each when one before it has ended, `think` later."""
    if system.think < 0:
        for number, row in enumerate(system.requests):
            advance(row[0], False)
            submit(number, row[0])
        advance(None, False)
        return
    first = 1 + len(system.requests) // 3
    coming = [(row[0], number) for number, row in enumerate(system.requests[:first])]
    sent = first
    known = 0
    while True:
        coming.sort()
        now = advance(coming[0][0] if coming else None, True)
        if now is not None:
            while known < len(ended()) and sent < len(system.requests):
                coming.append((now + system.think, sent))
                known, sent = known + 1, sent + 1
        elif coming:
            time, number = coming.pop(0)
            submit(number, time)
        else:
            return
