"""TLB-aware SRRIP: lines of every kind, with and without pressure, against its naive twin, and worked out on paper."""

from __future__ import annotations

import functools
import random
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.way_policies import TlbAwareSrrip as Naive
from tiersim._base.errors import PolicyError
from tiersim.policies.way.contract import DATA, NESTED_TLB, PAGE_TABLE, TLB
from tiersim.policies.way.tlb_aware_srrip import TlbAwareSrrip
from tiersim.sim.source import borrow, load_module

Engine = Literal["plain", "compiled"]
KINDS = (DATA, DATA, PAGE_TABLE, TLB, TLB, NESTED_TLB)


@functools.cache
def verbs(engine: Engine) -> tuple[Any, Any, Any]:
    found = borrow(TlbAwareSrrip, ("hit", "fill", "victim"), "p")
    text = found.text
    for verb, names in found.arguments.items():  # inner functions cannot be called from here once they are compiled
        asked = ", ".join(names)
        text += f"\n\n\n@jit_cached\ndef {verb}({asked}):\n    return p_{verb}({asked})\n"
    module = load_module(text, compiled=engine == "compiled")
    return module.hit, module.fill, module.victim


class Pair:
    """One set in the middle of a cache, held by the policy and by its twin; whatever either answers is compared."""

    def __init__(
        self, ways: int, aware: bool = True, attempts: int = 1, engine: Engine = "plain", near: bool = True
    ) -> None:
        self.ways, self.aware, self.attempts, self.near = ways, aware, attempts, near
        self.hit, self.fill, self.victim = verbs(engine)
        self.words = TlbAwareSrrip.state(3, ways, 0).ravel()
        self.kinds = [DATA] * ways
        self.pressure = 0
        self.twin = Naive(
            ways, lambda way: self.kinds[way] >= TLB, lambda: aware and bool(self.pressure), attempts, near
        )

    def use(self, way: int) -> None:
        self.hit(self.words, 2, way, self.kinds[way], self.pressure, self.aware)
        self.twin.hit(way)
        self.compare()

    def put(self, way: int, kind: int) -> None:
        self.kinds[way] = kind
        self.fill(self.words, 2, way, kind, self.pressure, self.aware, self.near)
        self.twin.fill(way)
        self.compare()

    def evict(self, allowed: list[int]) -> int:
        mask = -1 if len(allowed) == self.ways else sum(1 << way for way in allowed)
        way = int(self.victim(self.words, 2, mask, self.ways, self.pressure, self.aware, self.attempts))
        assert way == self.twin.victim_of(allowed)
        self.compare()
        return way

    def expected(self) -> list[int]:
        """The predictions in the first word, way by way; each has just one."""
        word = int(self.words[2]) & (1 << 64) - 1
        ways = [[value for value in range(4) if word >> 16 * value + way & 1] for way in range(16)]
        assert not any(ways[self.ways :])
        return [value for (value,) in ways[: self.ways]]

    def compare(self) -> None:
        beside = int(self.words[3])
        assert self.expected() == self.twin.expected
        pointer = next(way for way in range(17) if beside >> 16 + way & 1)
        assert pointer % self.ways == self.twin.pointer
        assert [beside >> way & 1 for way in range(self.ways)] == [int(kind >= TLB) for kind in self.kinds]
        first = TlbAwareSrrip.state(1, self.ways, 0)[0].tolist()
        assert self.words[:2].tolist() == self.words[4:].tolist() == first


def live(pair: Pair, rng: random.Random, steps: int) -> None:
    """What a cache may ask of a full set, in any order, while pressure comes and goes."""
    for way in range(pair.ways):
        pair.put(way, rng.choice(KINDS))
    for _ in range(steps):
        if rng.random() < 0.1:
            pair.pressure = 1 - pair.pressure
        if rng.random() < 0.5:
            pair.use(rng.randrange(pair.ways))
            continue
        allowed = list(range(pair.ways))
        if rng.random() < 0.3:
            allowed = sorted(rng.sample(allowed, rng.randint(1, pair.ways)))
        way = pair.evict(allowed)
        assert way in allowed
        pair.put(way, rng.choice(KINDS))


@settings(deadline=None, max_examples=300)
@given(
    ways=st.integers(1, 16),
    aware=st.booleans(),
    attempts=st.sampled_from([0, 1, 1, 2, 3, 16]),
    near=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_any_set(ways: int, aware: bool, attempts: int, near: bool, seed: int) -> None:
    live(Pair(ways, aware, attempts, near=near), random.Random(seed), 120)


@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize("ways", [1, 3, 8, 16])
def test_compiled(ways: int, aware: bool) -> None:
    for seed in range(20):
        live(Pair(ways, aware, seed % 3, "compiled"), random.Random(seed), 200)


def fresh(kinds: list[int], pressure: int, attempts: int = 1) -> Pair:
    """A set whose lines are all predicted last, pointer at 0: filled without pressure, and the last line evicted."""
    pair = Pair(len(kinds), attempts=attempts)
    for way, kind in enumerate(kinds):
        pair.put(way, kind)
    pair.evict([len(kinds) - 1])
    assert pair.expected() == [3] * len(kinds)
    assert pair.twin.pointer == 0
    pair.pressure = pressure
    return pair


def test_a_block_is_spared_once() -> None:
    pair = fresh([TLB, DATA, DATA, DATA], pressure=1)
    assert pair.evict([0, 1, 2, 3]) == 1
    assert pair.expected() == [0, 3, 3, 3]


def test_a_set_of_blocks_gives_up_the_second() -> None:
    pair = fresh([TLB, NESTED_TLB, TLB, TLB], pressure=1)
    assert pair.evict([0, 1, 2, 3]) == 1
    assert pair.expected() == [0, 3, 3, 3]


def test_more_attempts_spare_more() -> None:
    pair = fresh([TLB, TLB, TLB, DATA], pressure=1, attempts=2)
    assert pair.evict([0, 1, 2, 3]) == 2
    assert pair.expected() == [0, 0, 3, 3]
    assert fresh([TLB, TLB, TLB, DATA], pressure=1, attempts=3).evict([0, 1, 2, 3]) == 3
    assert fresh([TLB, TLB, TLB, DATA], pressure=1, attempts=0).evict([0, 1, 2, 3]) == 0


def test_without_pressure_a_block_is_a_line_like_others() -> None:
    pair = fresh([TLB, DATA, DATA, DATA], pressure=0)
    assert pair.evict([0, 1, 2, 3]) == 0
    pair.put(0, TLB)
    pair.use(1)
    assert pair.expected() == [2, 2, 3, 3]
    pair.pressure = 1
    pair.use(0)
    assert pair.expected() == [0, 2, 3, 3]
    pair.put(2, TLB)
    pair.put(3, PAGE_TABLE)
    assert pair.expected() == [0, 2, 0, 2]


def test_more_than_sixteen_ways() -> None:
    with pytest.raises(PolicyError, match="room for 16 ways, not 17"):
        TlbAwareSrrip.state(1, 17, 0)
    assert TlbAwareSrrip.state(5, 16, 0).dtype == np.int64
