"""The engine of object replacement, against a plain account of LRU with sizes, deletions, pins and times to live."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_requests import object_requests
from tiersim._base.errors import AuditError, PolicyError
from tiersim._base.registry import build, register
from tiersim.sim.object_loop import DELETE, GET, HIT, MISS, OTHER, PIN, SET, UNPIN
from tiersim.sim.object_replay import Outcome, replay_objects
from tiersim.sim.requests import Requests, requests_from


def policy(name: Any) -> Any:
    return build("object-replacement", name)


class PlainLru:
    """What an LRU cache does with every kind of request, written from the contract alone."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.order: OrderedDict[int, None] = OrderedDict()  # what may be evicted, oldest first
        self.pinned: set[int] = set()
        self.size: dict[int, int] = {}
        self.until: dict[int, int] = {}

    def used(self) -> int:
        return sum(self.size[x] for x in (*self.order, *self.pinned))

    def drop(self, x: int) -> None:
        self.order.pop(x, None)
        self.pinned.discard(x)

    def ask(self, x: int, op: int, size: int, time: int, ttl: int) -> int:
        here = x in self.order or x in self.pinned
        if op == UNPIN:
            if x in self.pinned:
                self.pinned.discard(x)
                self.order[x] = None
            return OTHER
        if op == PIN:
            if x in self.order:
                self.drop(x)
                self.pinned.add(x)
            return OTHER
        if op == DELETE:
            self.drop(x)
            return OTHER
        if here and self.until[x] and self.until[x] < time:
            self.drop(x)
            here = False
        if here and not (op == SET and size != self.size[x] and x not in self.pinned):
            if x in self.order:
                self.order.move_to_end(x)
            if op == SET:
                self.until[x] = time + ttl if ttl else 0
            return HIT
        self.drop(x)
        if size <= self.capacity:
            while self.used() + size > self.capacity and self.order:
                self.order.popitem(last=False)
            if self.used() + size <= self.capacity:
                self.order[x] = None
                self.size[x] = size
                self.until[x] = time + ttl if ttl else 0
        return HIT if here else MISS


def account(requests: Requests, capacity: int) -> list[int]:
    cache = PlainLru(capacity)
    out = []
    for at in range(len(requests)):
        out.append(
            cache.ask(
                int(requests.ids[at]),
                GET if requests.op is None else int(requests.op[at]),
                1 if requests.size is None else int(requests.size[at]),
                at if requests.time is None else int(requests.time[at]),
                0 if requests.ttl is None else int(requests.ttl[at]),
            )
        )
    return out


def outcomes(name: Any, capacity: int, requests: Requests, **more: Any) -> tuple[list[int], Outcome]:
    held: list[Any] = []
    done = replay_objects(policy(name), capacity, requests, outcomes=held, **more)
    return np.concatenate(held).tolist(), done


@settings(deadline=None, max_examples=400)
@given(requests=object_requests(), capacity=st.integers(1, 40))
def test_lru_is_what_a_plain_account_says(requests: Requests, capacity: int) -> None:
    found, _ = outcomes("lru", capacity, requests, compiled=False)
    assert found == account(requests, capacity)


@settings(deadline=None, max_examples=60)
@given(requests=object_requests(whole=True), capacity=st.integers(1, 40))
def test_compiled_equals_plain(requests: Requests, capacity: int) -> None:
    plain, counted = outcomes("lru", capacity, requests, compiled=False)
    compiled, same = outcomes("lru", capacity, requests)
    assert compiled == plain
    assert same == counted


def everything(count: int = 3000, seed: int = 1) -> Requests:
    """Requests with all columns."""
    rng = np.random.default_rng(seed)
    ids = np.where(rng.random(count) < 0.5, rng.integers(0, 20, count), rng.integers(0, 300, count))
    return requests_from(
        ids,
        size=rng.integers(1, 9, 300)[ids],
        op=rng.choice([GET, GET, GET, GET, SET, DELETE, PIN, UNPIN], count).astype(np.uint8),
        ttl=rng.choice([0, 300], count),
        time=np.arange(count) * 3,
        tenant=rng.integers(0, 3, count).astype(np.uint32),
        cost=rng.random(count) + 0.1,
    )


def test_totals_windows_and_tenants_come_from_the_outcomes() -> None:
    requests = everything()
    found, done = outcomes("lru", 200, requests, warm_up=500, cuts=[1000, 2000])
    hit, demand = np.array(found) == HIT, np.array(found) != OTHER
    assert requests.size is not None
    assert requests.tenant is not None
    assert done.totals.requests == demand[500:].sum()
    assert done.totals.hits == hit[500:].sum()
    assert done.totals.misses == done.totals.requests - done.totals.hits
    assert done.totals.bytes == requests.size[500:][demand[500:]].sum()
    assert done.totals.byte_misses == requests.size[500:][(demand & ~hit)[500:]].sum()
    assert [end for end, _ in done.windows] == [500, 1000, 2000, 3000]
    for (end, window), begin in zip(done.windows, [0, 500, 1000, 2000], strict=True):
        assert window.hits == hit[begin:end].sum()
    assert sum(held.requests for held in done.tenants.values()) == done.totals.requests
    for tenant, held in done.tenants.items():
        of = requests.tenant[500:] == tenant
        assert held.hits == (hit[500:] & of).sum()
        assert held.bytes == requests.size[500:][demand[500:] & of].sum()


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(-5, 3500), max_size=6))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    requests = everything()
    assert outcomes("lru", 200, requests, cuts=cuts)[0] == outcomes("lru", 200, requests)[0]


def test_an_object_that_expires_at_this_very_time_is_fresh() -> None:
    requests = requests_from([1, 1, 1], time=[0, 10, 11], ttl=[10, 10, 10])
    assert outcomes("lru", 5, requests, compiled=False)[0] == [MISS, HIT, MISS]


def test_a_pinned_object_stays_and_goes_when_nothing_else_can() -> None:
    ids = [1, 1, 2, 3, 1, 1, 4, 5, 1]
    op = [GET, PIN, GET, GET, GET, UNPIN, GET, GET, GET]
    found, done = outcomes("lru", 2, requests_from(ids, op=op), compiled=False)
    assert found == [MISS, OTHER, MISS, MISS, HIT, OTHER, MISS, MISS, MISS]
    full, done = outcomes("lru", 1, requests_from([1, 1, 2, 1], op=[GET, PIN, GET, GET]), compiled=False)
    assert full == [MISS, OTHER, MISS, HIT]
    assert done.counters["too_large"] == 1
    assert done.counters["pinned"] == 1


def test_the_life_of_an_object() -> None:
    requests = requests_from([7, 8, 9, 7, 7])
    done = replay_objects(policy("lru"), 2, requests, watch=0, compiled=False)
    told = [(event.request, int(requests.keys[event.asked]), event.before, event.after) for event in done.life]
    assert told == [(0, 7, "out", "in"), (2, 9, "in", "out"), (3, 7, "out", "in"), (4, 7, "in", "in")]
    compiled = replay_objects(policy("lru"), 2, requests, watch=0)
    assert compiled.life == done.life


def test_s3_fifo_says_where_an_object_goes() -> None:
    ids = [1, *range(2, 30), 1, *range(30, 60)]
    requests = requests_from(ids)
    life = replay_objects(policy("s3-fifo"), 20, requests, watch=0).life
    moves = [(event.before, event.after) for event in life if event.before != event.after]
    assert moves[:3] == [("out", "small"), ("small", "ghost"), ("ghost", "main")]


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(PolicyError, match="room for something"):
        replay_objects(policy("lru"), 0, requests_from([1]))


def test_unit_only_policies_refuse_sizes() -> None:
    lazy = register("lazy", family="object-replacement")(type("Lazy", (Faulty,), {"unit_only": "Lazy counts objects"}))
    with pytest.raises(PolicyError, match="Lazy counts objects"):
        replay_objects(lazy(), 3, requests_from([1], size=[2]))


class Faulty:
    """FIFO; the classes below break it."""

    @staticmethod
    def state(objects: int) -> dict[str, Any]:
        return {"age": np.zeros(objects, np.int64)}

    @staticmethod
    def lookup(age: Any, x: int) -> bool:
        return age[x] != 0

    @staticmethod
    def touch() -> None:
        return

    @staticmethod
    def insert(age: Any, x: int, now: int) -> None:
        age[x] = now + 1

    @staticmethod
    def victim(age: Any, objects: int) -> int:
        best = -1
        for x in range(objects):
            if age[x] and (best < 0 or age[x] < age[best]):
                best = x
        return best

    @staticmethod
    def remove(age: Any, x: int) -> None:
        age[x] = 0


@register("of-a-test", family="object-replacement")
class Right(Faulty):
    """Nothing wrong with it."""


@register("wrong-victim", family="object-replacement")
class WrongVictim(Faulty):
    """Evicts what is not there."""

    @staticmethod
    def victim(age: Any, objects: int) -> int:
        return objects + 5


@register("leaks", family="object-replacement")
class Leaks(Faulty):
    """Throws away more than it is asked to."""

    @staticmethod
    def insert(age: Any, x: int, now: int) -> None:
        if now == 5:
            age[0] = 0
        age[x] = now + 1


@register("asks-for-more", family="object-replacement")
class AsksForMore(Faulty):
    """Asks for an array that it does not have."""

    @staticmethod
    def remove(age: Any, ages: Any, x: int) -> None:
        age[x] = 0


@register("late-fault", family="object-replacement")
class LateFault(Faulty):
    """Fails while it runs."""

    compiled: ClassVar[bool] = False

    @staticmethod
    def touch(age: Any, now: int) -> None:
        if now > 8:
            age["no"] = 0


STREAM = [0, 1, 2, 3, 4, 5, 6, 0, 6, 6, 1, 2]


@pytest.mark.parametrize("compiled", [True, False])
def test_what_breaks_the_contract_is_told(compiled: bool) -> None:
    replay_objects(Right(), 3, requests_from(STREAM), compiled=compiled)
    with pytest.raises(PolicyError, match=r"WrongVictim.victim gave 12, which is no object in the cache"):
        replay_objects(WrongVictim(), 3, requests_from(STREAM), compiled=compiled)
    with pytest.raises(AuditError, match="objects that the policy says it holds"):
        replay_objects(Leaks(), 7, requests_from(STREAM), compiled=compiled)
    with pytest.raises(PolicyError, match="asks for 'ages', which is no array of its state"):
        replay_objects(AsksForMore(), 3, requests_from(STREAM), compiled=compiled)
    with pytest.raises(PolicyError, match="LateFault fails: TypeError"):
        replay_objects(LateFault(), 3, requests_from(STREAM), compiled=compiled)


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    code = (
        "import json; from tiersim._base.registry import build; from tiersim.sim.requests import requests_from;"
        "from tiersim.sim.object_replay import replay_objects; from tiersim.sim import object_loop;"
        "r = requests_from([1, 2, 1]); p = build('object-replacement', 'lru'); replay_objects(p, 2, r);"
        "m = object_loop.make_loop(p, object_loop.Shape()).module;"
        "print(json.dumps([sum(m.run.stats.cache_hits.values()), sum(m.run.stats.cache_misses.values())]))"
    )
    environment = {**os.environ, "TIERSIM_CACHE": str(tmp_path)}
    told = [
        json.loads(
            subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout
        )
        for _ in range(2)
    ]
    assert told == [[0, 1], [1, 0]]
