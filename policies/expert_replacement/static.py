"""Static popularity."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import State, Words


@register(
    "static", family="expert-replacement", aliases=("fixed",), paper="Kamahori et al., ICLR 2025, arXiv:2402.07033"
)
class Static:
    """The most popular experts stay and no other enters, as Fiddler places them and the Fixed of the SCH paper does.

    Popularity is counted in a part of the trace that the study names. Of equally popular experts the one with the
    higher number stays.
    """

    bypass: ClassVar[bool] = True
    profile: ClassVar[bool] = True

    @staticmethod
    def state(popular: Words) -> State:
        return {"popular": np.array(popular, np.int64)}

    @staticmethod
    def use() -> None:
        return

    @staticmethod
    def worth(popular: Words, x: int) -> int:
        return popular[x]
