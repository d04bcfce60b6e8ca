"""Worked examples: who leaves a full cache, from the published rules, on paper."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.sim.test_expert_stack import tokens_of
from tiersim._base.registry import build
from tiersim.sim.expert_stack import expert_hits


def hits(policy: Any, picks: list[list[int]], size: int, layers: int = 1, experts: int = 6) -> int:
    """Hits of a run in a cold cache."""
    made = build("expert-replacement", policy)
    return int(expert_hits(made, tokens_of([picks], layers, experts), cold=True, compiled=False).hits(size)[0])


def one_by_one(text: str) -> list[list[int]]:
    """A letter is an expert, and a token of its own."""
    return [["abcdef".index(letter)] for letter in text]


def test_lru() -> None:
    # room for two: a b, a hits; c takes the place of b; a hits; b misses
    assert hits("lru", one_by_one("abacab"), 2) == 2


def test_lfu_counts_uses_outside_the_cache_too() -> None:
    # room for two: a, a hits, b; c (1 use) takes the place of b (1 use; a has 2); b (2) comes for c (1); c (2) comes,
    # and of a (2, used second) and b (2, used fifth) a leaves, and misses. If uses outside were forgotten, b and c
    # would have 1 when they come again, and a would stay and hit
    assert hits("lfu", one_by_one("aabcbca"), 2) == 1


def test_lfu_aged_forgets() -> None:
    # six experts and a period of 1: counts are halved after the sixth use. Room for two: a, a, a, a; b; c takes the
    # place of b. At use 7 a has 2, b and c nothing; b (1) comes for c, and hits (2). When c comes a (2) and b (2) are
    # alike, and a, used longest ago, leaves: b hits. Without halving a has 4 and b 3, b leaves, and misses
    picks = one_by_one("aaaabcbbcb")
    assert hits({"use": "lfu-aged", "period": 1}, picks, 2) == 5
    assert hits("lfu", picks, 2) == 4


def test_belady() -> None:
    # room for two: at c, a is used next (at once) and b later: b leaves; a hits; at b, a and c are not used again
    assert hits("belady", one_by_one("abcab"), 2) == 1
    # at d, of a (used at 6) and c (at 5): a leaves
    assert hits("belady", one_by_one("acdca"), 2) == 1


def test_sch_sees_so_many_tokens_and_the_one_that_is_served() -> None:
    # room for two, at c: b is used after one token, a after two. With two tokens in sight (c, b) a has no use there and
    # leaves, b hits. With one in sight (c itself) neither has: a, used longest ago, leaves too
    assert hits({"use": "sch", "ahead": 2}, one_by_one("abcba"), 2) == 1
    # at c: a is used after one token. With one in sight a, used longest ago, leaves, and misses; with two b leaves
    assert hits({"use": "sch", "ahead": 1}, one_by_one("abca"), 2) == 0
    assert hits({"use": "sch", "ahead": 2}, one_by_one("abca"), 2) == 1


def test_sch_no_longer_counts_what_the_token_has_used() -> None:
    # room for two: a and b, then a token of b and c. When c enters, b has had its turn and no use in sight; a is used
    # next, so that b leaves, though it was used last
    assert hits({"use": "sch", "ahead": 2}, [[0], [1], [1, 2], [0]], 2) == 2


def test_sch_takes_the_one_used_longest_ago_of_equals() -> None:
    # three in sight at d: a, b and c are each used once more, in the order c, b, a; a was used longest ago and leaves
    assert hits({"use": "sch", "ahead": 4}, one_by_one("abcdcba"), 3) == 2


def test_least_stale_gives_up_what_the_sweep_has_passed() -> None:
    # two layers of six experts: 0 to 5 and 6 to 11, room for three, which 6, 0 and 1 take. At 7, of layer 1, the sweep
    # has passed 0 and 1, and 0, used longest ago, leaves; LRU would give up 6
    picks = [[6], [0], [1, 7]]
    assert hits("least-stale", [*picks, [6]], 3, layers=2) == 1
    assert hits("lru", [*picks, [6]], 3, layers=2) == 0
    assert hits("least-stale", [*picks, [0]], 3, layers=2) == 0
    assert hits("lru", [*picks, [0]], 3, layers=2) == 1
    # at 2, of layer 0, nothing has been passed: of 6, 1 and 7 leaves 6, used longest ago
    assert hits("least-stale", [*picks, [2], [6]], 3, layers=2) == 0


def test_static_holds_the_most_popular_and_no_other() -> None:
    # a three times, b twice, c once: room for two holds a and b, each loaded at its first use, and c never enters
    assert hits("static", one_by_one("cabaab"), 2) == 3
    # of equally popular ones the higher number stays
    assert hits("static", one_by_one("abab"), 1) == 1


def test_random_takes_each_as_often() -> None:
    worth = build("expert-replacement", "random").worth
    gone = [min(range(6), key=lambda x: worth(x, now, 7)) for now in range(12_000)]
    for x in range(6):
        assert gone.count(x) == pytest.approx(2000, abs=200)  # five standard deviations
    again = [one == two for one, two in pairwise(gone)]
    assert sum(again) == pytest.approx(2000, abs=200)
