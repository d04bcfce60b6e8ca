"""Intervals cover as often as they say, tests and corrections agree with what was worked out by hand."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiersim.experiments import statistics
from tiersim.experiments.statistics import (
    Estimate,
    adjusted,
    block_bootstrap,
    block_length,
    bootstrap_t,
    cohens_dz,
    estimate,
    fieller,
    needed,
    paired,
    sign_flip,
    superiority,
    t_test,
)

Floats = NDArray[np.float64]
EXPERIMENTS = 2_000
values = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=12)


def coverage(experiment: Callable[[], Estimate], true: float, times: int = EXPERIMENTS) -> float:
    return sum((made := experiment()).low <= true <= made.high for _ in range(times)) / times


def walk(draw: np.random.Generator, length: int, memory: float) -> Floats:
    """An AR(1) series with innovations of variance 1, from its stationary distribution."""
    noise = draw.normal(size=length)
    out = np.empty(length)
    held = draw.normal() / math.sqrt(1 - memory**2)
    for place, fresh in enumerate(noise):
        held = memory * held + fresh
        out[place] = held
    return out


# intervals by simulation


@pytest.mark.parametrize("n", [3, 5, 19])
def test_few_normal_values_are_covered_at_95_per_cent(n: int) -> None:
    draw = np.random.default_rng(n)
    assert 0.93 <= coverage(lambda: estimate(draw.normal(10, 3, n)), 10) <= 0.97


def test_the_mean_of_many_skewed_values_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 1_000)
    draw = np.random.default_rng(1)
    made = estimate(draw.exponential(2, 30))
    assert made.method == "bootstrap-t"
    assert made.high - made.value > made.value - made.low  # it leans as the values do
    assert 0.93 <= coverage(lambda: estimate(draw.exponential(2, 30)), 2) <= 0.97


def test_the_difference_of_few_skewed_pairs_is_covered() -> None:
    draw = np.random.default_rng(2)

    def experiment() -> Estimate:
        luck = draw.exponential(5, 8)  # common random numbers
        return paired(luck + draw.exponential(1, 8), luck + draw.exponential(1, 8)).difference

    assert 0.93 <= coverage(experiment, 0) <= 0.97


@pytest.mark.parametrize(("make", "n"), [(fieller, 5), (bootstrap_t, 30)])
def test_the_ratio_of_paired_means_is_covered(
    make: Callable[[Floats, Floats], Estimate], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 1_000)
    draw = np.random.default_rng(3)

    def experiment() -> Estimate:
        base = draw.normal(10, 2, n)
        return make(1.3 * base + draw.normal(0, 1, n), base)

    assert 0.93 <= coverage(experiment, 1.3) <= 0.97


@pytest.mark.parametrize(("length", "memory"), [(100, 0.0), (500, 0.5)])
def test_the_mean_of_windows_that_depend_is_covered(
    length: int, memory: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    draw = np.random.default_rng(4)
    assert 0.93 <= coverage(lambda: block_bootstrap(walk(draw, length, memory)), 0) <= 0.97


def test_windows_taken_for_independent_are_not_covered() -> None:
    draw = np.random.default_rng(5)
    assert coverage(lambda: estimate(walk(draw, 19, 0.5)), 0, 500) < 0.85


def test_blocks_find_the_variance_of_a_mean() -> None:
    memory, length = 0.6, 4_000
    # the variance of an AR(1) mean, from its autocovariances
    lags = np.arange(1, length)
    known = (1 + 2 * float(((1 - lags / length) * memory**lags).sum())) / (1 - memory**2) / length
    draw = np.random.default_rng(6)
    found = []
    for _ in range(40):
        made = block_bootstrap(walk(draw, length, memory))
        found.append(((made.high - made.low) / 2 / 1.96) ** 2)
    assert np.mean(found) == pytest.approx(known, rel=0.15)


def test_blocks_are_longer_where_the_past_lasts() -> None:
    draw = np.random.default_rng(7)
    lengths = [block_length(walk(draw, 1_000, memory)) for memory in (0.0, 0.5, 0.9)]
    assert lengths == sorted(lengths)
    assert lengths[0] < 2 * lengths[0] < lengths[2] <= 250
    # Politis and White: (2 G^2 / D)^(1/3) n^(1/3); for AR(1) with 0.5, G = 2 * 0.5 / (0.5^2 * 0.75) and D = 4/3 * 4^2
    many = [block_length(walk(draw, 20_000, 0.5)) for _ in range(5)]
    slope, density = 2 * 0.5 / (0.5**2 * 0.75), 1 / 0.5**2
    assert np.mean(many) == pytest.approx((2 * slope**2 / (4 / 3 * density**2) * 20_000) ** (1 / 3), rel=0.25)


def test_weights_of_windows_count() -> None:
    series = np.tile([1.0, 3.0], 20)
    assert block_bootstrap(series, np.tile([3.0, 1.0], 20)).value == 1.5
    assert block_bootstrap(series).value == 2


# by hand


@pytest.mark.parametrize(
    ("p", "degrees", "table"), [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.975, 29, 2.045), (0.8, 9, 0.883)]
)
def test_student_as_in_tables(p: float, degrees: int, table: float) -> None:
    assert statistics._t_quantile(p, degrees) == pytest.approx(table, abs=5e-4)
    assert statistics._t_quantile(1 - p, degrees) == pytest.approx(-table, abs=5e-4)


@pytest.mark.parametrize(("p", "degrees", "table"), [(0.2, 1, 0.0642), (0.2, 9, 5.380), (0.95, 10, 18.307)])
def test_chi_squared_as_in_tables(p: float, degrees: int, table: float) -> None:
    assert statistics._chi_squared_quantile(p, degrees) == pytest.approx(table, abs=5e-4)


def test_paired_differences_by_hand() -> None:
    made = paired([11, 12, 13, 14, 16], [10, 10, 10, 10, 10])  # differences 1 2 3 4 6: mean 3.2, variance 3.7
    half = 2.7764 * math.sqrt(3.7 / 5)
    assert (made.difference.value, made.difference.n, made.difference.method) == (3.2, 5, "Student's t")
    assert [made.difference.low, made.difference.high] == pytest.approx([3.2 - half, 3.2 + half], abs=1e-3)
    assert made.ratio.value == pytest.approx(1.32)
    assert made.ratio.low == pytest.approx(made.difference.low / 10 + 1)
    assert made.superiority == 1
    # d = 3.2 / sqrt(3.7) = 1.6636; J(4) = gamma(2) / (sqrt(2) gamma(1.5)) = 1 / (1.41421 * 0.886227) = 0.797885
    assert made.effect == pytest.approx(1.6636 * 0.797885, abs=1e-4)
    assert made.p == pytest.approx(0.0205, abs=5e-4)  # t = 3.2 / sqrt(0.74) = 3.7199 with 4 degrees


def test_holm_by_hand() -> None:
    # 0.01 * 4, then 0.02 * 3 = 0.06, then 0.03 * 2 = 0.06, then 0.04 * 1, which the one before raises
    assert adjusted([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert adjusted([0.6, 0.7]) == [1, 1]
    assert adjusted([]) == []


def test_benjamini_and_hochberg_by_hand() -> None:
    # 0.01 * 4/1 = 0.04, 0.02 * 4/2 = 0.04, 0.03 * 4/3 = 0.04, 0.5 * 4/4; and each at most the next
    assert adjusted([0.5, 0.01, 0.03, 0.02], "benjamini-hochberg") == pytest.approx([0.5, 0.04, 0.04, 0.04])
    assert adjusted([0.01, 0.011], "benjamini-hochberg") == pytest.approx([0.011, 0.011])
    with pytest.raises(ValueError, match="no correction 'none'"):
        adjusted([0.1], "none")


def test_superiority_counts_ties_half() -> None:
    assert superiority([1, 2, 0, -1]) == pytest.approx(0.625)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Estimate(1.24, 1.2, 1.29, 5, "Student's t"), "1.240 (1.200 to 1.290, n = 5)"),
        (Estimate(1234.56, 1230.1, 1239.2, 5, "Student's t"), "1,234.6 (1,230.1 to 1,239.2, n = 5)"),
        (Estimate.exact(12), "12 (exact)"),
        (estimate([3.25]), "3.25 (no interval, n = 1)"),
        (estimate([2, 2, 2]), "2 (all alike, n = 3)"),
        (fieller([1, 2, 3], [-1, 0.5, 1]), "12 (no bounds, n = 3)"),
    ],
)
def test_no_estimate_is_a_bare_mean(made: Estimate, text: str) -> None:
    assert str(made) == text


# tests


def test_flipped_signs_against_all_patterns() -> None:
    draw = np.random.default_rng(8)
    for n in (1, 2, 5, 9):
        x = draw.integers(-4, 9, n).astype(float)
        sums = [abs(sum(a * b for a, b in zip(x, signs))) for signs in itertools.product((1, -1), repeat=n)]
        assert sign_flip(x) == sum(held >= abs(x.sum()) for held in sums) / len(sums)


def test_drawn_signs_agree_with_all_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(9).normal(0.5, 1, 14)
    whole = sign_flip(x)
    monkeypatch.setattr(statistics, "ENUMERATED", 13)
    assert sign_flip(x) == pytest.approx(whole, abs=4 * math.sqrt(whole / 9_999))


@pytest.mark.parametrize("test", [t_test, sign_flip])
def test_a_test_errs_as_often_as_it_says(test: Callable[[Floats], float]) -> None:
    draw = np.random.default_rng(10)
    found = np.array([test(draw.normal(0, 2, 10)) for _ in range(EXPERIMENTS)])
    assert 0.035 <= (found <= 0.05).mean() <= 0.065
    assert 0.16 <= (found <= 0.2).mean() <= 0.24


def test_holm_keeps_one_false_find_in_a_family_rare() -> None:
    draw = np.random.default_rng(11)
    families = [[t_test(draw.normal(0, 1, 6)) for _ in range(8)] for _ in range(1_000)]
    assert np.mean([min(family) < 0.05 for family in families]) > 0.25
    assert np.mean([min(adjusted(family)) < 0.05 for family in families]) < 0.07


# how many more


def test_the_repeats_asked_for_are_enough_to_tell() -> None:
    draw = np.random.default_rng(12)
    pilot = np.array([-1.0, 0.2, 0.4, 1.0, 1.9])  # mean 0.5, standard deviation 1.077
    asked = needed(pilot)
    assert asked.more is not None
    assert asked.at_most is not None
    n = len(pilot) + asked.more
    told = np.mean([t_test(draw.normal(0.5, pilot.std(ddof=1), n)) < 0.05 for _ in range(EXPERIMENTS)])
    assert 0.76 <= told <= 0.86
    assert asked.at_most > asked.more


def test_the_bound_is_enough_for_four_pilots_in_five() -> None:
    draw = np.random.default_rng(13)
    # with the true deviation 1, a half-width of 0.4 takes the least n with t(n - 1) / sqrt(n) <= 0.4: 27
    found = [needed(draw.normal(0, 1, 8), 0.4) for _ in range(EXPERIMENTS)]
    assert np.mean([8 + (held.at_most or 0) >= 27 for held in found]) == pytest.approx(0.8, abs=0.04)
    assert np.mean([8 + (held.more or 0) >= 27 for held in found]) < 0.6


def test_a_precision_by_hand() -> None:
    x = [0.0, 2.0]  # deviation sqrt 2; t(n - 1) sqrt(2 / n) <= 1 first at n = 11: 2.228 * 0.4264 = 0.950; at 10: 1.012
    assert needed(x, 1).more == 9
    assert needed([1, 1, 1], 0.1).more == needed([1, 1, 1]).at_most == 0
    assert needed([1, -1]).more is None  # a mean of 0 is never told from 0
    with pytest.raises(ValueError, match="one value"):
        needed([1.0])


# whatever the values


@given(values)
def test_a_variant_against_itself_differs_in_nothing(x: list[float]) -> None:
    made = paired(x, x)
    assert (made.difference.value, made.difference.low, made.difference.high) == (0, 0, 0)
    assert made.p == sign_flip(np.zeros(len(x))) == 1
    assert (made.effect, made.superiority) == (0, 0.5)
    if sum(x):
        assert made.ratio.value == 1


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=2, max_size=12))
def test_the_interval_is_that_of_the_differences(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(side, float) for side in zip(*pairs))
    made, reverse = paired(x, y), paired(y, x)
    assert made.difference == estimate(x - y)
    assert reverse.difference.value == -made.difference.value
    assert reverse.difference.low == -made.difference.high
    assert reverse.p == pytest.approx(made.p)
    assert reverse.superiority == pytest.approx(1 - made.superiority)


@given(st.lists(st.tuples(st.integers(500, 1000), st.integers(500, 1000)), min_size=3, max_size=12))
def test_difference_and_ratio_never_contradict(pairs: list[tuple[int, int]]) -> None:
    x, y = (np.array(side, float) for side in zip(*pairs))
    made = paired(x, y)
    assume(abs(made.p - 0.05) > 1e-6 and math.isfinite(made.ratio.low) and (x - y).std() > 0)
    outside = not made.difference.low <= 0 <= made.difference.high
    assert outside == (made.p < 0.05) == (not made.ratio.low <= 1 <= made.ratio.high)
    assert made.ratio.low <= made.ratio.value <= made.ratio.high


def test_pairing_takes_common_luck_away() -> None:
    draw = np.random.default_rng(14)
    luck = draw.normal(0, 10, 6)
    base, variant = luck + draw.normal(0, 0.1, 6), luck + 1 + draw.normal(0, 0.1, 6)
    with_pairs, without = paired(variant, base).difference, paired(variant, base[::-1]).difference
    assert with_pairs.high - with_pairs.low < (without.high - without.low) / 10


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from(["holm", "benjamini-hochberg"]))
def test_a_correction_only_raises_and_keeps_the_order(p: list[float], correction: str) -> None:
    made = adjusted(p, correction)
    assert all(1 >= new >= old for new, old in zip(made, p))
    assert adjusted(p[::-1], correction) == made[::-1]
    order = sorted(range(len(p)), key=p.__getitem__)
    assert [made[place] for place in order] == sorted(made)


@settings(max_examples=20)
@given(st.integers(0, 2**40))
def test_the_same_seed_gives_the_same_interval(seed: int) -> None:
    x = np.random.default_rng(0).exponential(1, 60)
    for make in (bootstrap_t, block_bootstrap):
        assert make(x, seed=seed) == make(x, seed=seed)
        assert make(x, seed=seed) != make(x, seed=seed + 1)


@pytest.mark.parametrize("wrong", [[], [math.nan, 1.0], [math.inf], [[1.0]]])
def test_what_is_no_sample_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="value"):
        estimate(wrong)


def test_unequal_sides_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="2 values against 1"):
        paired([1, 2], [1])


def test_an_effect_needs_a_spread() -> None:
    assert math.isnan(cohens_dz([1]))
    assert cohens_dz([2, 2]) == math.inf
