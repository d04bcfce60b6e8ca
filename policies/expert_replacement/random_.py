"""Random replacement."""

from __future__ import annotations

from typing import ClassVar

from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import State
from tiersim.policies.way.random_ import LOW, mix


@register("random", family="expert-replacement", paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078")
class Random:
    """An expert drawn at random leaves, each as likely as the others.

    At each use every expert draws a number from the seed, its own number and that of the use: the least leaves. So
    caches of all sizes draw alike, and a larger one holds all that a smaller one does.
    """

    random: ClassVar[bool] = True

    @staticmethod
    def state() -> State:
        return {}

    @staticmethod
    def use() -> None:
        return

    @staticmethod
    def worth(x: int, now: int, seed: int) -> int:
        return mix(mix(seed ^ mix(now & LOW)) ^ mix(x & LOW))
