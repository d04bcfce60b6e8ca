"""SRP against all choices that a router has, and against what must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.expert_caches import Token, best_f1, window_counts
from tests.sim.test_expert_stack import EXPERTS, LAYERS, drawn, routing, tokens_of
from tiersim.sim.expert_segments import LEVELS, count_segments
from tiersim.sim.expert_tokens import ExpertTokens

OBJECTS = LAYERS * EXPERTS


@settings(deadline=None, max_examples=60)
@given(sequences=routing(), length=st.integers(1, 9))
def test_counts_are_those_of_each_window(sequences: list[list[Token]], length: int) -> None:
    counts = count_segments(tokens_of(sequences), length).counts
    long = [sequence for sequence in sequences if len(sequence) >= length]
    assert len(counts) == len(long)
    for held, sequence in zip(counts, long, strict=True):
        for x in range(OBJECTS):
            assert held[x].tolist() == np.bincount(window_counts(sequence, x, length), minlength=length + 1).tolist()


@settings(deadline=None, max_examples=100)
@given(
    uses=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=7),
    length=st.integers(1, 7),
)
def test_no_choice_of_windows_is_better(uses: list[tuple[bool, bool]], length: int) -> None:
    """Of one expert; of two with choices of their own; and of both together, which is the model's level."""
    sequence = [[x for x in range(2) if used[x]] for used in uses]
    if len(sequence) < length:
        return
    segments = count_segments(tokens_of([sequence], 1, 2), length)
    windows = [window_counts(sequence, x, length) for x in range(2)]
    assert segments.srp("expert").groups.tolist() == pytest.approx([best_f1(each, length) for each in windows])
    assert segments.srp("model").value == pytest.approx(best_f1(windows[0] + windows[1], length))
    assert segments.srp("layer").value == segments.srp("model").value


@settings(deadline=None, max_examples=60)
@given(sequences=routing(), length=st.integers(1, 9))
def test_the_threshold_is_half_the_window_times_srp(sequences: list[list[Token]], length: int) -> None:
    """At the best F1 the router turns on just those windows whose uses are more than m / 2 * SRP (Liang et al.)."""
    counts = count_segments(tokens_of(sequences), length).counts
    if not len(counts):
        return
    srp = count_segments(tokens_of(sequences), length).srp()
    held = counts.sum((0, 1)).astype(float)
    uses = np.arange(length + 1)
    if not (uses * held).any():
        assert (srp.value, srp.size_ratio) == (0.0, 0.0)
        return
    threshold = max(math.ceil(length / 2 * srp.value - 1e-9), 0)
    hit, on = (uses * held)[threshold:].sum(), length * held[threshold:].sum()
    assert 2 * hit / (on + (uses * held).sum()) == pytest.approx(srp.value)


@pytest.mark.parametrize("level", LEVELS)
def test_one_token_is_always_served_right(level: str) -> None:
    srp = count_segments(tokens_of(drawn(2, [30, 20])), 1).srp(level)  # type: ignore[arg-type]
    assert set(srp.groups) <= {0.0, 1.0}
    assert (count_segments(tokens_of(drawn(2, [30, 20])), 1).srp().value, srp.size_ratio) == (1.0, srp.groups.mean())


def test_the_same_experts_always_are_served_right() -> None:
    srp = count_segments(tokens_of([[[0, 2, 5]] * 40], 2, 4), 16).srp()
    assert (srp.value, srp.size_ratio) == (1.0, 1.0)


def test_experts_drawn_evenly_are_served_no_better_than_by_all() -> None:
    """Each used with probability p, whatever came before: turning all on is as good as it gets in long windows."""
    rng = np.random.default_rng(1)
    sequence = [np.flatnonzero(used).tolist() for used in rng.random((4000, 16)) < 0.3]
    srp = count_segments(tokens_of([sequence], 1, 16), 256).srp()
    assert srp.value == pytest.approx(2 * 0.3 / 1.3, abs=0.005)
    assert srp.value >= 2 * 0.3 / 1.3 - 0.002
    assert srp.size_ratio == pytest.approx(1 / 0.3, rel=0.02)


def test_an_expert_that_nobody_uses_has_an_srp_of_nothing() -> None:
    segments = count_segments(tokens_of([[[0], [0], [0]]], 1, 2), 2)
    assert segments.srp("expert").groups.tolist() == [1.0, 0.0]
    assert segments.srp("expert").value == 0.5


def test_intervals_are_of_sequences() -> None:
    """Sequences that are all alike leave nothing to chance, a few that differ much; below eight nothing is told."""
    alike = count_segments(tokens_of(drawn(3, [40]) * 10), 8).srp()
    assert alike.low == pytest.approx(alike.value)
    assert alike.high == pytest.approx(alike.value)
    assert math.isnan(count_segments(tokens_of(drawn(3, [40] * 7)), 8).srp().low)
    few, many = (count_segments(tokens_of(drawn(3, [40] * n)), 8).srp() for n in (10, 160))
    assert few.low < few.value < few.high
    assert 2.5 < (few.high - few.low) / (many.high - many.low) < 6.5  # the square root of 16


def test_intervals_hold_as_often_as_they_say() -> None:
    """Of 200 draws of 40 sequences about 95 % have the SRP of very many in their interval."""
    rng = np.random.default_rng(5)

    def sequences(count: int) -> float | tuple[float, float]:
        # each sequence has likes of its own, of which it remembers nothing in the next
        likes = rng.beta(0.5, 1.0, (count, 1, 6))
        used = rng.random((count, 24, 6)) < likes
        starts = np.concatenate([[0], used.sum(2).cumsum()])
        ids = np.nonzero(used)[2].astype(np.int32)
        ends = np.arange(count + 1) * 24
        srp = count_segments(ExpertTokens(ids, starts, ends, ends[:-1], np.arange(1), 6), 8).srp()
        return srp.value if count > 1000 else (srp.low, srp.high)

    truth = sequences(5000)
    held = [sequences(40) for _ in range(200)]
    assert 176 <= sum(low <= truth <= high for low, high in held) <= 199


def test_no_window_is_told() -> None:
    with pytest.raises(ValueError, match="no sequence has a window"):
        count_segments(tokens_of([[[0]]]), 2).srp()
