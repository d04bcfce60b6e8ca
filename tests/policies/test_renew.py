"""`renew` is `victim` and `fill` in one: the same way, and the same words after it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim.policies.way.lru import Lru
from tiersim.policies.way.tlb_aware_srrip import TlbAwareSrrip
from tiersim.sim.cache_loop import verbs_of

LRU = [*range(1, 18), 24, 64, 65]
SRRIP = range(1, 17)


def words_after(policy: Any, ways: int, seed: int, *, at_once: bool) -> list[list[int]]:
    """The words of a set after each of many hits and new lines, and the ways that these took."""
    rng = random.Random(seed)
    s: NDArray[np.int64] = policy.state(1, ways, 0)[0].copy()
    known = {"s": s, "at": 0, "ways": ways, "allowed": -1, **getattr(policy, "__dict__", {})}
    verbs = verbs_of(type(policy), "p").arguments

    def call(verb: str, **given: Any) -> Any:
        held = known | given
        return getattr(policy, verb)(*(held[name] for name in verbs[verb]))

    for way in range(ways):
        call("fill", way=way, kind=rng.randrange(4), pressure=rng.randrange(2))
    seen = []
    for _ in range(200):
        now = {"kind": rng.randrange(4), "pressure": rng.randrange(2)}
        if rng.random() < 0.4:
            way = rng.randrange(ways)
            call("hit", way=way, **now)
        elif at_once:
            way = call("renew", **now)
        else:
            way = call("victim", **now)
            call("fill", way=way, **now)
        seen.append([way, *s.tolist()])
    return seen


@settings(deadline=None, max_examples=60)
@given(ways=st.sampled_from(LRU), seed=st.integers(0, 2**32))
def test_lru(ways: int, seed: int) -> None:
    assert words_after(Lru(), ways, seed, at_once=True) == words_after(Lru(), ways, seed, at_once=False)


@settings(deadline=None, max_examples=200)
@given(
    ways=st.sampled_from(SRRIP),
    seed=st.integers(0, 2**32),
    aware=st.booleans(),
    near=st.booleans(),
    attempts=st.sampled_from([0, 1, 2, 16]),
)
def test_tlb_aware_srrip(ways: int, seed: int, aware: bool, near: bool, attempts: int) -> None:
    policy = TlbAwareSrrip(aware=aware, near=near, attempts=attempts)
    assert words_after(policy, ways, seed, at_once=True) == words_after(policy, ways, seed, at_once=False)


class Newest(Lru):
    """Most recently used: `renew` of LRU does not know it."""

    @staticmethod
    def victim(s: Any, at: int, ways: int) -> int:
        way: int = s[at] & 15
        return way


class Same(Lru):
    @staticmethod
    def renew(s: Any, at: int, ways: int) -> int:
        return Lru.renew(s, at, ways)


class WithoutRenew:
    hit, fill, victim = (staticmethod(getattr(Lru, verb)) for verb in ("hit", "fill", "victim"))


@pytest.mark.parametrize(("cls", "renews"), [(Lru, True), (Same, True), (Newest, False), (WithoutRenew, False)])
def test_an_inherited_renew_says_nothing_of_a_new_victim(cls: type, renews: bool) -> None:
    assert ("renew" in verbs_of(cls, "p").arguments) == renews
