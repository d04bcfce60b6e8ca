"""HOBBIT by hand: precisions, what is looked for ahead, and who leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.oracles.expert_offload import Verbs
from tiersim._base.registry import build
from tiersim.policies.experts.contract import ABSENT, COMING, CPU, HERE, HERE_LOW, HIGH, LOW, SKIP


def hobbit(**parameters: Any) -> Verbs:
    return Verbs(build("experts", {"use": "hobbit", **parameters}), {"objects": 8, "layers": 2, "experts": 4})


def decided(needs: list[tuple[int, float]], held: int = ABSENT, prefill: int = 0, **parameters: Any) -> list[Any]:
    """Of each need, by its rank and weight, what is wanted."""
    made = hobbit(**parameters)
    row = {
        "row": 1,
        "row_start": [0, 1, 1 + len(needs)],
        "row_rank": [0, *(rank for rank, _ in needs)],
        "row_weight": [0, *(round(weight * 10**6) for _, weight in needs)],
    }
    return [made.ask("decide", held=held, rank=rank, prefill=prefill, **row) for rank, _ in needs]


def test_what_ranks_before_tells_the_precision() -> None:
    assert decided([(0, 0.6), (1, 0.4)]) == [HIGH, HIGH]  # 0.6 ranks before the second: just important
    assert decided([(0, 0.61), (1, 0.39)]) == [HIGH, LOW]
    assert decided([(0, 0.9), (1, 0.1)]) == [HIGH, LOW]
    assert decided([(0, 0.91), (1, 0.09)]) == [HIGH, SKIP]
    assert decided([(2, 0.2), (0, 0.5), (1, 0.3)]) == [LOW, HIGH, HIGH]  # 0.8, 0 and 0.5 before
    assert decided([(0, 1.0), (1, 0.6)]) == [HIGH, LOW]  # parts of the sum: 0.625
    # without weights each has a sixth
    assert decided([(rank, 1 / 6) for rank in range(6)]) == [HIGH] * 4 + [LOW] * 2
    assert decided([(0, 0.6), (1, 0.4)], full="50 %") == [HIGH, LOW]
    assert decided([(0, 0.6), (1, 0.4)], full="50 %", low="55 %") == [HIGH, SKIP]


def test_what_is_here_runs_as_it_is() -> None:
    needs = [(0, 0.5), (1, 0.45), (2, 0.05)]
    assert decided(needs) == [HIGH, HIGH, SKIP]
    assert decided(needs, HERE) == decided(needs, COMING) == [HIGH] * 3
    assert decided(needs, HERE_LOW) == [HIGH, HIGH, LOW]
    assert decided(needs, prefill=1) == [HIGH] * 3


def test_in_a_batch_ranks_weigh_what_they_do_on_average() -> None:
    # rank 0 weighs 0.5 on average, nobody has rank 1 at best, rank 2 weighs 0.25: 0.5 / 0.75 rank before it
    assert decided([(0, 0.6), (0, 0.4), (2, 0.3), (2, 0.2)]) == [HIGH, HIGH, LOW, LOW]
    assert decided([(0, 0.0), (1, 0.0)]) == [HIGH, HIGH]


def wished(row: int, **parameters: Any) -> list[int]:
    """In three layers of four experts, whose rows are predicted to need 0, 1 and 2, 3, and then 0."""
    wishes = np.full(12, -1)
    many = hobbit(**parameters).ask(
        "wish",
        wishes=wishes,
        row=row,
        layer=row % 3,
        layers=3,
        experts=4,
        predicted_start=[0, 1, 3, 4, 5],
        predicted_e=[0, 1, 2, 3, 0],
    )
    return wishes[:many].tolist()


def test_the_next_layers_of_the_step_are_wished_for() -> None:
    assert wished(0) == [5, 6]
    assert wished(0, ahead=2) == wished(0, ahead=9) == [5, 6, 11]
    assert wished(1, ahead=2) == [11]
    assert wished(2, ahead=2) == []  # what the next step needs is not known
    assert wished(0, ahead=0) == []


def test_who_is_worth_least() -> None:
    def worth(x: int, row: int, **weights: int) -> Any:
        made = hobbit(**weights)
        made.ask("use", x=0, step=2, want=HIGH)  # of the sequence before
        made.ask("begin", step=3, layers=2, experts=4)
        made.ask("use", x=1, step=3, want=HIGH)
        made.ask("use", x=1, step=4, want=LOW)
        made.ask("use", x=2, step=4, want=HIGH)
        made.ask("use", x=3, step=4, want=SKIP)
        return made.ask("worth", x=x, row=row, step=row // 2, layers=2, experts=4)

    # the second step of the sequence, in layer 0: 1 was used twice in it, once in full, and its layer is at hand; parts
    # of 2 steps and of 2 layers are told in quarters
    assert worth(1, 8) == 4 * ((2 + 2 + 1) / 2 + 1)
    assert worth(2, 8) == 4 * ((2 + 1 + 1) / 2 + 1)
    assert worth(0, 8) == worth(3, 8) == 4
    assert worth(5, 8) == 4 / 2
    # in layer 1
    assert worth(5, 9) == 4
    assert worth(1, 9) == 4 * (5 / 2 + 1 / 2)
    assert worth(1, 8, recency=3, frequency=5, precision=7, nearness=0) == 4 * (3 * 2 + 5 * 2 + 7) / 2


@pytest.mark.parametrize("want", [HIGH, LOW, SKIP, CPU])
def test_only_what_ran_on_the_gpu_is_remembered(want: int) -> None:
    made = hobbit()
    made.ask("begin", step=0, layers=2, experts=4)
    made.ask("use", x=1, step=0, want=want)
    assert made.own["uses"][1] == (want in (HIGH, LOW))
    assert made.own["high_uses"][1] == (want == HIGH)
