"""Least frequently used, with counts that age."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import USES, State, Words


@register(
    "lfu-aged",
    family="expert-replacement",
    paper="Robinson, Devarakonda, Data cache management using frequency-based replacement, SIGMETRICS 1990, "
    "doi:10.1145/98457.98523",
)
class LfuAged:
    """LFU whose counts are halved, and rounded down, again and again.

    All are halved each time that there have been ``period`` uses for each expert that the model has, so that a count
    tells of the recent past. Of equal counts leaves the one that was used longest ago.
    """

    period: Annotated[
        int,
        Param(
            "uses for each expert of the model between two halvings",
            ge=1,
            le=1 << 14,
            source="assumption: with 6 of 64 experts a token, 43 tokens",
        ),
    ] = 4

    @staticmethod
    def state(objects: int) -> State:
        # uses[x] is the count when x was used last, in the period periods[x]
        names = ("uses", "periods", "last")
        return {name: np.full(objects, -1 if name == "last" else 0, np.int64) for name in names}

    @staticmethod
    def use(uses: Words, periods: Words, last: Words, objects: int, period: int, x: int, now: int) -> None:
        here = now // (period * objects)
        uses[x] = (uses[x] >> min(here - periods[x], 62)) + 1
        periods[x] = here
        last[x] = now

    @staticmethod
    def worth(uses: Words, periods: Words, last: Words, objects: int, period: int, x: int, now: int) -> int:
        return ((uses[x] >> min(now // (period * objects) - periods[x], 62)) << USES) + last[x]
