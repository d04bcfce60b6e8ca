"""The oracle cache of local routing consistency."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.expert_replacement.contract import USES, State, Words


@register("sch", family="expert-replacement", paper="Liang et al., ICLR 2026, arXiv:2505.16056")
class Sch:
    """The expert that the next tokens use least leaves: the cache whose hit ratio is SCH.

    It sees the token that is served and those after it, ``ahead`` in all; what the token itself has used already no
    longer counts. Of several leaves the one that was used longest ago.
    """

    needs_future: ClassVar[bool] = True

    ahead: Annotated[
        int, Param("tokens that it sees, that which is served among them", ge=1, le=1 << 20, source="the paper's m")
    ] = 16

    @staticmethod
    def state(objects: int) -> State:
        return {"window": np.zeros(objects, np.int64), "last": np.full(objects, -1, np.int64)}

    @staticmethod
    def enter(window: Words, x: int) -> None:
        window[x] += 1

    @staticmethod
    def use(window: Words, last: Words, x: int, now: int) -> None:
        window[x] -= 1
        last[x] = now

    @staticmethod
    def worth(window: Words, last: Words, x: int) -> int:
        return (window[x] << USES) + last[x]
