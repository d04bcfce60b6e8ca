"""The engine for servers of language models against the plain model, iteration by iteration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from numpy.typing import NDArray

from tests.oracles import serving as oracle
from tests.sim.serving import Linear, System, Two, engines, modelled, prompts_from, simulated, systems
from tiersim._base.errors import AuditError, PolicyError, StudyError
from tiersim.sim.serving import Engines, Server
from tiersim.sim.serving_loop import REQUEST

SECOND = 10**12


def same(system: System, clock: Any = Linear, verbs: bool = False, **options: Any) -> tuple[oracle.Cluster, Engines]:
    """The times, hits and tokens of every request, what a router sees and the sums over time are those of the model."""
    expected, seen, model = modelled(system, clock, verbs)
    rows, view, held = simulated(system, clock, **options)
    assert rows == expected
    assert view == seen
    sums = held.occupancy()
    assert [{name: sums[name][k] for name in sums} for k in range(system.count)] == [
        {name: instance.sums[name] for name in sums} for instance in model.instances
    ]
    gaps, many = held.iterations.gaps()
    told: Counter[int] = Counter()
    for gap, count in zip(gaps.tolist(), many.tolist(), strict=True):
        told[gap] += count
    assert +told == Counter(late - early for row in expected for early, late in pairwise(row[8]))
    return model, held


@settings(max_examples=100)
@given(systems())
def test_stepping_equals_the_plain_model(system: System) -> None:
    same(system, fast=False, compiled=False, audited=True)


@settings(max_examples=60)
@given(systems(closed=True))
def test_requests_that_come_when_others_have_ended(system: System) -> None:
    same(system, compiled=False, audited=True)


@pytest.mark.parametrize("clock", [Linear, Two])
def test_runs_of_decodes_in_closed_form_equal_their_steps(clock: Any) -> None:
    @settings(max_examples=80)
    @given(systems())
    def check(system: System) -> None:
        same(system, clock, compiled=False, audited=True)

    check()


@pytest.mark.parametrize(("policy", "clock"), [("lru", Linear), pytest.param("arc", Two, marks=pytest.mark.slow)])
def test_compiled_loops_equal_the_plain_model(policy: str, clock: Any) -> None:
    @settings(max_examples=100)
    @given(systems(policies=(policy,)), systems(policies=(policy,), closed=True))
    def check(open_: System, closed: System) -> None:
        for system in (open_, closed):
            for fast in (True, False):
                same(system, clock, verbs=True, fast=fast)

    check()


@pytest.mark.parametrize(
    "policy", ["2q", "car", "gdsf", "lfu", "lirs", "lru-k", "mru", "picky", "random", "sieve", "w-tinylfu"]
)
def test_any_policy_that_looks_back_rules_a_prefix_cache(policy: str) -> None:
    @settings(max_examples=15)
    @given(systems(policies=(policy,)))
    def check(system: System) -> None:
        if policy in ("gdsf", "picky") and system.server.prefix == "memory":
            with pytest.raises(PolicyError, match="may refuse"):
                engines(system, compiled=False)
            return
        same(system, verbs=True, compiled=False, audited=True)

    check()


def test_the_systems_of_these_tests_do_what_is_to_be_tested() -> None:
    def happens(system: System, what: str) -> bool:
        rows, _, held = simulated(system, compiled=False)
        log = held.iterations.columns
        return {
            "preemptions": sum(row[6] for row in rows) > 2,
            "hits": sum(row[5] for row in rows) > 20,
            "rejected": any(row[7] for row in rows),
            "long runs": bool((log["count"] > 4).any()),
            "preempted after a hit": any(row[5] and row[6] for row in rows),
        }[what]

    for what in ("preemptions", "hits", "rejected", "long runs", "preempted after a hit"):
        find(systems(), lambda system, what=what: happens(system, what), settings=settings(max_examples=400))


def few(**said: Any) -> System:
    """Five requests at one instance."""
    server = Server(**{"pages": 100, "page": 4, "max_requests": 4, "budget": 16} | said)
    requests = [(10 * k, 20, 6, [0, 1, 2, 10 * k + 3, 10 * k + 4], 0) for k in range(5)]
    return System(server, 1, "lru", requests, 4, [100, 1, 2, 0, 0, 0, 3, 1, 0])


def test_a_hit_saves_time_and_never_changes_the_order_of_tokens() -> None:
    without, _, _ = simulated(few(), compiled=False)
    for prefix in ("memory", "apart"):
        rows, _, _ = simulated(few(prefix=prefix, blocks=50), compiled=False, audited=True)
        assert sum(row[5] for row in rows) == 3 * 12  # the first two are admitted before a prompt is complete
        for one, other in zip(rows, without):
            assert one[3] <= other[3]
            assert len(one[8]) == len(other[8]) == 6
            assert one[8] == sorted(set(one[8]))
        first = [row[3] for row in rows]
        assert first == sorted(first)


@settings(max_examples=60)
@given(systems())
def test_without_preemptions_first_tokens_come_in_the_order_of_routing(system: System) -> None:
    rows, _, _ = simulated(replace(system, server=replace(system.server, pages=4000)), compiled=False)
    for instance in range(system.count):
        first = [row[3] for row in rows if row[0] == instance]
        assert first == sorted(first)
        assert all(row[6] == 0 for row in rows)


def test_an_audit_finds_a_page_that_is_lost() -> None:
    held = engines(few(prefix="memory"), compiled=False, audited=True)
    held.submit(0, 0, 0)
    held.advance(50)
    header = held._own[0]
    free = next(k for k, word in enumerate(header) if word == 100 - 5)
    header[free] -= 1
    with pytest.raises(AuditError, match="pages do not add up"):
        held.advance()


@dataclass
class Wrong:
    """Names a block that is not there."""

    @staticmethod
    def state(objects: int) -> dict[str, NDArray[Any]]:
        return {"here": np.zeros(objects, np.int64)}

    @staticmethod
    def lookup(here: Any, x: int) -> int:
        return here[x]

    @staticmethod
    def touch() -> None:
        return

    @staticmethod
    def insert(here: Any, x: int) -> None:
        here[x] = 1

    @staticmethod
    def victim() -> int:
        return 999

    @staticmethod
    def remove(here: Any, x: int) -> None:
        here[x] = 0


def test_a_policy_that_names_nonsense_is_told_so() -> None:
    system = few(prefix="apart", blocks=2)
    prompts = prompts_from(system.requests, 4)
    held = Engines(
        prompts, system.server, 1, Linear(), {"rates": np.array(system.rates)}, policy=Wrong(), compiled=False
    )
    held.submit(0, 0, 0)
    with pytest.raises(PolicyError, match=r"Wrong\.victim gave 999"):
        held.advance()


def test_a_policy_must_not_need_the_future() -> None:
    with pytest.raises(PolicyError, match="must know what comes"):
        engines(replace(few(prefix="memory"), policy="belady"), compiled=False)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"pages": 0}, "must be at least 1"),
        ({"budget": 3}, "no room for a token of each of 4 requests"),
        ({"prefix": "apart"}, "at least one block"),
        ({"prefix": "memory", "page": 3}, "no whole pages of 3"),
    ],
)
def test_servers_that_cannot_be(said: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        engines(few(**said), compiled=False)


def test_requests_that_come_too_late_or_go_nowhere() -> None:
    late = replace(few(), requests=[(1 << 61, 1, 1, [], 0)])
    with pytest.raises(StudyError, match="more than 27 days"):
        engines(late, compiled=False)
    held = engines(few(), compiled=False)
    with pytest.raises(PolicyError, match="sent to instance 1, and there are 1"):
        held.submit(0, 1, 0)


def test_an_audit_finds_a_request_that_is_lost() -> None:
    held = engines(few(), compiled=False, audited=True)
    held.submit(0, 0, 0)
    held._requests[len(REQUEST) + REQUEST.index("routed")] = 3
    with pytest.raises(AuditError, match="of 2 requests that are not finished 0 wait and 1 run"):
        held.advance(50)


def test_the_smallest_cases() -> None:
    server = Server(pages=1, page=1, max_requests=1, budget=1)
    one = System(server, 1, "lru", [(5, 1, 1, [], 0)], 0, [7] + 8 * [0])
    rows, _, _ = simulated(one, compiled=False, audited=True)
    assert rows == [[0, 5, 5, 12, 12, 0, 0, False, [12], 5, 0, 0, False]]
    rows, _, _ = simulated(replace(one, requests=[(5, 1, 2, [], 0)]), compiled=False, audited=True)
    assert rows == [[0, 5, -1, -1, -1, 0, 0, True, [], -1, 0, 0, False]]  # its second token would need a second page
    rows, _, held = simulated(replace(one, requests=[]), compiled=False)
    assert rows == []
    assert held.advance() is None


def test_work_that_takes_no_time_ends() -> None:
    system = replace(few(), rates=9 * [0])
    rows, _, _ = simulated(system, compiled=False, audited=True)
    assert [row[4] for row in rows] == [0, 10, 20, 30, 40]


def test_waits_of_one_at_a_time_are_those_of_an_m_d_1_queue() -> None:
    count, service = 60_000, 100_000
    gaps = np.random.default_rng(5).exponential(service / 0.6, count)
    arrivals = np.cumsum(gaps).astype(np.int64)
    server = Server(pages=10, page=16, max_requests=1, budget=1, chunked=False)
    requests = [(time, 1, 1, [], 0) for time in arrivals.tolist()]
    system = System(server, 1, "lru", requests, 0, [service] + 8 * [0])
    held = engines(system)
    for number, (time, *_) in enumerate(requests):
        held.advance(time)
        held.submit(number, 0, time)
    held.advance()
    waits = (held.served.admitted - held.served.routed) / service
    # batches of 2,000 are nearly independent: 99.9 % of the means of 30 lie within 3.7 standard errors
    means = waits.reshape(30, -1).mean(axis=1)
    assert abs(means.mean() - 0.6 / (2 * (1 - 0.6))) < 3.7 * means.std(ddof=1) / np.sqrt(30)
    assert means.std(ddof=1) / np.sqrt(30) < 0.02


def test_a_second_process_finds_the_compiled_loop(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from tests.sim.test_serving import engines, few\n"
        "held = engines(few(prefix='memory'))\n"
        "held.advance()\n"
        "stats = held.loop.module.run.stats\n"
        "print(json.dumps([sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]))"
    )
    environment = {**os.environ, "TIERSIM_CACHE": str(tmp_path)}
    found = [
        json.loads(
            subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout
        )
        for _ in range(2)
    ]
    assert found == [[0, 1], [1, 0]]
