"""Admission by size."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.contract import State, Words


@register(
    "size-threshold",
    family="admission",
    aliases=("size",),
    paper="Abrams et al., Caching proxies: limitations and potentials, WWW 1995 (LRU-threshold)",
)
class SizeThreshold:
    """Lets in objects of at most so many bytes.

    The paper tries thresholds and finds none that suits all traces, so that the default is arbitrary: a share of the
    capacity. libCacheSim refuses objects of exactly its threshold: its is one byte more than ours.
    """

    largest: Annotated[int, Param("the largest that is let in; 0: by share", unit="bytes", ge=0)] = 0
    share: Annotated[int, Param("the largest as a share of the capacity", unit="ratio", ge=0, le=10**9)] = 10**7

    def state(self, capacity: int) -> State:
        return {"limit": np.array([self.largest or max(capacity * self.share // 10**9, 1)], np.int64)}

    @staticmethod
    def admit(limit: Words, size: int) -> bool:
        return size <= limit[0]
