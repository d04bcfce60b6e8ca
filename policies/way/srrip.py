"""Static re-reference interval prediction."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.way.contract import State, Words


@register("srrip", family="way-replacement", paper="Jaleel et al., ISCA 2010, doi:10.1145/1815961.1815971")
class Srrip:
    """Predicts how soon a line is used again: a new line late, a line that was hit at once (hit priority).

    The victim is the first way predicted furthest; when there is none all predictions grow by one.
    """

    bits: Annotated[int, Param("width of a prediction", ge=1, le=16, source="the paper's default")] = 2

    hit_is_idempotent: ClassVar[bool] = True

    def state(self, sets: int, ways: int, seed: int) -> State:
        return np.full((sets, ways), (1 << self.bits) - 1, np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int) -> None:
        s[at + way] = 0

    @staticmethod
    def fill(s: Words, at: int, way: int, bits: int) -> None:
        s[at + way] = (1 << bits) - 2

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int, bits: int) -> int:
        furthest = -1
        for way in range(ways):
            if (allowed >> (way & 63)) & 1 and (furthest < 0 or s[at + way] > s[at + furthest]):
                furthest = way
        grow = (1 << bits) - 1 - s[at + furthest]
        if grow > 0:
            for way in range(ways):
                s[at + way] = min(s[at + way] + grow, (1 << bits) - 1)
        return furthest
