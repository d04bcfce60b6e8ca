"""Least-Stale."""

from __future__ import annotations

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import USES, State, Words


@register("least-stale", family="expert-replacement", paper="Hoang et al., SpecMD, arXiv:2602.03921")
class LeastStale:
    """Experts of layers that the sweep of this token has passed leave first, then the one that was used longest ago.

    A forward pass goes through the layers in order: what lies behind it will not be asked for before the next pass, and
    what lies before it may be. Within either group leaves the one that was used longest ago. In a cache of one layer it
    is LRU. The paper's code has not been read: this is the rule as its text tells it.
    """

    @staticmethod
    def state(objects: int) -> State:
        return {"last": np.full(objects, -1, np.int64)}

    @staticmethod
    def use(last: Words, x: int, now: int) -> None:
        last[x] = now

    @staticmethod
    def worth(last: Words, experts: int, x: int, layer: int) -> int:
        return last[x] if x < layer * experts else (1 << USES) + last[x]
