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
        fields = 60 // self.bits  # predictions in a word
        words = -(-ways // fields)
        return np.full((sets, words), (1 << (fields * self.bits)) - 1, np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int, bits: int) -> None:
        fields = 60 // bits
        s[at + way // fields] &= ~(((1 << bits) - 1) << (way % fields * bits))

    @staticmethod
    def fill(s: Words, at: int, way: int, bits: int) -> None:
        fields = 60 // bits
        place = way % fields * bits
        s[at + way // fields] = (s[at + way // fields] & ~(((1 << bits) - 1) << place)) | (((1 << bits) - 2) << place)

    @staticmethod
    def victim(s: Words, at: int, allowed: int, ways: int, bits: int) -> int:
        fields = 60 // bits
        most = (1 << bits) - 1
        furthest = -1
        found = -1
        for way in range(ways):
            value = (s[at + way // fields] >> (way % fields * bits)) & most
            if (allowed >> (way & 63)) & 1 and value > furthest:
                furthest = value
                found = way
        if furthest < most:
            for way in range(ways):
                place = way % fields * bits
                value = (s[at + way // fields] >> place) & most
                grown = min(value + most - furthest, most)
                s[at + way // fields] += (grown - value) << place
        return found
