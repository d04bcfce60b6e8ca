"""Predictions of experts: by hand, and as plain versions of their definitions make them."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiersim._base.errors import StudyError
from tiersim._base.params import params
from tiersim._base.registry import build, index, load
from tiersim.models.expert_predictions import DrawnPredictions, FittedPredictions
from tiersim.sim.expert_rows import Rows
from tiersim.sim.expert_steps import NOBODY, Routed, drawn_of, rows_of, schedule_of

EXPERTS = 6
WHOLE = 10**9
NONE = Routed(np.zeros(1, np.int64), np.zeros((0, 3, 2), np.int32), np.arange(3))


def routed(seed: int, lengths: list[int], layers: int = 3, places: int = 2, *, named: bool = False) -> Routed:
    """Random experts; of two places the second one is sometimes empty."""
    numbers = np.random.default_rng(seed)
    tokens = sum(lengths)
    table = np.argsort(numbers.random((tokens, layers, EXPERTS)), axis=2)[:, :, :places].astype(np.int32)
    if places > 1:
        table[:, :, -1][numbers.random((tokens, layers)) < 0.3] = NOBODY
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Routed(first, table, np.arange(layers), None, table[::-1].copy() if named else None)


def lists(made: Rows) -> list[list[int]]:
    return [made.predicted[begin:end].tolist() for begin, end in pairwise(made.predicted_start.tolist())]


def needed(made: Rows) -> list[list[int]]:
    return [made.expert[begin:end].tolist() for begin, end in pairwise(made.start.tolist())]


def test_drawn_by_hand() -> None:
    """A row of two tokens that needs 1 (once), 2 (twice) and 4 (once), and has 0, 3 and 5 for wrong ones.

    1 is wrong: of 0, 3, 5 the pick 0.7 takes 5 (place 2). 2 is right. 4 is wrong: of 0, 3 the pick 0.5 takes 3. By
    tokens 2 comes first, then 3 and 5.
    """
    table = np.array([[[1, 2]], [[2, 4]]], np.int32)
    held = Routed(np.array([0, 2]), table, np.array([0]))
    rows = rows_of(held, schedule_of(held, 1, 2), EXPERTS)
    start, named = drawn_of(rows, np.array([False, True, False]), np.array([0.7, 0.0, 0.5]))
    assert start.tolist() == [0, 3]
    assert named.tolist() == [2, 3, 5]


def test_nothing_wrong_is_named_where_all_are_needed() -> None:
    table = np.arange(EXPERTS, dtype=np.int32).reshape(1, 1, EXPERTS)
    held = Routed(np.array([0, 1]), table, np.array([0]))
    rows = rows_of(held, schedule_of(held, 1, 0), EXPERTS)
    right = np.arange(EXPERTS) < 2
    assert drawn_of(rows, right, np.zeros(EXPERTS))[1].tolist() == [0, 1]


@given(st.integers(0, 99), st.integers(1, 3), st.integers(0, 4), st.sampled_from([0, WHOLE // 2, WHOLE]))
def test_as_many_are_drawn_as_are_needed(seed: int, batch: int, prompt: int, right: int) -> None:
    held = routed(seed, [3, 4, 2])
    schedule = schedule_of(held, batch, prompt)
    rows = rows_of(held, schedule, EXPERTS)
    made = DrawnPredictions(right=right).predict(held, schedule, rows, NONE, seed)
    for wanted, named in zip(needed(rows), lists(made), strict=True):
        assert len(set(named)) == len(named)
        wrong = set(named) - set(wanted)
        if right == WHOLE:
            assert sorted(named) == wanted
        elif right == 0:
            assert len(named) == min(len(wanted), EXPERTS - len(wanted)) == len(wrong)
        else:
            assert len(named) == min(len(wanted), len(set(named) & set(wanted)) + EXPERTS - len(wanted))
    again = DrawnPredictions(right=right).predict(held, schedule, rows, NONE, seed)
    assert lists(again) == lists(made)


def test_the_accuracy_is_what_is_said_and_the_seed_matters() -> None:
    held = routed(1, [400], places=1)
    schedule = schedule_of(held, 1, 0)
    rows = rows_of(held, schedule, EXPERTS)
    made = [DrawnPredictions(right=WHOLE * 3 // 4).predict(held, schedule, rows, NONE, seed) for seed in (1, 2)]
    assert lists(made[0]) != lists(made[1])
    for one in made:
        found = float(np.mean(one.predicted == rows.expert))
        assert abs(found - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 1200)
    wrong = made[0].predicted[made[0].predicted != rows.expert]
    assert np.bincount(wrong, minlength=EXPERTS).min() > 0.1 * len(wrong)  # any expert may be named wrongly


def naive_bayes(held: Routed, cut: int, lookahead: int, many: int) -> list[list[list[int]]]:
    """What is named for each token later at each layer, in numbers' order, in plain Python."""
    tokens = [[[expert for expert in layer if expert != NOBODY] for layer in token] for token in held.experts.tolist()]
    out = []
    for token in tokens[cut:]:
        named = []
        for layer in range(held.layers):
            often = Counter(expert for other in tokens[:cut] for expert in other[layer])
            scores = {}
            for candidate in range(EXPERTS):
                if layer < lookahead:
                    scores[candidate] = float(often[candidate])
                    continue
                score = round(math.log(often[candidate] + 1) * 2**20)
                for seen in token[layer - lookahead]:
                    both = sum(candidate in other[layer] and seen in other[layer - lookahead] for other in tokens[:cut])
                    score += round(math.log((both + 1) / (often[candidate] + EXPERTS)) * 2**20)
                scores[candidate] = score
            named.append(sorted(sorted(scores, key=lambda expert: (-scores[expert], expert))[:many]))
        out.append(named)
    return out


@given(st.integers(0, 99), st.integers(1, 3), st.integers(1, 4))
def test_the_fitted_one_is_naive_bayes(seed: int, lookahead: int, many: int) -> None:
    held = routed(seed, [3, 5, 2, 4])
    predictor = FittedPredictions(lookahead=lookahead, named=many)
    table = predictor.table(*held.split(2)[::-1], EXPERTS)
    assert [[sorted(layer) for layer in token] for token in table.tolist()] == naive_bayes(held, 8, lookahead, many)


def test_the_fitted_one_learns_what_follows() -> None:
    """Layer 1 always takes the expert after that of layer 0: all is named rightly there, and chance at layer 0."""
    numbers = np.random.default_rng(3)
    first = numbers.integers(0, EXPERTS, 300)
    table = np.stack([first, (first + 1) % EXPERTS], axis=1)[:, :, None].astype(np.int32)
    learnt, held = Routed(np.array([0, 200, 300]), table, np.arange(2)).split(1)
    schedule = schedule_of(held, 1, 0)
    rows = rows_of(held, schedule, EXPERTS)
    made = lists(FittedPredictions().predict(held, schedule, rows, learnt, 0))
    assert made[1::2] == needed(rows)[1::2]
    assert made[::2] != needed(rows)[::2]


def test_predictions_of_the_trace() -> None:
    held = routed(2, [3, 2], named=True)
    schedule = schedule_of(held, 1, 0)
    rows = rows_of(held, schedule, EXPERTS)
    made = lists(build("expert-prediction", "trace").predict(held, schedule, rows, NONE, 0))
    assert made == needed(rows_of(Routed(held.first, held.experts[::-1], held.numbers), schedule, EXPERTS))
    with pytest.raises(StudyError, match="the trace has no predictions\n  take others"):
        build("expert-prediction", "trace").predict(routed(2, [3, 2]), schedule, rows, NONE, 0)
    assert build("expert-prediction", "none").predict(held, schedule, rows, NONE, 0) is rows


OTHERS = {"right": "20 %", "lookahead": 2, "named": 1}


@pytest.mark.parametrize(
    "name", [name for name in index("expert-prediction") if params(load("expert-prediction", name))]
)
def test_every_parameter_changes_what_is_predicted(name: str) -> None:
    learnt, held = routed(5, [9, 8, 9, 7]).split(2)
    schedule = schedule_of(held, 1, 0)
    rows = rows_of(held, schedule, EXPERTS)

    def outcome(**more: object) -> list[list[int]]:
        return lists(build("expert-prediction", {"use": name, **more}).predict(held, schedule, rows, learnt, 0))

    for item, _, _ in params(load("expert-prediction", name)):
        assert outcome(**{item.name: OTHERS[item.name]}) != outcome(), item.name
