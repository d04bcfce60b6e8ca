"""Orders of variants, against plain counting and against scipy's tau."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from tiersim.experiments.sensitivity.methods import METHODS, Factor, sample
from tiersim.experiments.sensitivity.ranks import kendall, rank

TWO = (Factor("a", "range"), Factor("b", "range"), Factor("idle", "range"))
SHARES = sample("sobol", TWO, 64)
small = st.integers(0, 4).map(float)


def ranks(values, own, better="more", shares=SHARES, method="sobol", **more):
    held = {name: np.asarray(one, float) for name, one in values.items()}
    return rank(method, TWO, shares, held, own, better, "base", **more)


@given(st.lists(st.tuples(small, small), min_size=2, max_size=8))
def test_tau_is_scipys_with_ties_too(pairs):
    first, second = zip(*pairs, strict=True)
    its = kendalltau(first, second).statistic
    mine = kendall(first, second)
    assert (math.isnan(mine) and math.isnan(its)) or mine == pytest.approx(its)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(small, small, small), min_size=8 * 4, max_size=8 * 4),
    own=st.tuples(small, small, small),
    better=st.sampled_from(["more", "less"]),
    lost=st.sets(st.integers(0, 31), max_size=3),
)
def test_counts_are_those_of_plain_counting(rows, own, better, lost):
    names = ("base", "x", "y")
    table = [list(row) for row in rows]
    for at in lost:
        table[at][at % 3] = math.nan
    shares = sample("sobol", TWO, 4)
    found = ranks(
        {name: [row[at] for row in table] for at, name in enumerate(names)}, dict(zip(names, own)), better, shares
    )
    whole = [row for row in table if not any(math.isnan(value) for value in row)]
    pick = max if better == "more" else min
    wins = dict.fromkeys(names, 0.0)
    same, taus = 0, []

    def order(row):
        return [(a > b) - (a < b) for a, b in combinations(row, 2)]

    for row in whole:
        best = [at for at in range(3) if row[at] == pick(row)]
        for at in best:
            wins[names[at]] += 1 / len(best) / len(whole)
        same += order(row) == order(own)
        if len(set(row)) > 1 and len(set(own)) > 1:
            taus.append(kendalltau(own, row).statistic)
    assert found.wins == pytest.approx(wins)
    assert (found.used, found.failed) == (len(whole), len(lost))
    if len(set(own)) == 1:
        assert (found.held, found.tau) == (None, None)
        assert "at the study's own point all variants are equal" in found.notes
    else:
        assert found.held == pytest.approx(same / len(whole))
        assert found.tau == (pytest.approx(np.mean(taus)) if taus else None)
    assert sorted(found.order) == sorted(names)
    placed = [dict(zip(names, own))[name] for name in found.order]
    assert placed == sorted(placed, reverse=better == "more")


def test_what_decides_is_what_moves_the_ratio():
    """Both depend on a most, alike; of their ratio b decides, and the winner changes in the middle of b."""
    a, b, _ = SHARES.T
    values = {"base": 10 + 100 * a, "other": (10 + 100 * a) * (0.5 + b)}
    found = ranks(values, {"base": 60, "other": 66})
    assert found.decides == {"other": "b"}
    assert found.ratios.keys() == {"other"}
    assert found.wins["other"] == pytest.approx(0.5, abs=0.05)
    assert found.order == ("other", "base")
    assert found.held == found.wins["other"]  # of two variants, the order is who is best
    assert found.tau == pytest.approx(2 * found.held - 1)
    assert found.scatter.x == "b"
    np.testing.assert_array_equal(found.scatter.places[:, 0], b)
    np.testing.assert_array_equal(found.scatter.winners, (b > 0.5).astype(int))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_what_decides(method):
    shares = sample(method, TWO, 128)
    values = {"base": np.ones(len(shares)), "other": 1 + shares[:, 1] ** 2, "third": 2 - shares[:, 0]}
    found = ranks(values, {"base": 1, "other": 1.2, "third": 1.5}, shares=shares, method=method)
    assert found.decides == {"other": "b", "third": "a"}
    assert {found.scatter.x, found.scatter.y} == {"a", "b"}


def test_less_is_better_where_the_metric_says_so():
    values = {"base": np.full(len(SHARES), 2.0), "other": np.ones(len(SHARES))}
    assert ranks(values, {"base": 2, "other": 1}, "less").wins == {"base": 0, "other": 1}
    assert ranks(values, {"base": 2, "other": 1}, "more").wins == {"base": 1, "other": 0}


def test_without_a_direction_or_a_rival_there_are_no_ranks():
    one = {"base": np.ones(len(SHARES))}
    assert ranks(one | {"other": np.ones(len(SHARES))}, {}, "") is None
    assert ranks(one, {"base": 1}) is None


def test_what_is_equal_up_to_rounding_is_equal():
    values = {"base": np.full(len(SHARES), 0.3), "other": np.full(len(SHARES), 0.1 + 0.2)}
    found = ranks(values, {"base": 1, "other": 2})
    assert found.wins == {"base": 0.5, "other": 0.5}
    assert (found.held, found.tau) == (0, None)
    assert found.notes == (f"at {len(SHARES)} samples all variants are equal, which has no tau",)
    assert found.decides == {}
    assert found.scatter is None


def test_failures_rank_nobody_and_are_told():
    values = {"base": SHARES[:, 0] + 1, "other": SHARES[:, 1] + 1}
    values["other"][7] = math.nan
    found = ranks(values, {"base": 1, "other": math.nan})
    assert found.notes == (
        f"1 of {len(SHARES)} samples failed for a variant, and rank nobody",
        "at the study's own point a variant failed",
    )
    assert found.scatter is None  # refused
    assert found.ratios["other"].why.startswith("1 of")
    dropped = ranks(values, {"base": 1, "other": 1.2}, failed="drop")
    assert dropped.scatter.winners[7] == -1
    assert (dropped.scatter.winners == -1).sum() == 1
    nobody = ranks({name: np.full(len(SHARES), math.nan) for name in values}, {"base": 1, "other": 2})
    assert (nobody.wins, nobody.held, nobody.tau, nobody.used) == ({}, None, None, 0)


def test_a_baseline_of_nothing_has_no_ratio():
    values = {"base": np.zeros(len(SHARES)), "other": SHARES[:, 0]}
    assert ranks(values, {"base": 0, "other": 1}).ratios["other"].kinds == {}
