"""Fiddler by hand: what stays, and who computes the rest."""

from __future__ import annotations

from typing import Any

from tests.oracles.expert_offload import Verbs
from tiersim._base.registry import build
from tiersim.policies.experts.contract import ABSENT, CPU, HERE, HIGH


def fiddler(**parameters: Any) -> Any:
    return build("experts", {"use": "fiddler", **parameters})


def decided(made: Any, n: int, held: int = ABSENT) -> Any:
    cpu = [0, 30, 60, 90, 120]
    return Verbs(made, {}).ask("decide", held=held, n=n, cpu=cpu * 5, load=90)


def test_the_processor_where_it_is_quicker_than_a_load() -> None:
    assert [decided(fiddler(), n) for n in (1, 2, 3, 4)] == [CPU, CPU, HIGH, HIGH]  # 90 is a load's time as well
    assert decided(fiddler(), 1, HERE) == HIGH


def test_as_published() -> None:
    # 7 a token against 70: the tenth makes it even, and even is loaded
    made = fiddler(published=True)
    assert [decided(made, n) for n in (1, 9, 10, 11)] == [CPU, CPU, HIGH, HIGH]
    assert decided(made, 1, HERE) == HIGH
    dearer = fiddler(published=True, copy_cost=71)
    assert [decided(dearer, n) for n in (10, 11)] == [CPU, HIGH]
    assert decided(fiddler(published=True, token_cost=8), 9) == HIGH


def test_the_most_popular_stay() -> None:
    popular = [5, 1, 4, 0, 9, 2, 2, 3]  # two layers of four

    def placed(gpus: int, slots: int, **parameters: Any) -> Any:
        return fiddler(**parameters).place(2, 4, gpus, slots, popular)

    assert placed(1, 4) == [0, 2, 4]  # one slot is left for copies
    assert placed(1, 6, spare=2) == [0, 2, 4, 7]
    assert placed(1, 3, scope="layer") == [0, 2, 4, 7]
    assert placed(2, 2) == [2, 4]  # of 0 1 4 5, and of 2 3 6 7
    assert placed(2, 3) == [0, 2, 4, 7]
    assert placed(1, 1) == []
    assert fiddler().place(1, 4, 1, 3, [1, 1, 1, 1]) == [0, 1]
