"""DualMap without its queues: the rule by hand, its degenerate cases, and the bounds that theory gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.oracles.routing import Request, cluster, prompt, replay, router

NAME = "dualmap-no-rebalance"


def pair(made: Any, *candidates: int) -> Any:
    """With these candidates for every key."""
    made.of = lambda request: list(candidates)
    return made


def dual(**parameters: Any) -> Any:
    """Candidates 2 and 1, the first hash's first, and a budget of 1000 tokens."""
    return pair(router(NAME, **{"slo": "1 s", "prefill": "1 ms/token"} | parameters), 2, 1)


def test_budgets() -> None:
    """5 s at 160 us are 31,250 tokens; the artifact's half is one less, as its 2.5 / 0.00016 falls short of 15,625."""
    assert router(NAME).most == 31_250
    assert router(NAME, profile="artifact").most == 15_624
    assert router(NAME, profile="artifact", prefill="127 us/token").most == 19_685


def test_the_warmer_one_while_it_is_in_time() -> None:
    made = dual()
    # 1 has 512 cached: 512 + 488 = 1000 tokens are in time, one more is not; 2 then has 700 to compute first
    ask = Request(prompt=1000)
    assert made.route(ask, cluster(pending=[0, 512, 0, 0], cached=[0, 512, 0, 0])) == 1
    assert made.route(ask, cluster(pending=[0, 513, 0, 0], cached=[0, 512, 0, 0])) == 2
    assert made.route(ask, cluster(pending=[0, 513, 2, 0], cached=[0, 512, 0, 0])) == 1  # both are late, 2 more so
    assert made.route(ask, cluster(pending=[0, 0, 9, 0], cached=[900, 0, 0, 900])) == 1  # others do not count


def test_who_has_as_much() -> None:
    ask = Request(prompt=100)
    seen = cluster(pending=[0, 5, 6, 0], pages=[0, 3, 2, 0])
    assert dual().route(ask, seen) == 1
    assert dual(profile="artifact").route(ask, seen) == 2
    assert dual(profile="artifact").route(ask, cluster(pending=[0, 5, 6, 0])) == 2  # the first hash's
    assert dual().route(ask, cluster()) == 2


def test_ablations() -> None:
    ask = Request(prompt=1000)
    late = cluster(pending=[0, 5000, 0, 0], prompts=[0, 7, 8, 0], cached=[0, 512, 0, 0])
    assert dual().route(ask, late) == 2
    assert dual(choice="cache-affinity").route(ask, late) == 1
    assert dual(choice="least-loaded").route(ask, late) == 1
    assert dual(choice="min-ttft").route(ask, late) == 2
    early = cluster(pending=[0, 500, 0, 0], prompts=[0, 9, 8, 0], cached=[0, 400, 0, 0])
    assert dual().route(ask, early) == 2  # 500 + 600 is late
    early = cluster(pending=[0, 300, 0, 0], prompts=[0, 9, 8, 0], cached=[0, 250, 0, 0])
    assert [dual(choice=name, prefill="100 us/token").route(ask, early) for name in ("slo", "min-ttft")] == [1, 2]
    assert dual(choice="least-loaded").route(ask, early) == 2


def some(seed: int, count: int = 600) -> list[tuple[Request, Any]]:
    """Requests, and clusters of eight in all sorts of states."""
    rng = np.random.default_rng(seed)
    out = []
    for number in range(count):
        size = int(rng.integers(1, 40))
        columns = {
            name: rng.integers(0, most, 8).tolist()
            for name, most in (("prompts", 30_000), ("pending", 20_000), ("pages", 3), ("cached", 512 * size))
        }
        first = int(rng.integers(0, 50))
        out.append((prompt(*range(1000 * first, 1000 * first + size), number=number), cluster(8, **columns)))
    return out


@pytest.mark.parametrize("profile", ["paper", "artifact"])
@pytest.mark.parametrize(("slo", "choice"), [(None, "cache-affinity"), ("0 s", "min-ttft")])
def test_without_an_objective_and_with_one_that_nobody_keeps(profile: str, slo: Any, choice: str) -> None:
    given = some(1)
    made, ablation = (router(NAME, 8, profile=profile, **more) for more in ({"slo": slo}, {"choice": choice}))
    assert [made.route(*one) for one in given] == [ablation.route(*one) for one in given]


def test_choices_differ() -> None:
    given, found = some(2), {}
    for choice in ("slo", "cache-affinity", "least-loaded", "min-ttft"):
        made = router(NAME, 8, choice=choice)
        found[choice] = tuple(made.route(*one) for one in given)
    assert len(set(found.values())) == 4


@pytest.mark.parametrize("profile", ["paper", "artifact"])
def test_every_request_goes_to_one_of_its_candidates(profile: str) -> None:
    made, other = router(NAME, 8, profile=profile), router(NAME, 8, profile=profile)
    for ask, seen in some(3):
        assert made.route(ask, seen) in other.of(ask)


def test_one_candidate_is_affinity_with_a_key_that_adapts() -> None:
    made, affinity = router(NAME, 8, candidates=1), router("cache-affinity", 8, prefix=1)
    given = some(4)
    assert [made.route(*one) for one in given] == [affinity.route(*one) for one in given]  # nothing is hot there


def test_of_one_prefix_all_but_two_hit() -> None:
    """m requests of one prefix: each of two candidates computes it once (1 - 2/m), affinity once (1 - 1/m)."""
    for m in (1, 2, 5, 20):  # so few that the key does not grow
        asked = [prompt(7, number=k) for k in range(m)]
        least = replay(asked, router(NAME, 8, choice="least-loaded").route, 8)
        assert least.ratio() == max(0, 1 - 2 / m)
        for parameters in ({}, {"profile": "artifact"}, {"choice": "min-ttft"}):
            made = replay(asked, router(NAME, 8, **parameters).route, 8)
            assert made.ratio() >= max(0, 1 - 2 / m)
            assert len(set(made.chosen)) <= 2
        assert replay(asked, router("cache-affinity", 8).route, 8).ratio() == 1 - 1 / m


def test_random_keys_are_even_with_two_candidates() -> None:
    """8000 equal prompts on 8 instances: the fullest has tens above the mean with one candidate, a few with two."""
    asked = [prompt(k, number=k) for k in range(8000)]
    above = {
        count: max(replay(asked, router(NAME, 8, choice="least-loaded", candidates=count).route, 8).loads) / 512 - 1000
        for count in (1, 2, 3)
    }
    assert above[1] > 15
    assert 0 <= above[2] <= 3
    assert 0 <= above[3] <= 3


def test_hot_prefixes_spread() -> None:
    """All prompts begin alike, so a key of one block would send all to two instances."""
    asked = [prompt(0, k, number=k) for k in range(1, 2000)]
    for profile in ("paper", "artifact"):
        made = replay(asked, router(NAME, 8, profile=profile, choice="least-loaded").route, 8)
        assert set(made.chosen[25:]) == set(range(8))
    never = replay(asked, router(NAME, 8, hot="100 %", choice="least-loaded").route, 8)
    assert len(set(never.chosen)) == 2
