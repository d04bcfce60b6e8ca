"""A small machine whose addresses are translated, and naive TLBs, for the tests of what stands behind them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim.policies.way.lru import Lru
from tiersim.sim.cache_loop import Level
from tiersim.sim.pages import PagedEvents, paged_from
from tiersim.sim.translation import Timing
from tiersim.sim.translation_loop import SHOOTDOWN, Loop, Mechanism, Tlb

__all__ = [
    "L1",
    "MEMORY",
    "PAGE",
    "PWC",
    "REGION",
    "STLB",
    "TIMING",
    "Naive",
    "addresses",
    "all_of",
    "loop_of",
    "none_of",
    "references",
    "sets_of",
    "some",
]

PAGE, REGION = 1 << 12, 1 << 21
L1, MEMORY, STLB, PWC = 4, 100, 10, 2  # latencies
TIMING = Timing({"l1": L1, "memory": MEMORY, "dtlb": 1, "stlb": STLB} | dict.fromkeys(("pwc1", "pwc2", "pwc3"), PWC))

Which = Callable[[NDArray[np.int64]], NDArray[np.bool_]]


def none_of(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.zeros(len(numbers), bool)


def all_of(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.ones(len(numbers), bool)


def some(share: float, salt: int) -> Which:
    """A share of all numbers, the same at every call."""

    def which(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([random.Random(f"{salt} {number}").random() < share for number in numbers.tolist()], bool)

    return which


def references(address: Sequence[int], shot: Sequence[int] = (), asid: Sequence[int] | None = None) -> PagedEvents:
    """Loads of these addresses; those at the positions `shot` take the translation of their page away instead."""
    count = len(address)
    columns = {
        "address": np.asarray(address, np.uint64),
        "kind": np.zeros(count, np.uint8),
        "size": np.ones(count, np.uint16),
        "gap": np.ones(count, np.uint32),
    }
    made = paged_from(columns if asid is None else columns | {"asid": np.asarray(asid, np.uint16)})
    assert made.held is not None
    made.held[list(shot)] |= SHOOTDOWN
    return made


def loop_of(
    mechanism: Mechanism,
    *,
    ways: tuple[int, int, int, int] = (16, 1, 1, 1),
    walk_caches: bool = True,
    coalesces: bool = False,
    power_of_two: bool = True,
) -> Loop:
    """One cache, two TLBs, and page-walk caches, with these ways each; the second TLB may coalesce."""
    l1, first, second, pwc = ways
    pwcs = tuple(Tlb(f"pwc{k}", pwc, Lru()) for k in (1, 2, 3)) if walk_caches else ()
    return Loop(
        (Level("l1", l1, Lru(), None, frozenset({"data"}), classify=False),),
        (
            Tlb("dtlb", first, Lru(), serves=frozenset({"data"})),
            Tlb("stlb", second, Lru(), power_of_two=power_of_two, coalesces=coalesces),
        ),
        pwcs,
        mechanism,
    )


def sets_of(loop: Loop, **sets: int) -> dict[str, int]:
    """One set in each part, unless said."""
    return dict.fromkeys(["l1", *(part.name for part in loop.lookups)], 1) | sets


@st.composite
def addresses(draw: st.DrawFn, most: int = 120) -> list[int]:
    """Addresses in few pages of few regions, so that they come again."""
    regions = draw(st.lists(st.integers(0, 40), min_size=1, max_size=4))
    spread = draw(st.sampled_from([2, 9, 40]))
    picked = st.tuples(st.sampled_from(regions), st.integers(0, spread - 1), st.integers(0, 3))
    return [
        region * REGION + page * 3 % 512 * PAGE + line * 64
        for region, page, line in draw(st.lists(picked, min_size=1, max_size=most))
    ]


@dataclass
class Naive:
    """A TLB, each set a list of entries with the one used last in front: `of` gives an entry's key and set number."""

    sets: int
    ways: int
    of: Callable[[Any], tuple[Any, int]] = lambda unit: (unit, unit[1])
    held: dict[int, list[Any]] = field(default_factory=dict)

    def look(self, unit: Any) -> bool:
        key, number = self.of(unit)
        order = self.held.setdefault(number % self.sets, [])
        if key not in order:
            return False
        order.remove(key)
        order.insert(0, key)
        return True

    def put(self, unit: Any) -> Any:
        """What an entry evicts, or None."""
        if self.look(unit):
            return None
        key, number = self.of(unit)
        order = self.held[number % self.sets]
        order.insert(0, key)
        return order.pop() if len(order) > self.ways else None

    def remove(self, unit: Any) -> None:
        key, number = self.of(unit)
        order = self.held.setdefault(number % self.sets, [])
        if key in order:
            order.remove(key)

    def count(self) -> int:
        return sum(map(len, self.held.values()))
