"""Belady's policy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import NEVER, State, Words


@register(
    "belady",
    family="expert-replacement",
    aliases=("opt", "min"),
    paper="Belady, IBM Systems Journal 5(2), 1966, doi:10.1147/sj.52.0078",
)
class Belady:
    """The expert whose next use is furthest in the future leaves, and first of all those with none."""

    needs_future: ClassVar[bool] = True

    @staticmethod
    def state(objects: int) -> State:
        return {"after": np.full(objects, NEVER, np.int64)}

    @staticmethod
    def use(after: Words, x: int, next_use: int) -> None:
        after[x] = next_use

    @staticmethod
    def worth(after: Words, x: int) -> int:
        return -after[x]
