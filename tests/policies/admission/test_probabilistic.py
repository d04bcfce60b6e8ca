"""Admission by chance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.registry import build
from tiersim.policies.object.chances import below, draws, exponential
from tiersim.sim.object_replay import replay_objects
from tiersim.sim.requests import requests_from


def inserted(count: int, size: int = 1, seed: int = 0, **more: Any) -> int:
    """How many of so many missed objects enter."""
    requests = requests_from(np.arange(count), size=np.full(count, size))
    gate, lru = build("admission", {"use": "probabilistic", **more}), build("object-replacement", "lru")
    done = replay_objects(lru, size * count, requests, admission=gate, seed=seed, compiled=False)
    assert done.counters["inserted"] + done.counters["rejected"] == count
    return done.counters["inserted"]


def test_all_and_none() -> None:
    assert inserted(500, probability="100%") == 500
    assert inserted(500, probability="0%") == 0


@pytest.mark.parametrize("percent", [10, 50, 90])
def test_a_share_enters(percent: int) -> None:
    share = percent / 100
    assert abs(inserted(4000, probability=f"{percent}%") / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)


def test_the_seed_decides() -> None:
    assert len({inserted(1000, seed=seed) for seed in range(5)}) > 1


def test_larger_ones_enter_less() -> None:
    found = inserted(4000, 100, probability="100%", scale="50B") / 4000
    assert abs(found - math.exp(-2)) < 4 * math.sqrt(math.exp(-2) / 4000)


@given(x=st.floats(-700, 0))
def test_exponential(x: float) -> None:
    assert exponential(x) == pytest.approx(math.exp(x), rel=1e-13)


def test_draws_are_even() -> None:
    state = draws(3).tolist()
    counts = np.bincount([below(state, 7) for _ in range(7000)], minlength=7)
    assert counts.sum() == 7000
    assert ((counts - 1000) ** 2 / 1000).sum() < 22.5  # chi squared with 6 degrees of freedom: one in a thousand
