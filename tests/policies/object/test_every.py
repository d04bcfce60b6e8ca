"""What holds for every policy, whoever wrote it: found by registration, so that a new one is tested without an edit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.object_requests import allowed, object_requests, scans_and_favourites
from tiersim._base.registry import build, index
from tiersim.sim.object_loop import DELETE, GET, PIN, SET, UNPIN
from tiersim.sim.object_replay import Outcome, replay_objects
from tiersim.sim.requests import Requests, requests_from

POLICIES = sorted(name for name, entry in index("object-replacement").items() if name == entry.name)
ADMISSIONS = sorted(name for name, entry in index("admission").items() if name == entry.name)


def outcomes(name: str, capacity: int, requests: Requests, **more: Any) -> tuple[list[int], Outcome]:
    held: list[Any] = []
    done = replay_objects(build("object-replacement", name), capacity, requests, outcomes=held, **more)
    return np.concatenate(held).tolist(), done


def whole_stream(sized: bool) -> Requests:
    """Every kind of request, long enough for every queue of a policy to be used."""
    ids = scans_and_favourites(6000, 7, objects=300)
    rng = np.random.default_rng(1)
    columns: dict[str, Any] = {"size": (ids % np.uint64(9)).astype(np.int64) + 1} if sized else {}
    op = rng.choice([GET, SET, DELETE, PIN, UNPIN], len(ids), p=[0.85, 0.05, 0.05, 0.02, 0.03]).astype(np.uint8)
    ttl = rng.choice([0, 2000], len(ids))
    cost = 1 + (ids % np.uint64(5)).astype(np.float64)
    return requests_from(ids, op=op, ttl=ttl, time=np.arange(len(ids)), cost=cost, **columns)


@pytest.mark.parametrize("name", POLICIES)
def test_compiled_equals_plain(name: str) -> None:
    policy = build("object-replacement", name)
    requests = whole_stream(sized=not hasattr(policy, "unit_only"))
    found = outcomes(name, 250, requests, seed=5)
    assert found == outcomes(name, 250, requests, seed=5, compiled=False)
    assert allowed(requests, found[0], 250) == ""
    assert found[1].totals.hits > 0
    assert found[1].counters["evicted"] > 0


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None, max_examples=40)
@given(requests=object_requests(), capacity=st.integers(1, 40), seed=st.integers(0, 5))
def test_nothing_is_lost_and_nothing_stale_is_served(name: str, requests: Requests, capacity: int, seed: int) -> None:
    """The audit at the end of a replay derives all counters again; here it does so at every edge."""
    if hasattr(build("object-replacement", name), "unit_only"):
        requests = requests.without_sizes()
    found, _ = outcomes(name, capacity, requests, seed=seed, compiled=False)
    assert allowed(requests, found, capacity) == ""


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None, max_examples=40)
@given(ids=st.lists(st.integers(0, 12), min_size=1, max_size=120), capacity=st.integers(1, 8))
def test_a_pinned_object_is_never_evicted(name: str, ids: list[int], capacity: int) -> None:
    columns = {"op": [GET, PIN, *[GET] * len(ids)]}
    found, _ = outcomes(name, capacity, requests_from([0, 0, *ids], **columns), compiled=False)
    for x, outcome in zip(ids, found[2:], strict=True):
        assert x != 0 or outcome == 1


@pytest.mark.parametrize("name", POLICIES)
def test_the_seed_decides_only_where_it_may(name: str) -> None:
    requests = requests_from(scans_and_favourites(4000, 3, objects=300))
    drawn = getattr(build("object-replacement", name), "random", False)
    first = outcomes(name, 60, requests, seed=1, compiled=False)
    assert first == outcomes(name, 60, requests, seed=1, compiled=False)
    assert (first == outcomes(name, 60, requests, seed=2, compiled=False)) == (not drawn)


@pytest.mark.parametrize("name", POLICIES)
def test_the_places_of_a_policy_have_names(name: str) -> None:
    policy = build("object-replacement", name)
    requests = requests_from(scans_and_favourites(3000, 3, objects=100))
    often = int(np.bincount(requests.ids).argmax())
    life = replay_objects(policy, 40, requests, watch=often, compiled=False).life
    places = getattr(policy, "places", ("out", "in"))
    assert {event.before for event in life} | {event.after for event in life} <= set(places)
    assert life[0].before == places[0]
    assert len(life) > 1


@pytest.mark.parametrize("name", POLICIES)
def test_room_for_all_is_enough(name: str) -> None:
    """Where everything fits only first requests miss, whatever shares a policy divides its cache into."""
    requests = requests_from(scans_and_favourites(2000, 4, objects=50))
    done = replay_objects(build("object-replacement", name), 100 * requests.objects, requests, compiled=False)
    assert done.totals.misses == requests.objects
    assert done.counters["evicted"] == 0


@pytest.mark.parametrize("admission", ADMISSIONS)
def test_an_admission_keeps_out_and_lets_in(admission: str) -> None:
    gate = build("admission", admission)
    requests = whole_stream(sized=True)
    lru = build("object-replacement", "lru")
    done = replay_objects(lru, 100, requests, admission=gate, seed=3)
    assert done == replay_objects(lru, 100, requests, admission=gate, seed=3, compiled=False)
    assert done.counters["rejected"] > 0
    assert done.counters["inserted"] > 0
