"""Prefill apart from decode: the two engines and their driver against the plain model, event by event."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.oracles import serving_apart as plain
from tests.oracles.serving import Job
from tests.sim.serving import Linear, System, Two, cluster, policy_of, prompts_from, rates_of, tiered, told
from tiersim.models.apart import Apart
from tiersim.sim.serving import Engines, Server

EVENTS = (
    "moved",
    "answers of one token",
    "refused",
    "refused by the router",
    "rejected",
    "waited for the link",
    "waited for memory that was held",
    "waited where they came",
    "preempted where they came",
    "swapped where they came",
    "hits",
    "fetched",
)


@dataclass
class Odd:
    """A router that looks at all that it may, and takes what comes of it; refuses one in so many."""

    refuses: int = 0

    def route(self, request: Any, view: Any) -> int | None:
        columns = (view.waiting, view.running, view.prompts, view.pending, view.pages, view.hits(request))
        seen = request.number + request.time + request.prompt
        for weight, column in enumerate(columns, 1):
            seen += sum(weight * place * held for place, held in enumerate(column, 1))
        return None if self.refuses and seen % self.refuses == 1 else seen % len(view.waiting)


@dataclass
class Pair:
    """Both kinds of instances with the same requests, the links between them, and the sessions of the requests."""

    computing: System
    decoding: System
    token: int
    latency: int
    refuses: int
    sessions: list[int]  # -1 for a request of none
    think: int | None = None
    in_turn: bool = False


def drawn(seed: int, *, in_turn: bool = False, **said: Any) -> Pair:
    """A pair whose memories are small; the first one as `tiered` makes it."""
    first = tiered(seed, **said)
    rng = np.random.default_rng(seed + (1 << 40))

    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    most, chunked = int(rng.integers(1, 6)), pick(True, False)
    second = Server(
        pages=max(first.server.pages, pick(8, 12, 16, 24)),
        page=first.server.page,
        max_requests=most,
        budget=(most if chunked else 1) + pick(0, 3, 30),
        chunked=chunked,
        reserve=pick(0, 0, 0, 1, 3),
        links=first.server.links,
        swap=first.server.swap,
        swap_link=first.server.swap_link,
    )
    rates, count, number = rates_of(rng, pick(1, 9)), pick(1, 1, 2, 3), len(first.requests)
    return Pair(
        replace(first, server=replace(first.server, hold=True, swap=0)),
        replace(first, server=second, count=count, rates=rates, tier_policies=()),
        token=pick(0, 1, 6, 30),
        latency=pick(0, 3, 50),
        refuses=pick(0, 0, 7),
        sessions=rng.integers(-1, 4, number).tolist() if in_turn else [-1] * number,
        think=pick(None, 0, 9) if in_turn else None,
        in_turn=in_turn,
    )


def modelled(pair: Pair, clocks: tuple[Any, Any], verbs: bool) -> plain.Apart:
    requests = pair.computing.requests
    jobs = [Job(number, *row[:3], list(row[3])) for number, row in enumerate(requests)]
    last: dict[int, int] = {}
    before = []
    for number, session in enumerate(pair.sessions):
        before.append(last.get(session, -1) if session >= 0 else -1)
        last[session] = number

    def following(number: int, now: int) -> list[tuple[int, int]]:
        after = [k for k, one in enumerate(before) if one == number]
        return [
            (now + (jobs[k].arrival - jobs[number].arrival if pair.think is None else pair.think), k) for k in after
        ]

    def router(router: Odd) -> plain.Router:
        def route(job: Job, now: int, view: list[dict[str, int]], hits: list[int]) -> int | None:
            return router.route(Seen(job.number, now, job.prompt), Seeing(view, hits))

        return route

    one, other = (cluster(system, clock, verbs) for system, clock in zip((pair.computing, pair.decoding), clocks))
    model = plain.Apart(one, other, pair.token, pair.latency, router(Odd(pair.refuses)), router(Odd()), following)
    model.serve(jobs, [(job.arrival, job.number) for job in jobs if before[job.number] < 0])
    return model


@dataclass
class Seen:
    number: int
    time: int
    prompt: int


class Seeing:
    """A view of instances of the plain model."""

    def __init__(self, view: list[dict[str, int]], hits: list[int]) -> None:
        self.held, self.instances = hits, range(len(view))
        for name in view[0]:
            setattr(self, name, [each[name] for each in view])

    def hits(self, request: Any) -> list[int]:
        return self.held


def driver(pair: Pair, clocks: tuple[Any, Any], **options: Any) -> tuple[Apart, Engines, Engines]:
    prompts = prompts_from(pair.computing.requests, pair.computing.block)
    prompts = replace(prompts, session=np.array(pair.sessions, np.int64))
    both = []
    for system, clock in zip((pair.computing, pair.decoding), clocks):
        both.append(
            Engines(
                prompts,
                system.server,
                system.count,
                clock(),
                {"rates": np.array(system.rates)},
                policy=policy_of(system.policy),
                tier_policies=[policy_of(name) for name in system.tier_policies],
                seed=7,
                **options,
            )
        )
    one, other = both
    router, onward = Odd(pair.refuses), Odd()
    made = Apart(one, other, router, onward, token=pair.token, latency=pair.latency, seed=0, progress=lambda done: None)
    return made, one, other


def alike(
    pair: Pair,
    happened: Counter[str],
    clocks: tuple[Any, Any] = (Linear, Linear),
    verbs: bool = False,
    **options: Any,
) -> None:
    """The course of every request, its tokens, the sums over time, the links and tiers are those of the model."""
    model = modelled(pair, clocks, verbs)
    held, computing, decoding = driver(pair, clocks, **options)
    came = held.in_turn(pair.think) if pair.in_turn else held.as_recorded()
    assert came.tolist() == [fate.came for fate in model.fates]
    columns = [getattr(held.course, name).tolist() for name in WORDS]
    assert [dict(zip(WORDS, row)) for row in zip(*columns)] == [words(fate) for fate in model.fates]
    for engines, cluster_ in ((computing, model.prefill), (decoding, model.decode)):
        sums = engines.occupancy()
        assert [{name: sums[name][k] for name in sums} for k in range(engines.count)] == [
            {name: instance.sums[name] for name in sums} for instance in cluster_.instances
        ]
        assert engines.moved() == cluster_.moved()
        assert engines.tiers() == cluster_.held()
        assert engines.swapped() == [instance.sums["swapped"] for instance in cluster_.instances]
    assert held.carried() == {
        "tokens": [way.tokens for way in model.ways],
        "busy": [way.busy for way in model.ways],
    }
    log = decoding.iterations
    for number, fate in enumerate(model.fates):
        if fate.decoding is not None:
            assert log.tokens(number) == fate.tokens
    gaps, many = log.gaps()
    told: Counter[int] = Counter()
    for gap, count in zip(gaps.tolist(), many.tolist(), strict=True):
        told[gap] += count
    assert +told == Counter(late - early for fate in model.fates for early, late in pairwise(fate.tokens))
    happened.update(events(model))


WORDS = (
    *("instance", "decoded_on", "admitted", "first", "begun", "moved", "came", "joined", "end", "hit", "preemptions"),
    *("rejected", "refused"),
)


def words(fate: plain.Fate) -> dict[str, Any]:
    """What the driver's course has of a request."""
    job, other = fate.computing, fate.decoding
    return {
        "instance": job.instance,
        "decoded_on": other.instance if other else -1,
        "admitted": job.admitted,
        "first": job.first,
        "begun": fate.begin,
        "moved": fate.moved,
        "came": fate.there,
        "joined": other.admitted if other else -1,
        "end": fate.end,
        "hit": job.hit_tokens,
        "preemptions": other.preemptions if other else 0,
        "rejected": fate.rejected,
        "refused": fate.refused,
    }


def events(model: plain.Apart) -> Counter[str]:
    happened = Counter({"pairs": 1})
    for fate in model.fates:
        job, other = fate.computing, fate.decoding
        happened["answers of one token"] += fate.end >= 0 and other is None
        happened["refused"] += fate.refused and job.instance >= 0
        happened["refused by the router"] += fate.refused and job.instance < 0
        happened["rejected"] += fate.rejected
        happened["hits"] += job.hit_tokens > 0
        happened["fetched"] += job.fetched > 0
        if other is not None:
            happened["moved"] += 1
            happened["waited for the link"] += fate.begin > job.first
            happened["waited where they came"] += other.admitted > fate.there
            happened["preempted where they came"] += other.preemptions
            happened["swapped where they came"] += other.swaps
    for instance in model.prefill.instances:
        happened.update(instance.happened)
    return happened


def all_happened(happened: Counter[str], *but: str) -> None:
    """Each kind of event at least once in twenty pairs."""
    rare = {name: happened[name] for name in EVENTS if name not in but and 20 * happened[name] < happened["pairs"]}
    assert not rare, f"of {happened['pairs']} pairs: {rare}"


def compared(seeds: int, clocks: tuple[Any, Any], verbs: bool, *options: dict[str, Any], **said: Any) -> Counter[str]:
    """What happened in so many pairs, in which the engines equal the model with each of these options."""
    happened: Counter[str] = Counter()
    for seed in range(seeds):
        pair = drawn(seed, **said)
        with told(seed):
            for option in options:
                alike(pair, happened, clocks, verbs, **option)
    return happened


PLAIN = ({"compiled": False, "audited": True, "fast": False}, {"compiled": False, "audited": True})
COMPILED = ({"fast": True}, {"fast": False})


@pytest.mark.parametrize("clocks", [(Linear, Two), (Two, Linear)])
def test_both_kinds_equal_the_plain_model(clocks: tuple[Any, Any]) -> None:
    all_happened(compared(60, clocks, False, *PLAIN))


def test_turns_that_come_after_the_end_of_the_one_before() -> None:
    all_happened(compared(60, (Linear, Linear), False, *PLAIN, in_turn=True))


@pytest.mark.parametrize("policy", ["lru", pytest.param("arc", marks=pytest.mark.slow)])
def test_compiled_loops_equal_the_plain_model(policy: str) -> None:
    happened = Counter[str]()
    for in_turn in (False, True):
        clocks = (Linear, Linear)
        happened += compared(60, clocks, True, *COMPILED, policies=(policy,), tiers=0, wired=True, in_turn=in_turn)
    all_happened(happened, "fetched")
