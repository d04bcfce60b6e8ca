"""To the better of two drawn at random."""

from __future__ import annotations

from random import Random as Draws
from typing import Annotated, ClassVar

from tiersim._base.params import Param
from tiersim._base.registry import register
from tiersim.policies.routing.contract import Asked, View
from tiersim.policies.routing.loads import Load, loads_of


@register(
    "power-of-two",
    family="routing",
    paper="Mitzenmacher, IEEE TPDS 12(10), 2001, doi:10.1109/71.963420",
)
class PowerOfTwo:
    """Draws some instances at random, and sends a request to the one of them with the least load.

    The instances drawn are different ones; of equals the one drawn first takes it, as in SGLang's router
    (`sgl-router/src/policies/power_of_two.rs`).
    """

    drawn: Annotated[int, Param("instances", unit="count", ge=1, source="Mitzenmacher; SGLang")] = 2
    load: Load = "requests"

    random: ClassVar[bool] = True

    def start(self, instances: int, seed: int) -> None:
        self.draws = Draws(seed)

    def route(self, request: Asked, view: View) -> int:
        loads = loads_of(view, self.load)
        left = list(range(len(loads)))
        chosen = -1
        for _ in range(min(self.drawn, len(loads))):
            at = int(self.draws.random() * len(left))
            drawn, left[at] = left[at], left[-1]
            left.pop()
            if chosen < 0 or loads[drawn] < loads[chosen]:
                chosen = drawn
        return chosen
