"""The plain model of tiers, swapping and prefill apart from decode, against times that were worked out by hand.

An iteration takes 100, and 10 more for each token of a prompt; pages and blocks have 4 tokens.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracles.serving import Cluster, Job, LinkSaid, Lru, Memory, TierSaid
from tests.oracles.serving_apart import Apart
from tests.oracles.serving_tiers import Link

DRAM, DRIVE = LinkSaid(7, 5, 3), LinkSaid(20, 30, 50)


def clock(chunks: int, new: int, *_: int) -> int:
    return 100 + 10 * new


def cluster(pages: int, prefix: bool = False, count: int = 1, **said: Any) -> Cluster:
    memory = Memory(pages, 4, **{"max_requests": 4, "budget": 100, "block": 4} | said)
    return Cluster(memory, count, clock, lambda k: Lru() if prefix else None)


def served(held: Cluster, requests: list[tuple[int, int, int, list[int]]]) -> list[Job]:
    """Requests as (arrival, prompt, answer, blocks), all to the first instance."""
    jobs = [Job(0, *request) for request in requests]
    for job in jobs:
        held.advance(job.arrival)
        held.submit(job, 0, job.arrival)
    held.advance(None)
    return jobs


def test_what_moves_in_one_direction_moves_one_after_the_other() -> None:
    link = Link(DRAM)
    assert link.ask("load", 2, 10) == 10 + 14 + 3
    assert link.ask("load", 1, 12) == 24 + 7 + 3
    assert link.ask("store", 1, 12) == 12 + 5 + 3  # the other way is free
    assert link.ask("load", 1, 100) == 100 + 7 + 3
    assert (link.pages, link.busy) == ({"load": 4, "store": 1}, {"load": 28, "store": 5})


def tiered(**said: Any) -> Cluster:
    """Six pages, DRAM of three blocks, and a drive of ten."""
    return cluster(6, prefix=True, **{"links": [DRAM, DRIVE], "tiers": [TierSaid(3, 0), TierSaid(10, 1)]} | said)


# Blocks 2, 1 and 0 are put into DRAM at 230 and have come at 238, 243 and 248. At 380 block 5 follows: block 2 goes to
# the drive, where it is at 460. The third request has pushed all four out of the memory when it ends at 690.
BEFORE = [(0, 13, 1, [0, 1, 2]), (10, 5, 1, [5]), (20, 21, 1, [])]


def test_blocks_are_fetched_from_the_nearest_tier_over_its_link() -> None:
    held = tiered()
    *first, c, e = served(held, [*BEFORE, (30, 14, 2, [0, 1, 2]), (31, 6, 1, [5])])
    assert [(job.admitted, job.end) for job in first] == [(0, 230), (230, 380), (380, 690)]
    # blocks 1 and 0 are here at 690 + 14 + 3, block 2 at 690 + 20 + 50; block 5 waits for the link until 704
    assert (c.admitted, c.ready, c.hit_tokens, c.fetched) == (690, 760, 12, 12)
    assert (e.admitted, e.ready, e.hit_tokens, e.fetched) == (690, 714, 4, 4)
    # the first plan is when the one that is ready first is; the other one is found ready at its end
    assert (e.first, e.end) == (834, 834)
    assert (c.first, c.tokens) == (954, [954, 1054])
    # at 954 the blocks of the fourth are put: 2 is not in DRAM, and pushes out 1, which pushes out 0, and so on
    assert held.moved() == [
        {"loaded": [3], "stored": [7], "load_busy": [21], "store_busy": [35]},
        {"loaded": [1], "stored": [4], "load_busy": [20], "store_busy": [120]},
    ]
    dram, drive = held.held()
    assert dram == {"blocks": [3 * (1054 - 230)], "held": [3], "fetched": [3], "put": [7], "left": [4]}
    assert drive == {"blocks": [574 + 4 * 100], "held": [4], "fetched": [1], "put": [4], "left": [0]}
    assert held.tiers[1][0].come[2] == 460
    assert held.instances[0].sums["loading"] == (834 - 690) + (714 - 690)


def test_blocks_that_leave_the_memory_go_down_tier_by_tier() -> None:
    held = tiered(write="eviction")
    *_, c, e = served(held, [*BEFORE, (30, 14, 2, [0, 1, 2]), (31, 6, 1, [5])])
    # all leave the memory at 380, in the order 2, 1, 0, 5: the last one pushes 2 down to the drive
    assert held.tiers[1][0].come == {2: 460}
    assert held.tiers[0][0].come == {1: 393, 0: 398, 5: 403}
    assert (c.ready, c.end, e.ready, e.end) == (760, 1054, 714, 834)
    assert [link["stored"] for link in held.moved()] == [[4], [1]]


def test_one_that_hits_what_another_one_fetches_waits_for_it_and_fetches_nothing() -> None:
    held = tiered()
    *_, c, f = served(held, [*BEFORE, (30, 14, 2, [0, 1, 2]), (32, 13, 1, [0, 1, 2])])
    assert (c.admitted, c.ready, c.fetched) == (690, 760, 12)
    assert (f.admitted, f.ready, f.hit_tokens, f.fetched) == (690, 760, 12, 0)
    assert (c.first, f.first) == (760 + 130, 760 + 130)
    assert [link["loaded"] for link in held.moved()] == [[2], [1]]


def test_a_fetch_waits_until_the_block_has_come_to_its_tier() -> None:
    held = tiered(links=[DRAM, LinkSaid(20, 30, 500)])
    *_, c = served(held, [*BEFORE, (30, 14, 1, [0, 1, 2])])
    # block 2 has come to the drive at 380 + 30 + 500, is asked for then, and is here after 20 and 500 more
    assert (c.admitted, c.ready, c.end) == (690, 910 + 520, 910 + 520 + 120)


def test_one_that_loads_may_be_preempted_and_what_moves_goes_on_moving() -> None:
    links, tiers = [LinkSaid(500, 5)], [TierSaid(4, 0)]
    held = cluster(6, prefix=True, links=links, tiers=tiers)
    a, x, r, late = served(held, [(0, 9, 1, [0, 1]), (1, 24, 1, []), (2, 8, 10, []), (3, 9, 1, [0, 1])])
    assert (a.end, x.admitted, x.end) == (190, 190, 530)
    assert (r.admitted, r.first, r.end) == (530, 710, 710 + 9 * 100)
    # at 1110 the third wants its fourth page: the one that loads goes. Its blocks stay until 1510, when block 1 leaves
    # for the fifth page; at 1610 block 0 is here, and block 1 is fetched once more
    assert (late.admitted, late.ready, late.hit_tokens, late.fetched) == (530, 1530, 8, 8)
    assert (late.preemptions, late.swaps) == (1, 0)
    assert late.ready_at == 1610 + 500
    assert late.tokens == [2110 + 110]
    assert held.moved()[0]["loaded"] == [3]
    assert held.instances[0].happened["preempted while it loads"] == 1
    assert held.instances[0].sums["loading"] == (1110 - 530) + (2110 - 1610)


GROWING = [(0, 8, 12, []), (0, 8, 8, [])]  # both want a fourth page at 660; the first has ended at 1360


@pytest.mark.parametrize(
    ("swap", "store", "ready", "end"),
    [
        (10, 13, 1395, 1695),  # out at 660 + 39 + 2, in at 1360 + 33 + 2
        (10, 1000, 3697, 3997),  # out at 660 + 3000 + 2, and in from then on
        (2, 13, -1, 1790),  # its three pages find no room: 13 tokens are computed anew
    ],
)
def test_one_in_decode_is_swapped_and_comes_back(swap: int, store: int, ready: int, end: int) -> None:
    held = cluster(6, links=[LinkSaid(11, store, 2)], swap=swap)
    first, second = served(held, GROWING)
    assert (first.first, first.end) == (260, 1360)
    assert (second.first, second.preemptions, second.end) == (260, 1, end)
    assert second.tokens[:5] == [260, 360, 460, 560, 660]
    assert second.swaps == (ready > 0)
    moved = {"loaded": [3], "stored": [3], "load_busy": [33], "store_busy": [3 * store]}
    assert held.moved() == [moved if ready > 0 else {name: [0] for name in moved}]
    sums = held.instances[0].sums
    assert (sums["swapped"], sums["loading"]) == ((3 * (ready - 660), ready - 1360) if ready > 0 else (0, 0))


def test_a_swapped_one_has_nothing_to_compute_as_routers_see_it() -> None:
    held = cluster(6, links=[LinkSaid(11, 13, 2)], swap=3)
    jobs = [Job(0, *request) for request in GROWING]
    for job in jobs:
        held.submit(job, 0, 0)
    held.advance(800)
    (view,) = held.view()
    assert view == {"waiting": 1, "running": 1, "prompts": 0, "pending": 0, "pages": 4, "blocks": 0}
    held.advance(1390)
    (view,) = held.view()
    assert view == {"waiting": 0, "running": 1, "prompts": 0, "pending": 0, "pages": 3, "blocks": 0}


def test_a_request_is_refused_where_too_many_wait() -> None:
    held = cluster(100, max_waiting=1)
    jobs = served(held, [(0, 4, 1, []), (0, 4, 1, []), (5, 4, 1, []), (6, 4, 1, []), (7, 500, 1, [])])
    # the first waits until all that came at 0 have been routed; the third until 140
    assert [job.refused for job in jobs] == [False, True, False, True, False]
    assert [job.end for job in jobs] == [140, -1, 280, -1, -1]
    assert jobs[4].rejected


def apart(requests: list[tuple[int, int, int]], prefill: Cluster, decode: Cluster) -> Apart:
    """Requests as (arrival, prompt, answer), taken by turns; 50 for a token that moves, and 7."""
    turns = iter(range(1000))

    def first(job: Job, now: int, *seen: Any) -> int:
        return next(turns) % len(prefill.instances)

    held = Apart(prefill, decode, 50, 7, first, lambda *seen: 0)
    jobs = [Job(k, *request) for k, request in enumerate(requests)]
    held.serve(jobs, [(job.arrival, job.number) for job in jobs])
    return held


def test_memory_is_held_until_keys_and_values_have_moved_over_a_link_that_is_busy() -> None:
    held = apart([(0, 8, 3), (0, 8, 3), (300, 4, 1)], cluster(4, hold=True), cluster(20))
    one, two, three = held.fates
    assert (one.computing.tokens, one.begin, one.moved, one.there) == ([260], 260, 660, 667)
    assert (two.computing.tokens, two.begin, two.moved, two.there) == ([260], 660, 1060, 1067)
    assert (one.tokens, one.end) == ([260, 767, 867], 867)
    assert (two.tokens, two.end) == ([260, 1167, 1267], 1267)
    # no page is free until 660, when the first one has moved; with one token it is finished, and moves nowhere
    assert (three.computing.admitted, three.tokens, three.end) == (660, [800], 800)
    assert (three.begin, three.decoding) == (-1, None)
    assert (held.ways[0].busy, held.ways[0].tokens) == (800, 16)
    assert held.prefill.instances[0].sums["pages"] == 4 * 660 + 3 * 140 + 2 * 260
    assert held.prefill.instances[0].sums["running"] == 2 * 260 + 140


def test_links_of_two_instances_move_at_once_and_what_comes_over_first_is_admitted_first() -> None:
    held = apart([(0, 8, 3), (0, 4, 2), (0, 4, 2)], cluster(4, hold=True, count=2), cluster(20, max_requests=1))
    a, b, c = held.fates
    # the first instance has computed a and c at 0 + 220, the second one b at 140
    assert [(fate.begin, fate.there) for fate in (a, b, c)] == [(220, 627), (140, 347), (620, 827)]
    assert [fate.decoding.admitted for fate in (b, a, c) if fate.decoding] == [347, 627, 827]
    assert [fate.tokens for fate in (b, a, c)] == [[140, 447], [220, 727, 827], [220, 927]]


def test_one_that_comes_over_is_admitted_before_one_that_was_preempted() -> None:
    held = cluster(6)
    one, two, three = (Job(k, 0, prompt, answer) for k, (prompt, answer) in enumerate([(8, 12), (8, 8), (7, 2)]))
    held.computed(one, 0, 0)
    held.computed(two, 0, 0)
    held.advance(450)
    held.computed(three, 0, 450)
    held.advance(460)
    (view,) = held.view()  # the second was preempted at 400, with five tokens
    assert view == {"waiting": 2, "running": 1, "prompts": 13, "pending": 13, "pages": 4, "blocks": 0}
    held.advance(None)
    assert (three.admitted, three.end) == (500, 600)
    assert (one.admitted, one.end) == (0, 1100)
    assert two.tokens == [100, 200, 300, 400, 1330, 1430, 1530]


def test_a_request_that_one_kind_could_never_serve_is_rejected_when_it_arrives() -> None:
    held = apart([(0, 17, 2), (0, 8, 14), (0, 8, 13)], cluster(4, hold=True), cluster(5))
    assert [fate.rejected for fate in held.fates] == [True, True, False]
    assert [fate.end for fate in held.fates[:2]] == [-1, -1]
