"""Most recently used, as plain Python: no registration, no compiler."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim.policies.way.contract import State, Words


class Mru:
    """Evicts the line that was used last: the best that can be done on a loop longer than the cache."""

    compiled: ClassVar[bool] = False

    @staticmethod
    def state(sets: int, ways: int, seed: int) -> State:
        return np.zeros((sets, 1), np.int64)

    @staticmethod
    def hit(s: Words, at: int, way: int) -> None:
        s[at] = way

    @staticmethod
    def fill(s: Words, at: int, way: int) -> None:
        s[at] = way

    @staticmethod
    def victim(s: Words, at: int) -> int:
        return s[at]
