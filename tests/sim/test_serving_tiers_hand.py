"""Links, tiers and swapping on requests that are few enough to be worked out by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.sim.serving import Linear, Picky, prompts_from
from tests.sim.test_serving import Wrong
from tiersim._base.errors import AuditError, PolicyError, StudyError
from tiersim._base.registry import build
from tiersim.sim.serving import TIER_HEADER, Engines, Link, Server, Tier
from tiersim.sim.serving_loop import CACHE, INSTANCE

RATES = [100, 0, 1, 0, 0, 0, 0, 0, 0]  # an iteration takes 100 ps, and one for each new token of a prompt
PAGE, BLOCK = 4, 8
NEAR, FAR = Link(load=7, store=5, latency=3), Link(load=13, store=11, latency=2)
PLAIN: list[dict[str, Any]] = [
    {"compiled": False, "audited": True},
    {"compiled": False, "audited": True, "fast": False},
]
WAYS = [*PLAIN, {}]  # one loop is compiled

Request = tuple[int, int, int, list[int], int]


def served(
    requests: list[Request], server: Server, count: int = 1, until: int | None = None, **options: Any
) -> Engines:
    policies = [build("object-replacement", "lru") for _ in server.tiers]
    given: dict[str, Any] = {"policy": build("object-replacement", "lru"), "tier_policies": policies} | options
    held = Engines(prompts_from(requests, BLOCK), server, count, Linear(), {"rates": np.array(RATES)}, **given)
    for number, (now, _, _, _, instance) in enumerate(requests):
        held.advance(now)
        held.submit(number, instance, now)
    held.advance(until)
    return held


@pytest.mark.parametrize("way", WAYS)
def test_blocks_are_fetched_from_a_tier_and_others_wait_for_them(way: dict[str, Any]) -> None:
    server = Server(pages=8, page=PAGE, prefix="memory", links=(NEAR,), tiers=(Tier(10, 0),))
    requests = [
        (0, 17, 1, [0, 1, 2], 0),  # ends at 117; of its blocks the second goes to the tier first, both have come at 140
        (200, 25, 1, [3, 4, 5, 6], 0),  # both leave the memory for it
        (330, 17, 2, [0, 1, 7], 0),  # 4 pages come from the tier, until 361
        (340, 17, 1, [0, 1, 8], 0),  # waits for the same
    ]
    held = served(requests, server, **way)
    it = held.served
    assert it.admitted.tolist() == [0, 200, 330, 340]
    assert it.ready.tolist() == [0, 200, 361, 361]
    assert it.hit.tolist() == [0, 0, 16, 16]
    assert it.fetched.tolist() == [0, 0, 16, 0]
    assert it.first.tolist() == [117, 325, 463, 463]
    assert it.end.tolist() == [117, 325, 563, 463]
    assert held.moved() == [{"loaded": [4], "stored": [10], "load_busy": [28], "store_busy": [50]}]
    (tier,) = held.tiers()
    assert tier == {"blocks": [2 * 208 + 5 * 238], "held": [5], "fetched": [2], "put": [5], "left": [0]}
    assert held.occupancy()["loading"] == [31 + 21]


@pytest.mark.parametrize("way", PLAIN)
def test_what_leaves_the_memory_goes_from_tier_to_tier(way: dict[str, Any]) -> None:
    server = Server(
        pages=4, page=PAGE, prefix="memory", links=(NEAR, FAR), tiers=(Tier(1, 0), Tier(1, 1)), write="eviction"
    )
    requests = [
        (0, 9, 1, [0, 1], 0),
        (200, 9, 1, [2, 3], 0),  # block 0 leaves
        (400, 9, 1, [4, 5], 0),  # block 2 leaves, and block 0 leaves the first tier for it
        (600, 9, 1, [0, 6], 0),  # comes from the second one, while block 2 takes its place there
        (601, 13, 1, [0, 7], 0),  # there is no memory for it
    ]
    held = served(requests, server, **way)
    it = held.served
    assert it.ready.tolist() == [0, 200, 400, 628, 729]
    assert it.fetched.tolist() == [0, 0, 0, 8, 0]
    assert it.hit.tolist() == [0, 0, 0, 8, 8]
    assert it.admitted.tolist() == [0, 200, 400, 600, 729]
    assert it.end.tolist() == [109, 309, 509, 729, 834]
    near, far = held.tiers()
    assert {name: near[name] for name in ("held", "put", "left", "fetched")} == {
        "held": [1],
        "put": [3],
        "left": [2],
        "fetched": [0],
    }
    assert {name: far[name] for name in ("held", "put", "left", "fetched")} == {
        "held": [1],
        "put": [2],
        "left": [1],
        "fetched": [1],
    }
    assert held.moved()[1] == {"loaded": [2], "stored": [4], "load_busy": [26], "store_busy": [44]}


@pytest.mark.parametrize("way", PLAIN)
def test_a_preempted_request_goes_to_the_swap_and_comes_back(way: dict[str, Any]) -> None:
    server = Server(pages=6, page=PAGE, links=(NEAR,), swap=3)
    held = served([(0, 8, 8, [], 0), (0, 8, 8, [], 0)], server, **way)
    it = held.served
    assert it.preemptions.tolist() == it.swaps.tolist() == [0, 1]
    assert held.iterations.tokens(0) == [116, 216, 316, 416, 516, 616, 716, 816]
    # 3 pages are stored from 516 on, and loaded from 816 to 837
    assert held.iterations.tokens(1) == [116, 216, 316, 416, 516, 940, 1040, 1140]
    gaps, many = held.iterations.gaps()
    told: Counter[int] = Counter()
    for gap, count in zip(gaps.tolist(), many.tolist(), strict=True):
        told[gap] += count
    assert +told == Counter({100: 13, 424: 1})
    assert held.moved() == [{"loaded": [3], "stored": [3], "load_busy": [21], "store_busy": [15]}]
    assert held.swapped() == [3 * (840 - 516)]
    assert held.occupancy()["loading"] == [840 - 816]
    less = served([(0, 8, 8, [], 0), (0, 8, 8, [], 0)], Server(pages=6, page=PAGE, links=(NEAR,), swap=2), **way)
    assert less.served.swaps.tolist() == [0, 0]
    assert less.served.preemptions.tolist() == [0, 1]


@pytest.mark.parametrize("way", WAYS)
def test_instances_share_a_tier_and_its_link(way: dict[str, Any]) -> None:
    link = Link(load=7, store=5, latency=3, shared=True)
    server = Server(pages=8, page=PAGE, prefix="memory", links=(link,), tiers=(Tier(10, 0, shared=True),))
    requests = [
        (0, 9, 1, [0, 1], 1),  # its block has come at 122
        (110, 9, 1, [0, 2], 0),
        (111, 9, 1, [0, 3], 2),  # its pages come behind those of the other instance
    ]
    held = served(requests, server, 3, **way)
    assert held.served.ready.tolist() == [0, 139, 153]
    assert held.served.end.tolist() == [109, 240, 254]
    assert held.moved() == [{"loaded": [4], "stored": [2], "load_busy": [28], "store_busy": [10]}]
    assert held.tiers()[0] == {"blocks": [254 - 109], "held": [1], "fetched": [2], "put": [1], "left": [0]}


def test_a_tier_may_refuse_and_the_next_one_gets_the_block() -> None:
    server = Server(pages=40, page=PAGE, prefix="memory", links=(NEAR, FAR), tiers=(Tier(1, 0), Tier(9, 1)))
    policies = [Picky(), build("object-replacement", "lru")]
    held = served([(0, 33, 1, [0, 1, 2, 3, 4], 0)], server, tier_policies=policies, compiled=False, audited=True)
    # the second block that comes to the first tier is refused, the next ones push out the one before
    assert [tier["put"] for tier in held.tiers()] == [[3], [3]]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"tiers": (Tier(10, 0),), "prefix": "apart", "blocks": 3}, "prefix cache in the memory"),
        ({"tiers": (Tier(0, 0),)}, "at least one block"),
        ({"tiers": (Tier(1, 1),)}, "behind link 1, and there are 1"),
        ({"swap": 3, "swap_link": 2}, "behind link 2, and there are 1"),
        ({"swap": -1}, "it is -1 and must be at least 0"),
        ({"links": (Link(1, -2),)}, "store of link 0 is -2"),
    ],
)
def test_servers_that_cannot_be(said: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        served([], Server(**{"pages": 9, "page": PAGE, "prefix": "memory", "links": (NEAR,)} | said), compiled=False)


def test_tiers_need_blocks_and_policies() -> None:
    server = Server(pages=9, page=PAGE, prefix="memory", links=(NEAR,), tiers=(Tier(1, 0),))
    with pytest.raises(StudyError, match="1 tiers and 0 policies"):
        served([], server, tier_policies=[], compiled=False)
    with pytest.raises(PolicyError, match="must know what comes"):
        served([], server, tier_policies=[build("object-replacement", "belady")], compiled=False)


def test_a_policy_of_a_tier_that_names_nonsense_is_told_so() -> None:
    server = Server(pages=40, page=PAGE, prefix="memory", links=(NEAR,), tiers=(Tier(1, 0),))
    with pytest.raises(PolicyError, match=r"Wrong\.victim gave 999"):
        served([(0, 33, 1, [0, 1, 2, 3, 4], 0)], server, tier_policies=[Wrong()], compiled=False)


def loading() -> Engines:
    """A request loads, and another one waits for what it loads; the tier has two blocks."""
    server = Server(pages=8, page=PAGE, prefix="memory", links=(NEAR,), tiers=(Tier(10, 0),))
    requests = [
        (0, 17, 1, [0, 1, 2], 0),
        (200, 25, 1, [3, 4, 5, 6], 0),
        (330, 17, 2, [0, 1, 7], 0),
        (340, 17, 1, [0, 1, 8], 0),
    ]
    return served(requests, server, until=350, **PLAIN[0])


def swapped() -> Engines:
    """A request waits, and has pages in the swap."""
    server = Server(pages=6, page=PAGE, links=(NEAR,), swap=3)
    return served([(0, 8, 8, [], 0), (0, 8, 8, [], 0)], server, until=600, **PLAIN[0])


def test_an_audit_finds_loads_and_swaps_that_do_not_add_up() -> None:
    for make, name, message in ((loading, "loading", "requests that load"), (swapped, "swapped", "pages in the swap")):
        held = make()
        header = held._own[0]
        assert header[INSTANCE.index(name)]
        header[INSTANCE.index(name)] += 1
        with pytest.raises(AuditError, match=f"{message} do not add up"):
            held.advance()


def test_an_audit_finds_a_block_that_a_tier_has_lost() -> None:
    for both, message in ((False, "blocks in a tier do not add up"), (True, "the policy of a tier and the tier")):
        held = loading()
        place = held._places[-1]
        held._own[place][TIER_HEADER.index("cached")] -= 1
        if both:
            held._own[place + 2][CACHE.index("here")] = 0
        with pytest.raises(AuditError, match=message):
            held.advance()
