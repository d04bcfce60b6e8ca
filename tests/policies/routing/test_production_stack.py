"""The production stack's routers by hand."""

from __future__ import annotations

from collections import Counter

from tests.oracles.routing import Request, cluster, prompt, router

NAME = "production-stack"
SECOND = 10**12


def test_by_session_and_without_one_to_the_fewest_lately() -> None:
    made, ring = router(NAME, rule="session"), router("consistent-hash")
    for k in range(60):
        ask = Request(session=k % 7)
        assert made.route(ask, cluster()) == ring.route(ask, cluster())
    alone = router(NAME, 3, rule="session")
    assert [alone.route(Request(time=k), cluster(3)) for k in range(4)] == [0, 1, 2, 0]
    # a minute later the first ones count no more: 0 has one, 1 and 2 none
    assert alone.route(Request(time=60 * SECOND + 2), cluster(3)) == 1
    short = router(NAME, 3, rule="session", window="1 s")
    assert [short.route(Request(time=k * SECOND), cluster(3)) for k in range(4)] == [0, 0, 0, 0]


def test_by_cache_if_all_but_so_many_tokens_are_there() -> None:
    made = router(NAME, 4)
    assert made.route(Request(prompt=5000), cluster(cached=[0, 2999, 3000, 3000])) == 2
    assert made.route(Request(prompt=5000), cluster(cached=[0, 2999, 0, 0])) == 0  # the fewest lately
    assert made.route(Request(prompt=100), cluster()) == 1  # nothing at all is cached
    near = router(NAME, 4, missing=1)
    assert near.route(Request(prompt=1000), cluster(cached=[0, 0, 0, 999])) == 3
    assert near.route(Request(prompt=1000), cluster(cached=[0, 0, 0, 998])) == 0
    session = Request(prompt=5000, session=3)
    assert made.route(session, cluster()) == router("consistent-hash").route(session, cluster())


def test_by_what_was_sent_before() -> None:
    made = router(NAME, 4, rule="prefix-aware")
    assert made.random
    first = made.route(prompt(1, 2), cluster())
    assert {made.route(prompt(1, 2, k), cluster()) for k in range(10, 40)} == {first}
    others = Counter(made.route(prompt(k), cluster()) for k in range(100, 500))
    assert all(60 < count < 140 for count in others.values())


def test_the_longest_beginning_decides() -> None:
    made = router(NAME, 4, rule="prefix-aware")
    made.holders = {1: 0b0011, 2: 0b0010, 3: 0b1000}
    assert {made.route(prompt(1, 2, 3), cluster()) for _ in range(20)} == {1}  # 3 is there, but not after 1 2 at 1
    assert made.holders[3] == 0b1010
    made.holders = {1: 0b0101}
    assert {made.route(prompt(1, k), cluster()) for k in range(50, 90)} == {0, 2}


def test_too_short_a_beginning_goes_to_the_fewest_lately() -> None:
    made = router(NAME, 4, rule="prefix-aware", least=600)
    assert [made.route(prompt(1, k), cluster()) for k in range(2, 6)] == [0, 1, 2, 3]
    assert made.holders[1] == 0b1111
    assert made.route(prompt(1, 3, 9), cluster()) == 1
