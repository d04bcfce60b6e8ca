"""Indices of functions whose indices are known, by formula, by hand or by plain integration."""

from __future__ import annotations

import math
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, sobol_indices, uniform

from tiersim._base.errors import DependencyError, StudyError
from tiersim.experiments.sensitivity.methods import METHODS, Factor, analyse, level, sample, size

SAMPLES = {"sobol": 64, "morris": 12, "pawn": 120, "delta": 120}
THREE = tuple(Factor(name, "range") for name in "abc")
LISTS = (Factor("a", "range"), Factor("b", "levels", 3), Factor("c", "categories", 4))


def ishigami(shares):
    """Ishigami and Homma 1990, doi:10.1109/ISUMA.1990.151285, with 7 and 0.1."""
    x = math.pi * (2 * shares - 1)
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def ishigami_indices():
    """The variances by their formulas."""
    a, b, pi = 7, 0.1, math.pi
    alone = [(1 + b * pi**4 / 5) ** 2 / 2, a**2 / 8, 0.0]
    joint = b**2 * pi**8 * (1 / 18 - 1 / 50)
    whole = sum(alone) + joint
    first = [one / whole for one in alone]
    return first, [first[0] + joint / whole, first[1], joint / whole], joint / whole


def found(method, factors, function, samples, seed=0, **more):
    shares = sample(method, factors, samples, seed, more.get("second_order", True))
    return analyse(method, factors, shares, function(shares), seed, **more)


def values(indices, kind):
    return [None if one is None else one.value for one in indices.kinds[kind]]


# Sobol


def test_ishigami_has_its_indices_within_the_intervals():
    indices = found("sobol", THREE, ishigami, 1024, confidence=0.99)
    first, total, joint = ishigami_indices()
    for kind, known in (("first", first), ("total", total)):
        for one, true in zip(indices.kinds[kind], known, strict=True):
            assert one.low <= true <= one.high
            assert one.high - one.low < 0.3
    assert indices.second.keys() == set(combinations("abc", 2))
    for pair, one in indices.second.items():
        assert one.low <= (joint if pair == ("a", "c") else 0.0) <= one.high
    assert indices.used == 8 * 1024
    assert (indices.failed, indices.why, indices.notes) == (0, "", ())


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    first, total, _ = ishigami_indices()
    held = tried = 0
    for seed in range(25):
        indices = found("sobol", THREE, ishigami, 256, seed, second_order=False, confidence=0.9)
        for kind, known in (("first", first), ("total", total)):
            for one, true in zip(indices.kinds[kind], known, strict=True):
                held += one.low <= true <= one.high
                tried += 1
    assert held / tried > 0.85  # the even sequence makes errors smaller than those of resamples


def test_scipy_finds_the_same_within_what_chance_does():
    """Another estimator on other samples of the same sequence."""
    peer = sobol_indices(
        func=lambda x: ishigami((x.T + math.pi) / (2 * math.pi)),
        n=4096,
        dists=[uniform(-math.pi, 2 * math.pi)] * 3,
        rng=np.random.default_rng(1),
    )
    indices = found("sobol", THREE, ishigami, 2048, second_order=False)
    np.testing.assert_allclose(values(indices, "first"), peer.first_order, atol=0.03)
    np.testing.assert_allclose(values(indices, "total"), peer.total_order, atol=0.03)


def additive(shares):
    """Three times a range, a list's 0, 1 and 5, and categories' 0, 4, 0 and 4."""
    places = [[level(share, count) for share in column] for column, count in zip(shares[:, 1:].T, (3, 4), strict=True)]
    return 3 * shares[:, 0] + np.array([0, 1, 5])[places[0]] + np.array([0, 4, 0, 4])[places[1]]


def test_lists_have_the_indices_of_uniform_discrete_factors():
    """By hand: variances 9/12, (0 + 1 + 25)/3 - 2^2 = 14/3, and 4."""
    alone = np.array([0.75, 14 / 3, 4.0])
    indices = found("sobol", LISTS, additive, 1024)
    np.testing.assert_allclose(values(indices, "first"), alone / alone.sum(), atol=0.03)
    np.testing.assert_allclose(values(indices, "total"), alone / alone.sum(), atol=0.03)
    for one in indices.second.values():
        assert one.low < 0 < one.high


def test_without_second_order_runs_are_fewer_and_indices_alike():
    indices = found("sobol", THREE, ishigami, 1024, second_order=False)
    assert indices.used == 5 * 1024
    assert indices.second == {}
    np.testing.assert_allclose(values(indices, "first"), ishigami_indices()[0], atol=0.06)


def test_other_numbers_than_powers_of_two_are_told():
    (note,) = found("sobol", THREE, ishigami, 48).notes
    assert note.startswith("48 base samples are no power of two")


# Morris


def test_a_plane_has_its_slopes():
    """Whatever the trajectory, the step of a linear factor is its slope: of a list, from its first to its last."""
    factors = (Factor("a", "range"), Factor("b", "levels", 2), Factor("c", "levels", 3), Factor("d", "levels", 4))

    def plane(shares):
        lists = [[level(share, n) / (n - 1) for share in column] for column, n in zip(shares[:, 1:].T, (2, 3, 4))]
        return 2 * shares[:, 0] - 3 * np.array(lists[0]) + 4 * np.array(lists[1]) + 5 * np.array(lists[2])

    indices = found("morris", factors, plane, 8)
    np.testing.assert_allclose(values(indices, "mu"), [2, -3, 4, 5])
    np.testing.assert_allclose(values(indices, "mu_star"), [2, 3, 4, 5])
    np.testing.assert_allclose(values(indices, "sigma"), 0, atol=1e-12)
    assert indices.used == 8 * 5


@pytest.mark.parametrize("counts", [(2,), (3,), (2, 3, 5), (4, 7)])
def test_trajectories_reach_each_entry_equally_often(counts):
    factors = [Factor(f"f{count}", "levels", count) for count in counts]
    shares = sample("morris", factors, 3000)
    for column, count in zip(shares.T, counts, strict=True):
        many = np.bincount([level(share, count) for share in column], minlength=count) / len(column)
        np.testing.assert_allclose(many, 1 / count, atol=0.02)


def test_each_step_moves_one_factor_and_each_once():
    shares = sample("morris", LISTS, 50, seed=3).reshape(50, 4, 3)
    moved = np.diff(shares, axis=1) != 0
    assert (moved.sum(axis=2) == 1).all()
    assert (moved.sum(axis=1) == 1).all()


def test_all_pairs_of_categories_are_compared():
    """0 and 4 alternate: a step of two places, always the same, would find no difference."""
    factors = (Factor("c", "categories", 4),)
    indices = found("morris", factors, lambda shares: np.array([0, 4, 0, 4])[[level(s, 4) for s in shares[:, 0]]], 900)
    (one,) = indices.kinds["mu_star"]
    assert one.low <= 4 * 8 / 12 <= one.high  # 8 of the 12 ordered pairs differ, by 4
    assert indices.kinds["mu"] == indices.kinds["sigma"] == (None,)


def test_effects_of_ranges_are_salibs():
    from SALib.analyze import morris

    shares = sample("morris", THREE, 40)
    outputs = ishigami(shares)
    problem = {"num_vars": 3, "names": [*"abc"], "bounds": [[0, 1]] * 3}
    its = morris.analyze(problem, shares, outputs, num_levels=4, num_resamples=1000, seed=1)
    indices = analyse("morris", THREE, shares, outputs)
    for kind in ("mu", "mu_star", "sigma"):
        np.testing.assert_allclose(values(indices, kind), its[kind], atol=1e-12)
    half = [one.high - one.value for one in indices.kinds["mu_star"]]
    np.testing.assert_allclose(half, its["mu_star_conf"], rtol=0.25, atol=1e-9)  # other resamples


# PAWN


def greatest_gap(mine, everyone):
    """The statistic of Kolmogorov and Smirnov by its definition."""
    return max(abs(np.mean(mine <= y) - np.mean(everyone <= y)) for y in everyone)


def test_pawn_is_the_greatest_gap_of_each_slice():
    shares = sample("pawn", LISTS, 60, seed=2)
    outputs = np.round(additive(shares) + shares[:, 0] ** 2, 1)  # with ties
    indices = analyse("pawn", LISTS, shares, outputs)
    ranks = shares[:, 0].argsort().argsort()
    slices = [
        [(ranks >= 10 * at) & (ranks < 10 * at + 10) for at in range(6)],  # of ten samples each
        *([[level(s, n) == at for s in shares[:, column]] for at in range(n)] for column, n in ((1, 3), (2, 4))),
    ]
    for column, its in enumerate(slices):
        gaps = [greatest_gap(outputs[np.array(inside)], outputs) for inside in its]
        assert indices.kinds["median"][column].value == pytest.approx(np.median(gaps))
        assert indices.kinds["maximum"][column].value == pytest.approx(max(gaps))
        assert indices.kinds["minimum"][column].value == pytest.approx(min(gaps))


def test_pawn_of_ranges_is_near_salibs():
    """Not equal: its last slice lacks the greatest sample."""
    from SALib.analyze import pawn

    shares = sample("pawn", THREE, 500)
    its = pawn.analyze({"num_vars": 3, "names": [*"abc"]}, shares, ishigami(shares), S=10)
    indices = analyse("pawn", THREE, shares, ishigami(shares))
    for kind in ("median", "maximum", "minimum"):
        np.testing.assert_allclose(values(indices, kind), its[kind], atol=0.02)


@pytest.mark.parametrize(("method", "kind"), [("pawn", "median"), ("delta", "delta")])
def test_a_factor_that_does_nothing_is_like_the_dummy(method, kind):
    indices = found(method, (*THREE, Factor("idle", "levels", 4)), ishigami, 400, confidence=0.99)
    (*_, idle), (*_, dummy) = indices.kinds[kind], indices.kinds["dummy"]
    assert dummy.low <= idle.value <= dummy.high
    assert all(one.low > dummy.high for one in indices.kinds[kind][:2])


# delta


def triangle(y):
    return np.where(y < 1, y, 2 - y) * ((y > 0) & (y < 2))


def test_delta_of_a_sum_of_two_uniforms():
    """Half of the mean area between the triangle of the sum and the box of the sum for one term, integrated plainly.

    Kernels smooth the edges of the box, so that what is found is less.
    """
    ys, xs = np.linspace(0, 2, 4001), np.linspace(0, 1, 201)
    box = (ys >= xs[:, None]) & (ys <= xs[:, None] + 1)
    true = np.mean(np.trapezoid(np.abs(triangle(ys) - box), ys, axis=1)) / 2
    two = (Factor("a", "range"), Factor("b", "range"))
    indices = found("delta", two, lambda shares: shares.sum(axis=1), 3000)
    np.testing.assert_allclose(values(indices, "delta"), true, atol=0.06)
    np.testing.assert_allclose(values(indices, "first"), 0.5, atol=0.03)


def test_delta_of_categories_by_hand():
    """A normal output that one of two categories moves by 3: classes of N(0, 1) and N(3, 1) against their mixture.

    Each is half of the mixture's distance to the other: (2 F(1.5) - 1) / 2. A class as wide as a range's would lie
    half in each.
    """
    factors = (Factor("a", "range"), Factor("b", "categories", 2), Factor("idle", "categories", 3))

    def moved(shares):
        return norm.ppf(shares[:, 0]) + 3 * np.array([level(share, 2) for share in shares[:, 1]])

    indices = found("delta", factors, moved, 1000)
    true = (2 * norm.cdf(1.5) - 1) / 2
    _, one, idle = indices.kinds["delta"]
    assert one.value == pytest.approx(true, abs=0.04)
    assert abs(idle.value) < 0.02
    assert indices.kinds["first"][1].value == pytest.approx(2.25 / 3.25, abs=0.03)
    assert abs(indices.kinds["first"][2].value) < 0.01


def test_an_output_that_categories_fix_has_all_of_delta():
    """By hand: four equally frequent points, each of which the others, 3/4, are not; narrow peaks come near it."""
    factors = (Factor("a", "range"), Factor("b", "categories", 4))

    def fixed(shares, width):
        return 10.0 * np.array([level(share, 4) for share in shares[:, 1]]) + width * shares[:, 0]

    for width in (0, 1e-9, 1e-3, 0.1):
        indices = found("delta", factors, lambda shares, width=width: fixed(shares, width), 400)
        assert indices.kinds["delta"][1].value == pytest.approx(0.75, abs=0.02)
        assert indices.kinds["first"][1].value == pytest.approx(1, abs=1e-3)


def test_delta_of_ranges_is_near_salibs():
    from SALib.analyze import delta

    shares = sample("delta", THREE, 400)
    outputs = ishigami(shares)
    indices = analyse("delta", THREE, shares, outputs)
    edges = np.linspace(0, 400, 1 + math.ceil(400 ** (2 / (7 + math.tanh((1500 - 400) / 500)))))
    for column, one in enumerate(indices.kinds["delta"]):
        its = delta.calc_delta(outputs, np.linspace(outputs.min(), outputs.max(), 100), shares[:, column], edges)
        assert one.value == pytest.approx(its, abs=0.05)  # whose bias is not taken off
        share = delta.sobol_first(outputs, shares[:, column], edges)
        assert indices.kinds["first"][column].value == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("method", ["pawn", "delta"])
def test_what_matters_comes_first(method):
    indices = found(method, THREE, ishigami, 600)
    a, b, c = values(indices, {"pawn": "median", "delta": "delta"}[method])
    assert b > a > c


# all


@pytest.mark.parametrize("method", METHODS)
def test_zero_is_a_seed_like_any_other(method):
    state = np.random.get_state()[1].copy()
    once, again, other = (sample(method, LISTS, SAMPLES[method], seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()
    assert once.shape == (SAMPLES[method] * size(method, 3), 3)
    assert once.min() >= 0
    assert once.max() <= 1
    outputs = ishigami(once)
    first, same, third = (analyse(method, LISTS, once, outputs, seed) for seed in (0, 0, 1))
    assert first == same
    assert first != third  # by its intervals
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_output_has_no_indices_but_zeros(method):
    indices = found(method, LISTS, lambda shares: np.full(len(shares), 0.1) * 3, SAMPLES[method])
    assert indices.notes[-1] == "the output is the same in all samples"
    estimates = [one for kind in indices.kinds.values() for one in kind if one] + [*indices.second.values()]
    assert {(one.value, one.low, one.high) for one in estimates} == {(0, 0, 0)}
    assert indices.kinds.keys() == found(method, LISTS, additive, SAMPLES[method]).kinds.keys()
    assert len(indices.second) == (3 if method == "sobol" else 0)


@pytest.mark.parametrize("method", METHODS)
def test_one_factor_has_it_all(method):
    indices = found(method, THREE[:1], lambda shares: shares[:, 0] ** 2, SAMPLES[method])
    (one,) = next(iter(indices.kinds.values()))
    assert one.value > 0.3
    assert indices.second == {}
    if method == "sobol":
        assert one.value == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("failed", ["refuse", "drop", "median"])
def test_without_any_sample_there_are_no_indices(method, failed):
    shares = sample(method, THREE, SAMPLES[method])
    indices = analyse(method, THREE, shares, np.full(len(shares), np.nan), failed=failed)
    assert (indices.kinds, indices.second, indices.used, indices.failed) == ({}, {}, 0, len(shares))
    assert f"{len(shares)} of {len(shares)} samples failed" in indices.why


@pytest.mark.parametrize("method", METHODS)
def test_one_failed_sample_is_not_passed_over_in_silence(method):
    shares = sample(method, THREE, SAMPLES[method])
    outputs = ishigami(shares)
    outputs[5] = np.inf
    refused = analyse(method, THREE, shares, outputs)
    assert refused.kinds == {}
    assert refused.why.startswith(f"1 of {len(shares)} samples failed: no indices")
    counted = analyse(method, THREE, shares, outputs, failed="median")
    outputs[5] = np.median(np.delete(outputs, 5))
    assert counted.kinds == analyse(method, THREE, shares, outputs).kinds
    assert counted.notes == (f"1 of {len(shares)} samples failed and count as the median of the others",)


@pytest.mark.parametrize("method", METHODS)
def test_one_block_is_too_few(method):
    rows = size(method, 3)
    shares = sample(method, THREE, 2)
    outputs = ishigami(shares)
    outputs[:rows] = np.nan
    assert "one is left" in analyse(method, THREE, shares, outputs, failed="drop").why


@settings(max_examples=15, deadline=None)
@given(
    method=st.sampled_from(METHODS), lost=st.sets(st.integers(0, 95), min_size=1, max_size=4), seed=st.integers(0, 9)
)
def test_dropping_is_as_if_blocks_had_never_been(method, lost, seed):
    samples = {"sobol": 12, "morris": 24, "pawn": 96, "delta": 96}[method]
    shares = sample(method, LISTS, samples, seed)
    outputs = additive(shares)
    rows = size(method, 3)
    blocks = {row // rows for row in lost}
    kept = [row for row in range(len(shares)) if row // rows not in blocks]
    without = analyse(method, LISTS, shares[kept], outputs[kept], seed)
    outputs[list(lost)] = np.nan
    dropped = analyse(method, LISTS, shares, outputs, seed, failed="drop")
    assert (dropped.kinds, dropped.second, dropped.used) == (without.kinds, without.second, len(kept))
    assert dropped.failed == len(lost)
    assert any(f"{len(lost)} of {len(shares)} samples failed" in note for note in dropped.notes)


@settings(max_examples=10, deadline=None)
@given(method=st.sampled_from(METHODS), constant=st.floats(-1e5, 1e5), seed=st.integers(0, 3))
def test_a_constant_more_changes_nothing(method, constant, seed):
    shares = sample(method, LISTS, SAMPLES[method], seed)
    plain, moved = (analyse(method, LISTS, shares, additive(shares) + more, seed) for more in (0, constant))
    for kind in plain.kinds:
        for one, other in zip(plain.kinds[kind], moved.kinds[kind], strict=True):
            if one is not None:
                assert one.value == pytest.approx(other.value, abs=1e-6)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(4)))
def test_the_order_of_categories_means_nothing(order):
    heights = np.array([0.0, 4.0, 1.0, 7.0])

    def output(shares):
        return 3 * shares[:, 0] + heights[[order[level(share, 4)] for share in shares[:, 1]]]

    factors = (Factor("a", "range"), Factor("c", "categories", 4))
    indices = found("sobol", factors, output, 512)
    alone = np.array([0.75, heights.var()])
    for kind in ("first", "total"):
        np.testing.assert_allclose(values(indices, kind), alone / alone.sum(), atol=0.04)


def test_few_base_samples_that_are_equal_are_told():
    factors = (Factor("a", "categories", 40),)
    shares = sample("sobol", factors, 2)
    outputs = np.zeros(len(shares))
    outputs[1] = 1.0
    assert analyse("sobol", factors, shares, outputs).why.startswith("the base samples all give the same output")


def test_what_cannot_be_is_said():
    with pytest.raises(StudyError, match="no method of sensitivity is called 'sobl'; did you mean"):
        sample("sobl", THREE, 8)
    with pytest.raises(StudyError, match="sobol needs at least two samples"):
        sample("sobol", THREE, 1)
    with pytest.raises(StudyError, match="pawn needs at least one factor"):
        sample("pawn", (), 8)
    with pytest.raises(StudyError, match="no handling of failed samples is called 'skip'"):
        analyse("pawn", THREE, sample("pawn", THREE, 8), np.ones(8), failed="skip")


def test_without_salib_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "SALib.sample.sobol", None)
    with pytest.raises(DependencyError) as told:
        sample("sobol", THREE, 8)
    assert told.value.remedy == "pip install 'tiersim[sense]'"
