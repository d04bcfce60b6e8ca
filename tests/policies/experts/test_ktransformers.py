"""KTransformers by hand: who is waited for."""

from __future__ import annotations

from typing import Any

from tests.oracles.expert_offload import Verbs
from tiersim._base.registry import build
from tiersim.policies.experts.contract import ABSENT, CPU, DEFER, HERE, HIGH


def ktransformers(**parameters: Any) -> Any:
    return build("experts", {"use": "ktransformers", **parameters})


def decided(rank: int, held: int = ABSENT, prefill: int = 0, **parameters: Any) -> Any:
    return Verbs(ktransformers(**parameters), {}).ask("decide", held=held, rank=rank, prefill=prefill)


def test_the_best_ranked_are_waited_for() -> None:
    assert [decided(rank) for rank in range(6)] == [CPU] * 4 + [DEFER] * 2
    assert [decided(rank, immediate=1) for rank in range(3)] == [CPU, DEFER, DEFER]
    assert decided(0, immediate=0) == DEFER


def test_nothing_is_deferred_in_a_prompt() -> None:
    assert decided(5, prefill=1) == CPU


def test_what_is_placed_runs_on_the_gpu() -> None:
    assert decided(0, HERE) == decided(5, HERE) == HIGH
    popular = [5, 1, 4, 0, 9, 2, 2, 3]
    assert ktransformers().place(2, 4, 1, 2, popular) == []
    assert ktransformers(placed="popular").place(2, 4, 1, 2, popular) == [0, 2, 4, 7]
    assert ktransformers(placed="popular", scope="model").place(2, 4, 1, 2, popular) == [0, 4]
