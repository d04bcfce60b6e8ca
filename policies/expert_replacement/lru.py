"""Least recently used."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import State, Words


@register(
    "lru", family="expert-replacement", paper="Mattson et al., IBM Systems Journal 9(2), 1970, doi:10.1147/sj.92.0078"
)
class Lru:
    """The expert that was used longest ago leaves."""

    @staticmethod
    def state(objects: int) -> State:
        return {"last": np.full(objects, -1, np.int64)}

    @staticmethod
    def use(last: Words, x: int, now: int) -> None:
        last[x] = now

    @staticmethod
    def worth(last: Words, x: int) -> int:
        return last[x]
