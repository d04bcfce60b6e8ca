"""Prefill apart from decode: exact times of small cases, and what must hold whatever comes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.serving import Linear, prompts_from
from tiersim._base.errors import PolicyError, StudyError
from tiersim._base.registry import build
from tiersim.models.apart import Apart
from tiersim.sim.prompts import Prompts
from tiersim.sim.serving import Engines, Server
from tiersim.traces.ragged import Ragged

RATES = [10, 0, 1, 0, 0, 0, 1, 0, 0]  # an iteration takes 10, and 1 for each token
COMPUTES = Server(pages=100, page=4, max_requests=4, budget=16, hold=True)
DECODES = Server(pages=100, page=4, max_requests=4, budget=16)


@dataclass
class To:
    """Sends each request where it is told; ``saw`` is when, and how many waited and ran."""

    where: list[int | None]
    saw: list[Any] = field(default_factory=list)

    def __deepcopy__(self, memo: Any) -> To:
        return self

    def route(self, request: Any, view: Any) -> int | None:
        self.saw.append((request.number, request.time, list(view.waiting), list(view.running), list(view.prompts)))
        return self.where[request.number]


def apart(
    requests: list[tuple[int, int, int]],
    *,
    first: Server = COMPUTES,
    second: Server = DECODES,
    kinds: tuple[int, int] = (1, 1),
    policy: Any = None,
    onward: Any = None,
    token: int = 2,
    latency: int = 5,
    sessions: list[int] | None = None,
    rates: list[int] = RATES,
    blocks: list[list[int]] | None = None,
    block: int = 4,
    **options: Any,
) -> Apart:
    """A driver of requests as (arrival, prompt, answer)."""
    rows = [(*row, blocks[k] if blocks else [], 0) for k, row in enumerate(requests)]
    prompts = prompts_from(rows, block)
    if sessions is not None:
        prompts = replace(prompts, session=np.array(sessions))
    said = {"compiled": False, "audited": True} | options
    engines = [
        Engines(
            prompts, server, n, Linear(), {"rates": np.array(rates)}, policy=build("object-replacement", "lru"), **said
        )
        for server, n in zip((first, second), kinds, strict=True)
    ]
    turn = build("routing", "round-robin")
    return Apart(
        *engines, policy or turn, onward or turn, token=token, latency=latency, seed=0, progress=lambda done: None
    )


def served(driver: Apart, *names: str) -> list[list[int]]:
    """These columns of what became of each request."""
    course = driver.course
    return [getattr(course, name).tolist() for name in names]


def tokens(driver: Apart, request: int) -> list[int]:
    held = driver.decoding if driver.decoded_on[request] >= 0 else driver.computing
    return held.iterations.tokens(request)


def test_a_request_alone() -> None:
    driver = apart([(3, 4, 3)])
    assert driver.as_recorded().tolist() == [3]
    # 14 for the prompt, 8 on the link, 5 until it is there, 11 for each token more
    assert served(driver, "first", "begun", "moved", "came", "joined", "end") == [[17], [17], [25], [30], [30], [52]]
    assert tokens(driver, 0) == [17, 41, 52]
    gaps, many = driver.decoding.iterations.gaps()
    assert sorted(np.repeat(gaps, many).tolist()) == [11, 24]
    assert driver.carried() == {"tokens": [4], "busy": [8]}
    assert driver.computing.occupancy()["pages"] == [22]  # of one page, from 3 until it has moved
    expected = {"waiting": [0], "running": [22], "pages": [2 * 22], "blocks": [0], "loading": [0]}
    assert driver.decoding.occupancy() == expected


def test_requests_wait_for_the_link_and_hold_their_memory() -> None:
    driver = apart([(0, 6, 3), (0, 4, 2), (21, 4, 2)], first=replace(COMPUTES, pages=3))
    driver.as_recorded()
    # both prompts are computed from 0 to 20; the first moves for 12, the other one for 8
    assert served(driver, "first", "begun", "moved", "came") == [[20, 20, 46], [20, 32, 46], [32, 40, 54], [37, 45, 59]]
    # the third one finds no page before the first has moved, and is computed from 32 to 46
    assert served(driver, "admitted") == [[0, 0, 32]]
    # 37 to 48, where the second has come; 48 to 60 both
    assert served(driver, "joined", "end") == [[37, 48, 60], [60, 60, 71]]
    assert [tokens(driver, k) for k in range(3)] == [[20, 48, 60], [20, 60], [46, 71]]
    assert driver.computing.occupancy()["waiting"] == [11]
    assert driver.computing.occupancy()["pages"] == [3 * 32 + 2 * (40 - 32) + (54 - 40)]


def test_an_answer_of_one_token_stays_where_it_is_made() -> None:
    driver = apart([(0, 4, 1), (0, 4, 2)])
    driver.as_recorded()
    assert served(driver, "decoded_on", "begun", "end") == [[-1, 0], [-1, 18], [18, 42]]
    assert tokens(driver, 0) == [18]
    assert driver.carried()["tokens"] == [4]


def test_requests_that_come_over_are_admitted_in_that_order_while_there_is_room() -> None:
    second = replace(DECODES, pages=5, max_requests=2, reserve=1)
    # two links: the first request moves for long, and comes behind the others
    driver = apart(
        [(0, 12, 2), (0, 4, 5), (1, 8, 2)],
        kinds=(2, 1),
        policy=To([0, 1, 1]),
        second=second,
    )
    driver.as_recorded()
    assert served(driver, "first", "begun", "came") == [[22, 14, 32], [22, 14, 32], [51, 27, 53]]
    # the second one decodes from 27 on in steps of 11, and has two pages at 60: there are three more, and the first one
    # needs three and one that stays, so that the last one waits behind it too, until the second has ended at 71
    assert served(driver, "joined", "end") == [[71, 27, 82], [82, 71, 93]]
    waiting = (71 - 51) + (82 - 53)
    assert driver.decoding.occupancy()["waiting"] == [waiting]


def test_runs_of_decodes_are_cut_when_a_request_comes_over() -> None:
    for fast in (True, False):
        driver = apart([(0, 4, 40), (100, 4, 3)], fast=fast)
        driver.as_recorded()
        came = 114 + 8 + 5
        joined = 27 + 10 * 11
        assert served(driver, "came", "joined", "end") == [
            [27, came],
            [27, joined],
            [27 + 39 * 11 + 2, joined + 2 * 12],
        ]
        gaps, many = driver.decoding.iterations.gaps()
        told = sorted(np.repeat(gaps, many).tolist())
        assert told == sorted(b - a for k in (0, 1) for a, b in pairwise(tokens(driver, k)))


def test_one_that_is_preempted_is_computed_anew_where_it_is() -> None:
    # each has two pages and needs a third for its ninth token: there are five
    driver = apart([(0, 7, 4), (0, 7, 4)], second=replace(DECODES, pages=5), token=0, latency=0)
    driver.as_recorded()
    assert served(driver, "came", "joined", "preemptions") == [[24, 24], [24, 24], [0, 1]]
    # 24 to 36 both; at 36 each asks for a page; the second goes, and the first decodes from 36 to 58
    # from 58 on the prompt and two tokens of the second are computed, 10 + 9, then one more token
    assert served(driver, "end") == [[58, 88]]
    assert [tokens(driver, k) for k in (0, 1)] == [[24, 36, 47, 58], [24, 36, 77, 88]]


def test_second_routers_see_what_has_come_and_what_ended_before() -> None:
    onward = To([0, 1, 0, 1])
    driver = apart([(0, 4, 4), (0, 4, 4), (40, 4, 2), (60, 8, 2)], kinds=(1, 2), onward=onward)
    driver.as_recorded()
    assert served(driver, "begun", "came") == [[18, 26, 54, 78], [31, 39, 67, 99]]
    assert served(driver, "decoded_on", "end") == [[0, 1, 0, 1], [64, 72, 78, 110]]
    # at 78 the third one just ends: it is still seen
    assert onward.saw == [
        (0, 18, [0, 0], [0, 0], [0, 0]),
        (1, 26, [0, 0], [0, 0], [0, 0]),
        (2, 54, [0, 0], [1, 1], [0, 0]),
        (3, 78, [0, 0], [1, 0], [0, 0]),
    ]


def test_those_that_have_come_wait_with_nothing_to_compute() -> None:
    onward = To([0, 0, 0])
    driver = apart([(0, 4, 9), (0, 4, 9), (30, 4, 2)], second=replace(DECODES, max_requests=1), onward=onward)
    driver.as_recorded()
    assert onward.saw[-1] == (2, 44, [1], [1], [0])


def test_at_equal_times_requests_arrive_before_memory_is_given_back() -> None:
    policy = To([0, 0])
    driver = apart([(0, 4, 2), (22, 4, 2)], policy=policy, first=replace(COMPUTES, pages=1))
    driver.as_recorded()
    assert served(driver, "moved", "admitted") == [[22, 44], [0, 22]]
    assert policy.saw[1] == (1, 22, [0], [0], [0])


def test_those_that_begin_to_move_at_a_time_are_routed_in_the_order_of_requests() -> None:
    onward = To([0, 1, 0, 1])
    driver = apart([(0, 4, 2)] * 4, kinds=(4, 2), policy=To([3, 1, 2, 0]), onward=onward)
    driver.as_recorded()
    assert [row[:2] for row in onward.saw] == [(3, 14), (1, 14), (2, 14), (0, 14)]
    # requests that are known to begin at a time, and those that have ended then: each end is followed by what it brings
    onward = To([0, 1, 0, 1])
    driver = apart([(0, 4, 2), (0, 4, 2), (0, 4, 2), (0, 4, 2)], kinds=(2, 2), policy=To([1, 0, 0, 1]), onward=onward)
    driver.as_recorded()
    assert [row[:2] for row in onward.saw] == [(1, 18), (0, 18), (2, 26), (3, 26)]


def test_links_that_take_no_time() -> None:
    driver = apart([(0, 4, 2), (0, 4, 2), (0, 4, 1)], token=0, latency=0)
    driver.as_recorded()
    assert served(driver, "first", "begun", "came", "joined", "end") == [
        [22, 22, 22],
        [22, 22, -1],
        [22, 22, -1],
        [22, 22, -1],
        [34, 34, 22],
    ]


def test_turns_wait_for_the_end_of_their_answers() -> None:
    driver = apart([(0, 4, 3), (1, 4, 2), (5, 4, 1)], sessions=[0, 1, 0])
    arrival = driver.in_turn(None)
    # as alone, but the other one comes: 14 to 28 its prompt, 41 it has come
    assert served(driver, "end") == [[49, 60, 68]]
    assert arrival.tolist() == [0, 1, 54]
    assert apart([(0, 4, 3), (1, 4, 2), (5, 4, 1)], sessions=[0, 1, 0]).in_turn(0).tolist() == [0, 1, 49]


def test_a_turn_that_nobody_serves_is_over_at_once() -> None:
    requests = [(0, 4, 3), (7, 4, 2), (9, 100, 4), (12, 4, 2)]
    for refused in ([None, 0, 0, 0], [0, 0, 0, 0]):
        driver = apart(requests, sessions=[0, 0, 1, 1], second=replace(DECODES, pages=25), policy=To(refused))
        arrival = driver.in_turn(None)
        assert arrival.tolist()[2:] == [9, 12]
        assert served(driver, "rejected") == [[False, False, True, False]]
        assert served(driver, "refused") == [[refused[0] is None, False, False, False]]
        assert arrival.tolist()[1] == (7 if refused[0] is None else int(driver.course.end[0]) + 7)


def test_who_could_never_be_served_by_one_kind_or_the_other_is_rejected() -> None:
    policy = To([0, 0, 0, 0])
    driver = apart(
        [(0, 17, 1), (0, 16, 1), (0, 12, 2), (0, 12, 1)],
        first=replace(COMPUTES, pages=4),
        second=replace(DECODES, pages=3),
        policy=policy,
    )
    driver.as_recorded()
    assert served(driver, "rejected") == [[True, False, True, False]]
    assert [row[0] for row in policy.saw] == [1, 3]  # nobody is asked about the others
    assert (driver.course.end >= 0).tolist() == [False, True, False, True]


def test_a_full_instance_refuses() -> None:
    driver = apart([(0, 16, 2)] * 4, first=replace(COMPUTES, max_requests=1, max_waiting=2))
    driver.as_recorded()
    # nothing was planned at 0 when they came
    assert served(driver, "refused", "instance") == [[False, False, True, True], [0, 0, 0, 0]]
    assert (driver.course.end >= 0).tolist() == [True, True, False, False]


def test_only_the_first_router_may_refuse() -> None:
    with pytest.raises(PolicyError, match="refused request 0, whose prompt is computed"):
        apart([(0, 4, 2)], onward=To([None])).as_recorded()
    with pytest.raises(PolicyError, match="gave 3, which is none of 1"):
        apart([(0, 4, 2)], onward=To([3])).as_recorded()


def test_engines_that_do_not_fit() -> None:
    with pytest.raises(StudyError, match="hold what they have computed"):
        apart([(0, 4, 2)], first=DECODES)
    for second in (COMPUTES, replace(DECODES, prefix="memory")):
        with pytest.raises(StudyError, match="have no prefix cache"):
            apart([(0, 4, 2)], second=second)


def test_a_prefix_that_is_held_is_hit_and_stays() -> None:
    # the second one holds the blocks of the first, and a page, until 55: only then are there four pages for the third
    driver = apart(
        [(0, 9, 2), (20, 9, 2), (40, 16, 2)],
        first=replace(COMPUTES, pages=5, prefix="memory"),
        blocks=[[0, 1, 2], [0, 1, 3], [4, 5, 6, 7]],
    )
    driver.as_recorded()
    assert served(driver, "first", "hit", "moved") == [[19, 31, 81], [0, 8, 0], [37, 55, 113]]
    assert served(driver, "admitted") == [[0, 20, 55]]


@st.composite
def clusters(draw: Any) -> dict[str, Any]:
    """Small clusters with little memory."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    page, most = draw(st.sampled_from([1, 2, 4])), draw(st.integers(1, 5))
    chunked = draw(st.booleans())
    shared = {"page": page, "max_requests": most, "chunked": chunked, "reserve": draw(st.sampled_from([0, 0, 2]))}
    shared["budget"] = (most if chunked else 1) + draw(st.sampled_from([0, 3, 30]))
    pages = [draw(st.sampled_from([8, 16, 40])) for _ in range(2)]
    requests, paths, now = [], [], 0
    tree: dict[tuple[int, ...], int] = {}
    pace = draw(st.sampled_from([0, 5, 60]))
    for _ in range(draw(st.integers(1, 20))):
        prompt = int(rng.integers(1, max(2, min(pages) * page)))
        requests.append((now, prompt, int(rng.integers(1, 14))))
        path = rng.integers(0, 2, -(-prompt // page)).tolist()
        paths.append([tree.setdefault(tuple(path[: k + 1]), len(tree)) for k in range(len(path))])
        now += int(rng.integers(0, pace + 1))
    rates = [int(rng.integers(0, 9)) * int(rng.random() < 0.6) for _ in range(8)]
    return {
        "requests": requests,
        "first": Server(pages[0], hold=True, prefix=draw(st.sampled_from(["none", "memory"])), **shared),
        "second": Server(pages[1], **shared),
        "kinds": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "policy": build("routing", draw(st.sampled_from(["round-robin", "min-ttft"]))),
        "onward": build("routing", "least-loaded"),
        "token": draw(st.sampled_from([0, 1, 7])),
        "latency": draw(st.sampled_from([0, 3])),
        "sessions": [-1] * len(requests),
        "rates": [1 + rates[0], *rates[1:], 0],
        "blocks": paths,
        "block": page,
    }


def outcome(driver: Apart) -> tuple[Any, ...]:
    course = driver.course
    gaps, many = driver.decoding.iterations.gaps()
    return (
        {name: column.tolist() for name, column in vars(course).items()},
        [tokens(driver, k) for k in range(len(driver.prompts)) if course.end[k] >= 0],
        sorted(np.repeat(gaps, many).tolist()),
        driver.carried(),
        driver.computing.occupancy(),
        driver.decoding.occupancy(),
    )


@settings(max_examples=50)
@given(clusters())
def test_what_must_hold_of_every_request(said: dict[str, Any]) -> None:
    driver = apart(**said)
    driver.as_recorded()
    told = outcome(driver)
    course, prompts = driver.course, driver.prompts
    done = course.end >= 0
    assert (done ^ course.rejected ^ course.refused).all()
    assert [len(row) for row in told[1]] == prompts.output[done].tolist()
    assert told[2] == sorted(late - early for row in told[1] for early, late in pairwise(row))
    moved = done & (prompts.output > 1)
    assert ((course.decoded_on >= 0) == moved).all()
    assert (course.first <= course.begun)[moved].all()
    assert (course.moved - course.begun == prompts.input * driver.token)[moved].all()
    assert (course.came - course.moved == driver.latency)[moved].all()
    assert (course.came <= course.joined)[moved].all()
    for instance, carried in enumerate(driver.carried()["tokens"]):
        mine = np.flatnonzero(moved & (course.instance == instance))
        assert carried == prompts.input[mine].sum()
        order = mine[np.lexsort((mine, course.first[mine]))]
        assert (course.begun[order][1:] == np.maximum(course.first[order][1:], course.moved[order][:-1])).all()
    # decodes that one looks at only now and then, and those that go on with the others
    other = apart(**said, audited=False)
    other.in_turn(None)
    assert outcome(other) == told
    stepping = apart(**said, audited=False, fast=False)
    stepping.in_turn(0)
    assert outcome(stepping) == told


def test_compiled_clusters_equal_plain_ones() -> None:
    @settings(max_examples=50)
    @given(clusters())
    def check(said: dict[str, Any]) -> None:
        told = []
        for options in ({}, {"compiled": True, "audited": False}):
            driver = apart(**said, **options)
            driver.as_recorded()
            told.append(outcome(driver))
        assert told[0] == told[1]

    check()


def test_waits_for_a_prompt_and_its_link_are_those_of_an_m_d_1_queue() -> None:
    # of two servers one after the other, each with times that never change, the slower one alone makes whoever waits
    count, work, move = 60_000, 60_000, 100_000
    gaps = np.random.default_rng(6).exponential(move / 0.6, count)
    arrival = np.cumsum(gaps).astype(np.int64)
    ones = np.ones(count, np.int64)
    nothing = np.zeros(count + 1, np.int64)
    prompts = Prompts(arrival, ones, 2 * ones, Ragged(nothing[:0], nothing), nothing[:0], 0, -ones, -ones)
    rates = {"rates": np.array([work, *[0] * 8])}
    first = Server(pages=1 << 20, page=16, max_requests=1, budget=1, chunked=False, hold=True)
    engines = [Engines(prompts, server, 1, Linear(), rates) for server in (first, replace(first, hold=False))]
    turn = build("routing", "round-robin")
    driver = Apart(*engines, turn, turn, token=move, latency=0, seed=0, progress=lambda done: None)
    driver.as_recorded()
    course = driver.course
    waits = (course.moved - arrival - work - move) / move
    assert waits.min() >= 0
    means = waits.reshape(30, -1).mean(axis=1)
    assert abs(means.mean() - 0.6 / (2 * (1 - 0.6))) < 3.7 * means.std(ddof=1) / np.sqrt(30)
    assert means.std(ddof=1) / np.sqrt(30) < 0.02
