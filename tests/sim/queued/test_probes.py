"""Gauges and histograms against plain lists."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.sim.queued.probes import BITS, EXACT, Gauge, Histogram

STEPS = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 20)), max_size=30)


@given(STEPS, st.integers(0, 50))
def test_a_gauge_is_an_integral(steps: list[tuple[int, int]], more: int) -> None:
    gauge, levels, now = Gauge(3, 7), [], 7
    for delta, span in steps:
        levels += [gauge.level] * span
        now += span
        gauge.change(delta, now)
    assert gauge.integral(now) == sum(levels)
    assert gauge.integral(now + more) == sum(levels) + more * gauge.level
    reached = [3]
    for delta, _ in steps:
        reached.append(reached[-1] + delta)
    assert (gauge.least, gauge.most) == (min(reached), max(reached))
    if levels:
        assert gauge.mean(now) == sum(levels) / len(levels)


def test_a_gauge_does_not_go_back() -> None:
    gauge = Gauge(since=5)
    assert gauge.mean(5) == 0
    with pytest.raises(ValueError, match="a change at 4 ps comes after one at 5 ps"):
        gauge.change(1, 4)


def nearest(values: list[int], share: float) -> int:
    return sorted(values)[math.ceil(share * len(values)) - 1]


SHARES = st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.99, 1.0])


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=60), SHARES)
def test_a_histogram_is_exact_at_small_counts(values: list[int], share: float) -> None:
    held = Histogram()
    for value in values:
        held.add(value)
    assert (held.count, held.total, held.least, held.most) == (len(values), sum(values), min(values), max(values))
    assert held.quantile(share) == nearest(values, share)
    assert held.mean == sum(values) / len(values)


def test_a_histogram_is_bounded_and_says_how_wrong_it_is() -> None:
    held = Histogram()
    values = [(7 * step) ** 2 % (1 << 40) for step in range(5 * EXACT)]
    for value in values:
        held.add(value)
    assert held.rounded
    assert len(held._counts) <= 41 * 2**BITS
    for share in (0.1, 0.5, 0.9, 0.999, 1.0):
        right = nearest(values, share)
        assert right <= held.quantile(share) <= right * (1 + 2**-BITS)
    assert (held.count, held.total, held.most) == (len(values), sum(values), max(values))


@given(st.lists(st.integers(0, 999)), st.lists(st.integers(0, 999), min_size=1), SHARES)
def test_two_histograms_as_one(first: list[int], second: list[int], share: float) -> None:
    both, one, other = Histogram(), Histogram(), Histogram()
    for held, values in ((one, first), (other, second), (both, first + second)):
        for value in values:
            held.add(value)
    one.merge(other)
    assert (one.count, one.total, one.least, one.most) == (both.count, both.total, both.least, both.most)
    assert one.quantile(share) == both.quantile(share)


def test_what_is_no_question() -> None:
    held = Histogram()
    with pytest.raises(ValueError, match="nothing was counted"):
        _ = held.mean
    with pytest.raises(ValueError, match="nothing was counted"):
        held.quantile(0.5)
    with pytest.raises(ValueError, match="0 or more, and not -1"):
        held.add(-1)
    held.add(1)
    with pytest.raises(ValueError, match="no share above 0"):
        held.quantile(0)
