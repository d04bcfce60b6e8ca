"""Admission by chance."""

from __future__ import annotations

from typing import Annotated, ClassVar

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.object.chances import below, chance, draws, exponential
from tiersim.policies.object.contract import State, Words

WHOLE = 10**9


@register(
    "probabilistic",
    family="admission",
    aliases=("prob",),
    paper="Starobinski, Tse, Probabilistic methods for web caching, Performance Evaluation 46(2), 2001, "
    "doi:10.1016/S0166-5316(01)00045-1",
)
class Probabilistic:
    """Lets a missed object in with a fixed probability, smaller for larger objects if wanted.

    An object that is asked for often gets in sooner or later, one that is asked for once mostly does not. With
    `scale` the probability is multiplied by e^(-size / scale), the family of functions that `adaptsize` chooses from.
    """

    probability: Annotated[
        int, Param("to let an object in", unit="ratio", ge=0, le=WHOLE, source="libCacheSim 0.3.5")
    ] = WHOLE // 2
    scale: Annotated[
        int, Param("bytes for which it falls by e; 0: sizes do not matter", unit="bytes", ge=0, source="Berger 2017")
    ] = 0

    random: ClassVar[bool] = True

    @staticmethod
    def state(seed: int) -> State:
        return {"draws": draws(seed)}

    @staticmethod
    def admit(draws: Words, size: int, probability: int, scale: int) -> bool:
        if below(draws, WHOLE) >= probability:
            return False
        return scale == 0 or chance(draws) < exponential(-size / scale)
