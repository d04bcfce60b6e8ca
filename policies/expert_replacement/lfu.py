"""Least frequently used."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import USES, State, Words


@register("lfu", family="expert-replacement", paper="Liang et al., ICLR 2026, arXiv:2505.16056")
class Lfu:
    """The expert that was used least often leaves, of several the one that was used longest ago.

    Uses count from the start, in the cache or not, and are never forgotten: as the paper's authors count them.
    """

    @staticmethod
    def state(objects: int) -> State:
        return {"uses": np.zeros(objects, np.int64), "last": np.full(objects, -1, np.int64)}

    @staticmethod
    def use(uses: Words, last: Words, x: int, now: int) -> None:
        uses[x] += 1
        last[x] = now

    @staticmethod
    def worth(uses: Words, last: Words, x: int) -> int:
        return (uses[x] << USES) + last[x]
