"""Random replacement: who is drawn, and how often; the books; and libCacheSim within an interval."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.libcachesim_peer import hits
from tests.oracles.object_policies.against import outcomes
from tests.oracles.object_requests import scans_and_favourites
from tiersim.policies.object.random_ import Random


def test_by_hand() -> None:
    # at a capacity of one there is no choice; while there is room nothing goes
    assert outcomes("random", 1, [1, 1, 2, 2, 1]) == [0, 1, 0, 1, 0]
    assert outcomes("random", 3, [1, 2, 3, 3, 2, 1]) == [0, 0, 0, 1, 1, 1]
    # 4 is there after its miss, and two of the others
    after = outcomes("random", 3, [1, 2, 3, 4, 4])
    assert after == [0, 0, 0, 0, 1]


def test_each_is_as_likely_and_draws_do_not_depend_on_each_other() -> None:
    state = {name: array.tolist() for name, array in Random.state(8, 8, seed=1).items()}
    for x in range(5):
        Random.insert(state["held"], state["spot"], state["n"], x)
    drawn = []
    for _ in range(20_000):
        x = Random.victim(state["held"], state["n"])
        assert x == Random.victim(state["held"], state["n"])
        Random.evict(state["held"], state["spot"], state["n"], x)
        Random.insert(state["held"], state["spot"], state["n"], x)
        drawn.append(x)
    pairs = np.bincount(np.array(drawn[:-1]) * 5 + np.array(drawn[1:]), minlength=25)
    # each object is drawn a fifth of the time: 4000, with a standard deviation of 57; pairs 800 and 28
    assert np.abs(np.bincount(drawn) - 4000).max() < 5 * 57
    # what was evicted last enters at the end, so that an independent draw finds each of the five as often
    assert np.abs(pairs - 800).max() < 5 * 28


@settings(deadline=None, max_examples=100)
@given(steps=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=80))
def test_the_books(steps: list[tuple[int, bool]]) -> None:
    """Objects enter and leave, drawn or not: what is held is what a set holds."""
    state = {name: array.tolist() for name, array in Random.state(10, 10, seed=3).items()}
    held: set[int] = set()
    for x, drawn in steps:
        if x not in held:
            Random.insert(state["held"], state["spot"], state["n"], x)
            held.add(x)
        elif drawn:
            x = Random.victim(state["held"], state["n"])
            Random.evict(state["held"], state["spot"], state["n"], x)
            held.remove(x)
        else:
            Random.remove(state["held"], state["spot"], state["n"], x)
            held.remove(x)
        assert set(state["held"][: state["n"][0]]) == held
        assert [y for y in range(10) if Random.lookup(state["spot"], y)] == sorted(held)


def test_misses_as_often_as_fifo_where_requests_are_independent() -> None:
    # Gelenbe, IEEE Transactions on Computers 22(6), 1973
    ids = np.minimum(np.random.default_rng(2).zipf(1.3, 30_000), 2000)
    fifo = outcomes("fifo", 100, ids).count(0)
    found = [outcomes("random", 100, ids, compiled=True, seed=seed).count(0) for seed in range(10)]
    assert abs(np.mean(found) - fifo) < 4 * np.std(found)


def test_misses_about_as_often_as_libcachesim() -> None:
    ids = scans_and_favourites(12_000, 3)
    for capacity in (20, 200):
        found = [outcomes("random", capacity, ids, compiled=True, seed=seed).count(0) for seed in range(8)]
        peer = [hits("Random", ids, capacity).count(False) for _ in range(8)]
        spread = max(np.std(found), np.std(peer), 1)
        assert abs(np.mean(found) - np.mean(peer)) < 4 * spread
        assert np.std(found) > 0
