"""Caches of experts of all sizes in one pass, against one cache at a time, and against what must hold."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.expert_caches import Token, fewest_misses, run_hits
from tiersim._base.errors import PolicyError
from tiersim._base.registry import build, index
from tiersim.sim.expert_stack import expert_hits
from tiersim.sim.expert_tokens import ExpertTokens

POLICIES = sorted(name for name, entry in index("expert-replacement").items() if name == entry.name)
LAYERS, EXPERTS = 3, 4


def tokens_of(sequences: list[list[Token]], layers: int = LAYERS, experts: int = EXPERTS) -> ExpertTokens:
    flat = [token for sequence in sequences for token in sequence]
    ends = np.cumsum([0, *map(len, sequences)])
    starts = np.cumsum([0, *map(len, flat)])
    ids = np.array([x for token in flat for x in token], np.int32)
    return ExpertTokens(ids, starts, ends, ends[:-1] * layers, np.arange(layers), experts)


def drawn(seed: int, lengths: list[int], picks: int = 2) -> list[list[Token]]:
    """Sequences whose tokens pick some experts of each layer, popular ones and those of late more often."""
    rng = np.random.default_rng(seed)
    likes = rng.dirichlet(np.full(EXPERTS, 0.7), LAYERS)
    made = []
    for length in lengths:
        made.append([])
        for _ in range(length):
            chosen = [rng.choice(EXPERTS, picks, replace=False, p=(likes[k] + 0.05) / 1.2) for k in range(LAYERS)]
            made[-1].append([k * EXPERTS + int(e) for k in range(LAYERS) for e in chosen[k]])
            if rng.random() < 0.2:
                likes = rng.dirichlet(np.full(EXPERTS, 0.7), LAYERS)
    return made


@st.composite
def routing(draw: Any) -> list[list[Token]]:
    """Sequences of tokens that use any number of experts of each layer, in the order of the layers."""
    pick = st.lists(st.integers(0, EXPERTS - 1), max_size=3, unique=True)
    token = st.tuples(*[pick] * LAYERS).map(lambda held: [k * EXPERTS + e for k in range(LAYERS) for e in held[k]])
    made: list[list[Token]] = draw(st.lists(st.lists(token, min_size=1, max_size=9), min_size=1, max_size=3))
    return made


def agree(sequences: list[list[Token]], name: str, by_layer: bool, cold: bool, together: bool, **more: Any) -> None:
    """Every size, every sequence."""
    tokens = tokens_of(sequences)
    said = {key: held for key, held in more.items() if key in ("ahead", "period")}
    policy = build("expert-replacement", {"use": name, **said})
    popular = tokens.popular(slice(None))
    ways = {"by_layer": by_layer, "cold": cold}
    found = expert_hits(policy, tokens, **ways, together=together, seed=3, compiled=more.get("compiled", False))
    about = {"experts": EXPERTS, "objects": LAYERS * EXPERTS, "popular": popular.tolist(), **ways, **said}
    about["seed"] = int(np.random.SeedSequence(3).generate_state(1, np.uint32)[0])
    for size in range(1, (EXPERTS if by_layer else LAYERS * EXPERTS) + 2):
        runs = [[token for sequence in sequences for token in sequence]] if together else sequences
        hits = [each for run in runs for each in run_hits(run, size, name, **about)]
        ends = tokens.ends.tolist()
        assert found.hits(size).tolist() == [sum(hits[a:b]) for a, b in pairwise(ends)], size


WAYS = [
    (by_layer, cold, together) for by_layer in (False, True) for cold in (False, True) for together in (False, True)
]


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None, max_examples=25)
@given(sequences=routing(), way=st.sampled_from(WAYS))
def test_one_pass_equals_one_size_at_a_time(name: str, sequences: list[list[Token]], way: tuple[bool, ...]) -> None:
    agree(sequences, name, *way, **({"period": 1} if name == "lfu-aged" else {"ahead": 3} if name == "sch" else {}))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", POLICIES)
def test_compiled_equals_one_size_at_a_time(name: str, way: tuple[bool, bool, bool]) -> None:
    agree(drawn(1, [14, 1, 22]), name, *way, compiled=True)


@pytest.mark.parametrize("ahead", [1, 2, 5, 100])
def test_every_window_of_sch(ahead: int) -> None:
    for by_layer in (False, True):
        agree(drawn(ahead, [30, 12]), "sch", by_layer, False, False, ahead=ahead)


@pytest.mark.parametrize("period", [1, 2, 3])
def test_counts_age_at_every_period(period: int) -> None:
    agree(drawn(period, [40]), "lfu-aged", False, False, False, period=period)


@pytest.mark.parametrize("name", POLICIES)
def test_larger_caches_hit_more_and_one_of_all_experts_always(name: str) -> None:
    tokens = tokens_of(drawn(5, [60, 40]))
    for by_layer in (False, True):
        hits = expert_hits(build("expert-replacement", name), tokens, by_layer=by_layer).of_all_sizes()
        assert (np.diff(hits) >= 0).all()
        assert hits[-1] == len(tokens.ids)
        cold = expert_hits(build("expert-replacement", name), tokens, by_layer=by_layer, cold=True).of_all_sizes()
        assert cold[-1] == len(tokens.ids) - sum(len(set(tokens.ids[a:b])) for a, b in _uses(tokens))
        assert (cold <= hits).all()


def _uses(tokens: ExpertTokens) -> list[tuple[int, int]]:
    at = tokens.starts[tokens.ends].tolist()
    return list(pairwise(at))


@settings(deadline=None, max_examples=60)
@given(picks=st.lists(st.integers(0, 7), min_size=1, max_size=60))
def test_nobody_hits_more_than_belady_where_a_token_uses_one_expert(picks: list[int]) -> None:
    """At every size. Where a token uses several it need not be so: see the next test but one."""
    tokens = tokens_of([[[x] for x in picks]], 1, 8)
    best = expert_hits(build("expert-replacement", "belady"), tokens, compiled=False).of_all_sizes()
    for policy in ("lru", "lfu", "lfu-aged", "random", "least-stale", {"use": "sch", "ahead": 3}, "sch"):
        hits = expert_hits(build("expert-replacement", policy), tokens, compiled=False).of_all_sizes()
        assert (hits <= best).all()


@settings(deadline=None, max_examples=150)
@given(
    picks=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=1), min_size=1, max_size=10),
    size=st.integers(1, 3),
)
def test_belady_is_the_best_of_all_choices_where_a_token_uses_one_expert(picks: list[Token], size: int) -> None:
    tokens = tokens_of([picks], 1, 6)
    hits = int(expert_hits(build("expert-replacement", "belady"), tokens, compiled=False).hits(size)[0])
    assert len(tokens.ids) - hits == fewest_misses(picks, size)


@settings(deadline=None, max_examples=150)
@given(
    picks=st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2, unique=True), min_size=1, max_size=10),
    size=st.integers(1, 3),
)
def test_nobody_beats_the_best_of_all_choices(picks: list[Token], size: int) -> None:
    tokens = tokens_of([picks], 1, 6)
    fewest = fewest_misses(picks, size)
    for name in POLICIES:
        if name != "static":  # holds the right ones from the start
            hits = int(expert_hits(build("expert-replacement", name), tokens, compiled=False).hits(size)[0])
            assert len(tokens.ids) - hits >= fewest


def test_belady_is_not_the_best_where_hits_are_judged_before_the_token() -> None:
    """An expert that leaves before its own turn in a token has hit all the same, and then enters at no cost.

    A cache of two holds 1 and 2. The second token misses 0 and finds 2. When 0 enters, Belady keeps 2, whose turn is
    next, and loses 1, so that the third token misses it. The best loses 2, which has hit, then 0 for it: 1 is still
    there.
    """
    picks = [[1, 2], [0, 2], [2, 1]]
    hits = int(expert_hits(build("expert-replacement", "belady"), tokens_of([picks], 1, 3)).hits(2)[0])
    assert (len(picks) * 2 - hits, fewest_misses(picks, 2)) == (2, 1)


def test_sets_that_alternate_defeat_lru_and_fit_into_twice_the_room() -> None:
    picks = [[0, 1], [2, 3]] * 20
    hits = expert_hits(build("expert-replacement", "lru"), tokens_of([picks], 1, 4)).of_all_sizes()
    assert hits[1] == 2  # the slots that the first token fills
    assert hits[3] == len(picks) * 2


def test_the_same_experts_always_hit_from_their_number_on() -> None:
    picks = [[0, 2, 5]] * 12
    for name in POLICIES:
        hits = expert_hits(build("expert-replacement", name), tokens_of([picks], 1, 6)).of_all_sizes()
        assert hits[2] == len(picks) * 3


def test_a_window_beyond_the_end_counts_all_uses_that_are_left() -> None:
    tokens = tokens_of(drawn(3, [25]))
    far = expert_hits(build("expert-replacement", {"use": "sch", "ahead": 25}), tokens)
    further = expert_hits(build("expert-replacement", {"use": "sch", "ahead": 9999}), tokens)
    assert (far.least == further.least).all()
    assert (far.least != expert_hits(build("expert-replacement", "belady"), tokens).least).any()


def test_a_warm_cache_remembers_the_sequence_before() -> None:
    tokens = tokens_of([[[0], [1]], [[0], [1]]], 1, 4)
    apart = expert_hits(build("expert-replacement", "lru"), tokens, cold=True)
    warm = expert_hits(build("expert-replacement", "lru"), tokens, cold=True, together=True)
    assert apart.hits(2).tolist() == [0, 0]
    assert warm.hits(2).tolist() == [0, 2]


def test_seeds_draw_others() -> None:
    tokens = tokens_of(drawn(4, [200]))
    random = build("expert-replacement", "random")
    first, again, other = (expert_hits(random, tokens, seed=seed).least for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


class _Lacks:
    @staticmethod
    def state(objects: int) -> dict[str, Any]:
        return {"last": np.zeros(objects, np.int64)}

    @staticmethod
    def use(last: Any, x: int, now: int) -> None:
        last[x] = now

    @staticmethod
    def worth(first: Any, x: int) -> int:
        return int(first[x])


def test_a_policy_that_asks_for_what_there_is_not_is_told() -> None:
    from tiersim._base.registry import register

    made = register("lacks", family="expert-replacement")(_Lacks)()
    with pytest.raises(PolicyError, match="a verb of _Lacks asks for 'first'"):
        expert_hits(made, tokens_of([[[0]]], 1, 1))
