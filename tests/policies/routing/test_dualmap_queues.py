"""DualMap whole: its queues and its books, its moves by hand, and what must hold whatever comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.dualmap import Queues
from tests.oracles.prefill_servers import Course, Servers
from tests.oracles.routing import BLOCK, Request, cluster, prompt, router
from tiersim.policies.routing.dualmap import Held, Pass

SECOND = 10**12
MILLI = 10**9
NEVER = 1 << 62
BASE = {"slo": "1 s", "prefill": "1 ms/token"}  # a budget of 1000 tokens


def dual(n: int = 4, **parameters: Any) -> Any:
    """With a budget of 1000 tokens, which take a second; candidates are 2 and 1, unless told otherwise."""
    made = router("dualmap", n, **BASE | parameters)
    made.of = lambda request: [2, 1]
    return made


def held(request: Request, candidates: tuple[int, ...] = (1, 2)) -> Held:
    return Held(request, list(candidates))


def relieve(made: Any, time: int = 0) -> None:
    """The queue of 1."""
    made._pass_time(time)
    seen: Any = cluster(time=time)
    made._relieve(1, Pass(seen))


def give(made: Any, place: int, work: int) -> None:
    """Somebody was given so much there."""
    made.given[place] = work
    made._weigh(place)


def recount(made: Any) -> None:
    """The books are what the queues and what was given out come to."""
    assert sum(map(len, made.queues)) == len(made.held)
    for place, queue in enumerate(made.queues):
        held = [made.held[number] for _, _, number in queue]
        assert queue == sorted(one.key for one in held)
        assert all(one.place == place for one in held)
        assert made.queued[place] == sum(one.work for one in held)
        given = [work for instance, work in made.sent.values() if instance == made.instances[place]]
        assert made.given[place] == sum(given)
        assert made.counts[place] == len(given) <= made.pending
        assert made.oldest[place] == min((one.request.time for one in held), default=made.oldest[place])
        assert queue or made.oldest[place] > NEVER
        assert made.full >> place & 1 == (made.queued[place] + made.given[place] > made.limit)
        assert made.late >> place & 1 == (made.oldest[place] <= made.until)
        assert not made.rebalance or made.many >> place & 1 == (len(queue) >= made.shortest)
        for one in held if made.rebalance else ():
            others = one.candidates if made.whole else [*one.candidates, *made._neighbours(one)]
            assert one.reach == sum(1 << other for other in others if other != place)
            assert one.reach & ~made.reach[place] == 0


# by hand


def test_the_warmer_one_while_it_is_in_time() -> None:
    made = dual()
    made.arrive(Request(0, 0, 1000), cluster(cached=[0, 512, 0, 0]))
    assert made.dispatch(cluster()) == [(0, 1)]
    assert made.given == [0, 488 * MILLI, 0, 0]
    made.arrive(Request(1, 0, 1000), cluster(cached=[0, 488, 0, 0]))  # 488 + 512 are in time
    assert made.held[1].place == 1
    made.arrive(Request(2, 0, 100), cluster(cached=[0, 90, 0, 0]))  # 1010 are not
    assert made.held[2].place == 2
    assert made.queued == [0, 512 * MILLI, 100 * MILLI, 0]
    assert made.dispatch(cluster()) == [(2, 2)]  # nobody is given a second one
    made.first([0])
    assert made.dispatch(cluster()) == [(1, 1)]
    made.first([1])
    made.first([2])
    assert made.given == made.queued == made.counts == [0] * 4
    recount(made)


def test_who_has_as_much() -> None:
    made = dual()
    made.arrive(Request(0, 0, 100), cluster())
    assert made.held[0].place == 2  # the first hash's
    made.arrive(Request(1, 0, 100), cluster())
    assert made.held[1].place == 1  # in the paper the one with less to do
    made = dual(profile="artifact")
    made.arrive(Request(0, 0, 100), cluster())
    made.arrive(Request(1, 0, 100), cluster())
    assert made.held[1].place == 2
    made.arrive(Request(2, 0, 100), cluster(pages=[0, 1, 2, 0]))
    assert made.held[2].place == 1


@pytest.mark.parametrize(("order", "out"), [("hit", [1, 2, 0, 3]), ("arrival", [0, 1, 2, 3])])
def test_order_of_a_queue(order: str, out: list[int]) -> None:
    made = dual(order=order, candidates=1)
    made.of = lambda request: [0]
    for number, hit in enumerate([5, 20, 20, 0]):
        made.arrive(Request(number, number, 100), cluster(cached=[hit, 0, 0, 0]))
    found = []
    while made.held:
        ((number, _),) = made.dispatch(cluster())
        found.append(number)
        made.first([number])
    assert found == out


def test_several_at_a_time_within_the_budget() -> None:
    made = dual(pending=3)
    made.of = lambda request: [0]
    for number in range(5):
        made.arrive(Request(number, 0, 600), cluster())
    assert made.dispatch(cluster()) == [(0, 0), (1, 0)]  # 600 are below 1000, 1200 are not
    made.ended([0])  # without a first token: it was refused
    assert made.dispatch(cluster()) == [(2, 0)]
    recount(made)


def test_passes() -> None:
    """A first token lets the next one go, unless only arrivals and ends do."""
    for eager in (True, False):
        made = dual(eager=eager)
        made.arrive(Request(0, 0, 1000), cluster(cached=[0, 10, 0, 0]))
        made.arrive(Request(1, 0, 10), cluster(cached=[0, 10, 0, 0]))
        assert made.dispatch(cluster()) == [(0, 1)]
        assert made.dispatch(cluster()) == []
        made.first([0])
        assert made.dispatch(cluster()) == ([(1, 1)] if eager else [])
        made.ended([0])
        assert made.dispatch(cluster()) == ([] if eager else [(1, 1)])


def three(**parameters: Any) -> Any:
    """500 ms are given out at 1, where three more wait: 0 with 400 ms, 1 with 300 ms, 2 with 200 ms; all else is idle.

    The first two have 2 as their other candidate, the third one 3.
    """
    made = dual(**parameters)
    for number, size in ((9, 500), (0, 400), (1, 300), (2, 200)):
        one = made.held[number] = held(Request(number, number % 9, size), (1, 3 if number == 2 else 2))
        made._put(one, 1, 1)
        if number == 9:
            assert made._next(1) == [9]
    assert [number for _, _, number in made.queues[1]] == [0, 1, 2]
    recount(made)
    return made


def places(made: Any) -> dict[int, int]:
    return {number: made.held[number].place for number in sorted(made.held)}


def test_relief_of_three_requests_in_the_paper() -> None:
    """Each token takes a millisecond, and all have one token cached at 1: 1396 ms are there, 396 too much.

    Estimates here: 499 + 399 = 898, then 898 + 299 = 1197, then 1396. Elsewhere, where nothing is: 400, 300 and 200. So
    gains are 498, 897 and 1196: request 2 moves, and has 199 ms here, which is not enough; then 1, and these are 498.
    """
    made = three()
    relieve(made)
    assert places(made) == {0: 1, 1: 2, 2: 3}
    assert made.queued == [0, 399 * MILLI, 300 * MILLI, 200 * MILLI]
    assert made.moves == 2
    recount(made)


def test_relief_of_three_requests_in_the_artifact() -> None:
    """The budget is 500 ms: 896 ms are too much. Gains after each move, by hand:

    - 0: 898 - 400 = 498; 1: 1197 - 300 = 897; 2: 1396 - 200 = 1196. 2 moves to 3, and 199 ms are off.
    - 0: 498; 1: 897. 1 moves to 2, and 498 ms are off.
    - 0 would be at 2 with 300 + 400 ms, above the budget. Its neighbour is 3, the next one that is no candidate:
      200 + 400 ms are too much too. It stays. And it would stay if it were alone in its queue.
    """
    made = three(profile="artifact")
    relieve(made)
    assert places(made) == {0: 1, 1: 2, 2: 3}
    assert made.held[1].candidates == [2, 1]
    assert made.held[2].candidates == [3, 1]
    made.first([9])
    relieve(made)
    assert places(made)[0] == 1
    recount(made)


def test_the_artifact_moves_to_a_neighbour_and_the_paper_does_not() -> None:
    """2 is full; 3 is the next instance that is no candidate."""
    for profile, place in (("artifact", 3), ("paper", 1)):
        made = dual(profile=profile)
        give(made, 2, 2000 * MILLI)
        for number in (0, 1):
            made._put(made.held.setdefault(number, held(Request(number, 0, 450))), 1, 0)
        give(made, 1, 700 * MILLI)
        relieve(made)
        assert made.held[1].place == place
        assert made.held[0].place == 1
        if profile == "artifact":
            assert made.held[1].candidates == [3, 1]


def test_nobody_moves_where_somebody_has_waited_or_has_waited_for_long_there() -> None:
    made = three()
    made._put(made.held.setdefault(7, held(Request(7, 0, 1), (2, 3))), 2, 0)
    relieve(made, 3 * SECOND)  # 7 waits at 2
    assert places(made) == {0: 1, 1: 1, 2: 3, 7: 2}


def test_patience() -> None:
    """After 3 s a queue is relieved by whoever gains, though nothing is overloaded by its tokens."""
    for patience, place in (("3 s", 2), (None, 1)):
        made = dual(patience=patience)
        give(made, 1, 500 * MILLI)
        made.counts[1] = 1
        made._put(made.held.setdefault(0, held(Request(0, 0, 100))), 1, 0)
        made.due = True
        assert made.dispatch(cluster(time=3 * SECOND - 1)) == []
        made.due = True
        assert made.dispatch(cluster(time=3 * SECOND)) == ([(0, 2)] if place == 2 else [])


def test_both_must_be_overloaded() -> None:
    """In the paper nobody moves as long as one candidate of who came is within the budget."""
    made = dual()
    made.given = [0, 2000 * MILLI, 0, 0]
    made.counts[1] = 1
    made._put(made.held.setdefault(0, held(Request(0, 0, 100), (1, 3))), 1, 0)
    made.arrive(Request(1, 0, 100), cluster())  # to 2
    assert places(made) == {0: 1, 1: 2}
    give(made, 2, 950 * MILLI)
    made.counts[2] = 1
    made.arrive(Request(2, 0, 100), cluster())  # to 2, which has 1150 now
    assert places(made)[0] == 3


# when instances come and go


def test_who_waits_is_routed_anew() -> None:
    made = router("dualmap", 8)
    view = cluster(8)
    for number in range(40):
        made.arrive(prompt(0, number, *range(number * 100, number * 100 + 20), number=number, time=number), view)
    sent = dict(made.dispatch(view))
    recount(made)
    assert len(set(sent.values())) == 8
    before = {number: made.instances[one.place] for number, one in made.held.items()}
    up = [0, 1, 2, 4, 5, 6, 7]
    made.changed(up)
    again = made.dispatch(cluster(7, time=50))
    assert again == []  # all seven have one
    after = {number: made.instances[one.place] for number, one in made.held.items()}
    assert after.keys() == before.keys()
    assert set(after.values()) <= set(up)
    recount(made)
    gone = [number for number, place in sent.items() if place == 3]
    made.arrive(prompt(0, 1, number=gone[0], time=3), cluster(7, time=50))
    assert gone[0] in made.held
    made.changed([])
    made.changed(range(8))
    (back,) = made.dispatch(cluster(8, time=60))
    assert made.instances[back[1]] == 3  # the others still work on what they were given
    assert len(made.held) == 40 - 8 + 1 - 1
    recount(made)
    for number in list(made.sent):
        made.first([number])
    assert made.given == made.counts == [0] * 8


# whatever comes


def some(count: int, n: int, seed: int, rate: float, roots: int = 12) -> list[Request]:
    """Requests down a tree of prefixes, some with much in common, at random times; some at the same."""
    rng = np.random.default_rng(seed)
    out, time = [], 0
    for number in range(count):
        if rng.random() < 0.8:
            time += int(rng.exponential(1 / rate) * SECOND)
        root, branch = int(rng.integers(0, roots)), int(rng.integers(0, 4))
        own = int(rng.integers(0, 8))
        blocks = [1_000_000, 1000 * root, *(1000 * root + 1 + branch + 10 * k for k in range(int(rng.integers(0, 6))))]
        blocks += [10_000_000 + 100 * number + k for k in range(own)]
        size = BLOCK * len(blocks) - int(rng.integers(0, BLOCK))
        out.append(Request(number, time, size, -1, BLOCK, blocks))
    return out


class Watched:
    """A router whose moves are looked at: none raises what is estimated, and nobody moves twice at once."""

    def __init__(self, made: Any) -> None:
        self.made, self.put, self.move = made, made._put, made._move
        made._put, made._move = self._put, self._move
        self.moved: set[tuple[Any, int]] = set()
        self.moves: list[tuple[int, int, int]] = []
        self.went: dict[int, list[int]] = {}

    def _move(self, one: Any, to: int, look: Any) -> None:
        made, number, place = self.made, one.request.number, one.place
        before = made._before(place, one.key) + one.work
        self.move(one, to, look)
        assert one.place == to != place
        assert made._before(to, one.key) + one.work < before
        assert (look, number) not in self.moved
        self.moved.add((look, number))
        self.moves.append((number, place, to))

    def _put(self, one: Any, place: int, hit: int) -> None:
        self.put(one, place, hit)
        self.went.setdefault(one.request.number, []).append(place)


def run(requests: list[Request], n: int, seed: int = 0, **parameters: Any) -> tuple[list[Course], Any, Watched]:
    made = router("dualmap", n, seed, **parameters)
    watched = Watched(made)
    servers = Servers(n, made, prefill=160 * 10**6, capacity=400, look=recount)
    return servers.serve(requests), made, watched


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 9),
    rate=st.sampled_from([2.0, 10.0, 40.0]),
    profile=st.sampled_from(["paper", "artifact"]),
    count=st.sampled_from([1, 2, 3]),
    pending=st.sampled_from([1, 1, 3]),
    eager=st.booleans(),
    order=st.sampled_from(["hit", "arrival"]),
)
def test_invariants(
    seed: int, n: int, rate: float, profile: str, count: int, pending: int, eager: bool, order: str
) -> None:
    requests = some(120, n, seed, rate)
    given_ = {"profile": profile, "candidates": count, "pending": pending, "eager": eager, "order": order}
    courses, made, watched = run(requests, n, **given_)
    other = router("dualmap", n, **given_)
    hits = 0
    for ask, course in zip(requests, courses, strict=True):
        candidates = other.of(ask)
        assert len(set(candidates)) == min(count, n)
        if profile == "paper":
            assert set(watched.went[ask.number]) <= set(candidates)
        else:
            assert watched.went[ask.number][0] in candidates
        assert course.place == watched.went[ask.number][-1]
        assert course.first - ask.time >= (ask.prompt - course.hit) * 160 * 10**6
        hits += course.hit
    assert 0 <= hits < sum(ask.prompt for ask in requests)
    assert made.moves == len(watched.moves)
    assert not made.held
    assert not made.sent
    assert made.queued == made.given == made.counts == [0] * n


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 9),
    rate=st.sampled_from([6.0, 15.0, 40.0]),
    profile=st.sampled_from(["paper", "artifact"]),
    count=st.sampled_from([1, 2, 2, 3]),
    pending=st.sampled_from([1, 1, 3]),
    eager=st.booleans(),
    order=st.sampled_from(["hit", "arrival"]),
    patience=st.sampled_from(["3 s", "300 ms", None]),
    cached=st.sampled_from(["0 s/token", "40 us/token"]),
)
def test_it_decides_as_the_plain_queues_do(seed: int, n: int, rate: float, count: int, **more: Any) -> None:
    assert_plain(some(60, n, seed, rate), n, candidates=count, **more)


def assert_plain(requests: list[Request], n: int, **parameters: Any) -> int:
    """The moves, which are as many as those of the plain queues."""
    made, plain = router("dualmap", n, **parameters), Queues(router("dualmap", n, **parameters))
    found, wanted = (
        Servers(n, one, prefill=160 * 10**6, capacity=400, look=look).serve(requests)
        for one, look in ((made, recount), (plain, id))
    )
    assert found == wanted
    assert made.moves == plain.moves
    return int(made.moves)


def test_it_moves_as_the_plain_queues_do() -> None:
    """Where many move, and where there are many instances."""
    for n, rate in ((4, 8.0), (12, 30.0)):
        for profile in ("paper", "artifact"):
            assert assert_plain(some(120, n, 1, rate), n, profile=profile, patience="500 ms") > 20


def test_requests_do_move() -> None:
    """Else the invariants would say little; and those that moved have their first token earlier, taken together."""
    for profile in ("paper", "artifact"):
        requests = some(600, 8, 1, 12.0)
        courses, made, watched = run(requests, 8, profile=profile)
        still, none, _ = run(requests, 8, profile=profile, rebalance=False)
        assert none.moves == 0
        assert made.moves > 20
        if profile == "artifact":
            assert any(place not in router("dualmap", 8).of(requests[number]) for number, _, place in watched.moves)
        late, late_still = (
            sorted(course.first - ask.time for ask, course in zip(requests, those, strict=True))
            for those in (courses, still)
        )
        assert sum(late) < sum(late_still)


# degenerate cases


def ttfts(courses: list[Course], requests: list[Request]) -> list[int]:
    return [course.first - ask.time for ask, course in zip(requests, courses, strict=True)]


def test_of_one_instance_all_routers_make_the_same() -> None:
    requests = some(200, 1, 3, 2.0)
    found = []
    for name in ("min-ttft", "least-loaded", "round-robin", "dualmap-no-rebalance", "cache-affinity"):
        found.append(Servers(1, router(name, 1), prefill=160 * 10**6, capacity=400).serve(requests))
    for profile in ("paper", "artifact"):
        made = router("dualmap", 1, profile=profile, order="arrival")
        found.append(Servers(1, made, prefill=160 * 10**6, capacity=400).serve(requests))
    assert all([(c.first, c.hit) for c in one] == [(c.first, c.hit) for c in found[0]] for one in found)


@pytest.mark.parametrize("parameters", [{}, {"profile": "artifact"}, {"candidates": 1}, {"rebalance": False}], ids=str)
def test_slow_arrivals_wait_for_nothing(parameters: dict[str, Any]) -> None:
    requests = [prompt(*range(10 * k, 10 * k + 4), number=k, time=k * SECOND) for k in range(50)]
    courses, _, _ = run(requests, 8, **parameters)
    assert set(ttfts(courses, requests)) == {4 * BLOCK * 160 * 10**6}


class Timeless:
    """A view in which all is cached that somebody got."""

    def __init__(self, n: int) -> None:
        self.n, self.time, self.pages, self.got = n, 0, [0] * n, [set() for _ in range(n)]

    def hits(self, request: Request) -> list[int]:
        return [sum(block in got for block in request.blocks) * BLOCK for got in self.got]


@pytest.mark.parametrize("profile", ["paper", "artifact"])
def test_without_an_objective_it_is_affinity_and_without_time_least_estimate(profile: str) -> None:
    for slo, rule in ((None, "hit"), ("0 s", "estimate")):
        made, view = router("dualmap", 8, slo=slo, profile=profile, patience=None), Timeless(8)
        of, checked = made.of, 0
        for ask in some(300, 8, 5, 1.0):
            candidates, hits = made.of(ask), view.hits(ask)
            loads = [made._load(place) for place in range(8)]
            made.of = lambda request, those=candidates: those
            made.arrive(ask, view)
            made.of = of
            place = made.held[ask.number].place
            best = [hits[one] if rule == "hit" else -loads[one] - made._work(ask, hits[one]) for one in candidates]
            assert best[candidates.index(place)] == max(best)
            checked += best[0] != best[1]
            view.got[place].update(ask.blocks)
        assert checked > 100


def test_of_one_prefix_affinity_has_one_instance_and_dualmap_two() -> None:
    """Twenty at once, each with a block of its own behind two: no longer key is hot among so few."""
    requests = [prompt(1, 2, 100 + k, number=k, time=0) for k in range(20)]
    found = {}
    for count in (1, 2):
        courses, _, _ = run(requests, 8, candidates=count)
        assert len({course.place for course in courses}) == count
        found[count] = max(course.first for course in courses)
    each = BLOCK * 160 * 10**6
    assert found[1] == (2 + 20) * each
    assert found[2] == (2 + 10) * each


def test_a_queue_waits_as_theory_says() -> None:
    """M/D/1: equal prompts without anything in common, one instance, half of its time busy."""
    rng = np.random.default_rng(4)
    size, count = 4, 40_000
    service = size * BLOCK * 160 * 10**6
    times = np.cumsum(rng.exponential(2 * service, count)).astype(np.int64).tolist()
    requests = [Request(k, time, size * BLOCK, -1, 0, []) for k, time in enumerate(times)]
    waits = np.array(waited(requests, router("dualmap", 1))) / service
    assert abs(waits.mean() - 0.5 / (2 * (1 - 0.5))) < 0.02


def waited(requests: list[Request], made: Any) -> list[int]:
    """How long each waits for one server that caches nothing."""
    waits: list[int] = []
    coming, busy, view = 0, (-1, NEVER), cluster(1)  # who is computed, and until when
    while len(waits) < len(requests):
        if coming < len(requests) and requests[coming].time <= busy[1]:
            view.time = requests[coming].time
            made.arrive(requests[coming], view)
            coming += 1
        else:
            view.time = busy[1]
            made.first([busy[0]])
            busy = -1, NEVER
        for number, _ in made.dispatch(view):
            waits.append(view.time - requests[number].time)
            busy = number, view.time + requests[number].prompt * 160 * 10**6
    return waits
