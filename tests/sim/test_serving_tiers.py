"""Tiers, swapping and limits of admission: the engine against the plain model, event by event."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import serving as oracle
from tests.sim.serving import Linear, System, Two, cluster, engines, modelled, tiered, told
from tests.sim.test_serving import same
from tiersim._base.errors import PolicyError
from tiersim.sim.serving import Link, Server, Tier

SEEDS = st.integers(0, 2**32 - 1)
EVENTS = (
    "fetched",
    "fetched from a far tier",
    "put",
    "left a tier",
    "demoted",
    "hits what another one fetches",
    "preempted",
    "preempted while it loads",
    "preempted while it comes back",
    "ready, and no budget",
    "swapped",
    "swapped twice",
    "no room in the swap",
    "refused",
    "rejected",
    "waited for its link",
    "waited for a block to come",
)


def alike(system: System, happened: Counter[str], clock: Any = Linear, verbs: bool = False, **options: Any) -> None:
    """As `same`, and what happened behind the memory; counts what did."""
    model, held = same(system, clock, verbs, **options)
    assert held.moved() == model.moved()
    assert held.tiers() == model.held()
    assert held.swapped() == [instance.sums["swapped"] for instance in model.instances]
    happened.update(events(model))


def events(model: oracle.Cluster) -> Counter[str]:
    happened = Counter({"systems": 1})
    for instance in model.instances:
        happened.update(instance.happened)
    for job in model.jobs:
        happened["preempted"] += job.preemptions
        happened["swapped"] += job.swaps
        happened["swapped twice"] += job.swaps > 1
        happened["refused"] += job.refused
        happened["rejected"] += job.rejected
    for place, tiers in enumerate(model.tiers):
        for tier in tiers:
            happened["fetched"] += tier.counts["fetched"]
            happened["fetched from a far tier"] += tier.counts["fetched"] * (place > 0)
            happened["put"] += tier.counts["put"]
            happened["left a tier"] += tier.counts["left"]
            happened["demoted"] += tier.counts["put"] * (place > 0)
            happened["waited for a block to come"] += tier.waits
    happened["waited for its link"] += sum(link.waits for links in model.links for link in links)
    return happened


def all_happened(happened: Counter[str], *but: str) -> None:
    """Each kind of event at least once in twenty systems."""
    rare = {name: happened[name] for name in EVENTS if name not in but and 20 * happened[name] < happened["systems"]}
    assert not rare, f"of {happened['systems']} systems: {rare}"


def compared(seeds: int, clock: Any, verbs: bool, *options: dict[str, Any], **drawn: Any) -> Counter[str]:
    """What happened in so many systems, in which the engine equals the model with each of these options."""
    happened: Counter[str] = Counter()
    for seed in range(seeds):
        system = tiered(seed, **drawn)
        with told(seed):
            for option in options:
                alike(system, happened, clock, verbs, **option)
    return happened


STEPS = {"compiled": False, "audited": True, "fast": False}
RUNS = {"compiled": False, "audited": True}
COMPILED = ({"fast": True}, {"fast": False})


def test_stepping_equals_the_plain_model() -> None:
    all_happened(compared(150, Linear, False, STEPS))


def test_requests_that_come_when_others_have_ended() -> None:
    all_happened(compared(100, Linear, False, RUNS, closed=True), "refused")


@pytest.mark.parametrize("clock", [Linear, Two])
def test_runs_of_decodes_in_closed_form_equal_their_steps(clock: Any) -> None:
    all_happened(compared(120, clock, False, RUNS))


def test_swapping_and_limits_without_tiers() -> None:
    happened = compared(100, Linear, False, RUNS, tiers=0)
    all_happened(happened, *(name for name in EVENTS if not happened[name] and "swap" not in name))


@pytest.mark.parametrize(("policy", "clock"), [("lru", Linear), pytest.param("arc", Two, marks=pytest.mark.slow)])
def test_compiled_loops_equal_the_plain_model(policy: str, clock: Any) -> None:
    all_happened(compared(150, clock, True, *COMPILED, policies=(policy,), tiers=2, wired=True))


@pytest.mark.parametrize("policy", ["2q", "arc", "car", "lfu", "lirs", "lru-k", "random", "sieve", "w-tinylfu"])
def test_any_policy_that_looks_back_rules_a_tier(policy: str) -> None:
    assert compared(20, Linear, True, RUNS, policies=(policy, "lru"))["demoted"] > 20


def test_a_tier_whose_policy_refuses_a_block_passes_it_on() -> None:
    happened: Counter[str] = Counter()
    for seed in range(40):
        system = tiered(seed)
        system = replace(system, tier_policies=("picky", *system.tier_policies[1:]))
        with told(seed):
            alike(system, happened, verbs=True, **RUNS)
    assert happened["demoted"] > happened["systems"]


@settings(max_examples=100)
@given(SEEDS)
def test_the_books_of_the_plain_model_balance_after_every_event(seed: int) -> None:
    system = tiered(seed)
    model = cluster(system)
    jobs = [oracle.Job(0, *row[:3], list(row[3])) for row in system.requests]
    ended: Counter[oracle.Job] = Counter()
    for job, row in zip([*jobs, None], [*system.requests, None]):
        while (coming := model.next()) is not None and (row is None or coming[0] < row[0]):
            ended.update(model.step())
            for instance in model.instances:
                balances(instance)
        if job is not None and row is not None:
            model.submit(job, row[4], row[0])
    assert ended == Counter({job: 1 for job in jobs if not job.rejected and not job.refused})


def balances(instance: Any) -> None:
    """Nothing is over its capacity, and pins, policies and the tree of cached blocks agree."""
    memory, cache = instance.memory, instance.cache
    assert 0 <= instance.taken <= memory.pages
    assert instance.swapped <= memory.swap
    assert len(instance.running) <= memory.max_requests
    assert all(job.own >= 0 for job in instance.running)
    assert cache.users == Counter(x for job in instance.running for x in job.pins)
    assert set(cache.users) <= set(cache.parent)
    assert all(parent < 0 or parent in cache.parent for parent in cache.parent.values())
    assert set(ruled(cache.policy)) == set(cache.parent) - cache.withheld
    for tier in instance.behind.tiers:
        assert len(tier.come) <= tier.said.blocks
        assert set(ruled(tier.policy)) == set(tier.come)
        assert len(tier.come) == tier.counts["put"] - tier.counts["left"]


def ruled(policy: Any) -> Any:
    return policy.uses if isinstance(policy, oracle.Lfu) else policy.held


@settings(max_examples=100)
@given(SEEDS)
def test_a_hit_never_changes_what_is_served(seed: int) -> None:
    """By the plain model: all tokens of all requests, in order, whatever is behind the memory."""
    system = tiered(seed)
    system = replace(system, server=replace(system.server, max_waiting=0))
    bare = replace(system, server=replace(system.server, prefix="none", links=(), tiers=(), swap=0), tier_policies=())
    for rows in (modelled(system)[0], modelled(bare)[0]):
        for (_, _, answer, _, _), row in zip(system.requests, rows):
            tokens = row[8]
            assert len(tokens) == (0 if row[7] else answer)
            assert tokens == sorted(set(tokens))
            assert not tokens or (row[3], row[4]) == (tokens[0], tokens[-1])


def test_a_block_that_was_computed_anew_is_here_though_an_old_fetch_of_it_still_moves() -> None:
    server = Server(
        pages=6,
        page=4,
        max_requests=4,
        budget=100,
        prefix="memory",
        links=(Link(5000, 0),),
        tiers=(Tier(1, 0, shared=True),),
    )
    requests = [
        (0, 5, 1, [0], 0),
        (1, 24, 1, [], 0),  # pushes block 0 out of the memory
        (2, 8, 14, [], 0),  # preempts the next one at 1470, and pushes block 0 out again at 1870
        (3, 5, 1, [0], 0),  # fetches block 0 from 490 to 5490; computes it in the end
        (1500, 5, 1, [1], 1),  # pushes block 0 out of the tier at 1650
        (2121, 5, 1, [0], 0),
    ]
    system = System(server, 2, "lru", requests, 4, [100, 0, 10] + 6 * [0], tier_policies=("lru",))
    model, _ = same(system, compiled=False, audited=True)
    jobs = model.jobs
    assert (jobs[3].ready, jobs[3].preemptions, jobs[3].end) == (5490, 1, 2120)
    assert (jobs[5].hit_tokens, jobs[5].fetched, jobs[5].ready, jobs[5].end) == (4, 0, 2121, 2231)


def test_a_tier_must_not_need_the_future() -> None:
    server = Server(
        pages=8, page=1, max_requests=1, budget=1, prefix="memory", links=(Link(1, 1),), tiers=(Tier(1, 0),)
    )
    system = System(server, 1, "lru", [(0, 4, 1, [0, 1], 0)], 2, [1] * 9, tier_policies=("belady",))
    with pytest.raises(PolicyError, match="must know what comes"):
        engines(system, compiled=False)
