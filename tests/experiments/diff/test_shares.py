"""Shares of a difference: exact, by the definition over all orders, and rounded so that they add up."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim.experiments.diff.shares import MOST, Mixture, Value, both_ways, mixtures, rounded, shapley, shares
from tiersim.experiments.diff.waterfall import waterfall
from tiersim.experiments.scenario import Metric

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def over_orders(count: int, value: Value) -> list[Fraction]:
    """Shapley's definition: the mean of what a cause adds to those before it, over every order."""
    out = [Fraction(0)] * count
    for order in itertools.permutations(range(count)):
        for place, one in enumerate(order):
            out[one] += value(frozenset(order[: place + 1])) - value(frozenset(order[:place]))
    return [one / math.factorial(count) for one in out]


@st.composite
def games(draw: st.DrawFn, most: int = 5) -> tuple[int, dict[Mixture, Fraction]]:
    """So many causes, and any values of their mixtures."""
    count = draw(st.integers(1, most))
    return count, {held: Fraction(draw(FINITE)) for held in mixtures(count, most)}


@given(games(4))
def test_shapley_is_the_mean_over_all_orders(game: tuple[int, dict[Mixture, Fraction]]) -> None:
    count, values = game
    assert shapley(count, values.__getitem__) == over_orders(count, values.__getitem__)


@given(st.lists(FINITE, min_size=1, max_size=6), FINITE)
def test_of_a_sum_each_cause_has_its_own_effect(effects: list[float], start: float) -> None:
    def value(held: Mixture) -> Fraction:
        return Fraction(start) + sum((Fraction(effects[one]) for one in held), Fraction())

    for share in (shapley, both_ways):
        assert share(len(effects), value) == [Fraction(effect) for effect in effects]


@given(FINITE)
def test_a_product_is_split_evenly(effect: float) -> None:
    def value(held: Mixture) -> Fraction:  # only both together do it, and the third does nothing
        return Fraction(effect) if {0, 1} <= held else Fraction(0)

    for share in (shapley, both_ways):
        assert share(3, value) == [Fraction(effect) / 2, Fraction(effect) / 2, Fraction(0)]


def test_the_order_matters_for_both_ways_and_not_for_shapley() -> None:
    def all_three(held: Mixture) -> Fraction:
        return Fraction(len(held) == 3)

    assert shapley(3, all_three) == [Fraction(1, 3)] * 3
    assert both_ways(3, all_three) == [Fraction(1, 2), Fraction(0), Fraction(1, 2)]


@given(games(5), st.sampled_from([0, 9]))
def test_shares_sum_exactly_and_are_negative_the_other_way_round(
    game: tuple[int, dict[Mixture, Fraction]], most: int
) -> None:
    """`most` of 0 is for more causes than Shapley values are taken of."""
    count, values = game
    whole = frozenset(range(count))
    there = shares(count, values.__getitem__, most)
    assert sum(there) == values[whole] - values[frozenset()]
    back = shares(count, lambda held: values[whole - held], most)
    assert back == [-one for one in there]


@pytest.mark.parametrize("count", range(9))
def test_no_other_mixtures_are_needed(count: int) -> None:
    needed = mixtures(count)
    assert len(needed) == len(set(needed)) == (2**count if count <= MOST else 2 * count)
    asked = []
    shares(count, lambda held: Fraction(asked.append(held) or 0))  # type: ignore[func-returns-value]
    assert set(asked) <= set(needed)
    assert not count or set(asked) == set(needed)


SHOWN = st.floats(-1e300, 1e300)  # a hundred times the largest float is none


@given(st.lists(SHOWN, min_size=1, max_size=8), SHOWN, st.sampled_from(["ratio", "bytes", "ms", ""]))
def test_what_is_printed_adds_up(sizes: list[float], start: float, unit: str) -> None:
    steps = [(f"step {place}", Fraction(size), "") for place, size in enumerate(sizes)]
    a = Fraction(start)
    b = a + sum((size for _, size, _ in steps), Fraction())
    falls = waterfall(Metric("m", unit, ""), (a, b), steps)
    first, last, total, *shown = (
        Fraction(text.replace(",", "")) for text in (falls.a, falls.b, falls.difference, *(s.text for s in falls.steps))
    )
    assert first + total == last
    assert sum(shown) == total
    digits = len(falls.a.partition(".")[2])
    for (_, size, _), text in zip(steps, shown, strict=True):
        assert abs(size * falls.factor - text) < Fraction(1, 10**digits)
    assert falls.steps[0].begin == falls.ends[0]


def test_the_largest_remainders_are_rounded_up() -> None:
    steps = [Fraction("1.6"), Fraction("1.3"), Fraction("-0.9")]
    assert rounded(steps, 0, 2) == [2, 1, -1]
    assert rounded([-step for step in steps], 0, -2) == [-2, -1, 1]
    assert rounded([Fraction(1, 3)] * 3, 2, 100) == [34, 33, 33]


def test_ratios_are_in_per_cent_and_steps_in_points() -> None:
    falls = waterfall(Metric("m", "ratio", ""), (Fraction("0.5"), Fraction("0.25")), [("x", Fraction("-0.25"), "")])
    assert (falls.a, falls.unit, falls.difference, falls.step_unit) == ("50", "%", "-25", "points")
    falls = waterfall(
        Metric("m", "bytes", ""), (Fraction(5_000_000), Fraction(7_500_000)), [("x", Fraction(2_500_000), "")]
    )
    assert (falls.a, falls.unit, falls.difference) == ("5.000", "MB", "+2.500")
    falls = waterfall(Metric("m", "lines", ""), (Fraction(1234), Fraction(7)), [("x", Fraction(-1227), "")])
    assert (falls.a, falls.b, falls.difference) == ("1,234", "7", "-1,227")
